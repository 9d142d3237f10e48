"""No normalisation."""

import dataclasses

import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment
from hades.normalizers.base import Normalizer, NormalizerState, identity_state
from hades.registry import register
from hades.types import Key


@register("Normalizer", "NoNormalizer")
@dataclasses.dataclass(frozen=True)
class NoNormalizer(Normalizer):
    """Observations as they are."""

    changes_observations = False

    def init(self, key: Key, env: Environment) -> NormalizerState:
        del key
        return identity_state(env.spec.obs_shape)

    def affine(self, state: NormalizerState) -> tuple[Array, Array, float]:
        return jnp.zeros_like(state.mean), jnp.ones_like(state.std), 0.0

    def apply(self, state: NormalizerState, obs: Array) -> Array:
        del state
        return obs
