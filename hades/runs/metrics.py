"""The metrics of a run as one table, for plots and statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hades.errors import HadesError, notice
from hades.runs.log import read_json_lines
from hades.runs.stages import FIRST
from hades.runs.workdir import WorkDir

_EVALUATION = {"return_mean": "solution/return", "return_std": "solution/return_std", "best": "solution/best"}
"""Columns of an evaluation, named as in TensorBoard."""


def read_metrics(workdir: str | Path) -> Any:
    """Read the metrics of a run, one row a generation.

    The columns are `stage` (from 1; the stages of a run follow each other), `generation` and `env_steps_total` within
    the stage, `seconds` of its search, the metrics, and `solution/…` where the solution was evaluated. What a row lacks
    is NaN.

    Args:
        workdir: the run's, finished or not.

    Returns:
        A pandas DataFrame; where pandas is not installed, a dict of NumPy arrays by column, i64[rows] or f64[rows].

    Raises:
        HadesError: when there is no such directory, or no generation was logged in it.
    """
    path = WorkDir(workdir).path
    stages = [_rows(WorkDir(folder)) for folder in _folders(path)]
    rows = [{"stage": number, **row} for number, stage in enumerate(stages, 1) for row in stage]
    if not rows:
        raise HadesError(f"There are no metrics in {path}: give the work directory of a run that has begun.")
    names = dict.fromkeys(name for row in rows for name in row)  # in the order in which they first occur
    columns = {name: _column(rows, name) for name in names}
    try:
        import pandas
    except ImportError:
        return columns
    return pandas.DataFrame(columns)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """i64[rows] where every row has a whole number, else f64[rows] with NaN for what is missing."""
    values = [row.get(name) for row in rows]
    if all(type(value) is int for value in values):
        return np.array(values, np.int64)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _folders(workdir: Path) -> list[Path]:
    """The folders of a run's stages, in the order in which they run."""
    first = workdir / FIRST
    return [*(_folders(first) if first.is_dir() else []), workdir]


def _rows(directory: WorkDir) -> list[dict[str, Any]]:
    """Rows of one stage: its metric files, joined by generation."""
    seconds = {row["generation"]: {"seconds": row["seconds"]} for row in read_json_lines(directory.timing, notice)}
    found = {row["generation"]: dict(row) for row in read_json_lines(directory.metrics, notice)}
    for row in read_json_lines(directory.evaluations, notice):
        known = found.setdefault(row["generation"], {n: row[n] for n in ("generation", "env_steps_total")})
        known |= {column: row[name] for name, column in _EVALUATION.items() if name in row}
    return [found[generation] | seconds.get(generation, {}) for generation in sorted(found)]
