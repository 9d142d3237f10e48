"""A few compiled generations, and fitness terms that make a generation's inside visible."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from hades.algorithms.evolution import Evolution, EvolutionState
from hades.fitness.base import Fitness
from hades.types import Candidate, EnvSpec, Metrics, Score
from tests.support import one_device_mesh


@functools.cache
def compiled(
    evolution: Evolution, num_generations: int, mesh: jax.sharding.Mesh
) -> Callable[[Array], tuple[EvolutionState, Metrics]]:
    """key -> the state after some generations and the metrics of each of them."""

    def search(key: Array) -> tuple[EvolutionState, Metrics]:
        step = lambda state, _: evolution.step(state, mesh)  # noqa: E731
        return jax.lax.scan(step, evolution.init(key), None, num_generations)

    return jax.jit(search).lower(jax.random.key(0)).compile()


def run(evolution: Evolution, key: Array, num_generations: int) -> tuple[EvolutionState, Metrics]:
    """The same on one device."""
    return compiled(evolution, num_generations, one_device_mesh())(key)


def score(value: Array) -> Score:
    zero = jnp.zeros((), jnp.int32)
    return Score(value=value, episodes=zero, env_steps=zero, moments=None, metrics={})


@dataclasses.dataclass(frozen=True)
class FirstKernel(Fitness):
    """The sum of the policy's first kernel."""

    def __call__(self, key, env, act, candidate: Candidate, *, with_moments: bool = False) -> Score:
        return score(candidate.params["layers_0"]["kernel"].sum())

    def parallel_episodes(self, spec: EnvSpec) -> int:
        return 0


@dataclasses.dataclass(frozen=True)
class FirstNumber(Fitness):
    """The first number of the dataset; not a number where that is positive."""

    def __call__(self, key, env, act, candidate: Candidate, *, with_moments: bool = False) -> Score:
        first = candidate.genome.observations[0, 0]
        return score(jnp.where(first > 0.0, jnp.nan, first))

    def parallel_episodes(self, spec: EnvSpec) -> int:
        return 0
