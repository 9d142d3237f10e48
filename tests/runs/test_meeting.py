"""How processes find each other, and who is named where they cannot or differ."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hades.errors import ConfigError
from hades.runs.processes import Meeting, ProcessError, join
from tests.support import ROOT, free_port


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"coordinator": "10.0.0.2"}, r'--coordinator is "10.0.0.2"; it must be HOST:PORT'),
        ({"coordinator": ":80"}, r"it must be HOST:PORT"),
        ({"num_processes": None}, r"needs --num_processes and --process_id"),
        ({"process_id": 2}, r"--process_id is 2 of --num_processes=2; it must be from 0 to 1"),
    ],
)
def test_a_meeting_that_cannot_be_is_refused(changes: dict[str, object], expected: str) -> None:
    settings: dict[str, object] = {"coordinator": "10.0.0.2:80", "num_processes": 2, "process_id": 1}
    with pytest.raises(ConfigError, match=expected):
        Meeting(**(settings | changes))  # type: ignore[arg-type]  # some are wrong on purpose


def test_a_coordinator_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(ProcessError, match=r"[Pp]rocess 1 .*process 0 .*--coordinator=127\.0\.0\.1:1 .*0 s"):
        join(Meeting("127.0.0.1:1", 2, 1, join_seconds=0))


def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--coordinator=127\.0\.0\.1:{port}"):
            join(Meeting(f"127.0.0.1:{port}", 2, 0))


MEET = """
import os, sys
from pathlib import Path
from hades.errors import HadesError
from hades.runs import processes
which, configuration, folder, *meeting = sys.argv[1:]
processes.EXCHANGE_SECONDS = 5
token = Path(folder, "token")
try:
    processes.join(processes.Meeting(*meeting[:1], *map(int, meeting[1:])))
    processes.compare(configuration)
    if which == "0":
        token.write_text("t")
    processes.check_shared(lambda: token.read_text() if token.exists() else "", token.parent)
    print("met")
except HadesError as error:
    print(error)
sys.stdout.flush()
os._exit(0)  # an ordinary end would wait for the others
"""


def meet(*arguments: object, **announced: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", MEET, *map(str, arguments)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), **announced}
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.system
def test_nothing_to_join_is_said(tmp_path: Path) -> None:
    said = meet(0, "a", tmp_path).communicate(timeout=120)[0]
    assert "--distributed found neither a TPU pod nor" in said


def slurm(index: int, job: int) -> dict[str, str]:
    """What srun announces to a task of two on this machine."""
    announced = {"JOB_ID": job, "STEP_NODELIST": "localhost", "NTASKS": 2, "PROCID": index, "LOCALID": index}
    return {f"SLURM_{name}": str(value) for name, value in announced.items()}


def open_mpi(index: int, job: int) -> dict[str, str]:
    """What mpirun announces."""
    announced = {"SIZE": 2, "RANK": index, "LOCAL_RANK": index}
    where = {"OMPI_MCA_orte_hnp_uri": f"{job * 2**12}.0;tcp://127.0.0.1:34911"}
    return where | {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in announced.items()}


@pytest.mark.system
@pytest.mark.parametrize("announce", [slurm, open_mpi])
def test_processes_that_a_scheduler_announces_find_each_other(
    announce: Callable[[int, int], dict[str, str]], tmp_path: Path
) -> None:
    job = os.getpid() % 2**12  # JAX derives the port from it
    started = [meet(index, "a", tmp_path, **announce(index, job)) for index in range(2)]
    assert [process.communicate(timeout=120)[0].splitlines()[-1] for process in started] == ["met", "met"]


@pytest.mark.system
@pytest.mark.parametrize(
    ("count", "configuration", "folder", "expected"),
    [
        (2, "a", ".", "met"),
        (3, "a", ".", r"Process [01] on .* was started with --num_processes=[23], process [01] with [23]"),
        (2, "b", ".", "has another configuration than process"),
        (2, "a", "other", "is not the same folder on all machines: process 1 does not see"),
    ],
)
def test_a_process_that_differs_is_named(
    count: int, configuration: str, folder: str, expected: str, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    first = meet(0, "a", tmp_path, address, 2, 0)
    second = meet(1, configuration, tmp_path / folder, address, count, 1)
    said = "".join(process.communicate(timeout=120)[0] for process in (second, first))  # one may end first
    assert re.search(expected, said), said
