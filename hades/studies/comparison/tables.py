"""The tables of a comparison: rows of text for readers, and rows of raw numbers for programs."""

import math
from functools import partial

from hades.runs.result import all_stages
from hades.studies.comparison.numbers import AXES, Comparison, EnvironmentComparison
from hades.text import duration, fixed, integer, interval, return_text, si

RESULTS_HEAD = ("method", "return", "95 % interval", "each seed", "reached", "steps to reach", "seconds to reach")
COST_HEAD = ("method", "steps", "search", "selection", "compilation", "numbers learned", "a fresh policy")
OVERALL_HEAD = ("method", "normalised return", "95 % interval")


def result_rows(env: EnvironmentComparison) -> list[tuple[str, ...]]:
    """The returns of each method on an environment."""
    rows: list[tuple[str, ...]] = []
    for cell in env.cells:
        (steps, reached), (seconds, _) = (cell.to_reach(env.target, axis) for axis in AXES)
        earned = return_text(cell.final.value), interval(cell.interval)
        each = ", ".join(return_text(run.final) for run in cell.runs)
        rows.append((cell.method, *earned, each, f"{reached} of {len(cell.runs)}", si(steps), duration(seconds)))
    return rows


def cost_rows(env: EnvironmentComparison) -> list[tuple[str, ...]]:
    """The cost of each method on an environment, a mean over its runs, and the size of its result."""
    return [
        (
            *(cell.method, si(cell.total("env_steps", "search"))),
            *(duration(cell.total("seconds", phase)) for phase in ("search", "selection", "compile")),
            integer(cell.runs[0].result["genome_size"]),
            "–" if cell.training_seconds is None else f"{1000 * cell.training_seconds:.3g} ms",
        )
        for cell in env.cells
    ]


def overall_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """The normalised return of each method over all environments."""
    form = partial(fixed, decimals=2)
    return [(method, form(e.value), interval((e.low, e.high), form)) for method, e in comparison.overall.items()]


def run_rows(comparison: Comparison) -> list[dict[str, object]]:
    """Raw numbers, a row for each run."""
    return [
        {
            "environment": env.name,
            "method": cell.method,
            "seed": run.seed,
            "return": run.final,
            **dict(zip(("return_low", "return_high"), run.result["report"]["ci95"], strict=True)),
            "target": env.target,
            **{f"{axis}_to_reach": _finite(run.reached(env.target, axis)) for axis in AXES},
            **{f"{kind}_{p}": all_stages(run.result, kind, p) for kind in AXES for p in run.result[kind]},
            "generations": all_stages(run.result, "generations"),
            "numbers_learned": run.result["genome_size"],
            "pairs": run.result.get("num_pairs"),
            "workdir": run.workdir,
        }
        for env in comparison.environments
        for cell in env.cells
        for run in cell.runs
    ]


def method_rows(comparison: Comparison) -> list[dict[str, object]]:
    """Raw numbers, a row for each method and environment."""
    return [
        {
            "environment": env.name,
            "method": cell.method,
            "runs": len(cell.runs),
            "iqm": cell.final.value,
            **dict(zip(("iqm_low", "iqm_high"), cell.interval or (None, None), strict=True)),
            "random": env.random,
            "target": env.target,
            "target_source": env.target_source,
            "reached": cell.to_reach(env.target, "env_steps")[1],
            **{f"{axis}_to_reach": _finite(cell.to_reach(env.target, axis)[0]) for axis in AXES},
            "env_steps_search": cell.total("env_steps", "search"),
            **{f"seconds_{p}": cell.total("seconds", p) for p in ("search", "selection", "compile", "report")},
            "numbers_learned": cell.runs[0].result["genome_size"],
            "seconds_to_train_a_policy": cell.training_seconds,
        }
        for env in comparison.environments
        for cell in env.cells
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
