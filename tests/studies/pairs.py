"""A dataset for `point` that its own recipe learns from: what the optimal policy does at random states."""

from typing import Any

import numpy as np

from hades import registry
from hades.data.dataset import DistilledDataset, describe_spec
from hades.environments.point import Point
from hades.inner.base import InitScheme
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.normalizers.none import NoNormalizer
from hades.policies.mlp import MLP


def expert_pairs(
    init_scheme: InitScheme | None = None, environment: Point | None = None, **changes: Any
) -> DistilledDataset:
    """16 pairs; `changes` are fields of the recipe."""
    env = environment or Point(max_episode_steps=5)
    fields: dict[str, Any] = {
        "policy": MLP(width=8, depth=1, acting="greedy"),
        "init_scheme": init_scheme or RandomInit(num_inits=1),
        "loss": MSE(),
        "num_pairs": 16,
        "num_updates": 40,
        "learning_rate": 0.05,
    }
    observations = np.random.default_rng(0).uniform(-1, 1, (16, 2)).astype(np.float32)
    targets = np.clip((observations[:, 1:] - observations[:, :1]) / 0.25, -1, 1).astype(np.float32)
    return DistilledDataset(
        observations=observations,
        targets=targets,
        obs_mean=np.zeros(2, np.float32),
        obs_std=np.ones(2, np.float32),
        metadata={
            "environment": registry.describe(env),
            "spec": describe_spec(env.spec),
            "learner": registry.describe(BehaviourCloning(**(fields | changes))),
            "normalizer": registry.describe(NoNormalizer()),
            "init": {"kind": "fixed" if init_scheme is not None and init_scheme.is_fixed else "random"},
            "versions": {},
        },
    )
