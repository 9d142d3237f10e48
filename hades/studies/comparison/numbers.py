"""Methods side by side on one or several environments: numbers only, from the files of finished runs.

Definitions. *Return* of a run: the mean of its report, on report keys. *Curve*: the selection return of the solution
of the moment, not of the best so far, as a step function of the search's environment steps or seconds; compilation,
selection and report are in neither. The curve of a run in stages goes on through them. *To reach* a return: the first
evaluation at or above it of policies that are trained as the reported ones, so a method that is evaluated more often
has more chances. Over runs: interquartile means with bootstrap intervals (aggregate.py).
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from hades import registry
from hades.environments.thresholds import SOLVED
from hades.runs.record import RunRecord
from hades.runs.result import all_stages
from hades.runs.workdir import as_configured
from hades.studies.aggregate import Estimate, estimate, estimates
from hades.studies.comparable import budget, check_agreement, environment_of, environment_versions, grouped, protocol
from hades.studies.comparison.measurements import Measurements

METHODS = ("HaDES-R", "HaDES-F", "HaDES-R by gradient", "HaDES-F by gradient", "ES", "PPO")
"""The order of tables and legends; others follow."""
AXES = ("env_steps", "seconds")
NEAR_BEST = 0.9
"""The return to reach where nothing defines "solved": so far from a random policy to the best method's mean."""
CURVE_REPS = 2_000
CURVE_POINTS = 300
NOTHING_MEASURED = Measurements()


@dataclasses.dataclass(frozen=True)
class Curve:
    """Interquartile mean over runs f64[G] and its interval, at x f64[G]; empty where the runs do not overlap."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclasses.dataclass(frozen=True)
class RunNumbers:
    """One run: `env_steps`, `seconds` and `returns` f64[E] of its E evaluations, and what it came to.

    `counts` bool[E]: the evaluation is of policies that are trained as the reported ones are. Earlier stages may train
    others.
    """

    seed: int
    workdir: str
    final: float
    env_steps: np.ndarray
    seconds: np.ndarray
    returns: np.ndarray
    counts: np.ndarray
    result: Mapping[str, Any]

    def axis(self, name: str) -> np.ndarray:
        return self.env_steps if name == "env_steps" else self.seconds

    def reached(self, target: float, axis: str) -> float:
        """Position on an axis of the first one that counts, at or above a return; infinite where there is none."""
        at = np.flatnonzero(self.counts & (self.returns >= target))
        return float(self.axis(axis)[at[0]]) if len(at) else float("inf")


@dataclasses.dataclass(frozen=True)
class MethodRuns:
    """The runs of one method on one environment."""

    method: str
    runs: tuple[RunNumbers, ...]
    training_seconds: float | None = None

    @cached_property
    def final(self) -> Estimate:
        return estimate([np.array([run.final for run in self.runs])])

    @property
    def interval(self) -> tuple[float, float] | None:
        """Confidence interval of `final`; None for a single run."""
        return (self.final.low, self.final.high) if len(self.runs) > 1 else None

    def total(self, kind: str, phase: str) -> float:
        """Mean over runs of the `env_steps` or `seconds` of a phase, in all stages."""
        return float(np.mean([all_stages(run.result, kind, phase) for run in self.runs]))

    @cached_property
    def curves(self) -> dict[str, Curve]:
        """A curve for each axis, from where all runs have been evaluated once to where the first one ended."""
        return {axis: self._curve(axis) for axis in AXES}

    def _curve(self, axis: str) -> Curve:
        xs = [run.axis(axis) for run in self.runs]
        first, last = max((x[0] for x in xs if len(x)), default=0.0), min((x[-1] for x in xs if len(x)), default=0.0)
        grid = _thinned(np.unique(np.concatenate([x[(x >= first) & (x <= last)] for x in xs])))
        if not len(grid) or not all(map(len, xs)):
            return Curve(*[np.empty(0)] * 4)
        held = [run.returns[np.searchsorted(x, grid, "right") - 1] for run, x in zip(self.runs, xs, strict=True)]
        return Curve(grid, *estimates([np.array(held)], CURVE_REPS))

    def to_reach(self, target: float, axis: str) -> tuple[float, int]:
        """Median over all runs, those that never did counting as later than any, and how many did."""
        places = np.array([run.reached(target, axis) for run in self.runs])
        ordered = np.sort(places)[[(len(places) - 1) // 2, len(places) // 2]]
        return float(ordered.mean()), int(np.isfinite(places).sum())


@dataclasses.dataclass(frozen=True)
class EnvironmentComparison:
    """All methods on one environment.

    Attributes:
        name: of the environment.
        cells: one a method.
        random: mean return of uniformly random actions, where it was measured.
        target, target_source: the return to reach and why this one.
        versions: of the packages that decide the environment.
        budget: what could end a run.
    """

    name: str
    cells: tuple[MethodRuns, ...]
    random: float | None
    target: float
    target_source: str
    versions: Mapping[str, str]
    budget: Mapping[str, Any]

    @property
    def best(self) -> float:
        return max(cell.final.value for cell in self.cells)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Methods on environments; `protocol` and `device` are common to all runs."""

    environments: tuple[EnvironmentComparison, ...]
    protocol: Mapping[str, Any]
    device: str
    versions: Mapping[str, Sequence[str]]

    @property
    def methods(self) -> tuple[str, ...]:
        return sorted_methods(cell.method for env in self.environments for cell in env.cells)

    @cached_property
    def overall(self) -> dict[str, Estimate]:
        """Each method over all environments: 0 is a random policy, 1 the best method's mean in this comparison.

        Empty where that means nothing: one environment, a method that lacks one, or no method above random.
        """
        if len(self.environments) < 2 or any(len(e.cells) != len(self.methods) for e in self.environments):
            return {}
        scores: dict[str, list[np.ndarray]] = {method: [] for method in self.methods}
        for env in self.environments:
            if env.random is None or env.best <= env.random:
                return {}
            for cell in env.cells:
                final = np.array([run.final for run in cell.runs])
                scores[cell.method].append((final - env.random) / (env.best - env.random))
        return {method: estimate(tasks) for method, tasks in scores.items()}


