"""Child processes: start one, read what it prints, pass signals on, end it with everything that it started."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

Sink = Callable[[str], None] | IO[str] | IO[bytes]
"""Destination of output: a function of each line, called in a thread of its own, or an open file."""


class Child:
    """A running process in a session of its own, so that Ctrl-C in the terminal reaches it only through its parent.

    Args:
        words: the program and its arguments.
        out: where its standard output goes.
        err: where its standard error goes; None: where `out` does.
        stdin: the text that it reads; by default it reads nothing.
        env: environment variables on top of those of this process.

    Raises:
        OSError: where it cannot be started; FileNotFoundError where there is no such program.
    """

    def __init__(
        self,
        words: Sequence[str],
        out: Sink,
        err: Sink | None = None,
        *,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ):
        self._error: BaseException | None = None
        with tempfile.TemporaryFile("w+") if stdin else open(os.devnull, "w+") as given:
            given.write(stdin)
            given.seek(0)
            self._process = subprocess.Popen(
                words,
                env={**os.environ, **(env or {})},
                stdin=given,
                stdout=subprocess.PIPE if callable(out) else out,
                stderr=subprocess.STDOUT if err is None else subprocess.PIPE if callable(err) else err,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        piped = [(self._process.stdout, out), (self._process.stderr, err)]
        self._readers = [threading.Thread(target=self._read, args=pipe, daemon=True) for pipe in piped if pipe[0]]
        for reader in self._readers:
            reader.start()

    @property
    def status(self) -> int | None:
        """Exit status, negative after a signal; None while the process runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the process, and not to what it started, unless it has ended."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and everything in its session: an ssh below gcloud would hold the pipes open."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> int:
        """Wait for the end of the process and of its output; return its status.

        Raises:
            TimeoutError: when the time is over. As after any other error, such as one of a function of lines, the
                process is killed then, but not waited for: one that hangs in the kernel never ends.
        """
        deadline = time.monotonic() + seconds
        try:
            self.drain(seconds)
            if any(reader.is_alive() for reader in self._readers):
                raise TimeoutError
            status = self._process.wait(max(deadline - time.monotonic(), 0.01))
            if self._error is not None:
                raise self._error
            return status
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise TimeoutError from error
        except BaseException:
            self.kill()
            raise

    def drain(self, seconds: float) -> None:
        """Wait for the rest of the output, at most so long."""
        deadline = time.monotonic() + seconds
        for reader in self._readers:
            reader.join(max(deadline - time.monotonic(), 0.0))

    def _read(self, source: IO[str], on_line: Callable[[str], None]) -> None:
        try:
            for line in source:
                on_line(line.rstrip("\n"))
        except BaseException as error:
            self._error = error
            self.kill()
