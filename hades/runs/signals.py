"""Requests to stop: SIGTERM, SIGINT and SIGHUP, noticed at once even while the main thread waits inside compiled code.

Schedulers send SIGTERM and kill half a minute later. The host loop stops after its current block; where that takes too
long and nothing would be lost, because the last state is on disk, the process ends without waiting for it.
"""

import contextlib
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from hades.errors import notice

FINISHED = 0
FAILED = 1
"""An error with its text on stderr; the same command would fail again."""
MISUSED = 2
"""A flag is missing, unknown or has no value that it takes."""
INTERRUPTED = 75
"""A signal asked for a stop and everything is saved: the same command continues (EX_TEMPFAIL of sysexits.h)."""
PROCESS_LOST = 76
"""A process of the run died or was killed: the same command continues from the last checkpoint."""
KILLED = 128 + signal.SIGINT
"""A second Ctrl-C, or the first where there is nothing to save: as a shell reports a process that SIGINT ended."""

RESTARTABLE = (INTERRUPTED, PROCESS_LOST)


def may_continue(status: int) -> bool:
    """Return True if the same command can continue. A kill is below 0 in Python and above 128 in a shell."""
    return status in RESTARTABLE or status < 0 or status > 128


STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP is what a dropped connection sends."""
GRACE_SECONDS = 15.0
"""Seconds that the current block, or compiling, may take after SIGTERM; TPU, GKE and Slurm kill after 30 s or more."""
SAME_REQUEST_SECONDS = 2.0
"""A scheduler may signal a process and its parent, who passes it on: within this time it is one request."""


def end_at_once() -> None:
    """In a program that makes one run: outside of it, a signal ends the process as one that may continue."""

    def end(number: int, frame: object) -> None:
        if not _Request.goes_on():
            with contextlib.suppress(OSError):
                os.write(2, b"\nhades: Stopped.\n")  # a signal may interrupt a print
            os._exit(INTERRUPTED)

    _set(end, *STOPPING)


def interrupt_once() -> None:
    """In a program: Ctrl-C raises KeyboardInterrupt, and does not raise another one while that is handled."""

    def interrupt(number: int, frame: object) -> None:
        if not _Request.goes_on():
            raise KeyboardInterrupt

    def swallowed(error: Any) -> None:
        if error.exc_type is not KeyboardInterrupt:
            sys.__unraisablehook__(error)
            return
        # It came where nothing can be raised, such as JAX's part of a garbage collection: it comes again.
        _Request.at = -math.inf
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()

    sys.unraisablehook = swallowed
    _set(interrupt, signal.SIGINT)


def ignore_all() -> None:
    """In a program that only has to exit: no signal takes the place of its status."""
    _set(signal.SIG_IGN, *STOPPING)


def _set(handler: Callable[[int, object], None] | signal.Handlers, *numbers: int) -> None:
    """Handle signals, except those that nohup ignores."""
    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


class _Request:
    """The last signal that asked this process to stop."""

    at = -math.inf

    @classmethod
    def goes_on(cls) -> bool:
        """Tell whether a signal that arrives now repeats it."""
        previous, cls.at = cls.at, time.monotonic()
        return cls.at - previous < SAME_REQUEST_SECONDS


@contextlib.contextmanager
def handled(handle: Callable[[int], None]) -> Iterator[None]:
    """While inside, each of the STOPPING signals calls a function with its number; those that nohup ignores do not.

    Only the main thread can handle signals: in another one nothing changes.
    """

    def note(number: int, frame: object) -> None:
        _Request.at = time.monotonic()
        handle(number)

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) != signal.SIG_IGN:
                    previous = signal.signal(number, note)
                    stack.callback(signal.signal, number, previous)
        yield


@contextlib.contextmanager
def stop_requests(is_saved: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """While inside, signals ask for a stop; a second Ctrl-C raises KeyboardInterrupt, or ends a process that cannot.

    Schedulers repeat SIGTERM, and mean the same.

    Args:
        is_saved: whether a checkpoint on disk holds all that was done.

    Yields:
        Whether a stop was asked for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    requested: list[float] = []

    def handle(number: int) -> None:
        if not requested:
            requested.append(time.monotonic())
        elif len(requested) == 1 and _insists(number, requested[0]):
            requested.append(time.monotonic())  # it is raised once, however often the key is pressed
            raise KeyboardInterrupt

    with handled(handle), _watching(is_saved):
        yield lambda: bool(requested)


def _insists(number: int, asked: float) -> bool:
    """Tell whether a signal after a first request means: at once."""
    return number == signal.SIGINT and time.monotonic() - asked > SAME_REQUEST_SECONDS


@contextlib.contextmanager
def _watching(is_saved: Callable[[], bool]) -> Iterator[None]:
    """A thread that hears of signals through a pipe: handlers wait until compiled code returns."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    left = threading.Event()
    thread = threading.Thread(target=_watch, args=(reading, left, is_saved), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        left.set()
        os.close(writing)
        thread.join()
        os.close(reading)


def _watch(reading: int, left: threading.Event, is_saved: Callable[[], bool]) -> None:
    first, asked = 0, float("inf")
    while not left.is_set():
        if select.select([reading], [], [], 0.2 if first else None)[0]:
            number = int.from_bytes(os.read(reading, 1))
            if number == 0:  # the other end was closed
                return
            if number in STOPPING and not first:
                first, asked = number, time.monotonic()
                notice(f"\n{signal.Signals(first).name}: saving after the current block …")
            elif _insists(number, asked) and not left.wait(1.0):
                notice("\nStopped at once. Run the same command again to continue from the last checkpoint.")
                os._exit(PROCESS_LOST)
        if first == signal.SIGTERM and time.monotonic() - asked > GRACE_SECONDS and is_saved():
            notice(
                f"\nThe current block, or compiling, goes on after {GRACE_SECONDS:.0f} s: stopped without it. What was "
                "done before is saved. Run the same command again to continue."
            )
            os._exit(INTERRUPTED)
