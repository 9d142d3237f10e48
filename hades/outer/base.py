"""The OuterOptimizer interface: ask / tell on flat vectors, fitness maximised."""

import abc
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from jax import Array

from hades.errors import ConfigError
from hades.fields import Range
from hades.types import Genome, Key, Metrics, PyTree

OuterState: TypeAlias = Any
Population: TypeAlias = PyTree
"""The candidates f32[P, n], or R rows that stand for P / R neighbouring candidates each: leaves with leading axis R."""


class OuterOptimizer(abc.ABC):
    """A frozen dataclass. `Evolution` promises finite fitness to `tell`."""

    population_size: int

    @abc.abstractmethod
    def init(self, key: Key, mean: Array, unravel: Callable[[Array], Genome]) -> OuterState:
        """State of a search that starts at f32[n]; `unravel` tells the shapes inside a genome."""

    @abc.abstractmethod
    def ask(self, key: Key, state: OuterState) -> tuple[Population, OuterState]:
        """The next population: f32[P, n], or rows that `candidates` turns into it."""

    @abc.abstractmethod
    def tell(self, key: Key, state: OuterState, population: Population, fitness: Array) -> tuple[OuterState, Metrics]:
        """The state after seeing fitness f32[P] of the asked population, higher is better."""

    def candidates(self, state: OuterState, rows: Population) -> Array:
        """Some of the asked rows as candidates f32[C, n], `state` being the asked one.

        Called for a chunk at a time, so that a population whose rows are smaller never exists as f32[P, n].
        """
        del state
        return rows

    @abc.abstractmethod
    def solution(self, state: OuterState) -> Array:
        """f32[n]: the mean where the method has one, else its best member."""


def sigma_metrics(sigma: Array, start: float | Array) -> Metrics:
    """Mean step size, and as a multiple of the one that the search started with."""
    mean = sigma.mean()
    return {"outer/sigma": mean, "outer/sigma_ratio": mean / start}


PopulationSize = Annotated[int, Range(least=2, below=2**31)]


def check_population(name: str, population_size: int, antithetic: bool) -> None:
    """Raise ConfigError for a population that is odd with antithetic pairs."""
    if antithetic and population_size % 2:
        raise ConfigError(
            f"{name}.population_size is {population_size}, which is odd, but antithetic sampling needs pairs: "
            f"use {population_size + 1}, or set {name}.antithetic = False."
        )
