"""A parent that watches the processes of a run and names the one that died, which they often cannot.

A process whose peer is gone hangs in a collective, or is aborted by JAX without an exception. So each of them has a
light parent that never touches a device: it passes signals on, ends what would hang, and explains.
"""

import contextlib
import dataclasses
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from hades.errors import notice
from hades.machines.children import Child
from hades.runs.jax_internals import ABORTED, GREETING, LEADER_LOST, NOT_JOINED, unhealthy_processes
from hades.runs.processes import PEERS
from hades.runs.signals import FAILED, FINISHED, INTERRUPTED, PROCESS_LOST, handled

WORKER = "HADES_WORKER"
"""Environment variable that tells a process that it is to do the work, and the number of its parent."""
LOST_SECONDS = 10.0
"""Seconds that processes may go on after one of them died: most end by themselves."""
ENDING_SECONDS = 120.0
"""Seconds that processes may go on after one finished or stopped on request: they save and write together."""
TAIL_LINES = 200
NOISE = re.compile(rf"\s*@\s+0x|{re.escape(ABORTED)}|{re.escape(GREETING)}")
"""Lines of libraries that help nobody: addresses of an abort, greetings of the CPU's collectives."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """A process to start.

    Attributes:
        process_id: in the run; None where it is found out only later, by the process itself.
        words: its command.
    """

    process_id: int | None
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return "This process" if self.process_id is None else f"Process {self.process_id}"


@dataclasses.dataclass(eq=False)
class _Running:
    worker: Worker
    child: Child
    said: deque[str]  # its last lines on stderr


def supervise(workers: Sequence[Worker]) -> int:
    """Start processes, watch them to their end, and explain it on stderr.

    Returns:
        The status of the whole, see hades.runs.signals.
    """
    with tempfile.TemporaryDirectory(prefix="hades-") as folder:
        peers = Path(folder) / "peers.json"
        running: list[_Running] = []

        def pass_on(number: int) -> None:
            for one in running:
                one.child.signal(number)

        try:
            with handled(pass_on):
                for worker in workers:
                    running.append(_start(worker, peers, alone=len(workers) == 1))
                statuses = _wait_for_all(running)
        finally:
            _kill(running)
        for one in running:
            one.child.drain(5.0)
        status = _overall(statuses.values())
        if status == PROCESS_LOST:
            notice(f"\nhades: {_explanation(statuses, _hosts(peers))}")
        return status


def _start(worker: Worker, peers: Path, alone: bool) -> _Running:
    """Start a worker: process 0 keeps the terminal, for its progress bar; the lines of others begin with their name."""
    keeps_terminal = worker.process_id == 0 and sys.stderr.isatty()
    prefix = "" if alone or worker.process_id == 0 else f"[process {worker.process_id}] "
    said: deque[str] = deque(maxlen=TAIL_LINES)

    def repeat(line: str, target: TextIO) -> None:
        if not NOISE.match(line):
            with contextlib.suppress(OSError, ValueError):  # where nobody listens, the process must not block
                print(f"{prefix}{line}\n" if line else "\n", end="", file=target, flush=True)

    def on_error(line: str) -> None:
        said.append(line)
        repeat(line, sys.stderr)

    child = Child(
        worker.words,
        lambda line: repeat(line, sys.stdout),
        sys.stderr if keeps_terminal else on_error,
        env={WORKER: str(os.getpid()), PEERS: str(peers)},
    )
    return _Running(worker, child, said)


def _wait_for_all(running: Sequence[_Running]) -> dict[_Running, int]:
    """Return the statuses in the order in which the processes ended, some of them by force."""
    ended: dict[_Running, int] = {}
    deadline = float("inf")
    while len(ended) < len(running):
        for one in running:
            if one not in ended and (status := one.child.status) is not None:
                ended[one] = status
        if ended:
            is_lost = any(_is_lost(status) for status in ended.values())
            deadline = min(deadline, time.monotonic() + (LOST_SECONDS if is_lost else ENDING_SECONDS))
        if time.monotonic() > deadline:
            _kill(running)
        time.sleep(0.05)
    return ended


def _kill(running: Sequence[_Running]) -> None:
    for one in running:
        if one.child.status is None:
            one.child.kill()


def _severity(status: int) -> int:
    """Rank of an exit status where processes end differently: one that failed by itself explains the others."""
    order = {FINISHED: 0, INTERRUPTED: 1, PROCESS_LOST: 2, FAILED: 4}
    return order.get(status, 3 if status < 0 else 4)


def _is_lost(status: int) -> bool:
    return _severity(status) > _severity(INTERRUPTED)


def _overall(statuses: Iterable[int]) -> int:
    worst = max(statuses, key=_severity)
    return {0: FINISHED, 1: INTERRUPTED, 2: PROCESS_LOST, 3: PROCESS_LOST, 4: FAILED}[_severity(worst)]


def _explanation(statuses: Mapping[_Running, int], hosts: Mapping[str, str]) -> str:
    """Explain the end by the first process that ended badly: it explains the others."""
    first, status = next(item for item in statuses.items() if _is_lost(item[1]))
    said = "\n".join(first.said)
    again = "Run the same command again, on all machines: it continues from the last checkpoint."
    if lost := unhealthy_processes(said):
        named = ", ".join(f"process {index}{_where(index, hosts)}" for index in lost)
        return f"{named[0].upper()}{named[1:]} stopped answering: it, or its machine, was killed or preempted. {again}"
    if LEADER_LOST in said:
        return f"Process 0{_where('0', hosts)} stopped answering: it, or its machine, was killed or preempted. {again}"
    if NOT_JOINED in said:
        return (
            "Not all processes of the run arrived in time. Start every one of them with the same --coordinator and "
            "--num_processes, each with its own --process_id, and look for an earlier error of a missing one."
        )
    if status == PROCESS_LOST:
        return again  # it has said why itself
    number = -status
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    cause = " (by someone, or because memory ran out)" if number == signal.SIGKILL else ""
    index = "" if first.worker.process_id is None else _where(str(first.worker.process_id), hosts)
    return f"{first.worker.name}{index} was ended by {name}{cause}; the others were stopped. {again}"


def _where(index: str, hosts: Mapping[str, str]) -> str:
    return f" on {hosts[index]}" if index in hosts else ""


def _hosts(peers: Path) -> dict[str, str]:
    try:
        return dict(json.loads(peers.read_text()))
    except (OSError, ValueError):
        return {}
