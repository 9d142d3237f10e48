"""One adapter to every evosax 0.3 strategy (Lange, 2022, github.com/RobertTLange/evosax), maximising.

The search runs in coordinates relative to its starting point, so that strategies which draw around zero start there
too. Rank weights are handed out by our own tie-safe shaping. Population-based strategies evaluate their first
population, drawn around the start, as generation 0.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array, lax

from hades.errors import ConfigError, MissingPackageError, offer, shown
from hades.fields import Count, NonNegative, Positive, checked
from hades.optimizers import check_optimizer, make_optimizer
from hades.outer.base import OuterOptimizer, PopulationSize, check_population, sigma_metrics
from hades.outer.shaping import average_over_ties, centered_rank
from hades.registry import Choices, register
from hades.types import Genome, Key, Metrics, PyTree

NUM_POPULATIONS = ("SV_CMA_ES", "SV_Open_ES")
"""Strategies of several populations; the option `num_populations` (default 2) divides our population_size."""

_OURS = ("self", "population_size", "solution", "fitness_shaping_fn", "metrics_fn")
"""Arguments of a strategy's class that the adapter gives itself."""


@struct.dataclass
class EvosaxState:
    origin: Array  # f32[n], the starting point
    strategy: PyTree  # evosax's own state
    first: Array | None  # f32[P, n], the first population of a population-based strategy
    generation: Array  # i32[]


