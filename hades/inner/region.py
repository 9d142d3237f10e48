"""Where the observations of a search may lie: no further than a radius from the nearest of some states.

A genome's observations are in units of the distance, so that a step of the search is as long in every feature. They are
moved into the region when the genome becomes pairs: a pair that is outside goes towards its nearest state until it is
as far from it as its radius. With a radius of 0 every pair is one of the states, and the search chooses which.
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.errors import require
from hades.fields import Count, NonNegative
from hades.registry import register
from hades.types import EnvSpec


class Region(abc.ABC):
    """Where the observations of a search may lie; a frozen dataclass. Observations are normalised."""

    @abc.abstractmethod
    def check_count(self, learner: str, num_pairs: int) -> None:
        """Raise ConfigError where the region is not one of N pairs, for the learner of that name."""

    @abc.abstractmethod
    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where the region does not fit the environment."""

    @abc.abstractmethod
    def code(self, observations: Array) -> Array:
        """A genome's observations f32[N, *obs_shape] that stand for these."""

    @abc.abstractmethod
    def observations(self, code: Array) -> Array:
        """Observations f32[N, *obs_shape] inside the region that a genome's stand for."""


@register("Region", "NearStates")
@dataclasses.dataclass(frozen=True)
class NearStates(Region):
    """Balls around states; their radius is a root mean square over the features with a unit.

    Attributes:
        num_states: M.
        states: f32[M, *obs_shape] in a row, normalised.
        unit: f32[*obs_shape] in a row, what counts as a distance of 1 in a feature; 0: the feature counts in no
            distance, and is moved together with the others.
        radius: f32[N], of each pair.

    Raises:
        ConfigError: where the states are not M of the size of `unit`, or no feature counts.
    """

    num_states: Count
    states: tuple[float, ...]
    unit: tuple[NonNegative, ...]
    radius: tuple[NonNegative, ...]

    def __post_init__(self) -> None:
        size = len(self.unit)
        require(
            len(self.states) == self.num_states * size,
            f"NearStates.states are {len(self.states)} numbers, but {self.num_states} states (.num_states) with the "
            f"{size} features of .unit are {self.num_states * size}.",
        )
        require(any(self.unit), "NearStates.unit is 0 for every feature, so there is no distance: give one a unit.")

    def check_count(self, learner: str, num_pairs: int) -> None:
        require(
            len(self.radius) == num_pairs,
            f"{learner}.num_pairs is {num_pairs}, but its region has {len(self.radius)} radii (NearStates.radius): "
            "give one a pair.",
        )

    def check(self, spec: EnvSpec) -> None:
        require(
            len(self.unit) == spec.obs_size,
            f"NearStates.unit has {len(self.unit)} features, but an observation of {spec.name} has {spec.obs_size}.",
        )

    def code(self, observations: Array) -> Array:
        return (self._flat(observations) / self._scale).reshape(observations.shape)

    def observations(self, code: Array) -> Array:
        states = jnp.asarray(np.reshape(np.asarray(self.states, np.float32), (self.num_states, -1)))
        counts = jnp.asarray(np.asarray(self.unit) > 0, jnp.float32)
        points, places = self._flat(code), states / self._scale
        # |a - b|² = |a|² + |b|² - 2ab, of which |a|² is the same for every state.
        apart = jnp.square(places) @ counts - 2.0 * (points * counts) @ places.T
        nearest = places[jnp.argmin(apart, -1)]
        distance = jnp.sqrt(jnp.square(points - nearest) @ counts / counts.sum())
        radius = jnp.asarray(self.radius)
        share = jnp.where(distance > radius, radius / jnp.maximum(distance, 1e-12), 1.0)
        moved = nearest + share[:, None] * (points - nearest)
        # Straight through: at a radius of 0 nothing else tells a gradient which of the states would be better.
        passed = points + jax.lax.stop_gradient(moved - points)
        return (passed * self._scale).reshape(code.shape)

    @property
    def _scale(self) -> np.ndarray:
        unit = np.asarray(self.unit, np.float32)
        return np.where(unit > 0, unit, np.float32(1))

    @staticmethod
    def _flat(observations: Array) -> Array:
        return observations.reshape(len(observations), -1)
