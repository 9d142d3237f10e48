"""Finished runs written by hand: the files that a comparison reads, without a search."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hades import registry
from hades.runs.record import RunRecord, read_run
from tests.runs.tiny import tiny_experiment

STEPS = 100
"""Environment steps of a generation."""


def write_run(
    path: Path,
    method: str = "ES",
    seed: int = 0,
    final: float = 5.0,
    returns: Sequence[float] = (1.0, 3.0, 5.0),
    seconds_each: float = 2.0,
    **changes: Any,
) -> RunRecord:
    """A run that was evaluated after each of its generations.

    Args:
        path: its work directory.
        final: mean of the report.
        returns: of the evaluations.
        seconds_each: of search, a generation.
        changes: dotted paths into `experiment.json` or, with "result." in front, into `result.json`.
    """
    path.mkdir(parents=True)
    count = len(returns)
    experiment = registry.describe(tiny_experiment(generations=count, seed=seed))
    result: dict[str, Any] = {
        "environment": "point",
        "method": method,
        "generations": count,
        "genome_size": 24,
        "seed": seed,
        "report": {"mean": final, "ci95": [final - 1.0, final + 1.0], "num_inits": 3, "num_episodes": 2},
        "selection_return": max(returns),
        "env_steps": {"search": STEPS * count, "selection": 40, "report": 60},
        "seconds": {"compile": 1.5, "search": seconds_each * count, "selection": 0.5, "report": 0.25},
        "versions": {"hades": "0.1.0", "jax": "0.10.2"},
        "device": "cpu",
        "num_devices": 1,
    }
    for name, value in changes.items():
        *parents, last = name.split(".")
        place: Any = {"result": result} if parents[:1] == ["result"] else experiment
        for parent in parents:
            place = place[parent]
        place[last] = value
    generations = range(1, count + 1)
    rows = [{"generation": g, "env_steps_total": STEPS * g} for g in generations]
    evaluations = [row | {"return_mean": value} for row, value in zip(rows, returns, strict=True)]
    timing = [{"generation": g, "seconds": seconds_each * g} for g in generations]
    for name, content in (("metrics", rows), ("evaluations", evaluations), ("timing", timing)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    (path / "experiment.json").write_text(json.dumps(experiment))
    (path / "result.json").write_text(json.dumps(result))
    return read_run(path)
