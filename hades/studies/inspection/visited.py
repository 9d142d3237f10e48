"""States that policies really visit: an even sample of every episode in bounded memory, with where each was met."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from hades.algorithms.keys import indexed_keys
from hades.environments.base import Environment
from hades.environments.rollout import Episodes, RunningAct, rollout
from hades.errors import ConfigError
from hades.types import ActFn, Key, Params

MAX_STATES = 4096
"""Kept of one visit, whatever the number and the length of its episodes; a single state of each if there are more."""


@dataclasses.dataclass(frozen=True)
class Visited:
    """M states out of all that I policies acted on in E episodes each.

    Attributes:
        observations: f32[M, *obs_shape], raw.
        policy, episode, step: i32[M], where each was met; all count from 0.
        lengths: i32[I, E] of the episodes.
        returns: f64[I, E] of the episodes.
    """

    observations: np.ndarray
    policy: np.ndarray
    episode: np.ndarray
    step: np.ndarray
    lengths: np.ndarray
    returns: np.ndarray

    def __len__(self) -> int:
        return len(self.observations)

    def of_policies(self, first: int, end: int) -> "Visited":
        """States visited by policies `first` to `end - 1`, which are counted from 0 again."""
        rows = (self.policy >= first) & (self.policy < end)
        return Visited(
            observations=self.observations[rows],
            policy=self.policy[rows] - first,
            episode=self.episode[rows],
            step=self.step[rows],
            lengths=self.lengths[first:end],
            returns=self.returns[first:end],
        )

    @property
    def num_steps(self) -> int:
        """Number of states that the sample was drawn from."""
        return int(self.lengths.sum())

    @property
    def episode_index(self) -> np.ndarray:
        """i64[M], one number for each of the I·E episodes."""
        return self.policy.astype(np.int64) * self.returns.shape[1] + self.episode


def visit(
    key: Key,
    env: Environment,
    act_for: Callable[[Params], ActFn],
    params: Params,
    num_episodes: int,
    max_states: int = MAX_STATES,
) -> Visited:
    """Play E whole episodes with each of I policies and keep the same number of states of each, evenly drawn.

    Memory does not grow with the length of an episode. Episodes are the ones that `play` plays with the same key.

    Args:
        key: policy i uses `fold_in(key, i)`.
        env: what is played.
        act_for: a policy's params to its ActFn on raw observations.
        params: stacked over I.
        num_episodes: E.
        max_states: of all episodes together.

    Raises:
        ConfigError: for a policy with a memory, whose episodes lean on each other.
    """
    count = jax.tree.leaves(params)[0].shape[0]
    if isinstance(act_for(jax.tree.map(lambda x: x[0], params)), RunningAct):
        raise ConfigError(
            "These policies normalise by statistics that they gather while they play: give the dataset constant ones "
            "first (hades.policy.trained_policy.freeze_statistics)."
        )
    keep = max(1, max_states // (count * num_episodes))

    def play(key: Key, params: Params) -> Episodes:
        return rollout(key, env, act_for(params), num_episodes, keep=keep)

    played = jax.jit(jax.vmap(play))(indexed_keys(key, count), params)
    assert played.kept is not None
    observations, steps, lengths, returns = map(
        np.asarray, (played.kept.observations, played.kept.steps, played.lengths, played.returns)
    )
    is_kept = steps >= 0
    policy, episode, _ = np.nonzero(is_kept)
    return Visited(
        observations=observations[is_kept],
        policy=policy.astype(np.int32),
        episode=episode.astype(np.int32),
        step=steps[is_kept],
        lengths=lengths,
        returns=returns.astype(np.float64),
    )