@register("OuterOptimizer", "Evosax")
@dataclasses.dataclass(frozen=True)
class Evosax(OuterOptimizer):
    """Any evosax strategy by name.

    Attributes:
        strategy: a name of `evosax.algorithms`, such as "CMA_ES" or "SimpleGA".
        population_size: P, candidates of a generation.
        sigma: initial step size, given to the strategy as its schedule or initial std, and to the first population.
        optimizer: name of an optax optimiser, for strategies that follow one; "" keeps theirs.
        learning_rate: of that optimiser.
        optimizer_options: further arguments of that optimiser.
        constructor: further keyword arguments of the strategy's class.
        params: overrides of the strategy's default params.

    Raises:
        ConfigError: for an unknown strategy, argument or param, naming the known ones.
    """

    strategy: str
    population_size: PopulationSize = 64
    sigma: Positive = 0.5
    optimizer: str = ""
    learning_rate: Positive = 0.05
    optimizer_options: tuple[tuple[str, Any], ...] = ()
    constructor: tuple[tuple[str, Any], ...] = ()
    params: tuple[tuple[str, Any], ...] = ()
    choices: ClassVar[Choices] = {"strategy": lambda: strategies()}

    def __post_init__(self) -> None:
        known = strategies()
        if self.strategy not in known:
            raise ConfigError(
                f'Evosax.strategy: evosax has no strategy "{self.strategy}". {offer(self.strategy, known)}'
            )
        parameters = inspect.signature(_classes()[self.strategy].__init__).parameters
        accepted = [name for name in parameters if name not in _OURS]
        for name, value in self.constructor:
            if name not in accepted:
                raise ConfigError(f'Evosax.constructor: {self.strategy} takes no "{name}". {offer(name, accepted)}')
            kind = int if name == "num_populations" else type(parameters[name].default)
            if kind in (bool, int):  # every whole number is a count
                checked(value, Count if kind is int else bool, f"Evosax.constructor[{name!r}]")
        for name, value in self.params:
            if isinstance(value, int | float):  # none of evosax's is negative: they are rates, deviations and counts
                checked(value, NonNegative, f"Evosax.params[{name!r}]")
        check_population("Evosax", self.population_size, bool(self._constructor_option("use_antithetic_sampling")))
        if self.optimizer:
            check_optimizer("Evosax", self.optimizer, self.optimizer_options)
            if "optimizer" not in accepted:
                raise ConfigError(f'evosax {self.strategy} follows no optimizer; leave Evosax.optimizer = "".')
        if self.population_size % self._num_populations:
            raise ConfigError(
                f"Evosax.population_size is {self.population_size}, not divisible by num_populations "
                f"{self._num_populations}."
            )

    def init(self, key: Key, mean: Array, unravel: Callable[[Array], Genome]) -> EvosaxState:
        del unravel
        if self.strategy == "LM_MA_ES" and self.population_size > 2 * mean.size:
            raise ConfigError(
                f"evosax LM_MA_ES is for large genomes: with population_size {self.population_size} and {mean.size} "
                f"coordinates its learning rates are not numbers. Use at most {2 * mean.size} candidates, or MA_ES."
            )
        strategy, params = _instance(self, mean.size)
        k_first, k_init = jax.random.split(key)
        zeros = jnp.zeros_like(mean)
        first = None
        if self._is_population_based:
            first = self.sigma * jax.random.normal(k_first, (self.population_size, mean.size))
            state = strategy.init(k_init, first, jnp.zeros(self.population_size), params)
        elif self.strategy in NUM_POPULATIONS:
            means = self.sigma * jax.random.normal(k_first, (self._num_populations, mean.size))
            state = strategy.init(k_init, means, params)
        else:
            state = strategy.init(k_init, zeros, params)
        return EvosaxState(origin=mean, strategy=_strong(state), first=first, generation=jnp.zeros((), jnp.int32))

    def ask(self, key: Key, state: EvosaxState) -> tuple[Array, EvosaxState]:
        strategy, params = _instance(self, state.origin.size)
        population, asked = strategy.ask(key, state.strategy, params)
        asked = _like(state.strategy, asked)
        if state.first is not None:
            is_first = state.generation == 0
            population = jnp.where(is_first, state.first, population)
            asked = jax.tree.map(lambda a, b: jnp.where(is_first, a, b), state.strategy, asked)
        return state.origin + population, dataclasses.replace(state, strategy=asked)

    def tell(self, key: Key, state: EvosaxState, population: Array, fitness: Array) -> tuple[EvosaxState, Metrics]:
        strategy, params = _instance(self, state.origin.size)
        population = population - state.origin

        def ordinary(_: None) -> PyTree:
            return _like(state.strategy, strategy.tell(key, population, -fitness, state.strategy, params)[0])

        def first(_: None) -> PyTree:
            return _like(state.strategy, strategy.init(key, population, -fitness, params))

        starts = self._is_population_based
        told = lax.cond(state.generation == 0, first, ordinary, None) if starts else ordinary(None)
        std = getattr(told, "std", None)
        metrics = {} if std is None else sigma_metrics(std, getattr(params, "std_init", self.sigma))
        return dataclasses.replace(state, strategy=told, generation=state.generation + 1), metrics

    def solution(self, state: EvosaxState) -> Array:
        """The mean; for strategies without one (or with several) the best member seen on search keys."""
        if self._is_population_based or self.strategy in NUM_POPULATIONS:
            best = state.strategy.best_solution
            if best.ndim == 2:  # one a population
                best = best[jnp.argmin(state.strategy.best_fitness)]
            return state.origin + jnp.where(state.generation > 0, jnp.nan_to_num(best), 0.0)
        return state.origin + state.strategy.mean

    @property
    def _is_population_based(self) -> bool:
        return self.strategy in _population_based()

    @property
    def _num_populations(self) -> int:
        return int(dict(self.constructor).get("num_populations", 2)) if self.strategy in NUM_POPULATIONS else 1

    def _constructor_option(self, name: str) -> Any:
        parameters = inspect.signature(_classes()[self.strategy].__init__).parameters
        default = parameters[name].default if name in parameters else None
        return dict(self.constructor).get(name, default)


def strategies() -> tuple[str, ...]:
    """Names of every evosax strategy."""
    return tuple(sorted(_classes()))


