"""Writing files so that nothing written before is lost, with errors that say what to do."""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hades.errors import ConfigError, HadesError, require

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Beginning of an address such as gs://bucket; pathlib makes one slash of its two."""
MAX_NAME = 255
"""Bytes of a file's name, on every common file system."""


def check_path(text: str) -> None:
    """Refuse a text that is no path of this or another machine.

    Raises:
        ConfigError: for an address such as gs://bucket/runs, and for a name that no file can have.
    """
    shown = f'"{text[:100]}"'
    require(
        not ADDRESS.match(text),
        f"{shown} is an address; hades reads and writes files and folders. Mount the bucket and give the folder below "
        "the mount: gcsfuse mounts gs://, mount-s3 mounts s3://, and hades-tpu-pod and hades-gke mount the one named "
        "by --bucket.",
    )
    try:
        longest = max(map(len, map(os.fsencode, text.split("/"))))
    except UnicodeEncodeError:
        longest = MAX_NAME + 1
    require(
        longest <= MAX_NAME and "\0" not in text,
        f"{text[:100]!r} is no name of a file: it holds a letter that names cannot have here, or has more than "
        f"{MAX_NAME} bytes. Give another path.",
    )


def user_path(given: str | os.PathLike[str]) -> Path:
    """The path that a user gave; a leading `~` stands for the home folder.

    Raises:
        ConfigError: for an empty one, an address such as gs://bucket/runs, and a home folder that is not known.
    """
    require(isinstance(given, str | os.PathLike), f"{given!r} is no path: give a text, such as runs/demo.")
    text = os.fsdecode(given)
    require(text.strip(), "The path is empty: give one, such as runs/demo. Is a variable of the shell not set?")
    check_path(text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f'The home folder in "{text}" is not known here: give the whole path.') from error


@contextlib.contextmanager
def explained(path: str | Path, doing: str) -> Iterator[None]:
    """Turn an OSError (full disk, read-only file system, missing permission) into one paragraph."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise HadesError(
            f"{doing} failed at {path}: {reason}. What was written before is intact. "
            "Free some space or make it writable, then run the same command again: it continues."
        ) from error


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file beside its final place and move it there when it is complete.

    Raises:
        ConfigError: for a path that `user_path` refuses.
        HadesError: where it cannot be written; a file that was there is as before.
    """
    path = user_path(path)
    with explained(path, "Writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A short name, since that of the file may be as long as a name can be.
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(4)}")
        try:
            # Opened by its mode, not made by tempfile: the umask applies, and a folder's default permissions do.
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    return path


def free_name(path: Path) -> Path:
    """A name for what is damaged that no file has yet: `<name>.damaged`, `<name>.damaged.2`, …"""
    names = (path.with_name(f"{path.name}.damaged{count}") for count in ("", *(f".{i}" for i in range(2, 1000))))
    return next(name for name in names if not os.path.lexists(name))


def read_bytes(path: str | Path, remedy: str) -> bytes:
    """The content of a file.

    Raises:
        HadesError: where it cannot be read; ends with the remedy.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise HadesError(f"{path} cannot be read: {error.strerror}. {remedy}") from error


def read_json(path: str | Path, remedy: str) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        HadesError: where it cannot be read, was cut off, such as by a full disk, or holds something else; ends with
            the remedy.
    """
    content = read_bytes(path, remedy)
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise HadesError(f"{path} is damaged or cut off ({len(content)} bytes that are no JSON). {remedy}") from error
    if not isinstance(value, dict):
        raise HadesError(f"{path} is damaged: it holds JSON, but no object. {remedy}")
    return value
