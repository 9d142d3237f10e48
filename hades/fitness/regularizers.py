"""Terms on the dataset itself, to be added with WeightedSum: costs with the sign turned, so higher is better."""

import dataclasses

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.fitness.base import Fitness
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Score


@register("Fitness", "DatasetL2")
@dataclasses.dataclass(frozen=True)
class DatasetL2(Fitness):
    """Minus the mean square of the genome: pulls what does not matter towards zero."""

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del key, env, act, with_moments
        flat, _ = ravel_pytree(candidate.genome)
        return _score(-jnp.mean(jnp.square(flat)), "dataset_l2")

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return 0


@register("Fitness", "CloningLoss")
@dataclasses.dataclass(frozen=True)
class CloningLoss(Fitness):
    """Minus the final cloning loss: prefers datasets that are easy to learn."""

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del key, env, act, with_moments
        if "loss/final" not in candidate.metrics:
            raise ConfigError("CloningLoss needs a learner that clones; this one has no cloning loss.")
        return _score(-candidate.metrics["loss/final"], "cloning_loss")

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return 0


def _score(value: jax.Array, name: str) -> Score:
    zero = jnp.zeros((), jnp.int32)
    return Score(value=value, episodes=zero, env_steps=zero, moments=None, metrics={name: value})
