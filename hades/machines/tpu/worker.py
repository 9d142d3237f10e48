"""Bash scripts that ssh runs on every worker of a TPU pod, each safe to run again, and the parsing of their output.

Below `~/hades` of a worker, `venv/<label>` holds an installed package and `runs/<name>` one run: its `log` since the
last start, its `lock`, which is held as long as a process of it lives, and its `status` once it has ended. The training
is detached from ssh, so that a dropped connection leaves it alone. The scripts are the `.sh` files beside this one.

Answers carry a tag and the worker's name: gcloud runs a command on all workers at once and mixes their output.
"""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from typing import Literal, cast, get_args

from hades.machines.scripts import fill
from hades.runs.signals import FINISHED, INTERRUPTED, PROCESS_LOST, RESTARTABLE

PYTHON = "3.12"
"""Python version of the workers' environment: images of TPU VMs ship Python 3.10, which JAX no longer supports."""
MARK = "| "
"""Prefix of the lines of a log."""
What = Literal["absent", "running", "lost", "installed", "mounted", "started", "ended"]
_ANSWER = re.compile(rf"^hades-worker (\S+) ({'|'.join(get_args(What))})(?: (\d+))?$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer of one worker.

    Attributes:
        host: the worker's name.
        what: `absent` (never started), `running`, `lost` (gone without a status), `ended`, or the step it completed.
        status: exit status of `hades-train`, where it ended.
    """

    host: str
    what: What
    status: int | None = None


def answers(text: str) -> list[Answer]:
    """Parse the mixed output of all workers into the last answer of each host."""
    found = (
        Answer(host, cast(What, what), int(status) if status else None)
        for host, what, status in _ANSWER.findall(text.replace("\r", ""))
    )
    return sorted({answer.host: answer for answer in found}.values(), key=lambda answer: answer.host)


def outcome(statuses: Sequence[int]) -> int:
    """Combine the exit statuses of the workers. A failure outweighs the 75 and 76 of the workers that it stopped."""
    if failures := [s for s in statuses if s not in (FINISHED, *RESTARTABLE) and s < 128]:
        return failures[0]
    if all(status == FINISHED for status in statuses):
        return FINISHED
    stopped = all(status in (FINISHED, INTERRUPTED) for status in statuses)
    return INTERRUPTED if stopped else PROCESS_LOST  # above 128: killed by a signal


def install(label: str, requirement: str) -> str:
    """Return the script that installs a package once.

    Args:
        label: name of the virtual environment; another package has another label.
        requirement: for pip, in the form that bash expands inside double quotes.
    """
    return fill("tpu/install.sh", label=label, requirement=requirement, python=PYTHON)


def mount(bucket: str, path: str) -> str:
    """Return the script that mounts a bucket with gcsfuse, and installs gcsfuse first where it is missing.

    A checkpoint is completed by renaming its folder, which gcsfuse refuses without --rename-dir-limit in buckets that
    have no hierarchical namespace. Workers must see each other's files at once: no cached metadata.
    https://cloud.google.com/storage/docs/cloud-storage-fuse/cli-options
    """
    return fill("tpu/mount.sh", bucket=bucket, where=shlex.quote(path))


def program(label: str) -> str:
    """Return the path of `hades-train`, relative to a run's folder."""
    return f"../../venv/{label}/bin/hades-train"


def start(name: str, words: Sequence[str]) -> str:
    """Return the script that starts the training, unless it is running.

    A signal that also reaches the shell around `hades-train` must not end that shell: it records the status.
    """
    return fill("tpu/start.sh", name=name, words=shlex.join(words))


def state(name: str) -> str:
    """Return the script that prints the state of the training, as `answers` reads it."""
    return fill("tpu/state.sh", name=name)


def log(name: str, first_line: int, seconds: float) -> str:
    """Return the script that prints the log from a line on, until the training ends or the time is over.

    Its lines begin with MARK, because gcloud prints lines of its own among them.
    """
    return fill("tpu/log.sh", name=name, first_line=first_line, seconds=f"{seconds:g}")
