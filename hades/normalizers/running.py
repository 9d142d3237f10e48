"""Running statistics over everything the population has seen, frozen into the dataset file at the end."""

import dataclasses
from typing import Annotated

import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment
from hades.fields import NonNegative, Positive, Range
from hades.normalizers.base import Normalizer, NormalizerState
from hades.normalizers.constant import ConstantNormalizer, Estimate, standardize
from hades.registry import register
from hades.types import Key, Moments


@register("Normalizer", "RunningNormalizer")
@dataclasses.dataclass(frozen=True)
class RunningNormalizer(Normalizer):
    """Starts from a random policy's statistics and merges the moments of every generation.

    Attributes:
        episodes: episodes of a random policy to start from.
        floor: least standard deviation, so that constant entries do not explode.
        clip: limit of normalised observations; 0 is none.
        max_count: observations remembered; older ones fade, so that late generations still move the statistics.
    """

    episodes: Estimate = 16
    floor: Positive = 0.1
    clip: NonNegative = 10.0
    max_count: Annotated[float, Range(least=1)] = 1e7

    wants_moments = True

    def init(self, key: Key, env: Environment) -> NormalizerState:
        return ConstantNormalizer(episodes=self.episodes, floor=self.floor, clip=self.clip).init(key, env)

    def affine(self, state: NormalizerState) -> tuple[Array, Array, float]:
        return state.mean, state.std, self.clip

    def apply(self, state: NormalizerState, obs: Array) -> Array:
        return standardize(obs, state.mean, state.std, self.clip)

    def update(self, state: NormalizerState, moments: Moments) -> NormalizerState:
        merged = state.moments.merge(moments)
        kept = jnp.minimum(merged.count, self.max_count) / jnp.maximum(merged.count, 1.0)
        merged = Moments(count=merged.count * kept, mean=merged.mean, m2=merged.m2 * kept)
        std = jnp.maximum(jnp.sqrt(merged.variance), self.floor)
        return NormalizerState(mean=merged.mean, std=std, moments=merged)