def _classes() -> dict[str, Any]:
    try:
        from evosax.algorithms import algorithms
    except ImportError as error:
        raise MissingPackageError(
            f'Evosax strategies need the package "evosax" ({error}): pip install evosax'
        ) from error
    return dict(algorithms)


def _population_based() -> dict[str, Any]:
    from evosax.algorithms.population_based import population_based_algorithms

    return dict(population_based_algorithms)


@functools.cache
def _instance(config: Evosax, n: int) -> tuple[Any, Any]:
    """A strategy for genomes of size n and its params; cached, because evosax compiles anew for every instance."""
    with jax.ensure_compile_time_eval():
        cls = _classes()[config.strategy]
        parameters = inspect.signature(cls.__init__).parameters
        arguments: dict[str, Any] = dict(config.constructor)
        if "std_schedule" in parameters:
            arguments.setdefault("std_schedule", optax.constant_schedule(config.sigma))
        if "sampling_fn" in parameters:
            arguments.setdefault("sampling_fn", lambda key: config.sigma * jax.random.normal(key, (n,)))
        if config.optimizer:
            optimizer = make_optimizer(config.optimizer, config.learning_rate, config.optimizer_options)
            arguments.setdefault("optimizer", optimizer)
        if config.strategy in NUM_POPULATIONS:
            arguments["num_populations"] = config._num_populations
        shaping = _tie_safe(parameters["fitness_shaping_fn"].default)
        try:
            strategy = cls(
                population_size=config.population_size // config._num_populations,
                solution=jnp.zeros(n),
                fitness_shaping_fn=shaping,
                metrics_fn=lambda *_: {},  # evosax's hold full-length vectors
                **arguments,
            )
        except Exception as error:  # evosax checks little: any error of JAX or Python may come
            raise ConfigError(
                f"evosax {config.strategy} does not take constructor {shown(dict(config.constructor))}: {error}."
            ) from error
        return strategy, _params(config, strategy.default_params)


def _params(config: Evosax, defaults: Any) -> Any:
    fields = [f.name for f in dataclasses.fields(defaults)]
    overrides = dict(config.params)
    if "std_init" in fields:
        overrides.setdefault("std_init", config.sigma)
    for name in overrides:
        if name not in fields:
            raise ConfigError(f'evosax {config.strategy} has no param "{name}". {offer(name, fields)}')
    try:
        cast = {k: _as(getattr(defaults, k), v) for k, v in overrides.items()}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"evosax {config.strategy} does not take params {shown(overrides)}: {error}.") from error
    return _strong(defaults.replace(**cast))


def _as(default: Any, value: Any) -> Array:
    """An override as an array of the type and shape of the default."""
    array = jnp.asarray(value, jnp.result_type(default))
    if array.shape != jnp.shape(default):
        raise ValueError(f"{shown(value)} has the shape {array.shape} instead of {jnp.shape(default)}")
    return array


def _tie_safe(default: Callable[..., Array]) -> Callable[..., Array]:
    """evosax's own shaping where it does not rank, ours where it does."""
    from evosax.core import fitness_shaping as evosax_shaping

    if default is evosax_shaping.weights_fitness_shaping_fn:
        rank = jnp.vectorize(average_over_ties, signature="(p),(q)->(p)")
        return lambda population, fitness, state, params: rank(-fitness, params.weights)
    if default is evosax_shaping.centered_rank_fitness_shaping_fn:
        rank = jnp.vectorize(centered_rank, signature="(p)->(p)")
        return lambda population, fitness, state, params: -rank(-fitness)
    return default


def _strong(tree: PyTree) -> PyTree:
    """Leaves as arrays without weak types, so that a state keeps its type through a scan."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.result_type(x)) if not isinstance(x, np.ndarray) else jnp.asarray(x), tree
    )


def _like(reference: PyTree, tree: PyTree) -> PyTree:
    return jax.tree.map(lambda r, x: jnp.asarray(x, r.dtype).reshape(r.shape), reference, tree)
