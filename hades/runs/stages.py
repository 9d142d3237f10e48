"""A run in stages: each starts from the dataset that the one before has made."""

import dataclasses
from typing import Any

import numpy as np

from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError, require
from hades.inner.pairs import PairsLearner, StartPairs
from hades.normalizers.constant import ConstantNormalizer
from hades.runs.experiment import Experiment

FIRST = "first"
"""Folder of the stage before, inside a run's work directory."""


def pairs_of(dataset: DistilledDataset, source: str) -> StartPairs:
    """Pairs of a dataset in raw coordinates, to start a search from."""
    return StartPairs(
        num_pairs=len(dataset),
        observations=tuple(map(float, np.ravel(dataset.observations * dataset.obs_std + dataset.obs_mean))),
        targets=tuple(map(float, np.ravel(dataset.targets))),
        source=source,
    )


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
    learner, normalizer = _parts(experiment)
    pairs = [getattr(stage.algorithm, "learner").num_pairs for stage in (first, experiment)]  # noqa: B009  (any algorithm)
    require(
        pairs[0] == pairs[1],
        f"Experiment.first makes {pairs[0]} pairs, but {type(learner).__name__}.num_pairs of the stage after it is "
        f"{pairs[1]}: use the same number.",
    )
    require(
        not normalizer.mean and learner.start_pairs is None,
        "A stage that follows another takes its pairs and statistics: leave out start_pairs and the normalizer's mean "
        "and std.",
    )


def started_from(experiment: Experiment, dataset: DistilledDataset) -> Experiment:
    """The experiment with the pairs and the statistics of the stage before."""
    learner, normalizer = _parts(experiment)
    mean, std = (tuple(map(float, np.ravel(x))) for x in (dataset.obs_mean, dataset.obs_std))
    parts: dict[str, Any] = {
        "learner": learner.changed(start_pairs=pairs_of(dataset, "the stage before")),
        "normalizer": dataclasses.replace(normalizer, mean=mean, std=std),
    }
    return dataclasses.replace(experiment, algorithm=dataclasses.replace(experiment.algorithm, **parts))  # type: ignore[type-var]  # algorithms are dataclasses


def _parts(experiment: Experiment) -> tuple[PairsLearner, ConstantNormalizer]:
    learner, normalizer = (getattr(experiment.algorithm, name, None) for name in ("learner", "normalizer"))
    if not isinstance(learner, PairsLearner):
        raise ConfigError(
            f"A stage that follows another needs a learner that can start from pairs, not {type(learner).__name__}: "
            "BehaviourCloning or RidgeCloning."
        )
    if not isinstance(normalizer, ConstantNormalizer):
        raise ConfigError(
            f"A stage that follows another keeps its statistics, so that its normalizer must be ConstantNormalizer, "
            f"not {type(normalizer).__name__}."
        )
    return learner, normalizer
