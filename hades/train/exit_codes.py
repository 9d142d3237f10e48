"""Exit statuses of `hades-train`, which launchers and schedulers act on. docs/launch.md explains them."""

FINISHED = 0
FAILED = 1
"""An error with its text on stderr; the same command would fail again."""
INTERRUPTED = 75
"""A signal asked for a stop and everything is saved: the same command continues (EX_TEMPFAIL of sysexits.h)."""
PROCESS_LOST = 76
"""A process of the run died or was killed: the same command continues from the last checkpoint."""

RESTARTABLE = (INTERRUPTED, PROCESS_LOST)


def may_continue(status: int) -> bool:
    """Whether the same command may go further; after a kill too, which Python says below 0 and a shell above 128."""
    return status in RESTARTABLE or status < 0 or status > 128
