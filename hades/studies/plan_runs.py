"""Environments × methods × seeds under one budget and one evaluation protocol: the runs that a command line asks for.

The stages of a run share its budget, each that searches by its generations in the config.

Numbers and lists on it are as "60", "cartpole=40,freeway=150" and "0,1,2".
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hades.errors import ConfigError, offer, shown
from hades.fields import Seed, checked
from hades.runs.gin_config import idle_lines, limits_of_stage, stage_shares
from hades.runs.job import Job
from hades.runs.shipped import config_names, nearest_configs
from hades.runs.stages import described_stages, recipe_text
from hades.studies.many_runs import PlannedRun, budget_text, planned, time_left

NO_END = 10**9
"""Generations of a run that only its budget is to end."""
ALL = ""
"""The name of a value that holds wherever no other does."""
Values = Mapping[str, float]
"""A number by environment, method or `<environment>_<method>`; ALL for the others."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings that the runs of a grid share.

    Attributes:
        max_seconds, max_env_steps: the budget of a run, by environment.
        eval_every: generations between evaluations, by method, environment or both; elsewhere the config's own.
        selection, report: policies and episodes of the evaluations during the search and at its end.
        bindings: further gin lines, each for those of the runs in which it decides something.
        offered: the same, but it may decide nothing in all of them.
        variant: `<environment>_<method>_<variant>` is preferred to `<environment>_<method>` where it exists.
    """

    max_seconds: Values = dataclasses.field(default_factory=dict)
    max_env_steps: Values = dataclasses.field(default_factory=dict)
    eval_every: Values = dataclasses.field(default_factory=dict)
    selection: tuple[int, int] = (8, 4)
    report: tuple[int, int] = (64, 4)
    bindings: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    variant: str = "laptop"


def plan_grid(
    environments: Sequence[str], methods: Sequence[str], seeds: Sequence[int], workdir: Path, settings: Settings
) -> list[PlannedRun]:
    """Resolve the runs of a grid, all seeds of a configuration in a row.

    Args:
        environments: as configs are named ("cartpole"), or with the folder of configs of your own ("mine/point").
        methods: as configs are named ("hades_r").

    Raises:
        ConfigError: naming every combination that has no config, names that stand for nothing, a config that cannot be
            built, and a line that decides nothing in any run.
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
        raise ConfigError(f"There is no config {', '.join(missing)}. {nearest_configs(missing[0])}")
    lines = _lines_of_each([str(config) for config in configs.values()], settings)
    shares = {pair: stage_shares(str(config), lines[str(config)]) for pair, config in configs.items()}
    runs = []
    for ((e, m), config), seed in itertools.product(configs.items(), seeds):
        name = Path(e).name
        bindings = (*lines[str(config)], *_bindings(name, m, seed, settings, shares[e, m]))
        job = Job(str(config), str(workdir / name / m / f"seed{seed}"), bindings)
        runs.append(planned(f"{name} {m} seed {seed}", {"environment": name, "method": m, "seed": str(seed)}, job))
    return runs


def plan_text(runs: Sequence[PlannedRun]) -> str:
    """Describe each run in a line, and add up the budgets, for `--dry_run`."""
    lines = [f"{one.name}: {one.job.config}, {one.budget}{_stages_text(one)}, in {one.workdir}" for one in runs]
    total = time_left(runs) or ", for as long as their steps take"
    return "\n".join([*lines, f"{len(runs)} runs{total}, and compilation and reports on top"])


def _stages_text(one: PlannedRun) -> str:
    """The shares of a run's stages in its budget; empty where it has one stage."""
    stages = described_stages(one.described)
    if len(stages) == 1:
        return ""
    parts = [
        f"{i} ({recipe_text(stage['algorithm']['learner'])}) "
        + (f"until {budget_text(stage)}" if stage["generations"] else "searches no more")
        for i, stage in enumerate(stages, 1)
    ]
    return f" for all stages: {', '.join(parts)}"


def _lines_of_each(configs: Sequence[str], settings: Settings) -> dict[str, tuple[str, ...]]:
    """The further gin lines of each config: those that decide something in it."""
    given = (*settings.bindings, *settings.offered)
    idle = {config: idle_lines(config, given) if given else {} for config in configs}
    for line in settings.bindings:
        if configs and all(line in explained for explained in idle.values()):
            raise ConfigError(
                f"In none of the runs does {line} decide anything. In {configs[0]}: {idle[configs[0]][line]}"
            )
    return {config: tuple(line for line in given if line not in explained) for config, explained in idle.items()}


