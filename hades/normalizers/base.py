"""The Normalizer interface: init / apply / update on the moments of observations."""

import abc

import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.types import ActFn, EnvSpec, Key, Moments


@struct.dataclass
class NormalizerState:
    """The statistics in use, part of the algorithm's state and of every dataset file."""

    mean: Array  # f32[*obs_shape]
    std: Array  # f32[*obs_shape], floored
    moments: Moments


class Normalizer(abc.ABC):
    """A frozen dataclass. Policies see `apply(state, obs)`; Fitness and Environment see raw observations."""

    wants_moments: bool = False
    """True if `update` uses the moments of the population's observations, which cost a little to gather."""

    changes_observations: bool = True
    """False if policies see observations as they are."""

    has_memory: bool = False
    """True if a wrapped act gathers statistics while it plays, which only whole rollouts can carry."""

    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where the configuration does not fit the environment."""
        del spec

    def holding(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "Normalizer":
        """This normaliser with given statistics, one number per observation entry (flattened).

        Raises:
            ConfigError: where it cannot hold them, or holds others.
        """
        del mean, std
        raise ConfigError(
            f"A stage that follows another keeps its statistics, so that its normalizer must be ConstantNormalizer, "
            f"not {type(self).__name__}."
        )

    @abc.abstractmethod
    def init(self, key: Key, env: Environment) -> NormalizerState:
        """Statistics before the first generation; may play episodes."""

    @abc.abstractmethod
    def apply(self, state: NormalizerState, obs: Array) -> Array:
        """Normalised f32[..., *obs_shape]."""

    def affine(self, state: NormalizerState) -> tuple[Array, Array, float]:
        """(mean, std, clip) where `apply` is (obs - mean) / std within ± clip (0: unbounded), for other programs.

        Raises:
            ConfigError: where it is none such.
        """
        raise ConfigError(f"{type(self).__name__} is no mean, deviation and bound, so that it cannot leave JAX.")

    def wrap(self, state: NormalizerState, act: ActFn) -> ActFn:
        """An act on raw observations from one on normalised ones."""
        return lambda key, obs: act(key, self.apply(state, obs))

    def update(self, state: NormalizerState, moments: Moments) -> NormalizerState:
        """Statistics for the next generation, from the moments of this one's observations.

        The algorithm keeps the old statistics where the new ones are not finite, and reports it.
        """
        del moments
        return state


def identity_state(shape: tuple[int, ...]) -> NormalizerState:
    return NormalizerState(mean=jnp.zeros(shape), std=jnp.ones(shape), moments=Moments.zeros(shape))
