"""One dataset from several: a policy cloned from the union acts in every task, without any environment step.

Observations enter in each dataset's own normalised coordinates and are padded with zeros, targets too. Pairs are
repeated until every task has equally many, so that the mean loss over pairs is the mean over tasks.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hades import registry
from hades.data.dataset import DistilledDataset, describe_spec
from hades.environments.tasks import Tasks
from hades.errors import ConfigError, DatasetError
from hades.inner.base import InnerLearner
from hades.normalizers.none import NoNormalizer

MOST_POINTS = 4096
"""Largest size of a merged dataset; numbers of pairs may have an awkward least common multiple."""


def merge(
    datasets: Sequence[DistilledDataset],
    learner: InnerLearner | None = None,
    *,
    floors: Sequence[float] | None = None,
    layout: str = "blocks",
    task_token: bool = False,
) -> DistilledDataset:
    """The union of several datasets, as a dataset for an environment of several tasks.

    Args:
        datasets: at least two, of different environments, all discrete or all continuous, each with a measured return:
            the reference that the return in its task is scaled by.
        learner: the recipe for the union; None: `shared_recipe`. Its number of pairs is set here.
        floors: returns that count as 0, one a dataset; None: 0, where all returns are positive.
        layout: "blocks" or "overlap"; see Tasks.
        task_token: let observations say which task they are from.

    Returns:
        A dataset whose environment is `Tasks`, whose `returns` are empty and whose `training` names what it was made
        from and zero environment steps.

    Raises:
        DatasetError: for datasets that cannot be merged, with the reason.
    """
    _check(datasets)
    environment = _tasks(datasets, floors, layout=layout, task_token=task_token)
    observations, targets = _balanced_pairs(datasets, environment)
    recipe = (learner or shared_recipe(datasets)).sized(len(observations))
    recipe.check(environment.spec)
    shape = environment.spec.obs_shape
    return DistilledDataset(
        observations=observations,
        targets=targets,
        obs_mean=np.zeros(shape, np.float32),
        obs_std=np.ones(shape, np.float32),
        metadata={
            "environment": registry.describe(environment),
            "spec": describe_spec(environment.spec),
            "learner": registry.describe(recipe),
            "normalizer": registry.describe(NoNormalizer()),
            "init": {"kind": "random"},
            "returns": {},
            "training": {
                "merged_from": [d.metadata["spec"]["name"] for d in datasets],
                "points": [len(d) for d in datasets],
                "env_steps": {"search": 0},
                **_teachers(datasets),
            },
            "versions": _versions(datasets),
        },
    )


def shared_recipe(datasets: Sequence[DistilledDataset]) -> InnerLearner:
    """The learner for the union of datasets, as `InnerLearner.merged` makes it from the datasets' own.

    Raises:
        DatasetError: where they are of different classes.
    """
    first, *others = [d.learner for d in datasets]
    names = dict.fromkeys(type(learner).__name__ for learner in (first, *others))
    if len(names) > 1:
        raise DatasetError(
            f"These datasets train by {' and '.join(names)}: name one learner for their union (learner)."
        )
    return first.merged(others)


def _balanced_pairs(datasets: Sequence[DistilledDataset], environment: Any) -> tuple[np.ndarray, np.ndarray]:
    """Padded observations f32[N, *obs_shape] and targets f32[N, A], equally many of each task."""
    observations, targets = [], []
    repeats = _repeats([len(d) for d in datasets])
    for dataset, member, times in zip(datasets, environment.members, repeats, strict=True):
        behind = environment.spec.action_space.size - member.first_action - dataset.targets.shape[1]
        observations += [np.asarray(jax.vmap(member.pad)(jnp.asarray(dataset.observations)))] * times
        targets += [np.pad(dataset.targets, ((0, 0), (member.first_action, behind)))] * times
    return np.concatenate(observations).astype(np.float32), np.concatenate(targets)


def _check(datasets: Sequence[DistilledDataset]) -> None:
    if len(datasets) < 2:
        raise DatasetError(f"Merging takes at least two datasets, but there are {len(datasets)}.")
    for dataset in datasets:
        name = dataset.environment.spec.name
        if dataset.metadata["init"]["kind"] == "fixed":
            raise DatasetError(
                f"The dataset for {name} is of HaDES-F: it trains one network from one initialisation, which a network "
                "of the merged size does not have. Merge HaDES-R datasets."
            )
        if dataset.normalizer.has_memory:
            raise DatasetError(
                f"The dataset for {name} has no constant statistics: {type(dataset.normalizer).__name__} gathers them "
                "while it plays. Freeze them first (hades.policy.trained_policy.freeze_statistics)."
            )
        if dataset.returns.get("mean") is None:
            raise DatasetError(
                f"The dataset for {name} states no return, so a merged policy's cannot be compared with it: measure it "
                "first (hades-train does when a run ends)."
            )


def _tasks(datasets: Sequence[DistilledDataset], floors: Sequence[float] | None, **options: Any) -> Any:
    """The environment `Tasks` of the datasets' environments, with their normalisation."""
    try:
        return Tasks(
            environments=tuple(d.environment for d in datasets),
            references=tuple(round(float(d.returns["mean"]), 4) for d in datasets),
            floors=tuple(floors) if floors is not None else (),
            **options,
            means=tuple(tuple(d.obs_mean.reshape(-1).tolist()) for d in datasets),
            stds=tuple(tuple(d.obs_std.reshape(-1).tolist()) for d in datasets),
            clips=tuple(float(getattr(d.normalizer, "clip", 0.0)) for d in datasets),
        )
    except ConfigError as error:
        raise DatasetError(f"These datasets cannot be merged. {error}") from error


def _repeats(sizes: Sequence[int]) -> list[int]:
    """Number of repetitions of each task's pairs that gives all tasks equally many."""
    common = math.lcm(*sizes)
    if common * len(sizes) > MOST_POINTS:
        raise DatasetError(
            f"Datasets of {', '.join(map(str, sizes))} pairs would need {common:,} pairs a task to be balanced; at "
            f"most {MOST_POINTS:,} in all are made. Merge datasets whose sizes divide each other."
        )
    return [common // size for size in sizes]


def _teachers(datasets: Sequence[DistilledDataset]) -> dict[str, Any]:
    """Return the teachers that the datasets state, and a name of the method that says so; empty where none had one."""
    found = [teacher for d in datasets for teacher in (d.metadata.get("training") or {}).get("teachers", ())]
    return {"method": "merged, from a teacher", "teachers": found} if found else {}


def _versions(datasets: Sequence[DistilledDataset]) -> Mapping[str, str]:
    return {name: version for d in datasets for name, version in d.metadata["versions"].items()}
