"""Run the points of a sweep: here, as subprocesses of `hades-train`, or by handing each to a launcher."""

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from hades.data.files import explained
from hades.machines.commands import Command, LaunchError, stream
from hades.machines.sweep import TARGETS, Point, generation, is_finished, returns_text, state_of
from hades.runs.signals import FINISHED, INTERRUPTED, may_continue

POLL_SECONDS = 0.2
SHOW_SECONDS = 30.0
"""Between lines about what is running."""
WEEK = 7 * 24 * 3600.0

NAMED = ("gke", "tpu_pod")
"""Launchers that would call a run after the last part of its work directory only."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a sweep.

    Attributes:
        states: of every point, by name.
        failures: where the log of a failed point lies, by its name.
        interrupted: a signal ended it; the same command continues.
    """

    states: dict[str, str]
    failures: dict[str, str]
    interrupted: bool = False

    def rows(self, points: Sequence[Point]) -> list[tuple[str, str, str]]:
        """For the table at the end."""
        return [
            (p.name, self.states.get(p.name) or state_of(p), returns_text(p) if is_finished(p) else "") for p in points
        ]


@dataclasses.dataclass
class _Child:
    """A point that runs here."""

    point: Point
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    began: float
    restarts: int


def point_command(target: str, point: Point, flags: Sequence[str]) -> tuple[str, ...]:
    """The words that run a point, for a person or for `run_elsewhere`."""
    own = ["--noprogress"] if target == "local" else ["--execute"]
    if target in NAMED:  # two sweeps may have points that are called alike
        own.append(f"--name={point.job.name[:31]}-{hashlib.sha256(point.job.workdir.encode()).hexdigest()[:8]}")
    return point.job.words(*own, *flags, program=(TARGETS[target],))


def run_local(
    points: Sequence[Point], flags: Sequence[str], logs: Path, say: Say, *, parallel: int = 1, max_restarts: int = 3
) -> Outcome:
    """Run what is not finished, `parallel` points at a time; a point that fails is noted and the others go on.

    Args:
        points: from `plan_sweep`.
        flags: further flags of `hades-train`.
        logs: folder of a file a point.
        say: gets a line whenever a point starts or ends, and every half minute.
        parallel: how many at once.
        max_restarts: of a point that ended with a status after which the same command continues.

    Raises:
        LaunchError: when `hades-train` is not installed.
    """
    runner = _Local(points, flags, logs, say, max_restarts)
    with _signals(runner.stop):
        return runner.run(parallel)


def run_elsewhere(points: Sequence[Point], target: str, flags: Sequence[str], logs: Path, say: Say) -> Outcome:
    """Hand every point that is not finished to a launcher, one after another; what the launcher says is shown and kept.

    Raises:
        LaunchError: when the launcher cannot be started or hangs.
    """
    states: dict[str, str] = {}
    failures: dict[str, str] = {}
    for i, point in enumerate(points):
        where = f"point {i + 1} of {len(points)}: {point.name}"
        if is_finished(point):
            states[point.name] = "finished"
            say(f"{where} is finished already")
            continue
        say(where)
        log = logs / f"{point.name}.log"
        with _open_log(log) as file:

            def on_line(line: str, file: IO[bytes] = file) -> None:
                file.write(f"{line}\n".encode())
                say(f"    {line}")

            _, *words = point_command(target, point, flags)
            status = stream(Command((_program(TARGETS[target]), *words), timeout=WEEK), on_line)
        if status == FINISHED:
            states[point.name] = "finished" if is_finished(point) else "handed over"
        elif may_continue(status):
            states[point.name] = "interrupted"
        else:
            states[point.name] = "FAILED"
            failures[point.name] = str(log)
    return Outcome(states, failures)


