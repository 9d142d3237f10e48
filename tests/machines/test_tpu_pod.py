"""TPU pods: the commands against golden files, and whole runs on a cloud that is a fake."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hades.errors import ConfigError
from hades.machines.commands import Command, LaunchError, stream
from hades.machines.source import at_commit, checkout, package
from hades.machines.tpu import worker
from hades.machines.tpu.resource import Patience, Pod, delete
from hades.machines.tpu.training import PodRun, plan_text
from hades.machines.tpu.worker import Answer, answers, outcome
from hades.runs.job import Job
from tests.machines.fakes import FakeCloud
from tests.support import ROOT

GOLDEN = Path(__file__).parent / "golden"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
IMPATIENT = Patience(poll=0.02, queue=120.0, command=120.0, install=120.0, stream=10.0, silence=120.0, peers=120.0)
POD = Pod("demo", "us-west4-a", "v5litepod-16", patience=IMPATIENT)
REQUIREMENT = "hades-rl[tpu] @ git+https://example.com/hades@v1"
NASTY = ("A.b = 'it\\'s \"quoted\"'", "A.c = '$HOME `id` \\\\ *'", "# two\nA.d = 'lines'", "A.e = 'σ & ; | > #  x'")
CASES = {
    "package": PodRun(
        Pod("demo", "us-west4-a", "v5litepod-256"), Job("cartpole_hades_r", "/nfs/demo"), package(REQUIREMENT)
    ),
    "checkout": PodRun(
        Pod(
            name="hopper-2",
            zone="europe-west4-b",
            accelerator_type="v6e-64",
            project="my-project",
            spot=True,
            create_flags=("--network=mine", "--labels=team=rl,run=2"),
        ),
        Job("hopper_hades_r", "/mnt/hades/runs/hopper", ("A.b = 'it\\'s $5'", "C.d = 1")),
        at_commit(COMMIT, Path("/checkout")),
        bucket="my-bucket",
    ),
}


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCloud:
    fake = FakeCloud(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
    return fake


@pytest.fixture
def said() -> list[str]:
    """What a run told."""
    return []


@pytest.fixture
def run(said) -> PodRun:
    return PodRun(POD, Job("smoke", "/nfs/demo"), package(REQUIREMENT), max_restarts=2, say=said.append)


def patient(run: PodRun, **seconds: float) -> PodRun:
    """The run with other time limits."""
    return dataclasses.replace(run, pod=dataclasses.replace(POD, patience=dataclasses.replace(IMPATIENT, **seconds)))


@pytest.mark.parametrize("name", CASES)
def test_the_commands_are_the_golden_ones(name):
    assert plan_text(CASES[name]) + "\n" == (GOLDEN / f"tpu_pod_{name}.sh").read_text("utf-8")


@pytest.mark.system
@pytest.mark.parametrize("name", CASES)
def test_what_is_shown_is_valid_bash_and_so_is_what_workers_run(name):
    texts = [plan_text(CASES[name])]
    commands = [command for _, some in CASES[name].steps() for command in some]
    texts += [word.removeprefix("--command=") for c in commands for word in c.words if word.startswith("--command=")]
    assert len(texts) >= 4
    for text in texts:
        done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, ""), text


@pytest.mark.system
def test_a_run_from_the_queue_to_its_end(cloud, run, said):
    assert run.run() == 0
    assert said[:3] == [
        "demo: ABSENT: there is none yet.",
        "demo: WAITING_FOR_RESOURCES: the request is in the queue, until the zone has enough free TPUs.",
        "demo: PROVISIONING: the TPUs are there, and their machines are being set up.",
    ]
    assert "start 1 on 0" in said
    assert "start 1 on 1" not in said
    assert said[-2] == "The run is finished: /nfs/demo on demo."
    assert said[-1] == f"demo still costs money. Delete it with: {POD.delete()}"
    for index in (0, 1):
        assert cloud.argv(index) == ["--config=smoke", "--workdir=/nfs/demo", "--distributed"]
        assert cloud.read(f"installed.{index}") == REQUIREMENT + "\n"


@pytest.mark.system
def test_the_words_reach_the_workers_unharmed(cloud, run):
    run = dataclasses.replace(run, job=dataclasses.replace(run.job, bindings=NASTY))
    assert run.run() == 0
    for index in (0, 1):
        assert cloud.argv(index) == [*run.job.words()[1:], "--distributed"]


@pytest.mark.system
def test_after_a_preemption_everything_is_made_again(cloud, run, said):
    cloud.creations(["ACTIVE"], ["WAITING_FOR_RESOURCES", "ACTIVE"])
    cloud.behave("""[ $start = 2 ] || { sleep 0.2; echo '["SUSPENDED"]' > $FAKES/states.json; }""")
    assert run.run() == 0
    assert [cloud.starts(0), cloud.starts(1)] == [2, 2]
    assert cloud.count("queued-resources create") == 2
    assert cloud.count("queued-resources delete") == 1
    assert cloud.read("installed.0").count("\n") == 2
    assert "The machines are gone (preempted, or not to be reached). Restart 1 of at most 2." in said


@pytest.mark.system
def test_interrupted_and_lost_runs_start_again_on_the_same_machines(cloud, run, said):
    cloud.behave("case $start in 1) exit 75;; 2) exit $((75 + WORKER));; esac")
    assert run.run() == 0
    assert cloud.starts() == 3
    assert cloud.count("queued-resources create") == 1
    assert cloud.read("installed.0").count("\n") == 1
    assert "The training was interrupted and saved. Restart 1 of at most 2." in said
    assert "A process of the run was lost. Restart 2 of at most 2." in said
    assert [line for line in said if line.startswith("start ")] == ["start 1 on 0", "start 2 on 0", "start 3 on 0"]


@pytest.mark.system
def test_restarts_are_bounded(cloud, run, said):
    cloud.behave("exit 76")
    assert run.run() == 76
    assert cloud.starts() == 3
    assert "A process of the run was lost. No restart is left: the same command continues the run." in said


@pytest.mark.system
def test_a_failure_is_final_although_worker_0_only_lost_a_peer(cloud, run, said):
    cloud.behave("[ $WORKER = 1 ] && { echo bad config; exit 1; }; sleep 0.1; exit 76")
    assert run.run() == 1
    assert cloud.starts() == 1
    assert any(line.startswith("The training failed with status 1, so it was not started again") for line in said)


@pytest.mark.system
def test_a_killed_training_counts_as_lost(cloud, run):
    cloud.behave("[ $start = 2 ] || kill -9 $$")
    assert run.run() == 0
    assert cloud.starts() == 2


@pytest.mark.system
def test_a_dropped_connection_leaves_the_training_alone(cloud, run, said):
    (cloud.folder / "drop").touch()
    cloud.behave("for i in 1 2 3 4 5 6; do echo line $i; sleep 0.15; done")
    assert run.run() == 0
    assert cloud.starts() == 1
    assert not (cloud.folder / "drop").exists()
    assert [line for line in said if line.startswith("line")] == [f"line {i}" for i in range(1, 7)]


@pytest.mark.system
def test_the_same_command_attaches_to_a_training_that_runs(cloud, run, said):
    cloud.behave('until [ -e "$FAKES/attached" ]; do sleep 0.02; done')
    first = threading.Thread(target=dataclasses.replace(run, say=lambda line: None).run)
    first.start()
    cloud_has_started(cloud)
    attaching = "The training is running on demo: attaching to its log."

    def say(line: str) -> None:
        said.append(line)
        if line == attaching:
            (cloud.folder / "attached").touch()

    assert dataclasses.replace(run, say=say).run() == 0
    first.join()
    assert attaching in said
    assert cloud.starts() == 1
    assert cloud.count("queued-resources create") == 1


def cloud_has_started(cloud: FakeCloud) -> None:
    for _ in range(12_000):
        if cloud.starts(0) and cloud.starts(1):
            return
        threading.Event().wait(0.01)
    raise AssertionError("nothing was started")


@pytest.mark.system
def test_after_the_end_the_same_command_says_so(cloud, run, said):
    run.run()
    said.clear()
    assert run.run() == 0
    assert cloud.starts() == 1
    assert "The run is finished: /nfs/demo on demo." in said


@pytest.mark.system
def test_a_failed_run_starts_again_on_request(cloud, run):
    cloud.behave("exit 1")
    run.run()
    cloud.behave("")
    assert run.run() == 0
    assert cloud.starts() == 2


@pytest.mark.system
def test_with_a_bucket_a_finished_run_needs_no_machines(cloud, run, said):
    job = Job("smoke", "/mnt/hades/runs/demo")
    (cloud.folder / "bucket/runs/demo").mkdir(parents=True)
    (cloud.folder / "bucket/runs/demo/result.json").touch()
    assert dataclasses.replace(run, job=job, bucket="b-1").run() == 0
    assert said == ["The run is finished: gs://b-1/runs/demo/result.json exists. Nothing was started."]
    assert [call[1:3] for call in cloud.calls()] == [["storage", "ls"]]


@pytest.mark.system
def test_a_bucket_is_mounted_on_every_worker_once(cloud, run, tmp_path):
    where = str(tmp_path / "mnt")
    run = dataclasses.replace(run, job=Job("smoke", f"{where}/runs/demo"), bucket="b-1", mount=where)
    cloud.behave("[ $start = 2 ] || exit 75")
    assert run.run() == 0
    for index in (0, 1):
        assert cloud.read(f"gcsfuse.{index}").split()[-2:] == ["b-1", where]


@pytest.mark.system
def test_a_config_file_of_ours_is_copied(cloud, run, tmp_path):
    (tmp_path / "mine.gin").write_text("include 'runs/cartpole_hades_r.gin'\nMLP.width = 32\n")
    run = dataclasses.replace(run, job=Job(str(tmp_path / "mine.gin"), "/nfs/demo"))
    cloud.behave("cp config.gin $FAKES/config.$WORKER")
    assert run.run() == 0
    assert cloud.argv()[0] == "--config=config.gin"
    assert cloud.read("config.1") == (tmp_path / "mine.gin").read_text()


def test_a_config_file_that_includes_another_of_ours_is_refused(run, tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("include 'base.gin'\n")
    (tmp_path / "base.gin").write_text(
        "include 'runs/smoke.gin'\n"
    )  # a shipped name: elsewhere it would mean another file
    with pytest.raises(ConfigError, match=r"mine\.gin includes base\.gin, a file of this machine"):
        dataclasses.replace(run, job=Job(str(mine), "/nfs/demo")).steps()
    mine.write_text("include 'runs/smoke.gin'\n")
    with pytest.raises(ConfigError, match="a file of this machine"):
        dataclasses.replace(run, job=Job(str(mine), "/nfs/demo", ("include 'base.gin'",))).steps()


@pytest.mark.system
def test_a_revision_of_the_checkout_is_packed_copied_and_installed(cloud, run, tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    git = ["git", "-C", str(root), "-c", "user.name=me", "-c", "user.email=me@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (root / "file").write_text("committed")
    subprocess.run([*git, "add", "file"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=x"], check=True)
    source = checkout("HEAD", root)
    assert source.note == ""
    assert dataclasses.replace(run, source=source).run() == 0
    copied = cloud.folder / "machines/1" / source.file.name
    assert copied.read_bytes()[:2] == b"\x1f\x8b"
    assert cloud.read("installed.1") == f"hades-rl[tpu] @ file://{copied}\n"
    source.file.unlink()
    (root / "file").write_text("changed")
    noted = dataclasses.replace(run, source=checkout("HEAD", root))
    note = f"{root} has changes that are not committed: the machines get {source.label} without them."
    assert plan_text(noted).endswith(f"\n# {note}")
    with pytest.raises(ConfigError, match=r'--revision="nothing" is no commit of '):
        checkout("nothing", root)
    with pytest.raises(ConfigError, match=r"is no git checkout, .* --package="):
        checkout("HEAD", tmp_path)


@pytest.mark.system
@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_what_is_left_of_an_earlier_request_is_replaced(cloud, run, state):
    (cloud.folder / "states.json").write_text(f'["{state}"]')
    (cloud.folder / "machines").mkdir()
    cloud.creations(["CREATING", "ACTIVE"])
    assert run.run() == 0
    assert cloud.count("queued-resources delete") == 1


@pytest.mark.system
def test_a_request_that_fails_says_why(cloud, run):
    cloud.creations(["PROVISIONING", "FAILED"])
    with pytest.raises(LaunchError, match=r"v5litepod-16.*us-west4-a.*no capacity in this zone"):
        run.run()


@pytest.mark.system
def test_a_queue_that_takes_too_long_keeps_its_place(cloud, run):
    cloud.creations(["WAITING_FOR_RESOURCES"])
    with pytest.raises(LaunchError, match=r"[A-Z_]+ after .* hours.*queue"):
        patient(run, queue=0.2).run()
    assert cloud.count("queued-resources delete") == 0


@pytest.mark.system
@pytest.mark.parametrize(
    ("verb", "text"),
    [
        ("queued-resources-create", "RESOURCE_EXHAUSTED: Quota limit 'TPUV5sLitepodPerProject' has been exceeded"),
        ("queued-resources-describe", "PERMISSION_DENIED: Permission 'tpu.queuedResources.get' denied"),
        ("tpu-vm-describe", "UNAUTHENTICATED: Request had invalid authentication credentials"),
    ],
)
def test_what_google_cloud_refuses_is_said_with_the_remedy(cloud, run, verb, text):
    cloud.spoil(verb, 1, f"ERROR: (gcloud) {text}")
    with pytest.raises(LaunchError, match=rf"{text[:20]}.*iam-admin/quotas.*roles/tpu.admin.*gcloud compute tpus"):
        run.run()


@pytest.mark.system
def test_a_hanging_gcloud_is_stopped(cloud, run):
    cloud.spoil("queued-resources-create", None)
    with pytest.raises(LaunchError, match=r"gcloud.*1 s.*queued-resources create"):
        patient(run, command=1.0).run()


@pytest.mark.system
def test_without_gcloud(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LaunchError, match=r"gcloud.*PATH"):
        run.run()


@pytest.mark.system
def test_a_package_that_does_not_install_is_named_with_the_reason(cloud, run):
    (cloud.folder / "spoilt.uv").write_text("error: No solution found when resolving dependencies\n")
    with pytest.raises(LaunchError, match=r"0 of 2 .*demo.*No solution found"):
        run.run()


@pytest.mark.system
def test_workers_that_never_answer_are_given_up(cloud, run):
    cloud.spoil("tpu-vm-ssh", 255, "ssh: connect to host 10.0.0.1 port 22: Connection refused")
    with pytest.raises(LaunchError, match=r"0 of 2 .*demo.*Connection refused.*firewall"):
        run.run()


@pytest.mark.system
def test_workers_that_stop_answering_are_given_up(cloud, run):
    run = patient(run, silence=0.3)
    cloud.behave("""echo '[255, "kex_exchange_identification"]' > $FAKES/spoilt.tpu-vm-ssh""")
    with pytest.raises(LaunchError, match=r"0 of 2 .*demo"):
        run.run()


@pytest.mark.system
def test_a_worker_that_outlives_the_others_costs_the_machines(cloud, run, said):
    run = patient(run, peers=0.2)
    cloud.creations(["ACTIVE"], ["ACTIVE"])
    outlive = 'while [ -d "$HOME" ]; do sleep 0.05; done'
    cloud.behave(f"[ $start = 2 ] || [ $WORKER = 0 ] || {outlive}; [ $start = 2 ] || exit 76")
    assert run.run() == 0
    assert "Still running after the other workers ended: t1v-n-1a2b3c-w-1." in said
    assert cloud.count("queued-resources create") == 2


@pytest.mark.system
def test_deleting(cloud):
    assert not delete(POD)
    (cloud.folder / "states.json").write_text('["ACTIVE"]')
    (cloud.folder / "machines").mkdir()
    assert delete(POD)
    cloud.spoil("queued-resources-delete", 1, "PERMISSION_DENIED: no")
    with pytest.raises(LaunchError, match=r"demo.*PERMISSION_DENIED: no.*cost"):
        delete(POD)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"name": "Demo_1"}, r'--name="Demo_1" has to be lower-case'),
        ({"zone": "us-west4"}, r'--zone="us-west4" is no zone; they look like us-west4-a'),
        ({"zone": "us-west4-a; rm"}, r"is no zone"),
        ({"accelerator_type": "v5litepod"}, r"is no type of TPU; they look like v5litepod-16"),
        ({"accelerator_type": "v5litepod-0"}, r"is no type of TPU"),
        ({"accelerator_type": "v5e-16"}, r"--accelerator_type=v5litepod-16"),
        ({"accelerator_type": "tpu7x-8"}, r"is no type of TPU"),
        ({"accelerator_type": "v9-8"}, r'No software version is known here for "v9-8"'),
        ({"spot": True, "reserved": True}, r"--spot and --reserved exclude each other"),
        ({"create_flags": ("network=x",)}, r'--create_flag="network=x" has to be a flag'),
    ],
)
def test_what_google_cloud_would_refuse_is_refused_here(values, reason):
    with pytest.raises(ConfigError, match=reason):
        Pod(**({"name": "demo", "zone": "us-west4-a", "accelerator_type": "v5litepod-16"} | values))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"job": Job("smoke", "runs/demo")}, r'--workdir="runs/demo" has to be an absolute path'),
        ({"bucket": "gs://b", "mount": "/nfs"}, r'--bucket="gs://b" is no name of a bucket; give it without gs://'),
        ({"bucket": "my-bucket"}, r'--workdir="/nfs/demo" lies outside the bucket, which is mounted at /mnt/hades'),
        ({"max_restarts": -1}, r"--max_restarts=-1"),
    ],
)
def test_a_run_that_cannot_work_is_refused(run, values, reason):
    with pytest.raises(ConfigError, match=reason):
        dataclasses.replace(run, **values)


@pytest.mark.parametrize("requirement", ['x"; rm -rf ~; "', "$(id)", "`id`", "a\nb"])
def test_a_package_that_is_none_is_refused(requirement):
    with pytest.raises(ConfigError, match="is no pip requirement"):
        package(requirement)


def test_runtime_versions_follow_the_type():
    kinds = ("v5litepod-8", "v5p-8", "v6e-8", "v4-8", "v3-8", "v2-8")
    old = "tpu-ubuntu2204-base"
    expected = ["v2-alpha-tpuv5-lite", "v2-alpha-tpuv5", "v2-alpha-tpuv6e", old, old, old]
    assert [Pod("a", "us-west4-a", kind).runtime for kind in kinds] == expected
    assert Pod("a", "us-west4-a", "v9-8", runtime_version="mine").runtime == "mine"


def test_answers_are_found_in_mixed_output():
    text = (
        "SSH: Attempting …\r\nhades-worker w-1 ended 75\r\nnoise hades-worker w-2 running\nhades-worker w-0 running\n"
    )
    assert answers(text) == [Answer("w-0", "running"), Answer("w-1", "ended", 75)]
    assert answers(text + "hades-worker w-0 lost\n")[0] == Answer("w-0", "lost")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([0, 0], 0), ([0, 75], 75), ([75, 76], 76), ([76, 1], 1), ([137, 0], 76), ([143, 2], 2), ([75, 143], 76)],
)
def test_one_failure_outweighs_the_others(statuses, expected):
    assert outcome(statuses) == expected


class Machine:
    """One worker, whose home is a folder here."""

    def __init__(self, home: Path):
        self.variables = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
        self.folder = home / "hades/runs/demo"

    def start(self, text: str) -> None:
        """Start a training in bash; its ssh session ends badly."""
        command = ["bash", "-c", worker.start("demo", ["bash", "-c", text])]
        session = subprocess.Popen(command, env=self.variables, start_new_session=True, stdout=subprocess.DEVNULL)
        session.wait(timeout=120)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session.pid, signal.SIGKILL)

    def wait_for(self, name: str) -> str:
        """The text of a file of the run, once it is there."""
        for _ in range(12_000):
            if (self.folder / name).exists() and (self.folder / name).read_text():
                return (self.folder / name).read_text()
            threading.Event().wait(0.01)
        raise AssertionError(f"no {name}")


@pytest.mark.system
def test_the_training_outlives_the_ssh_session_that_started_it(tmp_path):
    machine = Machine(tmp_path)
    machine.start("sleep 0.3; exit 75")
    assert machine.wait_for("status") == "75\n"


@pytest.mark.system
def test_starting_what_runs_changes_nothing(tmp_path):
    machine = Machine(tmp_path)
    for _ in range(2):
        machine.start("echo once; sleep 0.4; exit 75")
        machine.wait_for("log")
    assert machine.wait_for("status") == "75\n"
    assert machine.wait_for("log") == "once\n"
    assert not (machine.folder / "log.before").exists()


@pytest.mark.system
def test_a_machine_that_shuts_down_leaves_a_status(tmp_path):
    """systemd sends SIGTERM to every process, also to the shell around `hades-train`."""
    machine = Machine(tmp_path)
    machine.start("trap 'exit 75' TERM; echo ready; while :; do sleep 0.01; done")
    machine.wait_for("log")
    os.killpg(os.getpgid(int(machine.wait_for("pid"))), signal.SIGTERM)
    assert machine.wait_for("status") == "75\n"


@pytest.mark.system
def test_a_stream_ends_with_everything_that_it_started():
    command = Command(("bash", "-c", "echo first; sleep 600 & wait"), timeout=2.0)
    lines: list[str] = []
    with pytest.raises(LaunchError, match="gave no answer"):
        stream(command, lines.append)
    assert lines == ["first"]


@pytest.mark.system
def test_a_worker_that_was_restarted_has_lost_the_run(cloud, tmp_path):
    """No process holds the lock, and no status was written."""
    folder = tmp_path / "hades/runs/demo"
    folder.mkdir(parents=True)
    variables = {"HOME": str(tmp_path), "PATH": f"{cloud.folder}:/usr/bin:/bin", "WORKER": "0"}

    def state() -> str:
        return subprocess.run(
            ["bash", "-c", worker.state("demo")], env=variables, capture_output=True, text=True
        ).stdout

    assert state().endswith("w-0 absent\n")
    (folder / "pid").write_text("1\n")
    assert state().endswith("w-0 lost\n")


def launch(cloud: FakeCloud, *flags: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "launch/tpu_pod.py"), "--zone=us-west4-a", "--accelerator_type=v6e-8", *flags]
    variables = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=240)


@pytest.mark.system
def test_the_program_only_shows_by_default(cloud):
    shown = launch(cloud, "--config=smoke", "--workdir=/nfs/demo", f"--package={REQUIREMENT}")
    assert shown.returncode == 0, shown.stderr
    assert "gcloud compute tpus queued-resources create demo " in shown.stdout
    assert shown.stdout.endswith("Nothing was done. Add --execute to do it.\n")
    assert cloud.calls() == []


@pytest.mark.system
def test_the_program_shows_what_it_would_delete(cloud):
    assert "queued-resources delete demo --force" in launch(cloud, "--name=demo", "--delete").stdout
    assert cloud.calls() == []


@pytest.mark.system
def test_the_program_deletes_on_request(cloud):
    assert "There is no queued resource demo" in launch(cloud, "--name=demo", "--delete", "--execute").stdout
    assert cloud.count("queued-resources delete") == 1


@pytest.mark.system
def test_ctrl_c_leaves_everything_as_it_is(cloud):
    cloud.creations(["WAITING_FOR_RESOURCES"])
    command = [sys.executable, str(ROOT / "launch/tpu_pod.py"), "--zone=us-west4-a", "--accelerator_type=v6e-8"]
    command += ["--config=smoke", "--workdir=/nfs/demo", f"--package={REQUIREMENT}", "--execute"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(12_000):
        if (cloud.folder / "states.json").exists():
            break
        threading.Event().wait(0.01)
    threading.Event().wait(0.1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert "Nothing was stopped on demo. The same command goes on from here" in output
    assert cloud.count("queued-resources delete") == 0


@pytest.mark.system
def test_the_program_refuses_a_config_that_does_not_resolve(cloud):
    done = launch(cloud, "--config=smokee", "--workdir=/nfs/demo", "--execute")
    assert done.returncode == 1
    assert 'There is no config "smokee". The nearest names: smoke, ' in done.stderr
    assert cloud.calls() == []
