"""From the name of an environment to a dataset in one call: `hades.distil("CartPole-v1", pairs=2)`."""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

from hades.environments.base import Environment
from hades.environments.brax import Brax, env_names
from hades.environments.gymnax import Gymnax, env_ids
from hades.errors import ConfigError, offer
from hades.inner.pairs import PairsLearner
from hades.runs.callback import Callback
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment, setting_lines, stage_shares
from hades.runs.loop import run
from hades.runs.result import RunResult
from hades.runs.shipped import config_names, config_root

METHODS = ("hades_r", "hades_f", "gradient_r")
SIMILAR = {"image": ("freeway",), "discrete": ("acrobot",), "box": ("inverted_double_pendulum", "hopper")}
"""Shipped tasks, by kind, whose recipe an environment without a configuration gets: plain whole episodes, few pairs."""
_NAMED = re.compile(r"^(?:Gymnax\.env_id|Brax\.env_name|Playground\.env_name|Labelled\.data) = '(.+)'$", re.MULTILINE)
BUDGET = ("generations", "max_seconds", "max_env_steps")
_FIELDS = [field.name for field in dataclasses.fields(Experiment) if field.name not in ("algorithm", "first")]


def distil(
    environment: str | Environment,
    method: str = "hades_r",
    pairs: int | None = None,
    workdir: str | Path | None = None,
    *,
    progress: bool = True,
    callback: Callback | None = None,
    **limits: Any,
) -> RunResult:
    """Search for a dataset of an environment, by the shipped configuration where there is one.

    That is `<environment>_<method>_laptop`, or else `<environment>_<method>`. Any other environment gets the recipe of
    a shipped one of its kind (`SIMILAR`), with a pair for each action at least: a beginning, not a tuned recipe.

    Args:
        environment: gymnax's or Brax's name, such as "CartPole-v1" or "hopper", or an Environment.
        method: "hades_r", "hades_f" or "gradient_r"; by gradient where a configuration shows how.
        pairs: number of pairs; None: the recipe's own.
        workdir, progress, callback: as in `hades.run`.
        **limits: fields of the Experiment, such as `max_seconds=60` or `seed=1`. Generations, seconds and steps are
            those of all stages, which share them in proportion to their generations in the configuration.

    Raises:
        ConfigError: for an unknown environment, method or field, with the nearest known one.
    """
    experiment = recipe(environment, method, pairs, **limits)
    return run(experiment, workdir, progress=progress, callback=callback)


def recipe(
    environment: str | Environment, method: str = "hades_r", pairs: int | None = None, **limits: Any
) -> Experiment:
    """The experiment that `distil` runs."""
    if method not in METHODS:
        raise ConfigError(f'There is no method "{method}" of distillation. {offer(method, METHODS)}')
    unknown = [name for name in limits if name not in _FIELDS]
    if unknown:
        raise ConfigError(f'Experiment has no field "{unknown[0]}". {offer(unknown[0], _FIELDS)}')
    shipped = _config((_shipped_tasks().get(environment, ""),), method) if isinstance(environment, str) else None
    if shipped is not None:
        return _with(_limited(shipped, limits), None, pairs)
    found = _find(environment) if isinstance(environment, str) else environment
    spec = found.spec
    kind = "image" if spec.is_image else "discrete" if spec.is_discrete else "box"
    similar = _config(SIMILAR[kind], method)
    if similar is None:
        raise ConfigError(
            f'There is no recipe of "{method}" for {spec.name}, with its {spec.action_space}: use "hades_r".'
        )
    experiment = _limited(similar, limits)
    if pairs is None and spec.is_discrete:
        pairs = max(spec.action_space.size, _learner(experiment).num_pairs)
    return _with(experiment, found, pairs)


@functools.cache
def _shipped_tasks() -> dict[str, str]:
    """The shipped configurations' word for an environment, such as "cartpole", by its name, but for its pictures."""
    texts = {file.stem: file.read_text() for file in sorted((config_root() / "env").glob("*.gin"))}
    named = {stem: _NAMED.search(text) for stem, text in texts.items() if "@Rendered()" not in text}
    return {match[1]: stem for stem, match in named.items() if match}


def _config(tasks: tuple[str, ...], method: str) -> str | None:
    """The first configuration of a method for some tasks, one of laptop size where there is one."""
    names = [f"{task}_{method}{size}" for task in tasks for size in ("_laptop", "")]
    return next((name for name in names if name in config_names()), None)


def _find(name: str) -> Environment:
    """The environment of gymnax or Brax with a name."""
    if name in env_ids():
        return Gymnax(name)
    if name in env_names():
        return Brax(name)
    known = [*env_ids(), *env_names()]
    raise ConfigError(f'Neither gymnax nor Brax has an environment "{name}". {offer(name, known)}')


def _learner(experiment: Experiment) -> PairsLearner:
    learner = getattr(experiment.algorithm, "learner", None)
    assert isinstance(learner, PairsLearner)  # METHODS distil
    return learner


def _with(experiment: Experiment, environment: Environment | None, pairs: int | None) -> Experiment:
    """All stages of an experiment in another environment, with another number of pairs; None: as they are."""
    parts: dict[str, Any] = {}
    if environment is not None:
        parts["environment"] = environment
    if pairs is not None:
        parts["learner"] = _learner(experiment).changed(num_pairs=pairs)
    first = None if experiment.first is None else _with(experiment.first, environment, pairs)
    algorithm = dataclasses.replace(experiment.algorithm, **parts)  # type: ignore[type-var]  # a dataclass
    return dataclasses.replace(experiment, algorithm=algorithm, first=first)


def _limited(config: str, limits: dict[str, Any]) -> Experiment:
    """A configuration with other fields in all of its stages, which share the budget."""
    shares = stage_shares(config)
    budget = {name: value for name, value in limits.items() if name in BUDGET and value is not None}
    others = {name: value for name, value in limits.items() if name not in budget}
    lines = [f"{scope}Experiment.{name} = {value!r}" for scope in shares for name, value in others.items()]
    return load_experiment(config, [*lines, *setting_lines(shares, budget)])
