"""Environments × methods × seeds, one run after another under one budget and one evaluation protocol.

Every run has a folder of its own below the work directory and is an ordinary run there: what is finished is left as it
is, what was interrupted continues.
"""

import dataclasses
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from hades import registry
from hades.errors import CheckpointError, ConfigError, HadesError, offer
from hades.runs.gin_config import config_names, load_experiment, operative_config
from hades.runs.loop import run
from hades.runs.record import RunRecord, read_run
from hades.runs.workdir import differences
from hades.studies.grid_values import Values, check_names, value_for

NO_END = 10**9
"""Generations of a run that only its budget is to end."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the runs of a grid share.

    Attributes:
        max_seconds, max_env_steps: the budget of a run, by environment.
        eval_every: generations between evaluations, by method, environment or both; elsewhere the config's own.
        eval_inits, eval_episodes, report_inits, report_episodes: the protocol, as in Experiment.
        bindings: further gin lines for every run.
        variant: `<environment>_<method>_<variant>` is preferred to `<environment>_<method>` where it exists.
    """

    max_seconds: Values = dataclasses.field(default_factory=dict)
    max_env_steps: Values = dataclasses.field(default_factory=dict)
    eval_every: Values = dataclasses.field(default_factory=dict)
    eval_inits: int = 8
    eval_episodes: int = 4
    report_inits: int = 64
    report_episodes: int = 4
    bindings: tuple[str, ...] = ()
    variant: str = "laptop"


@dataclasses.dataclass(frozen=True)
class GridRun:
    """One run of a grid: `hades-train` with `config` and `bindings` in `workdir`."""

    environment: str
    method: str
    seed: int
    config: str
    bindings: tuple[str, ...]
    workdir: Path
    max_seconds: float | None
    max_env_steps: float | None

    def __str__(self) -> str:
        return f"{self.environment} {self.method} seed {self.seed}"

    @property
    def budget(self) -> str:
        """ "60 s", "1,000,000 steps" or both, whichever is used up first."""
        ends = [] if self.max_seconds is None else [f"{self.max_seconds:g} s"]
        ends += [] if self.max_env_steps is None else [f"{self.max_env_steps:,.0f} steps"]
        return " or ".join(ends) or "no budget"

    @property
    def command(self) -> str:
        """What makes this run alone."""
        words = [f"--config={self.config}", f"--workdir={self.workdir}"]
        words += [f"--gin_bindings={line}" for line in self.bindings]
        return f"hades-train {shlex.join(words)}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a grid: why runs failed, and the run that a signal stopped."""

    failures: Mapping[GridRun, str]
    interrupted: GridRun | None = None

    def check(self) -> None:
        """Raises: HadesError, naming what failed or was stopped."""
        rows = "".join(f"\n  {one}: {reason}" for one, reason in self.failures.items())
        failed = f"{len(self.failures)} of the runs failed:{rows}" if rows else ""
        if self.interrupted:
            stopped = f"Stopped in {self.interrupted}; everything is saved. Run the same command again to continue."
            raise HadesError("\n".join(text for text in (stopped, failed) if text))
        if failed:
            raise HadesError(f"{failed}\nThe others are finished; the same command runs only what is not.")


def plan_grid(
    environments: Sequence[str], methods: Sequence[str], seeds: Sequence[int], workdir: Path, settings: Settings
) -> list[GridRun]:
    """The runs of a grid, all seeds of a configuration in a row.

    Args:
        environments: as configs are named ("cartpole"), or with the folder of configs of your own ("mine/point").
        methods: as configs are named ("hades_r").

    Raises:
        ConfigError: naming every combination that has no config, and names that stand for nothing.
    """
    names = [Path(environment).name for environment in environments]
    exact = [f"{e}_{m}" for e in names for m in methods]
    check_names(settings.max_seconds, "max_seconds", names)
    check_names(settings.max_env_steps, "max_env_steps", names)
    check_names(settings.eval_every, "eval_every", [*names, *methods, *exact])
    pairs = [(e, m) for e in environments for m in methods]
    configs = {pair: _find_config(*pair, settings.variant) for pair in pairs}
    missing = [f"{e}_{m}" for (e, m), config in configs.items() if config is None]
    if missing:
        known = [n for n in config_names() if n.startswith(tuple(names))] or list(config_names())
        raise ConfigError(f"There is no config {', '.join(missing)}. {offer(missing[0], known)}")
    return [
        GridRun(
            environment=Path(e).name,
            method=m,
            seed=seed,
            config=str(config),
            bindings=_bindings(Path(e).name, m, seed, settings),
            workdir=workdir / Path(e).name / m / f"seed{seed}",
            max_seconds=value_for(settings.max_seconds, Path(e).name),
            max_env_steps=value_for(settings.max_env_steps, Path(e).name),
        )
        for (e, m), config in configs.items()
        for seed in seeds
    ]