def compare(
    records: Sequence[RunRecord],
    targets: Mapping[str, float] | None = None,
    measurements: Measurements = NOTHING_MEASURED,
) -> Comparison:
    """Put finished runs side by side.

    Args:
        records: from `read_finished`.
        targets: the return to reach, by name of the environment.
        measurements: of random play and of training from the datasets, what there is of them.

    Raises:
        ConfigError: when runs differ in what must be equal, naming it.
    """
    check_agreement(records)
    environments = []
    for name, group in grouped(records, lambda r: r.environment).items():
        cells = [
            MethodRuns(method, tuple(map(_numbers, cell)), measurements.training_seconds.get((name, method)))
            for method, cell in grouped(group, lambda r: r.method).items()
        ]
        cells.sort(key=lambda cell: _rank(cell.method))
        chance = measurements.random.get(name)
        target, source = _target(group[0], cells, chance, (targets or {}).get(name))
        versions = environment_versions(group[0])
        environments.append(
            EnvironmentComparison(name, tuple(cells), chance, target, source, versions, budget(group[0]))
        )
    first = records[0]
    libraries = dict.fromkeys(name for record in records for name in record.result["versions"])
    everyones = {name: sorted({r.result["versions"].get(name, "–") for r in records}) for name in libraries}
    return Comparison(tuple(environments), protocol(first), first.device, everyones)


def _numbers(record: RunRecord) -> RunNumbers:
    stages = record.all_stages()
    algorithms = [as_configured(stage.experiment)["algorithm"] for stage in stages]
    trained = [(algorithm.get("learner"), algorithm.get("environment")) for algorithm in algorithms]
    curves, before = [], np.zeros((2, 1))
    for stage, how in zip(stages, trained, strict=True):
        curve = _curve(stage)
        curves.append(np.concatenate([curve[:2] + before, curve[2:], np.full_like(curve[:1], how == trained[-1])]))
        before = before + [[stage.result[kind].get("search", 0.0)] for kind in AXES]
    steps, seconds, returns, counts = np.concatenate(curves, 1)
    return RunNumbers(
        seed=record.result["seed"],
        workdir=str(record.workdir),
        final=float(record.result["report"]["mean"]),
        env_steps=steps,
        seconds=seconds,
        returns=returns,
        counts=counts.astype(bool),
        result=record.result,
    )


def _curve(record: RunRecord) -> np.ndarray:
    """f64[3, E]: steps and seconds of the search, and the return, at each evaluation of one stage."""
    rows = [row for row in record.evaluations if row["return_mean"] is not None]
    generation, steps, returns = (
        np.array([row[name] for row in rows], np.float64) for name in ("generation", "env_steps_total", "return_mean")
    )
    known = np.array([(0, 0.0), *((row["generation"], row["seconds"]) for row in record.timing)], np.float64)
    return np.stack([steps, np.interp(generation, known[:, 0], known[:, 1]), returns])


def _thinned(grid: np.ndarray) -> np.ndarray:
    """At most CURVE_POINTS of sorted places, half of them evenly spaced and half geometrically: both axes are drawn."""
    if len(grid) <= CURVE_POINTS:
        return grid
    half = CURVE_POINTS // 2
    wanted = np.concatenate([np.linspace(grid[0], grid[-1], half), np.geomspace(max(grid[0], 1e-3), grid[-1], half)])
    return grid[np.unique(np.clip(np.searchsorted(grid, wanted), 0, len(grid) - 1))]


def _target(
    record: RunRecord, cells: Sequence[MethodRuns], random: float | None, asked: float | None
) -> tuple[float, str]:
    """The return to reach, and where it comes from."""
    if asked is not None:
        return asked, "asked for"
    spec = registry.build(environment_of(record)).spec
    threshold, steps = SOLVED.get(spec.name, (0.0, 0))
    if steps == spec.max_episode_steps:
        return threshold, "Gymnasium's threshold"
    best = max(cell.final.value for cell in cells)
    if random is None or best <= random:
        return best, "the best method's mean"
    target = float(f"{random + NEAR_BEST * (best - random):.3g}")
    return target, f"{100 * NEAR_BEST:.0f} % of the way from random actions to the best method's mean"


def sorted_methods(methods: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order of tables and legends."""
    return tuple(sorted(set(methods), key=_rank))


def _rank(method: str) -> tuple[int, str]:
    return (METHODS.index(method) if method in METHODS else len(METHODS), method)
