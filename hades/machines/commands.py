"""Commands for other machines: shown by default, run on request, each with a time limit and an explained failure."""

import contextlib
import dataclasses
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

from hades.errors import HadesError

MINUTE = 60.0


class LaunchError(HadesError):
    """A command for another machine that failed, hung, or could not be started."""


@dataclasses.dataclass(frozen=True)
class Command:
    """One command, as words that no shell ever splits again.

    Attributes:
        words: the program and its arguments.
        timeout: seconds after which it is stopped and counts as hung.
        stdin: text that it reads.
    """

    words: tuple[str, ...]
    timeout: float = 10 * MINUTE
    stdin: str | None = None

    def __str__(self) -> str:
        """The command as a line to paste into a shell."""
        text = shlex.join(self.words)
        return text if self.stdin is None else f"{text} <<'EOF'\n{self.stdin.rstrip()}\nEOF"


@dataclasses.dataclass(frozen=True)
class Done:
    """Exit status and output of a command."""

    status: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """The last lines that it said, for an error's text."""
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return " / ".join(line.strip() for line in said[-3:]) or "it said nothing"


def check(command: Command, doing: str, remedy: str) -> Done:
    """Run a command that has to succeed.

    Args:
        doing: what it is for, to begin the error with: "Creating the queued resource".
        remedy: what to do about a failure.

    Raises:
        LaunchError: when it cannot be started, hangs, or ends with another status than 0.
    """
    done = attempt(command)
    if done.status != 0:
        raise LaunchError(f"{doing} failed with status {done.status}: {done.reason}. {remedy} The command: {command}")
    return done


def attempt(command: Command) -> Done:
    """Run a command that may fail.

    Raises:
        LaunchError: when it cannot be started, or hangs.
    """
    try:
        done = subprocess.run(
            command.words, input=command.stdin, capture_output=True, text=True, timeout=command.timeout
        )
    except FileNotFoundError as error:
        raise _not_found(command) from error
    except subprocess.TimeoutExpired as error:
        raise _hung(command) from error
    return Done(done.returncode, done.stdout, done.stderr)


def stream(command: Command, on_line: Callable[[str], None]) -> int:
    """Run a command and hand over each line that it says as it comes; its status.

    Raises:
        LaunchError: when it cannot be started, or is still running after its time limit.
    """
    try:
        process = subprocess.Popen(
            command.words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _not_found(command) from error
    hung = threading.Event()

    def stop() -> None:
        hung.set()
        _kill_session(process)

    timer = threading.Timer(command.timeout, stop)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            on_line(line.rstrip("\n"))
        status = process.wait()
    except BaseException:
        _kill_session(process)
        raise
    finally:
        timer.cancel()
    if hung.is_set():
        raise _hung(command)
    return status


def shell_line(words: Sequence[str]) -> str:
    """Words as one line for a shell on another machine."""
    return shlex.join(words)


def _kill_session(process: "subprocess.Popen[str]") -> None:
    """End a process with what it started: an ssh below gcloud would hold the pipe open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _not_found(command: Command) -> LaunchError:
    return LaunchError(
        f"{command.words[0]} is not on PATH here. Install it, or run this where it is. The command: {command}"
    )


def _hung(command: Command) -> LaunchError:
    return LaunchError(
        f"{command.words[0]} gave no answer within {command.timeout:.0f} s and was stopped. Run the command again; "
        f"what was done before is kept. The command: {command}"
    )
