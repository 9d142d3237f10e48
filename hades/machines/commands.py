"""Commands for other machines: shown by default, run on request, each with a time limit and an explained failure."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence

from hades.errors import HadesError
from hades.machines.children import Child

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
        """The last lines of its output, for an error's text."""
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
    out: list[str] = []
    err: list[str] = []
    status = _finish(command, out.append, err.append)
    return Done(status, "".join(f"{line}\n" for line in out), "".join(f"{line}\n" for line in err))


def stream(command: Command, on_line: Callable[[str], None]) -> int:
    """Run a command, call a function with each line of its output as it comes, and return its status.

    Raises:
        LaunchError: when it cannot be started, or is still running after its time limit.
    """
    return _finish(command, on_line)


def shell_line(words: Sequence[str]) -> str:
    """Words as one line for a shell on another machine."""
    return shlex.join(words)


def _finish(command: Command, *sinks: Callable[[str], None]) -> int:
    try:
        return Child(command.words, *sinks, stdin=command.stdin or "").wait(command.timeout)
    except FileNotFoundError as error:
        raise LaunchError(
            f"{command.words[0]} is not on PATH here. Install it, or run this where it is. The command: {command}"
        ) from error
    except TimeoutError as error:
        raise LaunchError(
            f"{command.words[0]} gave no answer within {command.timeout:.0f} s and was stopped. Run the command again; "
            f"what was done before is kept. The command: {command}"
        ) from error
