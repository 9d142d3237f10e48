"""Constant statistics: given, or estimated once from a random policy's episodes.

The published constants divide by nearly zero for rarely lit pixels, which turns one pixel into 1e4. Hence the floor
on the standard deviation and the clip.
"""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.environments.base import Environment
from hades.environments.rollout import random_policy, rollout
from hades.errors import ConfigError
from hades.fields import NonNegative, Positive, Range
from hades.normalizers.base import Normalizer, NormalizerState
from hades.registry import register
from hades.types import EnvSpec, Key, Moments

Estimate = Annotated[int, Range(least=1, most=100_000)]
"""Episodes that are played at once to estimate statistics."""


@register("Normalizer", "ConstantNormalizer")
@dataclasses.dataclass(frozen=True)
class ConstantNormalizer(Normalizer):
    """(obs - mean) / max(std, floor), clipped.

    Attributes:
        mean: given means, one number per observation entry (flattened); empty: estimated.
        std: given deviations, likewise.
        episodes: episodes of a uniformly random policy to estimate from.
        floor: least standard deviation.
        clip: bound on the absolute normalised value; 0 turns it off.
    """

    mean: tuple[float, ...] = ()
    std: tuple[NonNegative, ...] = ()
    episodes: Estimate = 64
    floor: Positive = 0.1
    clip: NonNegative = 10.0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ConfigError(
                f"ConstantNormalizer.mean has {len(self.mean)} numbers and .std has {len(self.std)}; they must match."
            )

    def check(self, spec: EnvSpec) -> None:
        if self.mean and len(self.mean) != spec.obs_size:
            raise ConfigError(
                f"ConstantNormalizer.mean has {len(self.mean)} numbers, but an observation of {spec.name} has "
                f"{spec.obs_size} (shape {spec.obs_shape})."
            )

    def holding(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "ConstantNormalizer":
        if self.mean:
            raise ConfigError(
                "ConstantNormalizer.mean and .std are given, but a stage that follows another keeps its statistics: "
                "leave them out."
            )
        return dataclasses.replace(self, mean=mean, std=std)

    def init(self, key: Key, env: Environment) -> NormalizerState:
        self.check(env.spec)
        shape = env.spec.obs_shape
        if self.mean:
            mean = jnp.asarray(np.asarray(self.mean, np.float32).reshape(shape))
            std = jnp.asarray(np.asarray(self.std, np.float32).reshape(shape))
            return NormalizerState(mean=mean, std=jnp.maximum(std, self.floor), moments=Moments.zeros(shape))
        moments = rollout(key, env, random_policy(env.spec), self.episodes, with_moments=True).moments
        assert moments is not None
        std = jnp.maximum(jnp.sqrt(moments.variance), self.floor)
        return NormalizerState(mean=moments.mean, std=std, moments=moments)

    def affine(self, state: NormalizerState) -> tuple[Array, Array, float]:
        return state.mean, state.std, self.clip

    def apply(self, state: NormalizerState, obs: Array) -> Array:
        return standardize(obs, state.mean, state.std, self.clip)


def standardize(obs: Array, mean: Array, std: Array, clip: float) -> Array:
    """(obs - mean) / std within ±clip (0: unbounded)."""
    normalized = (obs - mean) / std
    return jnp.clip(normalized, -clip, clip) if clip else normalized
