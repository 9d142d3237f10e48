"""A dataset of a few pairs on the point environment, and an inspection of it written by hand."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from hades import registry
from hades.data.dataset import DistilledDataset, describe_spec
from hades.environments.base import Environment
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.normalizers.base import Normalizer
from hades.normalizers.none import NoNormalizer
from hades.studies.inspection.influence import Influence, PairInfluence
from hades.studies.inspection.nearest import Nearest, NearestState
from hades.studies.inspection.numbers import Inspection, dataset_fingerprint
from tests.support import CLONING, POINT

PAIRS = ((0.3, -0.2), (-0.4, 0.5), (0.1, 0.6))


def make_dataset(
    observations: Sequence[Sequence[float]] = PAIRS,
    learner: BehaviourCloning = CLONING,
    env: Environment = POINT,
    normalizer: Normalizer | None = None,
) -> DistilledDataset:
    """A dataset on `point` whose actions lead from positions to goals."""
    registry.discover()
    placed = np.array(observations, np.float32)
    return DistilledDataset(
        observations=placed,
        targets=placed[:, 1:] - placed[:, :1],
        obs_mean=np.zeros(env.spec.obs_shape, np.float32),
        obs_std=np.full(env.spec.obs_shape, 0.5, np.float32),
        metadata={
            "environment": registry.describe(env),
            "spec": describe_spec(env.spec),
            "learner": registry.describe(dataclasses.replace(learner, num_pairs=len(placed), num_updates=8)),
            "normalizer": registry.describe(normalizer or NoNormalizer()),
            "init": {"kind": "fixed" if learner.init_scheme.is_fixed else "random"},
            "versions": {},
        },
    )


def make_inspection(dataset: DistilledDataset, **changes: Any) -> Inspection:
    """Pair i lies i standard deviations away from a state at (0.5, 0.25), and is worth 2 - i."""
    state = NearestState(
        distance=0.0,
        observation=(0.5, 0.25),
        policy=1,
        episode=0,
        step=3,
        by_feature=(0.25, -1.5),
        random_distance=2.5,
        off_constant=0.0,
    )
    pairs = tuple(dataclasses.replace(state, distance=float(i)) for i in range(len(dataset)))
    worth = tuple(PairInfluence(1.0 + i, 2.0 - i, 1.25 - i, 2.75 - i) for i in range(len(dataset)))
    nearest = Nearest(
        pairs=pairs,
        neighbour_median=0.125,
        neighbour_far=0.5,
        num_policies=3,
        num_episodes=2,
        num_steps=1234,
        num_states=24,
        num_constant=0,
        std=(1.0, 2.0),
        low=(-1.0, -2.0),
        high=(1.0, 2.0),
        typical=(0.125, 0.75),
        sample=((0.0, 0.0), (0.5, 0.25)),
    )
    influence = Influence(
        returns=3.0, pairs=worth, num_inits=3, num_episodes=2, one_policy=False, num_updates=8, batch_size=0
    )
    return Inspection(
        **({"dataset": dataset_fingerprint(dataset), "seed": 0, "nearest": nearest, "influence": influence} | changes)
    )
