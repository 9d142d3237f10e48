"""The parent of a run's processes, with small programs in place of the training."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hades.machines import supervisor
from hades.machines.supervisor import Worker, supervise
from tests.support import ROOT

pytestmark = pytest.mark.system

UNHEALTHY = """E1123 service.cc:1549] UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):
1, 3
The tasks have crashed."""
LEADER = "F1123 client.h:80] Either the leader task was preempted/died/restarted unexpectedly or"
NOT_JOINED = "DEADLINE_EXCEEDED: RPC: /xla.coordination.CoordinationService/RegisterTask"
PEERS = (
    "import os, json; open(os.environ['HADES_PEERS'], 'w').write(json.dumps({'0': 'ant', '1': 'bee', '3': 'cat'})); "
)


def worker(code: str, process_id: int | None = 0) -> Worker:
    return Worker(process_id, (sys.executable, "-c", "import os, signal, sys, time; " + code))


def aborting(text: str) -> Worker:
    return worker(f"{PEERS} print({text!r}, file=sys.stderr, flush=True); os.abort()", 2)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOST_SECONDS", 0.5)
    monkeypatch.setattr(supervisor, "ENDING_SECONDS", 1.0)


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (("pass", "pass"), 0),
        (("sys.exit(75)", "sys.exit(75)"), 75),
        (("sys.exit(1)", "sys.exit(76)"), 1),
        (("sys.exit(76)", "sys.exit(76)"), 76),
        (("pass", "os.kill(os.getpid(), signal.SIGKILL)"), 76),
        (("sys.exit(3)", "sys.exit(75)"), 1),
    ],
)
def test_the_status_is_that_of_what_explains_the_others(codes: tuple[str, ...], status: int) -> None:
    assert supervise([worker(code, index) for index, code in enumerate(codes)]) == status


def test_a_killed_process_is_named_and_the_others_are_ended(capfd: pytest.CaptureFixture[str]) -> None:
    status = supervise([worker("time.sleep(600)", 0), worker("os.kill(os.getpid(), signal.SIGKILL)", 1)])
    assert status == 76
    said = capfd.readouterr().err
    assert "Process 1 was ended by SIGKILL (by someone, or because memory ran out)" in said
    assert "Run the same command again" in said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UNHEALTHY, "Process 1 on bee, process 3 on cat stopped answering"),
        (LEADER, "Process 0 on ant stopped answering"),
        (NOT_JOINED, "Not all processes of the run arrived in time"),
    ],
)
def test_what_jax_says_when_it_aborts_is_explained(text: str, expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert supervise([aborting(text)]) == 76
    assert expected in capfd.readouterr().err


def test_processes_speak_under_their_name_and_library_noise_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    greeting = "print('[Gloo] Rank 0 is connected to 1 peer ranks.'); print('hello')"
    trace = "print('    @     0x7f64 absl::Flush()', file=sys.stderr); print('oh', file=sys.stderr)"
    supervise([worker(greeting, 0), worker(trace, 1)])
    out, err = capfd.readouterr()
    assert out == "hello\n"
    assert err == "[process 1] oh\n"


PARENT = """
import sys
from hades.machines.supervisor import Worker, supervise
wait = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(75)); "
wait += "print('up', flush=True); time.sleep(600)"
sys.exit(supervise([Worker(index, (sys.executable, "-c", wait)) for index in range(2)]))
"""


def test_a_signal_to_the_parent_reaches_all(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        assert parent.stdout is not None
        assert sorted(parent.stdout.readline() for _ in range(2)) == ["[process 1] up\n", "up\n"]
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=120) == 75
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if parent.poll() is None else None
