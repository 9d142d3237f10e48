"""Metric files: JSON lines without clock times (equal runs write equal bytes), times beside them, and TensorBoard."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hades.data.files import explained, write_bytes


class JsonLines:
    """One JSON object a line, each with its `generation`."""

    def __init__(self, path: Path, resume_at: int):
        """Open for appending; rows behind generation `resume_at` are dropped, they will be written again."""
        self._path = path
        kept = [line for line in _lines(path) if json.loads(line)["generation"] <= resume_at]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps({k: plain(v) for k, v in row.items()}) + "\n" for row in rows)
        with explained(self._path, "Writing metrics"), self._path.open("a") as file:
            file.write(text)


class TensorBoard:
    """Scalars by generation, through tensorboardX."""

    def __init__(self, directory: Path, resume_at: int):
        from tensorboardX import SummaryWriter

        with explained(directory, "Writing TensorBoard files"):
            self._writer = SummaryWriter(str(directory), purge_step=resume_at + 1)

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            for name, value in row.items():
                if isinstance(value, int | float) and name != "generation":
                    self._writer.add_scalar(name, value, int(row["generation"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """All complete rows of a JSON lines file; none where it is missing."""
    return [json.loads(line) for line in _lines(path)]


def plain(value: Any) -> Any:
    """A JSON-ready scalar: non-finite numbers become null."""
    if isinstance(value, bool | str | int) or value is None:
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if getattr(value, "dtype", None) is not None and value.dtype.kind in "iu" else number


def _lines(path: Path) -> list[str]:
    """Complete lines; a last one that was cut off by a kill is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [line for line in lines if _is_json(line)]


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return False
    return True
