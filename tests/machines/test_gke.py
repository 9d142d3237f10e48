"""JobSets: manifests against golden files and the published schema, and what happens on a cluster that is a fake."""

import copy
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeflow_trainer_api.models.io_k8s_api_core_v1_config_map import IoK8sApiCoreV1ConfigMap
from kubeflow_trainer_api.models.io_k8s_apimachinery_pkg_api_resource_quantity import (
    IoK8sApimachineryPkgApiResourceQuantity as Quantity,
)
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet
from pydantic import BaseModel, ValidationError

from hades.errors import ConfigError, HadesError
from hades.machines.commands import LaunchError
from hades.machines.gke import kubectl
from hades.machines.gke.jobset import as_yaml, manifest, summary
from hades.machines.gke.settings import GkeSettings, Gpu, Storage, Tpu
from hades.runs.job import Job
from tests.machines.kubectl import FakeKubectl, ended
from tests.support import ROOT

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "europe-west4-docker.pkg.dev/my-project/hades/hades:1"
CLAIM = Storage(claim="hades-work")
JOB = Job("cartpole_hades_r", "runs/demo", ("SNES.sigma = 0.2",))
SLICE = GkeSettings(IMAGE, Tpu("tpu-v5-lite-podslice", "4x4"), CLAIM)
CASES = {
    "tpu": (JOB, SLICE),
    "tpu_multislice_bucket": (
        Job("mine.gin", "/work/runs/hopper", ("A.b = 'costs $5, not $(HOME)'",)),
        GkeSettings(
            IMAGE,
            Tpu("tpu-v6e-slice", "4x8", slices=2),
            Storage(bucket="my-bucket"),
            name="hopper-2",
            namespace="research",
            service_account="hades",
            spot=True,
            max_restarts=7,
            grace_seconds=55,
        ),
    ),
    "gpu": (JOB, GkeSettings(IMAGE, Gpu("nvidia-h100-80gb", per_node=8, nodes=4), CLAIM)),
    "gpu_one_node": (JOB, GkeSettings(IMAGE, Gpu("nvidia-l4", per_node=1), CLAIM)),
}
MODELS: dict[str, type[BaseModel]] = {"JobSet": JobsetV1alpha2JobSet, "ConfigMap": IoK8sApiCoreV1ConfigMap}
"""The published OpenAPI schemas of Kubernetes and of JobSet, as models that a package of the Kubeflow project ships."""


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gin file in the current folder; no test waits between two questions."""
    monkeypatch.chdir(tmp_path)
    Path("mine.gin").write_text("include 'runs/smoke.gin'\n\nMLP.width = 32  # σ: \"quoted\"\n")
    monkeypatch.setattr(kubectl, "POLL_SECONDS", 0.0)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    program = FakeKubectl(tmp_path / "bin")
    monkeypatch.setenv("PATH", program.path)
    return program


def validate(document: dict[str, Any]) -> None:
    """Types, required fields and enumerations by the schema; what comes back equal has no field that it lacks."""
    model: Any = MODELS[document["kind"]].model_validate(_with_quantities(document))
    assert model.to_dict() == document


def _with_quantities(value: Any) -> Any:
    """The models read amounts of resources, strings in every manifest, as objects of their own."""
    if isinstance(value, list):
        return [_with_quantities(item) for item in value]
    if not isinstance(value, dict):
        return value
    nested = {key: _with_quantities(item) for key, item in value.items()}
    amounts = {
        key: {name: Quantity(amount) for name, amount in nested[key].items()}
        for key in ("limits", "requests")
        if key in nested
    }
    return nested | amounts


@pytest.mark.parametrize("case", CASES)
def test_manifest_is_the_golden_one(case: str) -> None:
    text = as_yaml(manifest(*CASES[case]))
    assert text == (GOLDEN / f"gke_{case}.yaml").read_text()


@pytest.mark.parametrize("case", CASES)
def test_manifest_follows_the_published_schema(case: str) -> None:
    documents = list(yaml.safe_load_all(as_yaml(manifest(*CASES[case]))))
    assert [document["kind"] for document in documents][-1] == "JobSet"
    for document in documents:
        validate(document)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda spec: spec["failurePolicy"].update(maxRestarts="many"),
        lambda spec: spec["failurePolicy"]["rules"][0].pop("action"),
        lambda spec: spec["replicatedJobs"][0].update(replica=2),
        lambda spec: spec["replicatedJobs"][0]["template"]["spec"].update(completions="4"),
        lambda spec: _pod(spec).update(restartPolicy="Sometimes"),
        lambda spec: _pod(spec)["containers"][0].pop("name"),
        lambda spec: _pod(spec)["containers"][0].update(env=["A=1"]),
        lambda spec: _pod(spec)["volumes"][0].update(persistentVolumeClaim={"name": "hades-work"}),
    ],
)
def test_the_schema_refuses_what_is_wrong(break_it: Any) -> None:
    (jobset,) = copy.deepcopy(manifest(*CASES["tpu"]))
    break_it(jobset["spec"])
    with pytest.raises((ValidationError, AssertionError)):
        validate(jobset)


def _pod(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("machines", "hosts", "chips"),
    [
        (Tpu("tpu-v5-lite-podslice", "1x1"), 1, "1"),
        (Tpu("tpu-v5-lite-podslice", "2x4"), 1, "8"),
        (Tpu("tpu-v5-lite-podslice", "2x4", chips_per_host=4), 2, "4"),
        (Tpu("tpu-v5-lite-podslice", "16x16"), 64, "4"),
        (Tpu("tpu-v5p-slice", "2x2x2"), 2, "4"),
        (Tpu("tpu-v4-podslice", "2x2x1"), 1, "4"),
        (Tpu("tpu-v99-slice", "4x4x4", chips_per_host=8), 8, "8"),
    ],
)
def test_hosts_of_a_slice(machines: Tpu, hosts: int, chips: str) -> None:
    (jobset,) = manifest(JOB, dataclasses.replace(SLICE, machines=machines))
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert (job["completions"], job["parallelism"]) == (hosts, hosts)
    assert container["resources"]["limits"] == {"google.com/tpu": chips}
    assert ("--distributed" in container["command"]) == (hosts > 1)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Tpu("tpu-v5-litepod", "4x4"), 'Did you mean "tpu-v5-lite-podslice"'),
        (lambda: Tpu("tpu-v5-lite-podslice", "4*4"), "not chips along each axis"),
        (lambda: Tpu("tpu-v5-lite-podslice", "2x2x4"), "has 2 axes"),
        (lambda: Tpu("tpu-v5-lite-podslice", "4x4", slices=0), "--slices is 0"),
        (lambda: Tpu("tpu-v5-lite-podslice", "3x3"), "9 chips of 3x3"),
        (lambda: Gpu("H100"), "no accelerator of GKE"),
        (lambda: Gpu("nvidia-l4", nodes=0), "--nodes is 0"),
        (lambda: Storage(), "--volume_claim or --bucket"),
        (lambda: Storage("a", "b"), "one of both"),
        (lambda: Storage(bucket="gs://mine"), "without gs://"),
        (lambda: Storage(claim="a", mount="work"), "no absolute path"),
        (lambda: dataclasses.replace(SLICE, image="a b"), "no container image"),
        (lambda: dataclasses.replace(SLICE, name="Demo_1"), "small letters"),
        (lambda: dataclasses.replace(SLICE, max_restarts=-1), "at least 0"),
        (lambda: dataclasses.replace(SLICE, namespace="a b"), "--namespace"),
        (lambda: manifest(Job("cartpole_hades_r", "/tmp/runs"), SLICE), "does not lie below /work"),
        (lambda: manifest(Job("cartpole_hades_r", "runs/../../etc"), SLICE), "does not lie below /work"),
    ],
)
def test_bad_settings_are_named(build: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build()


def test_a_config_that_includes_a_file_of_this_machine_is_refused() -> None:
    Path("outer.gin").write_text("include 'mine.gin'\n")
    with pytest.raises(ConfigError, match=r"outer\.gin.*mine\.gin"):
        manifest(Job("outer.gin", "runs/demo"), SLICE)


def test_any_change_of_the_run_changes_the_digest() -> None:
    changed = [
        (JOB, dataclasses.replace(SLICE, image=f"{IMAGE}2")),
        (dataclasses.replace(JOB, bindings=()), SLICE),
        (dataclasses.replace(JOB, workdir="runs/other"), dataclasses.replace(SLICE, name="demo")),
    ]
    digests = {_digest(*case) for case in [(JOB, SLICE), *changed]}
    assert len(digests) == 4
    assert _digest(JOB, SLICE) in digests


def _digest(job: Job, settings: GkeSettings) -> str:
    return manifest(job, settings)[-1]["metadata"]["annotations"]["hades/manifest"]


def test_summary_counts_pods_of_all_slices() -> None:
    assert "on 16 pods with 4 google.com/tpu each, in /work/runs/hopper" in summary(*CASES["tpu_multislice_bucket"])


def start(fake: FakeKubectl, settings: GkeSettings = SLICE) -> list[str]:
    said: list[str] = []
    kubectl.start(kubectl.Cluster("my-context", "research"), manifest(JOB, settings), said.append)
    assert all(call[:2] == ["--context=my-context", "--namespace=research"] for call in fake.calls)
    return said


@pytest.mark.system
def test_starting_twice_starts_once(fake: FakeKubectl) -> None:
    assert start(fake) == ["JobSet demo is started."]
    assert (fake.folder / "applied.yaml").read_text() == as_yaml(manifest(JOB, SLICE))
    assert start(fake) == ["JobSet demo is running already: nothing to do."]
    assert fake.verbs == ["get", "apply", "get"]


@pytest.mark.system
def test_a_failed_run_continues(fake: FakeKubectl) -> None:
    start(fake)
    fake.statuses(ended("Failed", "a pod ended with status 1"))
    assert "Failed: a pod ended with status 1" in start(fake)[0]
    assert fake.verbs == ["get", "apply", "get", "delete", "delete", "apply"]


@pytest.mark.system
def test_a_finished_run_is_left_alone_and_a_longer_one_continues_it(fake: FakeKubectl) -> None:
    start(fake)
    fake.statuses(ended("Completed"))
    assert start(fake) == ["JobSet demo has finished already: nothing to do."]
    start(fake, dataclasses.replace(SLICE, image=f"{IMAGE}2"))
    assert fake.verbs[-2:] == ["delete", "apply"]


@pytest.mark.system
def test_another_run_of_the_name_is_not_touched(fake: FakeKubectl) -> None:
    start(fake)
    with pytest.raises(LaunchError, match=r"demo.*manifest.*--name"):
        start(fake, dataclasses.replace(SLICE, spot=True))
    assert fake.verbs == ["get", "apply", "get"]


@pytest.mark.system
@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (
            'fail get error: the server doesn\'t have a resource type "jobsets"',
            "JobSet is not installed on this cluster",
        ),
        ("fail get Unable to connect to the server", "Unable to connect to the server. Is kubectl connected"),
        (
            "fail apply admission webhook denied the request",
            "Starting JobSet demo failed with status 1: admission webhook",
        ),
    ],
)
def test_a_failing_cluster_is_explained(fake: FakeKubectl, mode: str, said: str) -> None:
    fake.mode(mode)
    with pytest.raises(LaunchError, match=said):
        start(fake)


@pytest.mark.system
def test_a_hanging_kubectl_is_stopped(fake: FakeKubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.mode("hang")
    command = kubectl.get_command
    monkeypatch.setattr(kubectl, "get_command", lambda *names: dataclasses.replace(command(*names), timeout=0.3))
    with pytest.raises(LaunchError, match=r"kubectl.*0 s"):
        start(fake)


@pytest.mark.system
def test_without_kubectl_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=r"kubectl.*PATH"):
        kubectl.start(kubectl.Cluster(), manifest(JOB, SLICE), print)


@pytest.mark.system
def test_an_unreadable_answer_is_explained(fake: FakeKubectl) -> None:
    start(fake)
    (fake.folder / "jobset.json").write_text("{}")
    with pytest.raises(LaunchError, match="cannot be read"):
        start(fake)


def follow(fake: FakeKubectl) -> tuple[kubectl.Found, list[str]]:
    said: list[str] = []
    found = kubectl.follow(kubectl.Cluster(), "demo", said.append, sleep=lambda seconds: None)
    return found, said


@pytest.mark.system
def test_following_goes_on_through_a_restart(fake: FakeKubectl) -> None:
    start(fake)
    fake.statuses({}, {}, {"restarts": 1}, ended("Completed", "all jobs completed", restarts=1))
    fake.logs("Error: container is waiting to start\n", "generation 1\n", "Continuing after generation 1\n")
    found, said = follow(fake)
    assert found.end == "Completed"
    assert said == ["generation 1", "(restart 1 of JobSet demo)", "Continuing after generation 1"]
    begins = [call[-1].split("=")[0] for call, verb in zip(fake.calls, fake.verbs, strict=True) if verb == "logs"]
    assert begins == ["--tail", "--tail", "--since-time"]


@pytest.mark.system
def test_a_run_that_ended_before_its_log_was_seen_shows_its_last_lines(fake: FakeKubectl) -> None:
    start(fake)
    fake.statuses(ended("Failed", "status 1"))
    fake.logs("hades: There is no config\n")
    found, said = follow(fake)
    assert (found.end, said) == ("Failed", ["hades: There is no config"])


@pytest.mark.system
def test_following_a_deleted_run_ends(fake: FakeKubectl) -> None:
    with pytest.raises(LaunchError, match="no longer there"):
        follow(fake)


@pytest.mark.system
def test_following_gives_up_on_a_cluster_that_stays_silent(fake: FakeKubectl) -> None:
    start(fake)
    fake.mode("fail get Unable to connect")
    with pytest.raises(LaunchError, match="Unable to connect"):
        follow(fake)
    assert fake.verbs.count("get") == 1 + kubectl.UNREACHABLE


@pytest.mark.system
def test_deleting_takes_the_config_map_too(fake: FakeKubectl) -> None:
    start(fake)
    kubectl.delete(kubectl.Cluster(), "demo")
    assert [call[:3] for call in fake.calls[-2:]] == [
        ["delete", "jobsets.jobset.x-k8s.io", "demo"],
        ["delete", "configmap", "demo-config"],
    ]


def test_errors_are_of_the_kind_that_programs_print() -> None:
    assert issubclass(LaunchError, HadesError)


@pytest.mark.system
def test_the_program_starts_and_follows_a_run(fake: FakeKubectl) -> None:
    fake.statuses({}, ended("Completed", "all jobs completed"))
    fake.logs("generation 1\n")
    words = ["--config=mine.gin", "--workdir=runs/demo", f"--image={IMAGE}", "--gpu=nvidia-l4", "--volume_claim=w"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch/gke.py"), *words, "--execute", "--follow"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == [
        "JobSet demo is started.",
        "generation 1",
        "JobSet demo: Completed. all jobs completed",
    ]
    assert "name: demo-config" in (fake.folder / "applied.yaml").read_text()
