"""Constant statistics: given, or estimated once from a random policy's episodes.

The published constants divide by nearly zero for rarely lit pixels, which turns one pixel into 1e4. Hence the floor
on the standard deviation and the clip.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.environments.base import Environment
from hades.environments.rollout import random_policy, rollout
from hades.errors import ConfigError
from hades.normalizers.base import Normalizer, NormalizerState
from hades.registry import register
from hades.types import EnvSpec, Key, Moments


@register("Normalizer", "ConstantNormalizer")
@dataclasses.dataclass(frozen=True)
class ConstantNormalizer(Normalizer):
    """(obs - mean) / max(std, floor), clipped.

    Attributes:
        mean, std: given statistics, one number per observation entry (flattened); empty: estimated.
        episodes: episodes of a uniformly random policy to estimate from.
        floor: least standard deviation.
        clip: bound on the absolute normalised value; 0 turns it off.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    episodes: int = 64
    floor: float = 0.1
    clip: float = 10.0

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ConfigError(
                f"ConstantNormalizer.mean has {len(self.mean)} numbers and .std has {len(self.std)}; they must match."
            )
        check_estimate("ConstantNormalizer", self.episodes, self.floor, self.clip)

    def check(self, spec: EnvSpec) -> None:
        if self.mean and len(self.mean) != spec.obs_size:
            raise ConfigError(
                f"ConstantNormalizer.mean has {len(self.mean)} numbers, but an observation of {spec.name} has "
                f"{spec.obs_size} (shape {spec.obs_shape})."
            )

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

    def apply(self, state: NormalizerState, obs: Array) -> Array:
        return standardize(obs, state.mean, state.std, self.clip)


def check_estimate(name: str, episodes: int, floor: float, clip: float) -> None:
    """Raise ConfigError for settings that no statistics can be estimated or used with."""
    if episodes < 1:
        raise ConfigError(f"{name}.episodes is {episodes}; it must be at least 1.")
    if floor <= 0 or clip < 0:
        raise ConfigError(
            f"{name}.floor is {floor} and .clip is {clip}; "
            "the floor must be above 0 and the clip at least 0 (0 turns it off)."
        )


def standardize(obs: Array, mean: Array, std: Array, clip: float) -> Array:
    """(obs - mean) / std within ±clip (0: unbounded)."""
    normalized = (obs - mean) / std
    return jnp.clip(normalized, -clip, clip) if clip else normalized
