"""Separable NES (Wierstra et al., 2014, Alg. 6): a diagonal Gaussian whose mean and step sizes follow rank utilities.

Departures: utilities may be those of Discovered ES (Lange et al., 2023); pairs may be antithetic; the mean is pulled
towards a prior, because otherwise the inputs that do not matter wander at random and the evolved data cannot be read.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated

import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.errors import ConfigError
from hades.fields import NonNegative, Positive, Range
from hades.outer.base import OuterOptimizer, PopulationSize, check_population, sigma_metrics
from hades.outer.noise import Noise, Perturbations, Rows, StoredNoise, array_shapes
from hades.outer.shaping import average_over_ties, rank_utilities
from hades.registry import register
from hades.types import Genome, Key, Metrics


@struct.dataclass
class SNESState:
    mean: Array  # f32[n]
    std: Array  # f32[n]
    prior: Array  # f32[n], what the mean is pulled towards
    perturbations: Perturbations = struct.field(pytree_node=False)


@register("OuterOptimizer", "SNES")
@dataclasses.dataclass(frozen=True)
class SNES(OuterOptimizer):
    """Separable NES; published MinAtar runs: P 2048, σ₀ 0.5, temperature 20.

    Attributes:
        population_size: P, candidates of a generation.
        sigma: initial step size of every coordinate.
        temperature: 0 takes the utilities of the paper; above 0 those of Discovered ES (see `rank_utilities`).
        learning_rate: of the mean.
        sigma_learning_rate: of the step sizes; 0 takes the paper's (3 + ln n) / (5 √n).
        antithetic: sample in pairs mean ± σz.
        pull: share of the way back to the prior (the starting mean) that the mean moves in a generation.
        noise: where z comes from and what a generation keeps of it; its entries must be independent.
    """

    population_size: PopulationSize = 64
    sigma: Positive = 0.5
    temperature: NonNegative = 0.0
    learning_rate: Positive = 1.0
    sigma_learning_rate: NonNegative = 0.0
    antithetic: bool = False
    pull: Annotated[float, Range(least=0, below=1)] = 0.0
    noise: Noise = StoredNoise()

    def __post_init__(self) -> None:
        check_population("SNES", self.population_size, self.antithetic)
        if not self.noise.independent:
            name = type(self.noise).__name__
            raise ConfigError(f"SNES.noise is {name}, whose entries are not independent: use SeededNoise, or OpenES.")

    def init(self, key: Key, mean: Array, unravel: Callable[[Array], Genome]) -> SNESState:
        del key
        perturbations = Perturbations(self.noise, self.antithetic, array_shapes(mean, unravel))
        return SNESState(mean=mean, std=jnp.full_like(mean, self.sigma), prior=mean, perturbations=perturbations)

    def ask(self, key: Key, state: SNESState) -> tuple[Rows, SNESState]:
        return state.perturbations.draw(key, self.population_size), state

    def candidates(self, state: SNESState, rows: Rows) -> Array:
        return state.mean + state.std * state.perturbations.directions(rows)

    def tell(self, key: Key, state: SNESState, population: Rows, fitness: Array) -> tuple[SNESState, Metrics]:
        del key
        n, perturbations = state.mean.size, state.perturbations
        utilities = average_over_ties(fitness, rank_utilities(self.population_size, self.temperature))
        rate = self.sigma_learning_rate or (3.0 + math.log(n)) / (5.0 * math.sqrt(n))
        mean = state.mean + self.learning_rate * state.std * perturbations.mean_gradient(utilities, population)
        mean = mean + self.pull * (state.prior - mean)
        std = state.std * jnp.exp(0.5 * rate * perturbations.std_gradient(utilities, population))
        metrics = sigma_metrics(std, self.sigma) | {"outer/update_norm": jnp.linalg.norm(mean - state.mean)}
        return dataclasses.replace(state, mean=mean, std=std), metrics

    def solution(self, state: SNESState) -> Array:
        return state.mean
