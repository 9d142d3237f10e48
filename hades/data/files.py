"""Writing files so that nothing written before is lost, with errors that say what to do."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hades.errors import HadesError


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
    """Write a file beside its final place and move it there when it is complete."""
    path = Path(path)
    with explained(path, "Writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    return path


def read_json(path: str | Path, remedy: str) -> Any:
    """The JSON value in a file.

    Raises:
        HadesError: where it cannot be read or was cut off, such as by a full disk; ends with the remedy.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise HadesError(f"{path} cannot be read: {error.strerror}. {remedy}") from error
    except ValueError as error:
        size = path.stat().st_size
        raise HadesError(f"{path} is damaged or cut off ({size} bytes that are no JSON). {remedy}") from error
