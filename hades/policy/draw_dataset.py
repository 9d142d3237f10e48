"""A dataset of pictures from one of states or of grids of objects.

dataset = hades.draw_dataset(hades.zoo.load("freeway-hades-r-d6"))
print(hades.evaluate_dataset(dataset))
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hades.data.dataset import DistilledDataset
from hades.environments.rendered import Rendered
from hades.inner.base import InnerLearner
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE, CrossEntropy
from hades.policies.cnn import NatureCNN
from hades.policy.make_dataset import make_dataset


def draw_dataset(
    dataset: DistilledDataset,
    size: int = 84,
    frames: int = 1,
    stride: int = 1,
    *,
    learner: InnerLearner | None = None,
    **recipe: Any,
) -> DistilledDataset:
    """The pairs of a dataset as pictures, with the same targets, for a network that sees the environment drawn.

    The search that made the dataset did not see pictures, so that the return has to be measured anew: it is not the
    dataset's. A start for a search through pictures it is in any case (`codes`).

    Args:
        dataset: of an environment that `Rendered` draws.
        size, frames, stride: fields of Rendered.
        learner: the recipe; None: 64 updates of Adam on a small Nature CNN with fresh weights, which acts greedily.
        **recipe: fields of the recipe to change.

    Raises:
        ConfigError: where the environment cannot be drawn, or the recipe does not fit.
    """
    environment = Rendered(dataset.environment, size, frames, stride)
    raw = (dataset.observations * dataset.obs_std + dataset.obs_mean).astype(np.float32)
    pictures = np.asarray(jax.jit(jax.vmap(environment.picture))(jnp.asarray(raw)))
    learner = learner or BehaviourCloning(
        policy=NatureCNN(features=(8, 16, 16), width=64, acting="greedy"),
        init_scheme=RandomInit(1),
        loss=CrossEntropy() if environment.spec.is_discrete else MSE(),
        num_pairs=1,
        learning_rate=0.003,
    )
    made = make_dataset(pictures, dataset.targets, environment, learner=learner, **recipe)
    known = {k: v for k, v in (dataset.metadata.get("training") or {}).items() if k in ("teachers", "source")}
    training = {**known, "method": f"{dataset.method}, drawn"}
    return dataclasses.replace(made, metadata={**made.metadata, "training": training}, codes=raw)
