"""The tables of a comparison: rows of text for readers, and rows of raw numbers for programs."""

import math
from collections.abc import Sequence

from hades.pictures.text import duration, integer, return_text, si
from hades.studies.comparison.numbers import AXES, Cell, Comparison, EnvironmentComparison

RESULTS_HEAD = (
    "environment",
    "method",
    "return",
    "95 % interval",
    "each seed",
    "reached",
    "steps to reach",
    "seconds to reach",
)
COST_HEAD = (
    *("environment", "method", "steps", "search", "selection", "compilation"),
    *("numbers learned", "a fresh policy"),
)
OVERALL_HEAD = ("method", "normalised return", "95 % interval")
Rows = Sequence[Sequence[str]]


def result_rows(comparison: Comparison) -> Rows:
    """What every method earns on every environment."""
    return [
        (
            env.name,
            cell.method,
            return_text(cell.final.value),
            _interval(cell),
            _seeds(cell),
            *_reached(env, cell),
        )
        for env in comparison.environments
        for cell in env.cells
    ]


def cost_rows(comparison: Comparison) -> Rows:
    """What every method used, on average over its runs, and what it left."""
    return [
        (
            *(env.name, cell.method, si(cell.total("env_steps", "search"))),
            *(duration(cell.total("seconds", phase)) for phase in ("search", "selection", "compile")),
            integer(cell.runs[0].result["genome_size"]),
            "–" if cell.training_seconds is None else f"{1000 * cell.training_seconds:.3g} ms",
        )
        for env in comparison.environments
        for cell in env.cells
    ]


def overall_rows(comparison: Comparison) -> Rows:
    return [(m, f"{e.value:.2f}", f"{e.low:.2f} to {e.high:.2f}") for m, e in comparison.overall.items()]


def run_rows(comparison: Comparison) -> list[dict[str, object]]:
    """One row a run, in raw numbers."""
    rows: list[dict[str, object]] = []
    for env in comparison.environments:
        for cell in env.cells:
            for run in cell.runs:
                low, high = run.result["report"]["ci95"]
                rows.append(
                    {
                        "environment": env.name,
                        "method": cell.method,
                        "seed": run.seed,
                        "return": run.final,
                        "return_low": low,
                        "return_high": high,
                        "target": env.target,
                        **{f"{axis}_to_reach": _finite(run.reached(env.target, axis)) for axis in AXES},
                        **{f"env_steps_{name}": value for name, value in run.result["env_steps"].items()},
                        **{f"seconds_{name}": value for name, value in run.result["seconds"].items()},
                        "generations": run.result["generations"],
                        "numbers_learned": run.result["genome_size"],
                        "points": run.result.get("num_points"),
                        "workdir": run.workdir,
                    }
                )
    return rows


def method_rows(comparison: Comparison) -> list[dict[str, object]]:
    """One row a method and environment, in raw numbers."""
    rows: list[dict[str, object]] = []
    for env in comparison.environments:
        for cell in env.cells:
            (steps, reached), (seconds, _) = (cell.to_reach(env.target, axis) for axis in AXES)
            low, high = cell.interval or (None, None)
            rows.append(
                {
                    "environment": env.name,
                    "method": cell.method,
                    "runs": len(cell.runs),
                    "iqm": cell.final.value,
                    "iqm_low": low,
                    "iqm_high": high,
                    "random": env.random,
                    "target": env.target,
                    "target_source": env.target_source,
                    "reached": reached,
                    "env_steps_to_reach": _finite(steps),
                    "seconds_to_reach": _finite(seconds),
                    "env_steps_search": cell.total("env_steps", "search"),
                    **{f"seconds_{p}": cell.total("seconds", p) for p in ("search", "selection", "compile", "report")},
                    "numbers_learned": cell.runs[0].result["genome_size"],
                    "seconds_to_train_a_policy": cell.training_seconds,
                }
            )
    return rows


def _reached(env: EnvironmentComparison, cell: Cell) -> tuple[str, str, str]:
    (steps, count), (seconds, _) = (cell.to_reach(env.target, axis) for axis in AXES)
    return (
        f"{count} of {len(cell.runs)}",
        si(steps) if math.isfinite(steps) else "–",
        duration(seconds) if math.isfinite(seconds) else "–",
    )


def _seeds(cell: Cell) -> str:
    return ", ".join(return_text(run.final) for run in cell.runs)


def _interval(cell: Cell) -> str:
    if cell.interval is None:
        return "–"
    return " to ".join(map(return_text, cell.interval))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
