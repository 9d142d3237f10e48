"""Who holds a work directory.

The operating system's file lock decides where there is one: it goes with its process, however that ends. The record in
the file says who holds it, or who was killed while holding it. On file systems without locks the record decides.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hades.data.files import explained
from hades.errors import CheckpointError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What a file system without locks answers, such as a mounted bucket."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """The process that wrote a record.

    Attributes:
        started: its start in the kernel's ticks since boot, so that a reused number is not mistaken for it.
        token: random, to tell whether others see this very file.
    """

    host: str = ""
    pid: int = 0
    started: str = ""
    token: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def may_be_alive(self) -> bool:
        """Always where that cannot be asked: on another machine, or without /proc."""
        if self.host != socket.gethostname() or not Path("/proc").exists():
            return True
        return self.started == _started(self.pid) != ""


def read(path: Path) -> Holder:
    """The record in a lock file; an empty one where there is none."""
    try:
        return Holder(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return Holder()


@contextlib.contextmanager
def held(path: Path, folder: Path) -> Iterator[str]:
    """Hold `path`, the lock of `folder`, while inside. See WorkDir.locked."""
    with explained(folder, "Opening the work directory"):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    with file:
        before = read(path)
        _acquire(file, before, folder)
        with explained(path, "Writing"):
            _write(file, json.dumps(dataclasses.asdict(_myself())))
        try:
            yield f"The lock of {before}, which was killed in {folder}, is taken over." if before.pid else ""
        finally:
            with contextlib.suppress(OSError):
                _write(file, "")


def _acquire(file: TextIO, before: Holder, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            who = f" ({before})" if before.pid else ""
            raise CheckpointError(
                f"Another process{who} is running in {folder}. Wait for it, stop it, or choose another --workdir."
            ) from error
        if before.pid and before.may_be_alive:
            raise CheckpointError(
                f"{folder} is held by {before}, and its file system has no locks to tell whether that still runs. If "
                f"not, delete {file.name}; otherwise choose another --workdir."
            ) from error


def _write(file: TextIO, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _myself() -> Holder:
    pid = os.getpid()
    return Holder(host=socket.gethostname(), pid=pid, started=_started(pid), token=secrets.token_hex(8))


def _started(pid: int) -> str:
    """Empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
