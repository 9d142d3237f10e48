"""A few compiled generations, and fitness terms that make a generation's inside visible."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from hades.algorithms.evolution import Evolution, EvolutionState
from hades.fitness.base import Fitness
from hades.types import Candidate, Metrics, Score
from tests.support import one_device_mesh


def run(
    evolution: Evolution, key: Array, num_generations: int, mesh: jax.sharding.Mesh | None = None
) -> tuple[EvolutionState, Metrics]:
    """The state after some generations and the metrics of each of them."""
    mesh = mesh or one_device_mesh()

    @jax.jit
    def search(key: Array) -> tuple[EvolutionState, Metrics]:
        step = lambda state, _: evolution.step(state, mesh)  # noqa: E731
        return jax.lax.scan(step, evolution.init(key), None, num_generations)

    return search(key)


def score(value: Array) -> Score:
    zero = jnp.zeros((), jnp.int32)
    return Score(value=value, episodes=zero, env_steps=zero, moments=None, metrics={})


@dataclasses.dataclass(frozen=True)
class FirstKernel(Fitness):
    """The sum of the policy's first kernel."""

    def __call__(self, key, env, act, candidate: Candidate, *, with_moments: bool = False) -> Score:
        return score(candidate.params["layers_0"]["kernel"].sum())


@dataclasses.dataclass(frozen=True)
class FirstNumber(Fitness):
    """The first number of the dataset; not a number above `limit`."""

    limit: float = 0.0

    def __call__(self, key, env, act, candidate: Candidate, *, with_moments: bool = False) -> Score:
        first = candidate.genome.observations[0, 0]
        return score(jnp.where(first > self.limit, jnp.nan, first))
