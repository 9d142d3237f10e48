"""OpenAI-ES (Salimans et al., 2017, Alg. 1): a gradient of the smoothed fitness, followed by an optax optimiser.

Departures: the mean and the step size of a generation belong together (evosax 0.3 lags its schedule by one), and the
update is one contraction over the population, so that a sharded population is never gathered.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from hades.errors import ConfigError, offer
from hades.optimizers import check_optimizer, make_optimizer
from hades.outer.base import OuterOptimizer, check_population
from hades.outer.shaping import SHAPINGS
from hades.registry import options, register
from hades.types import Genome, Key, Metrics


@struct.dataclass
class OpenESState:
    mean: Array  # f32[n]
    sigma: Array  # f32[]
    optimizer: optax.OptState


@register("OuterOptimizer", "OpenES")
@dataclasses.dataclass(frozen=True)
class OpenES(OuterOptimizer):
    """Published Brax runs: P 2048, σ 0.03, Adam 0.05 with b1 0.99, raw fitness.

    Attributes:
        sigma, sigma_decay, sigma_min: step size, its factor a generation, and its floor.
        optimizer, learning_rate, optimizer_options: any optax optimiser.
        shaping: "centered_rank", "standardized" or "raw".
        antithetic: sample in pairs mean ± σz.
    """

    population_size: int = 64
    sigma: float = 0.03
    sigma_decay: float = 1.0
    sigma_min: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 0.05
    optimizer_options: tuple[tuple[str, Any], ...] = ()
    shaping: str = "centered_rank"
    antithetic: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "optimizer_options", options(self.optimizer_options))
        check_population("OpenES", self.population_size, self.antithetic)
        check_optimizer("OpenES", self.optimizer, self.optimizer_options)
        if self.shaping not in SHAPINGS:
            raise ConfigError(f'OpenES.shaping is "{self.shaping}". {offer(self.shaping, SHAPINGS)}')
        if self.sigma <= 0:
            raise ConfigError(f"OpenES.sigma is {self.sigma}; it must be above 0.")

    def init(self, key: Key, mean: Array, unravel: Callable[[Array], Genome]) -> OpenESState:
        del key, unravel
        return OpenESState(mean=mean, sigma=jnp.asarray(self.sigma), optimizer=self._optimizer.init(mean))

    def ask(self, key: Key, state: OpenESState) -> tuple[Array, OpenESState]:
        return state.mean + state.sigma * sample_noise(
            key, self.population_size, state.mean.size, self.antithetic
        ), state

    def tell(self, key: Key, state: OpenESState, population: Array, fitness: Array) -> tuple[OpenESState, Metrics]:
        del key
        noise = (population - state.mean) / state.sigma
        weights = SHAPINGS[self.shaping](fitness)
        ascent = weighted_sum(weights, noise) / (self.population_size * state.sigma)
        updates, optimizer = self._optimizer.update(-ascent, state.optimizer, state.mean)
        sigma = jnp.maximum(state.sigma * self.sigma_decay, self.sigma_min)
        metrics = {"outer/sigma": state.sigma, "outer/update_norm": optax.tree.norm(updates)}
        return OpenESState(optax.apply_updates(state.mean, updates), sigma, optimizer), metrics

    def solution(self, state: OpenESState) -> Array:
        return state.mean

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return make_optimizer(self.optimizer, self.learning_rate, self.optimizer_options)


def weighted_sum(weights: Array, rows: Array) -> Array:
    """Σ weights[p] · rows[p]: f32[n]. A fused sum, because a matrix product would first write `rows` to memory."""
    return jnp.sum(weights[:, None] * rows, axis=0)


def sample_noise(key: Key, population_size: int, n: int, antithetic: bool) -> Array:
    """Standard normal f32[P, n]; neighbours mirror each other where antithetic, so that a shard holds whole pairs."""
    if not antithetic:
        return jax.random.normal(key, (population_size, n))
    half = jax.random.normal(key, (population_size // 2, n))
    return jnp.stack([half, -half], axis=1).reshape(population_size, n)
