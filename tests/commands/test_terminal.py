"""A program's terminal may close, fill up, know few characters or be given up: the program ends as its work did."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.system

PROGRAM = """
import os, signal, sys, time
from hades.commands.terminal import prepare
prepare()
mode = sys.argv[1]
if mode == "wait":
    print("up", flush=True)
    time.sleep(60)
if mode == "reenter":  # a signal handler prints while the program prints
    signal.signal(signal.SIGALRM, lambda *_: print("stop", flush=True))
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
for _ in range(2000):
    print("σ – ×" + mode)
signal.setitimer(signal.ITIMER_REAL, 0)
print("errors too: σ", file=sys.stderr)
open(mode, "w").write("data") if mode == "file" else None
"""


def start(mode: str = "", shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, with what a shell does to its output."""
    command = f'set -o pipefail; "$0" -c "$1" "$2" {shell}'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, PROGRAM, mode],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=60,
        encoding="latin-1",
    )


@pytest.mark.parametrize(
    "shell", ["| true", "| head -1", "> /dev/full", "2> /dev/full", ">&- 2>&- <&-", "&> /dev/full"]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_takes_is_dropped(shell: str, unbuffered: str) -> None:
    done = start(shell=shell, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert ("lost from here on: No space left" in done.stderr) == (shell == "> /dev/full")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_a_terminal_lacks_are_replaced(encoding: str) -> None:
    done = start(PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == ("? ? ?" if encoding == "ascii" else "? ? ×")
    assert done.stderr == "errors too: ?\n"


def test_a_closed_stdout_is_not_the_next_file(tmp_path: Path) -> None:
    subprocess.run(
        ["bash", "-c", '"$0" -c "$1" file >&-', sys.executable, PROGRAM],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=True,
    )
    assert (tmp_path / "file").read_text() == "data"


def test_what_a_signal_handler_prints_while_the_program_prints_is_no_error() -> None:
    done = start("reenter")
    assert (done.returncode, done.stderr) == (0, "errors too: Ï\x83\n")
    assert done.stdout.count("reenter") == 2000


@pytest.mark.parametrize("program", ["hades", "hades-train"])
def test_ctrl_c_during_the_imports_of_a_console_script_is_quiet(program: str) -> None:
    code = f"import sys; sys.argv[0] = '/bin/{program}'; import launch, time; print('up', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_a_run_ends_with_status_0_on_a_full_ascii_terminal(tmp_path: Path) -> None:
    words = ["--config=smoke", "--gin_bindings=Experiment.generations = 1", f"--workdir={tmp_path}"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "launch" / "train.py"), *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "report.html").exists()
