"""Runs of several processes: the same search as one, and clear ends where a process is missing, different or killed."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hades.data.sources import load_dataset
from hades.runs.log import read_json_lines
from tests.support import ROOT, free_port

pytestmark = pytest.mark.system

LONG = (
    *("--gin_bindings=Experiment.generations = 1000000", "--gin_bindings=Experiment.checkpoint_every = 20"),
    "--gin_bindings=Experiment.eval_every = 1000000",  # nothing but generations is compiled
)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {**os.environ, "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def train(environment: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the program on `point`, with further flags."""
    started = []

    def start(workdir: Path, *flags: str, config: str = "smoke") -> subprocess.Popen[str]:
        words = [sys.executable, str(ROOT / "launch/train.py"), f"--config={config}", f"--workdir={workdir}", *flags]
        process = subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=120)


FORMS = {"1x1": (), "1x4": ("--host_devices=4",), "2x2": ("--processes=2", "--host_devices=2")}
"""One device, four of one process, and two of each of two processes."""
SAME_PROTOCOL = (
    *("--gin_bindings=Experiment.eval_inits = 8", "--gin_bindings=Experiment.report_inits = 8"),
    *("--gin_bindings=Experiment.eval_episodes = 2", "--gin_bindings=Experiment.report_episodes = 2"),
)
"""Selection and report are one program."""


@pytest.fixture(scope="module")
def finished(
    train: Callable[..., subprocess.Popen[str]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The work directory of the same run in one of the forms."""
    folder = tmp_path_factory.mktemp("runs")

    @functools.cache
    def run(form: str) -> Path:
        process = train(folder / form, *SAME_PROTOCOL, *FORMS[form])
        assert process.wait(timeout=240) == 0, process.communicate()[0]
        return folder / form

    return run


@pytest.mark.parametrize("form", [pytest.param("1x4", marks=pytest.mark.slow), "2x2"])
def test_processes_and_devices_change_no_key_and_no_curve(finished: Callable[[str], Path], form: str) -> None:
    workdirs = [finished(name) for name in ("1x1", form)]
    one_device, several = (read_json_lines(workdir / "metrics.jsonl") for workdir in workdirs)
    for one, many in zip(one_device, several, strict=True):
        assert one.keys() == many.keys()
        for name, value in one.items():
            np.testing.assert_allclose(many[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    datasets = [load_dataset(workdir / "dataset.safetensors") for workdir in workdirs]
    np.testing.assert_allclose(datasets[1].observations, datasets[0].observations, atol=1e-5)


ES = (
    *("--gin_bindings=OpenES.population_size = 16", "--gin_bindings=Experiment.generations = 2"),
    *("--gin_bindings=Experiment.eval_inits = 2", "--gin_bindings=Experiment.report_inits = 2"),
)


@pytest.mark.slow
def test_a_run_without_a_dataset_ends_with_its_report(
    train: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Whose policy process 0 has to show by itself, while the other one waits."""
    process = train(tmp_path / "run", *ES, "--processes=2", config="cartpole_es")
    said = process.communicate(timeout=200)[0]
    assert process.returncode == 0, said
    assert "episode" in (tmp_path / "run" / "report.html").read_text()


def test_only_the_first_process_writes_and_all_are_counted(finished: Callable[[str], Path]) -> None:
    workdir = finished("2x2")
    result = json.loads((workdir / "result.json").read_text())
    assert (result["num_processes"], result["num_devices"]) == (2, 4)
    assert len(read_json_lines(workdir / "metrics.jsonl")) == 10
    assert len(list((workdir / "tensorboard").iterdir())) == 1


def children(parent: subprocess.Popen[str], pattern: str = "process_id") -> list[int]:
    """The pids of processes that a parent started."""
    found = subprocess.run(["pgrep", "-P", str(parent.pid), "-f", pattern], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def newest_checkpoint(workdir: Path) -> int:
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)


def wait_for_checkpoint(workdir: Path, *processes: subprocess.Popen[str], beyond: int = 0) -> None:
    """Wait for a checkpoint newer than `beyond`, which is taken once earlier processes have ended."""
    deadline = time.monotonic() + 120
    while newest_checkpoint(workdir) <= beyond:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), processes[0].communicate()[0]
        time.sleep(0.05)


def test_a_killed_process_ends_the_other_and_sigterm_to_one_saves_and_stops_both(
    train: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The run continues each time: with processes started in the other way, and on another number of devices."""
    together = train(tmp_path / "run", *LONG, "--processes=2", "--host_devices=2")
    wait_for_checkpoint(tmp_path / "run", together)
    os.kill(children(together, "process_id=1")[0], signal.SIGKILL)
    said = together.communicate(timeout=120)[0]
    assert together.returncode == 76, said
    assert "Process 1 on" in said
    assert "was ended by SIGKILL" in said

    before = newest_checkpoint(tmp_path / "run")
    apart = start_apart(train, tmp_path / "run", *LONG)
    wait_for_checkpoint(tmp_path / "run", *apart, beyond=before)
    apart[1].kill()  # the parent: as when a machine goes
    said = apart[0].communicate(timeout=120)[0]
    assert apart[0].returncode == 76, said
    assert "rocess 1 on" in said
    assert "stopped answering" in said
    assert f"Continuing {tmp_path / 'run'} after generation" in said

    before = newest_checkpoint(tmp_path / "run")
    apart = start_apart(train, tmp_path / "run", *LONG)
    wait_for_checkpoint(tmp_path / "run", *apart, beyond=before)
    apart[1].send_signal(signal.SIGTERM)
    both = [process.communicate(timeout=120)[0] for process in apart]
    assert [process.returncode for process in apart] == [75, 75], both
    assert "everything is saved" in both[0]


def start_apart(train: Callable[..., subprocess.Popen[str]], workdir: Path, *flags: str) -> list[subprocess.Popen[str]]:
    """Two processes that meet at an address, each with its own parent."""
    where = (f"--coordinator=127.0.0.1:{free_port()}", "--num_processes=2", "--heartbeat_seconds=5")
    return [train(workdir, *flags, *where, "--host_devices=1", f"--process_id={index}") for index in range(2)]


def test_an_error_of_one_process_ends_both(train: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """One that hades does not foresee: a folder where a file belongs."""
    (tmp_path / "run" / "metrics.jsonl").mkdir(parents=True)
    apart = start_apart(train, tmp_path / "run", *LONG)
    said = [process.communicate(timeout=120)[0] for process in apart]
    assert [process.returncode for process in apart] == [1, 76], said
    assert "metrics.jsonl" in said[0]
    assert "Process 0 on" in said[1]


def test_workers_do_not_outlive_their_parent(train: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    parent = train(tmp_path / "run", *LONG, "--processes=2")
    deadline = time.monotonic() + 60
    while len(workers := children(parent)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    parent.kill()  # while they import
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
