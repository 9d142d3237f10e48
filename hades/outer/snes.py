"""Separable NES (Wierstra et al., 2014, Alg. 6): a diagonal Gaussian whose mean and step sizes follow rank utilities.

Departures: utilities may be those of Discovered ES (Lange et al., 2023) with a temperature, as in the published MinAtar
runs; antithetic pairs; and a pull of the mean towards a prior, because without one the inputs
that do not matter wander at random and the evolved data cannot be read.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.errors import ConfigError
from hades.outer.base import OuterOptimizer, check_population
from hades.outer.noise import (
    Noise,
    Rows,
    Shapes,
    StoredNoise,
    genome_shapes,
    mirrored,
    num_rows,
    row_weights,
)
from hades.outer.shaping import average_over_ties
from hades.registry import register
from hades.types import Genome, Key, Metrics


@struct.dataclass
class SNESState:
    mean: Array  # f32[n]
    std: Array  # f32[n]
    prior: Array  # f32[n], what the mean is pulled towards
    shapes: Shapes = struct.field(pytree_node=False)  # of the genome's arrays


@register("OuterOptimizer", "SNES")
@dataclasses.dataclass(frozen=True)
class SNES(OuterOptimizer):
    """Published MinAtar runs: P 2048, σ₀ 0.5, temperature 20.

    Attributes:
        sigma: initial step size of every coordinate.
        temperature: 0 takes the utilities of the paper (log ranks of the better half, minus 1/P); above 0 those of
            Discovered ES, softmax(-20 sigmoid(temperature · centred rank)).
        learning_rate: of the mean.
        sigma_learning_rate: of the step sizes; 0 takes the paper's (3 + ln n) / (5 √n).
        antithetic: sample in pairs mean ± σz.
        pull: share of the way back to the prior (the starting mean) that each coordinate of the mean goes in a
            generation.
        noise: where z comes from and what a generation keeps of it.
    """

    population_size: int = 64
    sigma: float = 0.5
    temperature: float = 0.0
    learning_rate: float = 1.0
    sigma_learning_rate: float = 0.0
    antithetic: bool = False
    pull: float = 0.0
    noise: Noise = StoredNoise()

    def __post_init__(self) -> None:
        check_population("SNES", self.population_size, self.antithetic)
        if self.sigma <= 0 or self.temperature < 0:
            raise ConfigError(
                f"SNES.sigma is {self.sigma} and .temperature {self.temperature}; they must be above 0 and at least 0."
            )
        if not 0.0 <= self.pull < 1.0:
            raise ConfigError(f"SNES.pull is {self.pull}; it is a share and must lie in [0, 1).")
        if not self.noise.independent:
            raise ConfigError(
                f"SNES adapts the step size of every number by itself, but {type(self.noise).__name__} moves numbers "
                "together: take another noise, or OpenES, which has one step size."
            )

    def init(self, key: Key, mean: Array, unravel: Callable[[Array], Genome]) -> SNESState:
        del key
        shapes = genome_shapes(mean, unravel)
        return SNESState(mean=mean, std=jnp.full_like(mean, self.sigma), prior=mean, shapes=shapes)

    def ask(self, key: Key, state: SNESState) -> tuple[Rows, SNESState]:
        return self.noise.draw(key, num_rows(self.population_size, self.antithetic), state.shapes), state

    def candidates(self, state: SNESState, rows: Rows) -> Array:
        return state.mean + state.std * mirrored(self.noise.directions(rows, state.shapes), self.antithetic)

    def tell(self, key: Key, state: SNESState, population: Rows, fitness: Array) -> tuple[SNESState, Metrics]:
        del key
        n = state.mean.size
        utilities = average_over_ties(fitness, self.utilities())
        first, second = (row_weights(utilities, self.antithetic, power) for power in (1, 2))
        rate = self.sigma_learning_rate or (3.0 + math.log(n)) / (5.0 * math.sqrt(n))
        step = self.noise.weighted_sum(first, population, state.shapes)
        mean = state.mean + self.learning_rate * state.std * step
        mean = mean + self.pull * (state.prior - mean)
        std = state.std * jnp.exp(0.5 * rate * self.noise.weighted_squares(second, population, state.shapes))
        metrics = {"outer/sigma": std.mean(), "outer/update_norm": jnp.linalg.norm(mean - state.mean)}
        return dataclasses.replace(state, mean=mean, std=std), metrics

    def solution(self, state: SNESState) -> Array:
        return state.mean

    def utilities(self) -> Array:
        """f32[P], best first."""
        size = self.population_size
        if self.temperature:
            centered = jnp.arange(size) / (size - 1) - 0.5
            return jax.nn.softmax(-20.0 * jax.nn.sigmoid(self.temperature * centered))
        weights = jnp.maximum(0.0, math.log(size / 2 + 1) - jnp.log(jnp.arange(1, size + 1)))
        return weights / weights.sum() - 1.0 / size
