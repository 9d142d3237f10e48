"""The published evaluation-time normalisation: statistics that restart at every evaluation. For replication only.

A dataset evolved under it depends on the batch of environments it is evaluated with and does not stand alone. Use
ConstantNormalizer or RunningNormalizer for datasets of your own, or `freeze_statistics` to make a released one stand
alone.
"""

import dataclasses

import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment
from hades.environments.rollout import RunningAct
from hades.fields import NonNegative
from hades.normalizers.base import Normalizer, NormalizerState, identity_state
from hades.normalizers.constant import standardize
from hades.registry import register
from hades.types import ActFn, Key, Moments, finite_or

PRIOR_COUNT = 1e-4
"""Weight of the prior: mean 0, variance 1."""
EPSILON = 1e-8
"""Added to the variance."""


@register("Normalizer", "RestartingNormalizer")
@dataclasses.dataclass(frozen=True)
class RestartingNormalizer(Normalizer):
    """(obs - mean) / sqrt(variance + 1e-8), over what the environments of the rollout under way have shown so far.

    For replication only. The statistics start from a prior (count 1e-4, mean 0, variance 1), see the first
    observations of all environments, and then each new observation of every environment before it is normalised
    (merged by Chan et al., 1983). An episode that has ended is no longer counted, unless the environment starts anew.
    Observations that would leave statistics that are not finite are not merged.
    The defaults reproduce the published runs, which have neither a floor nor a clip.

    The state holds nothing but the prior: a dataset file's mean is 0 and its deviation 1. `apply` uses it where
    nothing is being played.

    Attributes:
        floor: least standard deviation; 0: none.
        clip: bound on the absolute normalised value; 0 turns it off.
    """

    floor: NonNegative = 0.0
    clip: NonNegative = 0.0

    has_memory = True

    def init(self, key: Key, env: Environment) -> NormalizerState:
        del key
        return identity_state(env.spec.obs_shape)

    def apply(self, state: NormalizerState, obs: Array) -> Array:
        return standardize(obs, state.mean, jnp.maximum(state.std, self.floor), self.clip)

    def wrap(self, state: NormalizerState, act: ActFn) -> ActFn:
        def act_with(seen: Moments) -> ActFn:
            std = jnp.sqrt(seen.variance + EPSILON)
            return lambda key, obs: act(key, self.apply(NormalizerState(seen.mean, std, seen), obs))

        def observe(seen: Moments, obs: Array, live: Array) -> Moments:
            return finite_or(seen.merge(Moments.of(obs, live)), seen)[0]

        prior = Moments(
            count=jnp.full((), PRIOR_COUNT), mean=jnp.zeros_like(state.mean), m2=jnp.full_like(state.mean, PRIOR_COUNT)
        )
        return RunningAct(start=prior, observe=observe, act_with=act_with)
