"""Terms on the dataset itself, to be added with WeightedSum: costs with the sign turned, so higher is better."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from hades.environments.base import Environment
from hades.environments.rollout import rollout
from hades.errors import ConfigError
from hades.fields import Count, NonNegative
from hades.fitness.base import Fitness
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Moments, Score

LEAST_STD = 1e-4
"""Standard deviation of a feature from which it counts as one that varies."""
LEAST_SQUARE = 1e-12
"""Square of a distance below which it has no gradient: that of a square root at 0 is infinite."""


@register("Fitness", "DatasetL2")
@dataclasses.dataclass(frozen=True)
class DatasetL2(Fitness):
    """Minus the mean square of the genome: pulls what does not matter towards zero."""

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del key, env, act, with_moments
        flat, _ = ravel_pytree(candidate.genome)
        return _score(-jnp.mean(jnp.square(flat)), "dataset_l2")

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return 0


@register("Fitness", "CloningLoss")
@dataclasses.dataclass(frozen=True)
class CloningLoss(Fitness):
    """Minus the final cloning loss: prefers datasets that are easy to learn."""

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del key, env, act, with_moments
        if "loss/final" not in candidate.metrics:
            raise ConfigError("CloningLoss needs a learner that clones; this one has no cloning loss.")
        return _score(-candidate.metrics["loss/final"], "cloning_loss")

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return 0


@register("Fitness", "VisitedDistance")
@dataclasses.dataclass(frozen=True)
class VisitedDistance(Fitness):
    """Minus the distance of the pairs from states that the cloned policy visits: pulls them to where they occur.

    The unit is the standard deviation of a feature over the visited states. A distance is the root mean square over
    features, of each pair to its nearest state, and the term is its mean over pairs.

    Attributes:
        num_episodes: E, whole episodes that the policy plays for this term alone.
        states_each: states kept of each episode, evenly drawn.
        radius: how far a pair may be from its nearest state without a cost, so that pairs need not crowd at the states
            that are met most.
        sparsity: weight of the mean absolute difference from the mean state, in the same unit, which is subtracted
            too: it leaves few features of a pair different from the usual.
    """

    num_episodes: Count = 2
    states_each: Count = 64
    radius: NonNegative = 0.0
    sparsity: NonNegative = 0.0

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        if candidate.observations is None:
            raise ConfigError("VisitedDistance needs a learner whose genome is a dataset; this one has no pairs.")
        played = rollout(key, env, act, self.num_episodes, with_moments=with_moments, keep=self.states_each)
        assert played.kept is not None
        met = played.kept.steps.reshape(-1) >= 0
        states = played.kept.observations.reshape(met.size, -1)
        distance, deviation = visited_distance(candidate.observations, states, met, self.radius)
        return Score(
            value=-(distance + self.sparsity * deviation),
            episodes=jnp.full((), self.num_episodes, jnp.int32),
            env_steps=played.lengths.sum(),
            moments=played.moments,
            metrics={"visited_distance": distance, "mean_deviation": deviation},
        )

    def max_env_steps(self, spec: EnvSpec) -> int:
        return self.num_episodes * spec.max_episode_steps

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return self.num_episodes


def visited_distance(pairs: Array, states: Array, met: Array, radius: float = 0.0) -> tuple[Array, Array]:
    """How far pairs are from visited states, in standard deviations of each feature over these; differentiable.

    Args:
        pairs: observations f32[N, *obs_shape].
        states: f32[M, O].
        met: bool[M], which of them count.
        radius: what of a distance is free.

    Returns:
        f32[] each: the mean over pairs of what the distance to the nearest state, a root mean square over features,
        exceeds the radius by, and the mean absolute difference from the mean state.
    """
    moments = Moments.of(states, met)
    std = jnp.sqrt(moments.variance)
    varies = std > LEAST_STD
    unit = jnp.where(varies, std, 1.0)
    count = jnp.maximum(varies.sum(), 1)
    places = jnp.where(varies, (states - moments.mean) / unit, 0.0)
    pairs = jnp.where(varies, (pairs.reshape(-1, states.shape[1]) - moments.mean) / unit, 0.0)
    # |a - b|² = |a|² + |b|² - 2ab, so that no array of pairs × states × features is made.
    squares = jnp.square(pairs).sum(1)[:, None] + jnp.square(places).sum(1) - 2.0 * pairs @ places.T
    nearest = jnp.where(met, jnp.maximum(squares, LEAST_SQUARE), jnp.inf).min(1)
    distance = jax.nn.relu(jnp.sqrt(nearest / count) - radius).mean()
    return distance, (jnp.abs(pairs).sum(1) / count).mean()


def _score(value: jax.Array, name: str) -> Score:
    zero = jnp.zeros((), jnp.int32)
    return Score(value=value, episodes=zero, env_steps=zero, moments=None, metrics={name: value})
