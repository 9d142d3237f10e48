"""The lock of a work directory.

The operating system's lock on `.lock` decides: it goes with its process, however that ends. The record, `.holder`, says
who that is, or who was killed while holding it. A mounted bucket grants locks to each machine by itself, or knows none:
there the holder renews its record, and who comes next watches whether it still does.

Files can be deleted under their holder. Before it writes, it compares what it holds with what lies there.
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
        return here and not self._runs_here

    @property
    def is_another(self) -> bool:
        """True if the holder is another process of this machine, and runs."""
        return self.host == socket.gethostname() and self.pid != os.getpid() and self._runs_here

    @property
    def _runs_here(self) -> bool:
        return self.started == _started(self.pid) != ""


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock that this process holds.

    Attributes:
        path: of the lock.
        file: that file, open.
        mine: what this process wrote into the record.
        is_sure: whether the operating system's lock excludes other machines too; where not, the record decides.
        before: the holder that did not end by itself; an empty one where there was none.
    """

    path: Path
    file: TextIO
    mine: Holder
    is_sure: bool
    before: Holder

    @property
    def is_lost(self) -> bool:
        """True if the lock was deleted, or is another process's; a disk that cannot be read does not show that."""
        if not self.is_sure:
            found = read(self.path)
            return found.token != self.mine.token and (found != Holder() or _is_missing(record_of(self.path)))
        try:
            there, held = self.path.stat(), os.fstat(self.file.fileno())
        except OSError:
            return _is_missing(self.path)
        return (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino)

    def check(self) -> None:
        """Make sure that the folder is still this process's.

        Raises:
            CheckpointError: when it is not, with what happened and what to do.
        """
        if not self.is_lost:
            return
        folder, other = self.path.parent, read(self.path)
        needless = "A lock needs no deleting: it goes with its process."
        if _is_missing(self.path) and _is_missing(record_of(self.path)):
            happened = f"{folder} was removed or renamed while this run wrote into it."
            remedy = "Put it back and run the same command again to continue; without it, the command begins anew."
        elif other not in (self.mine, Holder()):
            happened = f"{other} has taken over {folder}, whose lock was deleted, from this run."
            remedy = f"Let it go on: it continues from the last checkpoint. {needless}"
        else:
            happened = f"The lock of {folder} was deleted while this run held it: another one could have started there."
            remedy = f"Run the same command again to continue from the last checkpoint. {needless}"
        raise CheckpointError(f"{happened} This run has stopped and writes nothing more there. {remedy}")


def record_of(lock: Path) -> Path:
    """Path of the record that names the holder of a lock."""
    return lock.with_name(".holder")


def read(lock: Path) -> Holder:
    """The record beside a lock; an empty one where there is none, or something else."""
    try:
        found = Holder(**json.loads(record_of(lock).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return Holder()
    is_ours = all(type(getattr(found, field.name)) is type(field.default) for field in dataclasses.fields(Holder))
    return found if is_ours else Holder()


@contextlib.contextmanager
def held(path: Path, folder: Path) -> Iterator[Lock]:
    """Hold `path`, the lock of `folder`, while inside.

    Raises:
        CheckpointError: when another process holds it.
    """
    with explained(folder, "Opening the work directory"):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        before = read(path)
        is_sure = _acquire(file, before, folder)
        if before.is_another:  # somebody deleted its lock
            raise _in_use(before, folder)
        if not is_sure and before.pid:
            _wait_for_the_end_of(before, path, folder)
        mine = Holder(socket.gethostname(), os.getpid(), _started(os.getpid()), secrets.token_hex(8))
        lock, left = Lock(path, file, mine, is_sure, before), threading.Event()
        if is_sure:
            lock.check()  # it may have been deleted since it was opened
        _write(path, mine)
        if not is_sure:
            threading.Thread(target=_renew, args=(lock, left), daemon=True).start()
        try:
            yield lock
        finally:
            left.set()
            if read(path).token == mine.token:
                with contextlib.suppress(OSError):
                    record_of(path).unlink()


def _acquire(file: TextIO, before: Holder, folder: Path) -> bool:
    """Return True if the acquired lock excludes other machines too."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise _in_use(before, folder) from error
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
            raise _in_use(before, folder)


def _in_use(holder: Holder, folder: Path) -> CheckpointError:
    who = f" ({holder})" if holder.pid else ""
    return CheckpointError(
        f"Another process{who} is running in {folder}. Wait for it, stop it, or choose another --workdir."
    )


def _renew(lock: Lock, left: threading.Event) -> None:
    mine = lock.mine
    while not left.wait(RENEW_SECONDS) and not lock.is_lost:
        mine = dataclasses.replace(mine, renewed=mine.renewed + 1)
        with contextlib.suppress(HadesError):  # a full disk is for the run to notice
            _write(lock.path, mine)


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
    """Empty where there is no such process, or only what its parent has not yet collected of it."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def _is_missing(path: Path) -> bool:
    """Return True if there surely is no such file."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
