"""A run in stages: each starts from the dataset that the one before has made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError, require
from hades.inner.pairs import PairsLearner, StartPairs
from hades.inner.teacher import TeacherRecord
from hades.normalizers.base import Normalizer
from hades.runs.experiment import Experiment

FIRST = "first"
"""Folder of the stage before, inside a run's work directory."""


def stages(experiment: Experiment) -> list[Experiment]:
    """All stages of a run in the order in which they run, of which the last is the experiment itself."""
    return [*(stages(experiment.first) if experiment.first is not None else []), experiment]


def described_stages(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The same of a described experiment."""
    return [*(described_stages(described["first"]) if described.get("first") else []), described]


def recipe_text(described: Mapping[str, Any]) -> str:
    """The learner and the policy of a described stage, such as "RidgeCloning of WideMLP"."""
    learner = described["algorithm"]["learner"]
    return f"{learner['name']} of {learner['policy']['name']}"


def pairs_of(dataset: DistilledDataset, source: str) -> StartPairs:
    """Pairs of a dataset in raw coordinates, to start a search from."""
    return StartPairs(
        num_pairs=len(dataset),
        observations=tuple(map(float, np.ravel(dataset.observations * dataset.obs_std + dataset.obs_mean))),
        targets=tuple(map(float, np.ravel(dataset.targets))),
        source=source,
        teachers=teachers_of(dataset.metadata.get("training") or {}),
    )


def teachers_of(details: Mapping[str, Any]) -> tuple[TeacherRecord, ...]:
    """Records of teachers in a result, or in the `training` of a dataset's header."""
    return tuple(TeacherRecord(t["source"], t["method"], t.get("env_steps")) for t in details.get("teachers", ()))


def check_stages(experiment: Experiment) -> None:
    """Raise ConfigError where a stage cannot start from what the one before makes, before anything runs."""
    if (first := experiment.first) is None:
        return
    check_stages(first)
    before, after = first.algorithm, experiment.algorithm
    require(
        before.evolves_dataset and after.evolves_dataset,
        f"Experiment.first is {before.label}, followed by {after.label}: a stage hands over a dataset, so both must "
        "search for one.",
    )
    names = [algorithm.environments[0].spec.name for algorithm in (before, after)]
    require(names[0] == names[1], f"Experiment.first is on {names[0]}, but the stage after it is on {names[1]}.")
    learner = _learner(experiment)
    pairs = [_learner(stage).num_pairs for stage in (first, experiment)]
    require(
        pairs[0] == pairs[1],
        f"Experiment.first makes {pairs[0]} pairs, but {type(learner).__name__}.num_pairs of the stage after it is "
        f"{pairs[1]}: use the same number.",
    )
    require(
        learner.start_pairs is None,
        f"{type(learner).__name__}.start_pairs is given, but a stage that follows another starts from its pairs: leave "
        "it out.",
    )
    size = after.environments[0].spec.obs_size
    _normalizer(experiment).holding((0.0,) * size, (1.0,) * size)


def started_from(experiment: Experiment, dataset: DistilledDataset) -> Experiment:
    """The experiment with the pairs and the statistics of the stage before."""
    learner = _learner(experiment)
    mean, std = (tuple(map(float, np.ravel(x))) for x in (dataset.obs_mean, dataset.obs_std))
    parts: dict[str, Any] = {
        "learner": learner.changed(start_pairs=pairs_of(dataset, "the stage before")),
        "normalizer": _normalizer(experiment).holding(mean, std),
    }
    return dataclasses.replace(experiment, algorithm=dataclasses.replace(experiment.algorithm, **parts))  # type: ignore[type-var]  # algorithms are dataclasses


def _learner(experiment: Experiment) -> PairsLearner:
    learner = getattr(experiment.algorithm, "learner", None)
    if not isinstance(learner, PairsLearner):
        raise ConfigError(
            f"A stage that follows another needs a learner that can start from pairs, not {type(learner).__name__}: "
            "BehaviourCloning or RidgeCloning."
        )
    return learner


def _normalizer(experiment: Experiment) -> Normalizer:
    normalizer: Normalizer = getattr(experiment.algorithm, "normalizer")  # noqa: B009  (of any algorithm)
    return normalizer
