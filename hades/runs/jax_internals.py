"""Parts of JAX that are not public and that hades uses: a private record, a logger's name and texts that jaxlib logs.

Read in jax and jaxlib 0.10.2. `tests/test_private_names.py` fails where an installed version differs; then read that
version, mend this file and move the bound in pyproject.toml.
"""

import re
from typing import Any

BACKEND_LOGGER = "jax._src.xla_bridge"
"""Warns when a machine seems to have an accelerator that is not used."""
UNHEALTHY = "tasks are unhealthy (stopped sending heartbeats):\n"
"""Before the numbers of the processes that no longer answer, such as "1, 3"."""
LEADER_LOST = "leader task was preempted/died"
"""Process 0 no longer answers."""
NOT_JOINED = "CoordinationService/RegisterTask"
"""The call that timed out where a process could not join in time."""
ABORTED = "*** Check failure stack trace"
"""Before the addresses of an abort."""
COLLECTIVE_FAILED = re.compile(r"\b(Gloo|NCCL|RCCL|Barrier failed)\b")
"""Part of the message of a collective that failed: "UNKNOWN: Gloo AllGather failed", "INTERNAL: Barrier failed"."""
GREETING = "[Gloo] Rank"
"""Message of the CPU's collectives when they are connected."""


def unhealthy_processes(text: str) -> list[str]:
    """The numbers of the processes that no longer answer, from the log of another one; empty where it names none."""
    found = re.search(re.escape(UNHEALTHY) + r"\s*([\d, ]+)", text)
    return re.findall(r"\d+", found[1]) if found else []


def distributed_state() -> Any:
    """JAX's record of the processes: `process_id`, `num_processes` and `client`, their key-value store.

    There is no other way to the store before a device is touched.
    """
    from jax._src import distributed

    return distributed.global_state
