"""OpenAI-ES (Salimans et al., 2017, Alg. 1): a gradient of the smoothed fitness, followed by an optax optimiser.

Departures: the mean and the step size of a generation belong together (evosax 0.3 lags its schedule by one), and the
update is one contraction over the rows of noise, so that a sharded population is never gathered.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from hades.errors import one_of
from hades.fields import NonNegative, Positive, Range
from hades.optimizers import check_optimizer, make_optimizer
from hades.outer.base import OuterOptimizer, PopulationSize, check_population, sigma_metrics
from hades.outer.noise import Noise, Perturbations, Rows, StoredNoise, array_shapes
from hades.outer.shaping import SHAPINGS
from hades.registry import register
from hades.types import Genome, Key, Metrics


@struct.dataclass
class OpenESState:
    mean: Array  # f32[n]
    sigma: Array  # f32[]
    optimizer: optax.OptState
    perturbations: Perturbations = struct.field(pytree_node=False)


@register("OuterOptimizer", "OpenES")
@dataclasses.dataclass(frozen=True)
class OpenES(OuterOptimizer):
    """OpenAI-ES; published Brax runs: P 2048, σ 0.03, Adam 0.05 with b1 0.99, raw fitness.

    Attributes:
        population_size: P, candidates of a generation.
        sigma: initial step size.
        sigma_decay: factor of the step size a generation.
        sigma_min: least step size.
        optimizer, learning_rate, optimizer_options: any optax optimiser by its name, with its arguments.
        shaping: "centered_rank", "standardized" or "raw".
        antithetic: sample in pairs mean ± σz.
        noise: where z comes from and what a generation keeps of it.
    """

    population_size: PopulationSize = 64
    sigma: Positive = 0.03
    sigma_decay: Annotated[float, Range(above=0, most=1)] = 1.0
    sigma_min: NonNegative = 0.0
    optimizer: str = "adam"
    learning_rate: Positive = 0.05
    optimizer_options: tuple[tuple[str, Any], ...] = ()
    shaping: str = "centered_rank"
    antithetic: bool = True
    noise: Noise = StoredNoise()

    def __post_init__(self) -> None:
        check_population("OpenES", self.population_size, self.antithetic)
        check_optimizer("OpenES", self.optimizer, self.optimizer_options)
        one_of("OpenES.shaping", self.shaping, SHAPINGS)

    def init(self, key: Key, mean: Array, unravel: Callable[[Array], Genome]) -> OpenESState:
        del key
        optimizer = make_optimizer(self.optimizer, self.learning_rate, self.optimizer_options)
        perturbations = Perturbations(self.noise, self.antithetic, array_shapes(mean, unravel))
        return OpenESState(mean, jnp.asarray(self.sigma), optimizer.init(mean), perturbations)

    def ask(self, key: Key, state: OpenESState) -> tuple[Rows, OpenESState]:
        return state.perturbations.draw(key, self.population_size), state

    def candidates(self, state: OpenESState, rows: Rows) -> Array:
        return state.mean + state.sigma * state.perturbations.directions(rows)

    def tell(self, key: Key, state: OpenESState, population: Rows, fitness: Array) -> tuple[OpenESState, Metrics]:
        del key
        weights = SHAPINGS[self.shaping](fitness)
        gradient = state.perturbations.mean_gradient(weights, population) / (self.population_size * state.sigma)
        optimizer = make_optimizer(self.optimizer, self.learning_rate, self.optimizer_options)
        updates, optimizer_state = optimizer.update(-gradient, state.optimizer, state.mean)
        mean = optax.apply_updates(state.mean, updates)
        sigma = jnp.maximum(state.sigma * self.sigma_decay, self.sigma_min)
        metrics = sigma_metrics(state.sigma, self.sigma) | {"outer/update_norm": optax.tree.norm(updates)}
        return dataclasses.replace(state, mean=mean, sigma=sigma, optimizer=optimizer_state), metrics

    def solution(self, state: OpenESState) -> Array:
        return state.mean
