"""The lock of a work directory.

The operating system's lock on `.lock` decides: it goes with its process, however that ends. The record, `.holder`, says
who that is, or who was killed while holding it. A mounted bucket grants locks to each machine by itself, or knows none:
there the holder renews its record, and who comes next watches whether it still does.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hades.data.files import explained, write_bytes
from hades.errors import CheckpointError, HadesError, notice

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Error codes of a file system without locks."""
MOUNTS = Path("/proc/mounts")
RENEW_SECONDS = 15.0
"""Seconds between renewals of a holder's lease on a file system without flock."""
WATCH_SECONDS = 60.0
"""Seconds without a renewed lease after which a lock on a file system without flock counts as abandoned."""


@dataclasses.dataclass(frozen=True)
class Holder:
    """The process that wrote a record.

    Attributes:
        started: its start in the kernel's ticks since boot, so that a reused number is not mistaken for it.
        token: random, to tell whether others see this very file.
        renewed: how often it was renewed.
    """

    host: str = ""
    pid: int = 0
    started: str = ""
    token: str = ""
    renewed: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_gone(self) -> bool:
        """True if the holder ran on this machine and has ended; the state of another machine's process is unknown."""
        here = self.host == socket.gethostname() and Path("/proc").exists()
        return here and not (self.started == _started(self.pid) != "")


def record_of(lock: Path) -> Path:
    """Path of the record that names the holder of a lock."""
    return lock.with_name(".holder")


def read(lock: Path) -> Holder:
    """The record beside a lock; an empty one where there is none."""
    try:
        return Holder(**json.loads(record_of(lock).read_text()))
    except (OSError, ValueError, TypeError):
        return Holder()


@contextlib.contextmanager
def held(path: Path, folder: Path) -> Iterator[str]:
    """Hold `path`, the lock of `folder`, while inside. See WorkDir.locked."""
    with explained(folder, "Opening the work directory"):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        before = read(path)
        is_sure = _acquire(file, before, folder)
        if not is_sure and before.pid:
            _wait_for_the_end_of(before, path, folder)
        mine = Holder(socket.gethostname(), os.getpid(), _started(os.getpid()), secrets.token_hex(8))
        _write(path, mine)
        left = threading.Event()
        if not is_sure:
            threading.Thread(target=_renew, args=(path, mine, left), daemon=True).start()
        try:
            yield f"The lock of {before}, which was killed in {folder}, is taken over." if before.pid else ""
        finally:
            left.set()
            with contextlib.suppress(OSError):
                record_of(path).unlink()


def _acquire(file: TextIO, before: Holder, folder: Path) -> bool:
    """Return True if the acquired lock excludes other machines too."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        who = f" ({before})" if before.pid else ""
        raise CheckpointError(
            f"Another process{who} is running in {folder}. Wait for it, stop it, or choose another --workdir."
        ) from error
    return not _file_system(folder).startswith("fuse")


def _wait_for_the_end_of(before: Holder, path: Path, folder: Path) -> None:
    """Return when a holder that locks do not speak for is gone; refuse where it is alive."""
    if before.is_gone:
        return
    notice(
        f"{folder} was held by {before}, and its file system does not say whether that still runs: watching it for "
        f"{WATCH_SECONDS:.0f} s."
    )
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, WATCH_SECONDS / 10))
        if read(path) not in (before, Holder()):
            raise CheckpointError(
                f"Another process ({before}) is running in {folder}. Wait for it, stop it, or choose another --workdir."
            )


def _renew(path: Path, mine: Holder, left: threading.Event) -> None:
    while not left.wait(RENEW_SECONDS):
        mine = dataclasses.replace(mine, renewed=mine.renewed + 1)
        with contextlib.suppress(HadesError):  # a full disk is for the run to notice
            _write(path, mine)


def _write(path: Path, holder: Holder) -> None:
    """Closed and renamed, so that network file systems publish it."""
    write_bytes(record_of(path), json.dumps(dataclasses.asdict(holder)).encode())


def _file_system(folder: Path) -> str:
    """Its kind, such as "ext4" or "fuse.gcsfuse"; empty where nobody says."""
    try:
        mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    except OSError:
        return ""
    folder = folder.resolve()
    around = [(len(words[1]), words[2]) for words in mounts if folder.is_relative_to(words[1].replace("\\040", " "))]
    return max(around, default=(0, ""))[1]


def _started(pid: int) -> str:
    """Empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