def run_grid(runs: Sequence[GridRun], say: Callable[[str], None], *, progress: bool = False) -> Outcome:
    """Do what is not done yet; a run that fails is noted and the others go on.

    Args:
        runs: from `plan_grid`.
        say: gets a line before and after every run.
        progress: also show the progress inside the runs.
    """
    failures: dict[GridRun, str] = {}
    took: dict[GridRun, float] = {}
    config = ""
    for i, one in enumerate(runs):
        if config != one.config:
            jax.clear_caches()  # programs of another configuration would only take memory
            config = one.config
        try:
            experiment = load_experiment(one.config, one.bindings)
            if _is_done(one, registry.describe(experiment)):
                say(f"run {i + 1} of {len(runs)}: {one} is finished already")
                continue
            say(f"run {i + 1} of {len(runs)}: {one}, {_time_left(runs[i:], took)}")
            began = time.monotonic()
            result = run(experiment, one.workdir, progress=progress, config=operative_config())
            if result.interrupted:
                return Outcome(failures, one)
            took[one] = time.monotonic() - began
            say(f"    return {result.returns}, {took[one]:.0f} s in all")
        except (HadesError, jax.errors.JaxRuntimeError) as error:
            failures[one] = str(error)
            say(f"    failed: {error}")
    return Outcome(failures)


def plan_text(runs: Sequence[GridRun]) -> str:
    """What would be run, for `--dry_run`: a line a run, and what the budgets add up to.

    Raises:
        ConfigError: for a configuration that cannot be built, before hours are spent on the others.
    """
    for one in {one.config: one for one in runs}.values():
        load_experiment(one.config, one.bindings)
    lines = [f"{one}: {one.config}, {one.budget}, in {one.workdir}" for one in runs]
    return "\n".join([*lines, f"{len(runs)} runs, {_time_left(runs, {})}, and compilation and reports on top"])


def _bindings(environment: str, method: str, seed: int, settings: Settings) -> tuple[str, ...]:
    """Gin lines of one run; those that make runs comparable come last, so that they hold."""
    seconds, steps = (value_for(values, environment) for values in (settings.max_seconds, settings.max_env_steps))
    every = value_for(settings.eval_every, f"{environment}_{method}", method, environment)
    fields: dict[str, Any] = {
        **({} if every is None else {"eval_every": int(every)}),
        "eval_inits": settings.eval_inits,
        "eval_episodes": settings.eval_episodes,
        "report_inits": settings.report_inits,
        "report_episodes": settings.report_episodes,
        "max_seconds": seconds,
        "max_env_steps": None if steps is None else int(steps),
        "target_return": None,
        "generations": NO_END,
        "seed": seed,
    }
    return (*settings.bindings, *(f"Experiment.{name} = {value!r}" for name, value in fields.items()))


def _find_config(environment: str, method: str, variant: str) -> str | None:
    """A shipped name, or the path of a file."""
    stem = f"{environment}_{method}"
    for name in (f"{stem}_{variant}", stem) if variant else (stem,):
        if name in config_names():
            return name
        if Path(f"{name}.gin").is_file():
            return f"{name}.gin"
    return None


def _is_done(one: GridRun, described: Mapping[str, Any]) -> bool:
    """Whether the run's folder holds this run, finished under this budget.

    Raises:
        CheckpointError: when it holds this run under a larger budget: a run cannot be shortened.
    """
    if not one.workdir.is_dir():
        return False
    record = read_run(one.workdir)
    changed = {path: (old, new) for path, old, new in differences(dict(record.experiment), dict(described))}
    changed.pop("checkpoint_every", None)
    if not record.is_finished or set(changed) - {"max_seconds", "max_env_steps"}:
        return False
    larger = [name for name, (old, new) in changed.items() if new is not None and (old is None or old > new)]
    if larger and not _has_room(record, described):
        rows = ", ".join(f"{name} {changed[name][0]} there and {changed[name][1]} now" for name in larger)
        raise CheckpointError(
            f"{one.workdir} holds this run under a larger budget ({rows}), and a run cannot be shortened. "
            "Give that budget, or another --workdir."
        )
    return not changed


def _has_room(record: RunRecord, described: Mapping[str, Any]) -> bool:
    """Whether what the run has used lies below the budgets that are asked for now."""
    used = record.result["seconds"]["search"] + record.result["seconds"]["selection"]
    seconds, steps = described["max_seconds"], described["max_env_steps"]
    return (seconds is None or used < seconds) and (steps is None or record.result["env_steps"]["search"] < steps)


def _time_left(runs: Sequence[GridRun], took: Mapping[GridRun, float]) -> str:
    """How long these runs will take: their budgets in seconds, and what earlier ones took beyond theirs on average."""
    budgets = sum(one.max_seconds or 0.0 for one in runs)
    if took:
        beyond = sum(seconds - (one.max_seconds or 0.0) for one, seconds in took.items()) / len(took)
        return f"about {_minutes(budgets + max(beyond, 0.0) * len(runs))} left"
    if any(one.max_seconds is None for one in runs):
        return "for as long as their steps take"
    return f"at least {_minutes(budgets)}"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
