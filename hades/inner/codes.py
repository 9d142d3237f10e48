"""Codes of observations: the search moves a few numbers that stand for a picture, and the learner sees the picture.

A picture of 84 × 84 pixels has thousands of numbers, of which next to no combination is a picture of anything. A code
decides which pictures a search can reach: those of the states of a task (`Drawn`), or smooth ones (`Cosines`).
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.environments.base import Environment
from hades.errors import require
from hades.fields import Count
from hades.registry import register
from hades.types import EnvSpec


class Code(abc.ABC):
    """A frozen dataclass. Codes stand in the genome, and what they stand for in the dataset."""

    is_observation: bool = False
    """True if a code is itself a raw observation of `coded`, with which a later search can start."""

    @abc.abstractmethod
    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where the code does not stand for observations of an environment."""

    @abc.abstractmethod
    def coded(self, env: Environment) -> Environment:
        """The environment whose raw observations `encode` takes."""

    def coded_spec(self, spec: EnvSpec) -> EnvSpec:
        """The spec of `coded`, from that of the run's environment."""
        return spec

    @abc.abstractmethod
    def encode(self, obs: Array) -> Array:
        """Codes f32[N, ...] of raw observations f32[N, *obs_shape] of `coded`, for the start of a search."""

    @abc.abstractmethod
    def decode(self, code: Array, spec: EnvSpec) -> Array:
        """The observations f32[N, *obs_shape] that codes f32[N, ...] stand for; differentiable."""


@register("Code", "Drawn")
@dataclasses.dataclass(frozen=True)
class Drawn(Code):
    """An observation of the environment that a `Rendered` one draws, in raw units; it stands for its picture.

    Attributes:
        environment: the `Rendered` environment, the same as the run's.
    """

    environment: Environment

    is_observation = True

    def __post_init__(self) -> None:
        require(
            self.environment.drawn is not None,
            f"Drawn.environment is {self.environment.spec.name}, which draws nothing: use the run's Rendered.",
        )

    def check(self, spec: EnvSpec) -> None:
        own = self.environment.spec
        require(
            (own.name, own.obs_shape) == (spec.name, spec.obs_shape),
            f"Drawn.environment makes pictures of {own.name} of shape {own.obs_shape}, but the run's environment is "
            f"{spec.name} with observations of shape {spec.obs_shape}: use one Rendered for both.",
        )

    def coded(self, env: Environment) -> Environment:
        del env
        assert self.environment.drawn is not None  # checked at construction
        return self.environment.drawn

    def coded_spec(self, spec: EnvSpec) -> EnvSpec:
        del spec
        assert self.environment.drawn is not None
        return self.environment.drawn.spec

    def encode(self, obs: Array) -> Array:
        return obs

    def decode(self, code: Array, spec: EnvSpec) -> Array:
        del spec
        return jax.vmap(self.environment.picture)(code)


@register("Code", "Cosines")
@dataclasses.dataclass(frozen=True)
class Cosines(Code):
    """The lowest frequencies of a picture's cosine transform, of its values on the logit scale; for pictures in [0, 1].

    Attributes:
        frequencies: of each axis, so that a code has frequencies² numbers a channel.
    """

    frequencies: Count = 8

    def check(self, spec: EnvSpec) -> None:
        require(
            spec.is_image and self.frequencies <= min(spec.obs_shape[:2]),
            f"Cosines.frequencies is {self.frequencies}, which needs pictures of at least as many pixels a side; "
            f"observations of {spec.name} have shape {spec.obs_shape}.",
        )

    def coded(self, env: Environment) -> Environment:
        return env

    def encode(self, obs: Array) -> Array:
        shares = jnp.clip(obs, 0.01, 0.99)
        down, across = (_cosines(size, self.frequencies) for size in obs.shape[1:3])
        return jnp.einsum("nhwc,hi,wj->nijc", jnp.log(shares / (1.0 - shares)), down, across)

    def decode(self, code: Array, spec: EnvSpec) -> Array:
        down, across = (_cosines(size, self.frequencies) for size in spec.obs_shape[:2])
        return jax.nn.sigmoid(jnp.einsum("nijc,hi,wj->nhwc", code, down, across))


def _cosines(size: int, frequencies: int) -> np.ndarray:
    """The first orthonormal vectors of the discrete cosine transform (DCT-II): f32[size, frequencies]."""
    places, waves = np.arange(size)[:, None] + 0.5, np.arange(frequencies)
    scale = np.where(waves == 0, 1.0, 2.0**0.5) / size**0.5
    return (scale * np.cos(np.pi * places * waves / size)).astype(np.float32)
