"""The flags with which a program runs in several processes, and what they do."""

import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

import jax
from absl import flags

from hades.errors import ConfigError, HadesError, notice
from hades.machines.preparation import stay_off_accelerators
from hades.machines.supervisor import WORKER, Worker, supervise
from hades.runs.processes import Meeting, UnreachableError, join
from hades.runs.signals import FAILED, PROCESS_LOST

DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "Join the processes that a TPU pod, GKE, Slurm or Open MPI started."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, to join processes started by hand.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "With --coordinator: how many processes there are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "With --coordinator: which of them this is, from 0.")
PROCESSES = flags.DEFINE_integer("processes", None, "Start so many processes on this machine's CPU.", lower_bound=1)
HOST_DEVICES = flags.DEFINE_integer(
    "host_devices", None, "Use the CPU as so many devices in each process.", lower_bound=1
)
JOIN_SECONDS = flags.DEFINE_integer("join_seconds", 300, "How long to wait for the other processes.", lower_bound=1)
HEARTBEAT = flags.DEFINE_integer(
    "heartbeat_seconds", 30, "Silence after which another process counts as dead.", lower_bound=5
)

FAILED_TOGETHER = re.compile("(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION): ")
"""Beginnings of XLA's errors of collectives, which are of several Python types."""


def in_processes(work: Callable[[], int], check: Callable[[], object]) -> int:
    """Do the work in as many processes as the flags say, this one or its children among them.

    Args:
        work: returns an exit status; called in every process of the run once they have met, and before any of them has
            touched a device.
        check: raises what is wrong with the configuration; called before any process starts.

    Returns:
        The exit status.
    """
    _check_flags()
    if WORKER in os.environ:
        return _as_worker(work)
    if PROCESSES.value is None and not DISTRIBUTED.value and COORDINATOR.value is None:
        force_devices()
        return work()
    stay_off_accelerators()
    check()
    if PROCESSES.value is not None:
        return supervise(_local_workers(PROCESSES.value))
    return supervise([Worker(_meeting().process_id, _own_words())])


def force_devices() -> None:
    """Split the CPU, where a flag says so; before anything touches a device."""
    if HOST_DEVICES.value is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", HOST_DEVICES.value)


def _check_flags() -> None:
    if PROCESSES.value is not None and (DISTRIBUTED.value or COORDINATOR.value) and WORKER not in os.environ:
        raise ConfigError("--processes starts processes here; --distributed and --coordinator join others: give one.")
    if DISTRIBUTED.value and COORDINATOR.value:
        raise ConfigError("--distributed finds the coordinator by itself: give it or --coordinator, not both.")
    if COORDINATOR.value is None and (NUM_PROCESSES.value, PROCESS_ID.value) != (None, None):
        raise ConfigError("--num_processes and --process_id belong to --coordinator=HOST:PORT, which is missing.")


def _meeting() -> Meeting:
    return Meeting(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value, JOIN_SECONDS.value, HEARTBEAT.value)


def _local_workers(count: int) -> list[Worker]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Every process would claim all accelerators of the machine; one process uses them all.
    devices = () if HOST_DEVICES.value is not None else ("--host_devices=1",)
    meet = (*devices, f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}")
    return [Worker(index, (*_own_words(), *meet, f"--process_id={index}")) for index in range(count)]


def _own_words() -> tuple[str, ...]:
    return (sys.executable, *sys.argv) if sys.argv[0].endswith(".py") else tuple(sys.argv)


def _as_worker(work: Callable[[], int]) -> int:
    """Errors end the process at once: an ordinary exit would wait for the others, which wait for this one."""
    _end_with_parent()
    force_devices()
    try:
        join(_meeting())
        return work()
    except UnreachableError as error:
        _leave(f"hades: {error}", PROCESS_LOST)
    except HadesError as error:
        _leave(f"hades: {error}", FAILED)
    except KeyboardInterrupt:
        _leave("hades: Stopped at once. The same command continues from the last checkpoint.", PROCESS_LOST)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0][:300]
        if reason.startswith("RESOURCE_EXHAUSTED"):
            _leave(f"hades: Out of memory. Lower Evolution.rollout_batch, or take more devices. {reason}", FAILED)
        if FAILED_TOGETHER.match(reason):
            time.sleep(HEARTBEAT.value + 15)  # by then JAX knows which process is gone, and has ended this one
            _leave(f"hades: Working with the other processes failed, though none is gone: {reason}", PROCESS_LOST)
        bug = "hades: This is a bug, or a library's; the traceback above belongs into an issue report."
        _leave(f"{traceback.format_exc()}\n{bug}", FAILED)


def _leave(text: str, status: int) -> NoReturn:
    try:
        notice(f"\n{text}")
        sys.stdout.flush()
    finally:  # also where nobody listens any more
        os._exit(status)


def _end_with_parent() -> None:
    """A worker whose parent was killed would hold devices and the work directory unwatched."""
    parent = int(os.environ[WORKER])  # not os.getppid(): it may be gone already

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(PROCESS_LOST)

    threading.Thread(target=watch, daemon=True).start()
