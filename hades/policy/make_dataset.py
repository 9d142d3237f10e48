"""A dataset from arrays of one's own.

observations, labels = [[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, -0.1, 0.0]], [1, 0]
dataset = hades.make_dataset(observations, labels, hades.Gymnax("CartPole-v1"))
print(hades.evaluate(hades.train_policy(dataset)))
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hades import registry
from hades.data.arrays import check_statistics
from hades.data.dataset import DistilledDataset, describe_spec
from hades.environments.base import Environment
from hades.errors import DatasetError, shown
from hades.inner.base import InnerLearner
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE, CrossEntropy
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.none import NoNormalizer
from hades.policies.mlp import MLP
from hades.policy.fingerprint import initial_weights
from hades.policy.versions import library_versions
from hades.types import EnvSpec

TOLERANCE = 1e-3
"""Largest deviation from 1 of a sum of class probabilities."""


def make_dataset(
    observations: ArrayLike,
    targets: ArrayLike,
    environment: Environment,
    *,
    mean: ArrayLike | None = None,
    std: ArrayLike | None = None,
    normalized: bool = False,
    learner: InnerLearner | None = None,
    **recipe: Any,
) -> DistilledDataset:
    """A dataset from pairs of your own, to train from, evaluate and save like any other.

    Args:
        observations: f32[N, *obs_shape], as the environment shows them, or normalised already (`normalized`).
        targets: of discrete actions, labels i32[N] or class probabilities f32[N, A]; of others, actions f32[N, A] in
            [-1, 1].
        environment: what a policy is to act in.
        mean, std: statistics f32[*obs_shape], or one number, that normalise what a policy observes; None: 0 and 1.
        normalized: True where `observations` are normalised by them already.
        learner: the recipe; None: 64 updates of Adam on an MLP with one hidden layer of 64 units and fresh weights,
            which acts greedily, by the cross-entropy (discrete actions) or the mean squared error.
        **recipe: fields of the recipe to change, such as `policy=MLP(width=256)` or `num_updates=1000`.

    Raises:
        DatasetError: for arrays that do not fit the environment, naming both shapes, and for targets that are neither
            labels nor probabilities.
        ConfigError: for an unknown field of the recipe, or one that does not fit the environment.
    """
    spec = environment.spec
    obs_mean, obs_std = (
        np.broadcast_to(x, spec.obs_shape) if x.ndim == 0 else x
        for x in (_numbers("mean", 0.0 if mean is None else mean), _numbers("std", 1.0 if std is None else std))
    )
    check_statistics("make_dataset", obs_mean, obs_std)
    pairs = _numbers("observations", observations)
    if not normalized and pairs.shape[1:] == obs_mean.shape:  # other shapes are refused below
        pairs = (pairs - obs_mean) / obs_std
    count = len(pairs) if pairs.ndim and len(pairs) else 1  # none are refused below too
    learner = (learner or _usual(spec)).sized(count, **recipe)
    normalizer = NoNormalizer() if mean is None and std is None else ConstantNormalizer(clip=0.0)
    learner.check(spec)
    init, _ = initial_weights(learner, spec)
    return DistilledDataset(
        observations=pairs,
        targets=_targets(targets, spec),
        obs_mean=obs_mean,
        obs_std=obs_std,
        metadata={
            "environment": registry.describe(environment),
            "spec": describe_spec(spec),
            "learner": registry.describe(learner),
            "normalizer": registry.describe(normalizer),
            "init": init,
            "returns": {},
            "training": {"method": "given pairs"},
            "versions": library_versions(environment.versions),
        },
    )


def _usual(spec: EnvSpec) -> InnerLearner:
    return BehaviourCloning(
        policy=MLP(width=64, depth=1, acting="greedy"),
        init_scheme=RandomInit(1),
        loss=CrossEntropy() if spec.is_discrete else MSE(),
        num_pairs=1,
    )


def _numbers(name: str, given: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{name} is {shown(given)}; it must be an array of numbers ({error}).") from error


def _targets(given: ArrayLike, spec: EnvSpec) -> np.ndarray:
    """f32[N, A]: class probabilities, labels as one-hot rows, or actions as they are."""
    targets, size = _numbers("targets", given), spec.action_space.size
    if not spec.is_discrete:
        return targets
    if targets.ndim == 1:
        if not np.isin(targets, np.arange(size)).all():
            odd = targets[~np.isin(targets, np.arange(size))][0]
            raise DatasetError(f"targets hold the label {odd:g}; {spec.name} has the actions 0 to {size - 1}.")
        return np.eye(size, dtype=np.float32)[targets.astype(int)]
    if targets.ndim == 2 and ((targets < 0).any() or (abs(targets.sum(1) - 1) > TOLERANCE).any()):
        row = int(np.argmax((targets < 0).any(1) | (abs(targets.sum(1) - 1) > TOLERANCE)))
        raise DatasetError(
            f"targets of {spec.name} are class probabilities, but row {row} is {shown(targets[row].tolist())}, which "
            "is negative somewhere or does not sum to 1. Give labels i32[N], or the softmax of logits."
        )
    return targets
