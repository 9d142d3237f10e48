"""States that policies really visit: an even sample of every episode in bounded memory, with where each was met."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, lax

from hades.algorithms.keys import indexed_keys
from hades.environments.base import Environment, EnvState
from hades.environments.rollout import RunningAct
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

    Every episode has a reservoir (Vitter, 1985, Algorithm R), so that memory does not grow with its length. Episodes
    are the ones that `play` plays with the same key.

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
    play = jax.jit(lambda key, params: _play(key, env, act_for, params, num_episodes, keep))
    end = jax.tree.map(np.asarray, dataclasses.replace(play(key, params), state=None))
    is_kept = end.met_at >= 0
    policy, episode, _ = np.nonzero(is_kept)
    return Visited(
        observations=end.kept[is_kept],
        policy=policy.astype(np.int32),
        episode=episode.astype(np.int32),
        step=end.met_at[is_kept],
        lengths=end.lengths,
        returns=end.returns.astype(np.float64),
    )


@struct.dataclass
class _Loop:
    state: EnvState | None  # [I, E], as all of these
    obs: Array  # f32[I, E, *obs_shape]
    alive: Array  # bool[I, E]
    t: Array  # i32[]
    kept: Array  # f32[I, E, K, *obs_shape]
    met_at: Array  # i32[I, E, K], the step of each; -1 where there is none
    lengths: Array  # i32[I, E]
    returns: Array  # f32[I, E]


def _play(
    key: Key, env: Environment, act_for: Callable[[Params], ActFn], params: Params, num_episodes: int, keep: int
) -> _Loop:
    count = jax.tree.leaves(params)[0].shape[0]
    keys = jax.vmap(lambda k: indexed_keys(k, num_episodes))(indexed_keys(key, count))

    def advance(loop: _Loop) -> _Loop:
        k_now = _fold(keys, loop.t + 1)
        k_act, k_step = _each(lambda k: tuple(jax.random.split(k, 2)))(k_now)
        action = jax.vmap(lambda p, k, obs: jax.vmap(act_for(p))(k, obs))(params, k_act, loop.obs)
        state, step = _each(env.step)(k_step, loop.state, action)
        slot = _each(lambda k, alive: _slot(jax.random.fold_in(k, 2), loop.t, alive, keep))(k_now, loop.alive)
        ended = step.terminated | step.truncated | (loop.t + 1 >= env.spec.max_episode_steps)
        return _Loop(
            state=state,
            obs=step.obs,
            alive=loop.alive & ~ended,
            t=loop.t + 1,
            kept=_each(lambda kept, s, obs: kept.at[s].set(obs, mode="drop"))(loop.kept, slot, loop.obs),
            met_at=_each(lambda met, s: met.at[s].set(loop.t, mode="drop"))(loop.met_at, slot),
            lengths=loop.lengths + loop.alive,
            returns=loop.returns + jnp.where(loop.alive, step.reward, 0.0),
        )

    state, obs = _each(env.reset)(_fold(keys, 0))
    shape = (count, num_episodes)
    start = _Loop(
        state=state,
        obs=obs,
        alive=jnp.ones(shape, bool),
        t=jnp.zeros((), jnp.int32),
        kept=jnp.zeros((*shape, keep, *env.spec.obs_shape), obs.dtype),
        met_at=jnp.full((*shape, keep), -1, jnp.int32),
        lengths=jnp.zeros(shape, jnp.int32),
        returns=jnp.zeros(shape),
    )
    return lax.while_loop(lambda loop: loop.alive.any(), advance, start)


def _slot(key: Key, t: Array, alive: Array, keep: int) -> Array:
    """Where the state of step t goes in a reservoir of `keep` places; `keep` itself: nowhere."""
    drawn = jax.random.randint(key, (), 0, t + 1)
    return jnp.where(alive, jnp.minimum(jnp.where(t < keep, t, drawn), keep), keep)


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Over policies and episodes."""
    return jax.vmap(jax.vmap(function))


def _fold(keys: Key, t: Array | int) -> Key:
    return _each(lambda k: jax.random.fold_in(k, t))(keys)