def _bindings(
    environment: str, method: str, seed: int, settings: Settings, shares: Mapping[str, float]
) -> tuple[str, ...]:
    """Gin lines that make runs comparable; they come last, so that they hold."""
    seconds, steps = (value_for(values, environment) for values in (settings.max_seconds, settings.max_env_steps))
    every = value_for(settings.eval_every, f"{environment}_{method}", method, environment)
    eval_inits, eval_episodes = settings.selection
    report_inits, report_episodes = settings.report
    fields: dict[str, Any] = {
        **({} if every is None else {"eval_every": int(every)}),
        "eval_inits": eval_inits,
        "eval_episodes": eval_episodes,
        "report_inits": report_inits,
        "report_episodes": report_episodes,
        "target_return": None,
        "patience": None,
        "seed": seed,
    }
    lines = []
    for scope, share in shares.items():
        limits = limits_of_stage(share, seconds, steps) | {"generations": NO_END if share else 0}
        lines += [f"{scope}Experiment.{name} = {value!r}" for name, value in (fields | limits).items()]
    return tuple(lines)


def _find_config(environment: str, method: str, variant: str) -> str | None:
    """A shipped name, or the path of a file."""
    stem = f"{environment}_{method}"
    for name in (f"{stem}_{variant}", stem) if variant else (stem,):
        if name in config_names():
            return name
        if Path(f"{name}.gin").is_file():
            return f"{name}.gin"
    return None


def value_for(values: Values, *names: str) -> float | None:
    """The value of the first of the names that has one, else the one that holds for all; None where there is none."""
    return next((values[name] for name in (*names, ALL) if name in values), None)


def parse_values(texts: Sequence[str], flag: str) -> dict[str, float]:
    """["60"] or ["cartpole=40", "freeway=180"] as Values.

    Raises:
        ConfigError: for anything else.
    """
    values = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise ConfigError(f'--{flag}: "{text}" is neither a number nor name=number.') from None
    return values


def check_names(values: Values, flag: str, known: Sequence[str]) -> None:
    """Raises: ConfigError for a value of something that is not compared."""
    for name in values:
        if name not in (ALL, *known):
            raise ConfigError(f'--{flag}: "{name}" is not compared. {offer(name, known)}')


MOST_SEEDS = 10_000
"""Of one command line; each is a run of its own."""


def parse_seeds(texts: Sequence[str]) -> list[int]:
    """["0", "1", "2"] or, as how many, ["3"]; ["3", ""] is seed 3 alone.

    Raises:
        ConfigError: for anything else, and for seeds given twice.
    """
    given = _different(texts)
    seeds = range(given[0]) if given and len(texts) == 1 else given
    if not seeds or len(seeds) > MOST_SEEDS:
        raise ConfigError(
            f"--seeds: {shown(','.join(texts))} is neither a count of at most {MOST_SEEDS:,} nor different seeds such "
            "as 0,1,2."
        )
    return [checked(seed, Seed, "--seeds") for seed in seeds]


def parse_sizes(texts: Sequence[str]) -> list[int]:
    """["1", "2", "64"]: numbers of pairs.

    Raises:
        ConfigError: for anything else, and for a size given twice.
    """
    sizes = _different(texts)
    if not sizes or 0 in sizes:
        raise ConfigError(
            f"--sizes: {shown(','.join(texts))} is not a list of different numbers of pairs such as 1,2,4,8."
        )
    return sizes


def _is_whole(text: str) -> bool:
    """True for a whole number of a length that Python reads."""
    return text.isdecimal() and len(text) < 20


def _different(texts: Sequence[str]) -> list[int]:
    """The numbers in a list with possibly empty parts; none if one is no number or there twice."""
    given = [text.strip() for text in texts if text.strip()]
    numbers = {int(text) for text in given if _is_whole(text)}
    return [int(text) for text in given] if len(numbers) == len(given) else []


def parse_pair(texts: Sequence[str], flag: str) -> tuple[int, int]:
    """["8", "4"] as two numbers.

    Raises:
        ConfigError: for anything else.
    """
    if len(texts) != 2 or not all(_is_whole(text.strip()) for text in texts):
        raise ConfigError(f"--{flag}: {shown(','.join(texts))} is not policies,episodes such as 8,4.")
    return int(texts[0]), int(texts[1])
