"""Child processes: what is read of them, how they end, and that nothing of theirs is left behind."""

import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from hades.machines.children import Child

pytestmark = pytest.mark.system


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", f"import os, signal, subprocess, sys, time; {code}")


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that is only not yet reaped counts."""
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_both_outputs_go_where_they_are_told_apart() -> None:
    out: list[str] = []
    err: list[str] = []
    code = "print('one\\n\\ntwo'); print('\\udcff', file=sys.stderr)"
    assert (
        Child(python(f"sys.stderr.reconfigure(errors='surrogateescape'); {code}"), out.append, err.append).wait(60) == 0
    )
    assert (out, err) == (["one", "", "two"], ["\N{REPLACEMENT CHARACTER}"])


def test_one_sink_gets_both_outputs_in_their_order() -> None:
    lines: list[str] = []
    child = Child(python("[os.write(1 + n % 2, b'%d\\n' % n) for n in range(6)]"), lines.append)
    assert child.wait(60) == 0
    assert lines == ["0", "1", "2", "3", "4", "5"]


def test_output_goes_into_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as file:
        assert Child(python("print('hello', flush=True); sys.exit('bad')"), file).wait(60) == 1
    assert (tmp_path / "log").read_text() == "hello\nbad\n"


def test_a_child_reads_its_text_and_nothing_of_ours() -> None:
    lines: list[str] = []
    Child(python("print(sys.stdin.read())"), lines.append, stdin="a" * 100_000).wait(60)
    assert lines == ["a" * 100_000]
    Child(python("print(repr(sys.stdin.read()), os.environ['EXTRA'], os.getsid(0) == os.getpid())"), lines.append,
          env={"EXTRA": "1"}).wait(60)  # fmt: skip
    assert lines[1] == "'' 1 True"


def test_a_signal_reaches_the_process_and_its_status_tells() -> None:
    ready = threading.Event()
    child = Child(python("print(1, flush=True); time.sleep(60)"), lambda line: ready.set())
    assert ready.wait(60)
    assert child.status is None
    child.signal(signal.SIGTERM)
    assert child.wait(60) == child.status == -signal.SIGTERM
    child.signal(signal.SIGTERM)  # nothing is there any more


@pytest.mark.parametrize("ending", ["time.sleep(60)", "pass"])
def test_a_child_out_of_time_ends_with_everything_that_it_started(ending: str) -> None:
    """Also where it has ended itself and what it started holds its output open."""
    pids: queue.Queue[str] = queue.Queue()
    child = Child(python(f"print(subprocess.Popen(['sleep', '60']).pid, flush=True); {ending}"), pids.put)
    pid = int(pids.get(timeout=60))
    with pytest.raises(TimeoutError):
        child.wait(0.5)
    assert is_gone(pid)


def test_an_error_about_a_line_ends_the_child_and_is_raised() -> None:
    def refuse(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="bad"):
        Child(python("print('bad', flush=True); time.sleep(60)"), refuse).wait(60)


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        Child((f"/nowhere/{os.getpid()}",), print)
