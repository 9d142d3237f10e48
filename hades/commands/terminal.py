"""What a program does to its own process before its slow imports, so that its terminal never ends it with a traceback.

A reader that left (`| head`), a full disk and a character that the terminal cannot show cost output, not the run.
"""

import errno
import functools
import io
import os
import select
import signal
import sys
from typing import Any, TextIO

from hades.errors import notice


@functools.cache
def prepare() -> None:
    """Let standard output and error lose what they cannot take, and Ctrl-C end the process at once until `start`."""
    for number in range(3):  # a closed one would be the number of the next file, and what is printed would go there
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = _lossy(sys.stdout, 1), _lossy(sys.stderr, 2)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _lossy(stream: TextIO | None, number: int) -> TextIO:
    """A stream to the same file, whose writes do not fail; None is the stream of a number that was closed."""
    if stream is not None and not isinstance(stream, io.TextIOWrapper):  # such as a test's
        return stream
    settings: dict[str, Any] = {"encoding": "utf-8"}
    if stream is not None:
        settings = {name: getattr(stream, name) for name in ("encoding", "line_buffering", "write_through")}
    # Without a BufferedWriter: it refuses what a signal handler prints while the program prints.
    return io.TextIOWrapper(_LossyFile(number, "w", closefd=False), errors="replace", **settings)


class _LossyFile(io.FileIO):
    """A file that drops what it cannot write; on stdout it says so once, unless its reader has left."""

    _is_known = False

    def write(self, data: Any) -> int:
        left = memoryview(data)
        try:
            while len(left):
                written = super().write(left)
                if written is None:  # another program made the terminal non-blocking
                    select.select([], [self], [])
                left = left[written or 0 :]
        except OSError as error:
            if error.errno != errno.EPIPE and self.fileno() != 2 and not self._is_known:
                self._is_known = True
                notice(f"\nhades: What is printed is lost from here on: {error.strerror}.")
        return len(data)