class _Local:
    """Points as child processes, each in a session of its own, so that Ctrl-C reaches them once, through us."""

    def __init__(self, points: Sequence[Point], flags: Sequence[str], logs: Path, say: Say, max_restarts: int):
        self._points, self._flags, self._logs, self._say = points, flags, logs, say
        self._max_restarts = max_restarts
        self._program = _program(TARGETS["local"])
        self._running: list[_Child] = []
        self._states: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._took: list[float] = []
        self._stopping = threading.Event()

    def run(self, parallel: int) -> Outcome:
        waiting = self._without_finished()
        shown = time.monotonic()
        try:
            while self._running or (waiting and not self._stopping.is_set()):
                while waiting and len(self._running) < parallel and not self._stopping.is_set():
                    self._start(waiting.pop(0), 0)
                for child in list(self._running):
                    if child.process.poll() is not None:
                        self._ended(child)
                if time.monotonic() - shown > SHOW_SECONDS:
                    shown = time.monotonic()
                    self._show(len(waiting), parallel)
                time.sleep(POLL_SECONDS)
        finally:
            for child in self._running:  # only after an error of ours
                child.process.kill()
                child.log.close()
        return Outcome(self._states, self._failures, interrupted=self._stopping.is_set())

    def stop(self) -> None:
        """Ask every child to save and end."""
        again = self._stopping.is_set()
        self._stopping.set()
        for child in list(self._running):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    def _without_finished(self) -> list[Point]:
        waiting = [point for point in self._points if not is_finished(point)]
        for point in self._points:
            if point not in waiting:
                self._states[point.name] = "finished"
        if self._states:
            self._say(f"{len(self._states)} of {len(self._points)} points are finished already")
        return waiting

    def _start(self, point: Point, restarts: int) -> None:
        log = _open_log(self._logs / f"{point.name}.log")
        _, *words = point_command("local", point, self._flags)
        process = subprocess.Popen(
            [self._program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self._running.append(_Child(point, process, log, time.monotonic(), restarts))
        if self._stopping.is_set():  # the signal came while it was being started
            process.send_signal(signal.SIGTERM)
        if not restarts:
            number = self._points.index(point) + 1
            going_on = f", continuing after generation {done}" if (done := generation(point)) else ""
            self._say(f"point {number} of {len(self._points)}: {point.name}{going_on}")

    def _ended(self, child: _Child) -> None:
        self._running.remove(child)
        child.log.close()
        name, status = child.point.name, child.process.returncode
        log = self._logs / f"{name}.log"
        seconds = time.monotonic() - child.began
        if status == FINISHED and is_finished(child.point):
            self._states[name] = "finished"
            self._took.append(seconds)
            self._say(f"    {name}: return {returns_text(child.point)}, {seconds:.0f} s")
        elif self._stopping.is_set() and status != 1:
            self._states[name] = "interrupted"
            self._say(f"    {name}: stopped after generation {generation(child.point)}")
        elif may_continue(status) and child.restarts < self._max_restarts:
            self._say(f"    {name}: ended early with status {status}; continuing it")
            self._start(child.point, child.restarts + 1)
        else:
            self._states[name] = f"FAILED ({_cause(status)})"
            self._failures[name] = str(log)
            self._say(f"    {name}: FAILED ({_cause(status)}): {_last_line(log)}")

    def _show(self, waiting: int, parallel: int) -> None:
        """What runs, and how long the rest will take by what the finished ones took."""
        running = ", ".join(
            f"{c.point.name} generation {generation(c.point)} of {c.point.described['generations']}"
            for c in self._running
        )
        left = ""
        if self._took:
            seconds = sum(self._took) / len(self._took) * (waiting + len(self._running)) / parallel
            left = f"; at most about {seconds / 60:.0f} min left"
        self._say(f"    running: {running}; {waiting} waiting{left}")


def _program(name: str) -> str:
    """Path of an installed program: beside this interpreter, else on PATH."""
    beside = Path(sys.executable).parent / name
    path = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if path is None:
        raise LaunchError(f"{name} is neither beside {sys.executable} nor on PATH: install hades (pip install .).")
    return path


def _open_log(path: Path) -> IO[bytes]:
    with explained(path, "Opening the log"):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")


def _cause(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def _last_line(log: Path) -> str:
    lines = log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def status_of(outcome: Outcome) -> int:
    """The program's exit status."""
    return 1 if outcome.failures else INTERRUPTED if outcome.interrupted else FINISHED


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT ask the points to save and end; a second one kills them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        print(f"\n{signal.Signals(number).name}: the running points save and end …", flush=True)
        stop()

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
