"""The processes of a run: how they join, what they agree on, and what only the first of them does.

The engine is JAX's multi-controller runtime: every process runs the same program in step with the others, over the
devices of all. Where it says nothing, we ask first: a process that cannot join would abort without an exception.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from hades.errors import ConfigError, HadesError, notice
from hades.runs.jax_internals import distributed_state

T = TypeVar("T")
PEERS = "HADES_PEERS"
"""Environment variable: the file into which a process writes where the others are, for whoever watches it."""
EXCHANGE_SECONDS = 90
"""Seconds that network file systems may take to show another machine's writes, and processes to answer."""
SHUTDOWN_SECONDS = 60


class ProcessError(HadesError):
    """A run of several processes that cannot go on."""


class UnreachableError(ProcessError):
    """Process 0 does not answer; it may later."""


@dataclasses.dataclass(frozen=True)
class Meeting:
    """Address and identity with which a process joins a run.

    Attributes:
        coordinator: HOST:PORT of process 0; None where TPU, Slurm, GKE or Open MPI say who is who.
        num_processes: of the run.
        process_id: of this one, from 0.
        join_seconds: how long to wait for the others.
        heartbeat_seconds: silence after which a process counts as dead.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    join_seconds: int = 300
    heartbeat_seconds: int = 30

    def __post_init__(self) -> None:
        if self.coordinator is None:
            return
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise ConfigError(f'--coordinator is "{self.coordinator}"; it must be HOST:PORT, such as 10.0.0.2:8476.')
        count, which = self.num_processes, self.process_id
        if count is None or which is None:
            raise ConfigError("--coordinator needs --num_processes and --process_id too.")
        if count < 1 or not 0 <= which < count:
            raise ConfigError(f"--process_id is {which} of --num_processes={count}; it must be from 0 to {count - 1}.")


def join(meeting: Meeting) -> None:
    """Join the other processes; before anything touches a device.

    Raises:
        ConfigError: when there is nothing to join here, or process 0's port is taken.
        UnreachableError: when process 0 does not answer in time.
        ProcessError: when the processes do not agree how many they are.
    """
    if meeting.coordinator is not None:
        notice(f"Process {meeting.process_id} of {meeting.num_processes} joins the others at {meeting.coordinator} …")
        _check_coordinator(meeting, meeting.coordinator)
    # The SIGTERM handler of the host loop asks all processes by itself, with the length of the next block.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            meeting.coordinator,
            meeting.num_processes,
            meeting.process_id,
            initialization_timeout=meeting.join_seconds,
            heartbeat_timeout_seconds=meeting.heartbeat_seconds,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            cluster_detection_method=None if meeting.coordinator is None else "deactivate",
        )
    except ValueError as error:
        raise ConfigError(
            "--distributed found neither a TPU pod nor GKE, Slurm (inside srun) or Open MPI here. Start the program "
            "through one of them, or give --coordinator, --num_processes and --process_id."
        ) from error
    _count_alike()


def compare(configuration: Any) -> None:
    """Make sure that all processes run the same configuration, a JSON value. All have to call it.

    Raises:
        ProcessError: naming one that differs.
    """
    if jax.process_count() == 1:
        return
    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()
    for index, other in _exchange("configuration", digest):
        if other != digest:
            raise ProcessError(
                f"Process {index} has another configuration than process {jax.process_index()}: give all processes the "
                "same --config and --gin_bindings, and the same version of hades."
            )


def is_first() -> bool:
    """Return True for the one process that writes files and prints."""
    return jax.process_index() == 0


def gather(*numbers: int) -> np.ndarray:
    """i64[processes, len(numbers)]: what each process gave, on all of them. All have to call it."""
    row = np.asarray(numbers, np.int64)
    if jax.process_count() == 1:
        return row[None]
    words = np.asarray(multihost_utils.process_allgather(row.view(np.int32)))  # JAX would cut 64 bits to 32
    return np.ascontiguousarray(words).view(np.int64)


def of_first(numbers: Sequence[int]) -> list[int]:
    """The numbers that process 0 gave, however many, on all of them. All have to call it."""
    count = int(gather(len(numbers))[0, 0])
    padded = [*numbers, *[0] * count][:count]
    return [int(number) for number in gather(*padded)[0]] if count else []


def first_does(action: Callable[[], T]) -> T | None:
    """Call a function on process 0 for all, such as opening the work directory; return None on the others.

    Raises:
        ProcessError: on the others, where process 0 raised.
    """
    error, value = None, None
    if is_first():
        try:
            value = action()
        except BaseException as raised:
            error = raised
    failed = bool(gather(error is not None)[0, 0])
    if error is not None:
        raise error
    if failed:
        raise ProcessError("Process 0 stopped this run; its message says why.")
    return value


def all_succeed(succeeded: bool) -> bool:
    """Return True if all processes succeeded. All of them have to call it."""
    return bool(gather(succeeded).all())


def check_shared(read_token: Callable[[], str], folder: Path) -> None:
    """Make sure that the processes see the same folder: all of them read what process 0 wrote into it.

    Args:
        read_token: reads that from the folder.

    Raises:
        ProcessError: on all processes, naming those that see another folder.
    """
    if jax.process_count() == 1:
        return
    expected = int(gather(_number(read_token()))[0, 0])
    deadline = time.monotonic() + EXCHANGE_SECONDS  # network file systems show new files late
    while not (seen := _number(read_token()) == expected) and time.monotonic() < deadline:
        time.sleep(0.2)
    apart = [str(index) for index, same in enumerate(gather(seen)[:, 0]) if not same]
    if apart:
        raise ProcessError(
            f"{folder} is not the same folder on all machines: process {', '.join(apart)} does not see what process 0 "
            "wrote there. Choose a --workdir that all of them share: NFS, Filestore, Lustre, or a mounted bucket."
        )


def _check_coordinator(meeting: Meeting, address: str) -> None:
    """JAX aborts, or crashes, where this fails."""
    host, _, port = address.rpartition(":")
    if meeting.process_id == 0:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        try:
            socket.create_server(("", int(port)), family=family, dualstack_ipv6=both).close()
        except OSError as error:
            raise ConfigError(
                f"Port {port} of --coordinator={address} is taken here. Choose another one for all processes; or is an "
                "earlier process 0 still running?"
            ) from error
        return
    began, told = time.monotonic(), False
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
                return
        except OSError as error:
            if time.monotonic() - began > meeting.join_seconds:
                raise UnreachableError(
                    f"Process {meeting.process_id} could not reach process 0 at --coordinator={address} for "
                    f"{meeting.join_seconds} s ({error}). Is process 0 running there, and may this machine connect to "
                    f"port {port} of it? Try: nc -vz {host} {port}"
                ) from error
            if not told and time.monotonic() - began > 5:
                told = True
                notice(f"Process 0 does not answer at {address} yet; trying for {meeting.join_seconds} s.")
            time.sleep(0.5)


def _count_alike() -> None:
    """Make sure that all processes know the same number of them; note where they are."""
    hosts, here, known = {}, distributed_state().process_id, distributed_state().num_processes
    for index, (host, count) in _exchange("place", [socket.gethostname(), known]):
        if count != known:
            raise ProcessError(
                f"Process {index} on {host} was started with --num_processes={count}, process {here} with {known}: "
                "give all of them the same number."
            )
        hosts[index] = host
    if PEERS in os.environ:
        Path(os.environ[PEERS]).write_text(json.dumps(hosts))


def _exchange(name: str, value: Any) -> Iterator[tuple[int, Any]]:
    """(process, what it says under a name) of one after the other; without touching a device."""
    client, count = distributed_state().client, distributed_state().num_processes
    prefix = f"hades/{name}/{next(_exchanges)}"  # a key can be set once
    client.key_value_set(f"{prefix}/{distributed_state().process_id}", json.dumps(value))
    for index in range(count):
        try:
            said = client.blocking_key_value_get(f"{prefix}/{index}", EXCHANGE_SECONDS * 1000)
        except Exception as error:  # JAX raises XLA's own error types
            raise ProcessError(
                f"Process {index} of {count} did not say its {name} within {EXCHANGE_SECONDS} s. Were all processes "
                f"started, with the same --num_processes={count}?"
            ) from error
        yield index, json.loads(said)


_exchanges = itertools.count(1)


def _number(token: str) -> int:
    return int.from_bytes(hashlib.sha256(token.encode()).digest()[:7], "big")
