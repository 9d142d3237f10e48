"""Compiled functions on disk, in a folder that only its user can write.

Machine code is run as it is read, so that a file counts only where it and its folder belong to the user, nobody else
may write them, and its content has the hash that stands at its beginning.
"""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from hades.errors import notice

_HASH_SIZE = 32


def folder() -> Path | None:
    """`hades/native` in `$HADES_CACHE_HOME`, `$XDG_CACHE_HOME` or `~/.cache`; None where it cannot be used.

    A folder that others can write is not used, and a line on stderr says so.
    """
    chosen = Path(os.environ.get("HADES_CACHE_HOME") or os.environ.get("XDG_CACHE_HOME") or "")
    try:
        path = (chosen if chosen.is_absolute() else Path.home() / ".cache") / "hades" / "native"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_private(path):
            return path
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    if path not in _warned:
        _warned.add(path)
        notice(
            f"Compiled physics is not kept in {path}, because other users can write there: chmod go-w it, or set "
            "HADES_CACHE_HOME to a folder of your own. It is compiled anew at every start."
        )
    return None


def read(name: str) -> bytes | None:
    """The content of a file of the folder, or None where there is none that is whole and the user's own."""
    directory = folder()
    if directory is None:
        return None
    path = directory / name
    try:
        if not _is_private(path):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    content = data[_HASH_SIZE:]
    return content if hashlib.sha256(content).digest() == data[:_HASH_SIZE] else None


def write(name: str, content: bytes) -> bool:
    """Keep a file where that is possible."""
    directory = folder()
    if directory is None:
        return False
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=directory)  # only its user may write it
    except OSError:
        return False
    try:
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, directory / name)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        return False
    return True


_warned = set[Path]()


def _is_private(path: Path) -> bool:
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
