"""Play episodes to their end, storing nothing per step.

All episodes of a rollout step in lockstep until the last one has ended. Under `vmap` over candidates the loop
condition is reduced over the whole batch (`_any_in_lockstep`), which has two effects that make it several times
faster than vmapping an ordinary while loop: the state needs no select a step, and step keys stay unbatched, so that
common random numbers are drawn once for the whole population.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from hades.environments.base import Environment
from hades.types import ActFn, Discrete, EnvSpec, Key, Moments, PyTree, TimeStep


@struct.dataclass
class Episodes:
    """What is left of E episodes."""

    returns: Array  # f32[E], undiscounted
    lengths: Array  # i32[E], live steps
    terminated: Array  # bool[E], False where the time limit ended the episode
    info_max: dict[str, Array]  # f32[E] each, largest value of the episode
    info_sum: dict[str, Array]  # f32[E] each
    executed: Array  # i32[], steps computed, live or not
    moments: Moments | None  # of the raw observations acted on


@jax.custom_batching.custom_vmap
def _any_in_lockstep(x: Array) -> Array:
    """`x` itself for one rollout; any over every rollout that is vmapped together with it."""
    return x


@_any_in_lockstep.def_vmap
def _any_in_lockstep_rule(axis_size: int, in_batched: list[bool], x: Array) -> tuple[Array, bool]:
    del axis_size
    return _any_in_lockstep(jnp.any(x, axis=0) if in_batched[0] else x), False


def rollout(
    key: Key, env: Environment, act: ActFn, num_episodes: int, *, with_moments: bool = False, max_steps: int = 0
) -> Episodes:
    """Play `num_episodes` whole episodes, each from its own `fold_in` of the key.

    Args:
        key: one key; episode e uses `fold_in(key, e)` whatever else is batched with it.
        env: steps without resetting itself.
        act: called on raw observations.
        num_episodes: E.
        with_moments: also reduce the moments of the observations.
        max_steps: break episodes off after so many steps; 0: never.
    """
    limit = min(max_steps, env.spec.max_episode_steps) if max_steps else env.spec.max_episode_steps
    keys = jax.vmap(lambda e: jax.random.fold_in(key, e))(jnp.arange(num_episodes))
    state, obs = jax.vmap(env.reset)(_fold(keys, 0))
    info = jax.eval_shape(jax.vmap(env.step), keys, state, _actions(act, keys, obs))[1].info
    shape = env.spec.obs_shape
    first = _Loop(
        state=state,
        obs=obs,
        alive=jnp.ones(num_episodes, bool),
        t=jnp.zeros((), jnp.int32),
        episodes=Episodes(
            returns=jnp.zeros(num_episodes),
            lengths=jnp.zeros(num_episodes, jnp.int32),
            terminated=jnp.zeros(num_episodes, bool),
            info_max={name: jnp.full(num_episodes, -jnp.inf) for name in info},
            info_sum={name: jnp.zeros(num_episodes) for name in info},
            executed=jnp.zeros((), jnp.int32),
            moments=Moments.zeros(shape) if with_moments else None,
        ),
    )

    def advance(loop: _Loop) -> _Loop:
        k_act, k_step = jax.vmap(lambda k: jax.random.split(k, 2), out_axes=1)(_fold(keys, loop.t + 1))
        action = jax.vmap(act)(k_act, loop.obs)
        state, step = jax.vmap(env.step)(k_step, loop.state, action)
        return loop.after(state, step, limit)

    return lax.while_loop(lambda loop: _any_in_lockstep(loop.alive.any()), advance, first).episodes


def rollout_window(key: Key, env: Environment, act: ActFn, num_envs: int, num_steps: int) -> tuple[Array, Array]:
    """The published protocol: a fixed number of steps in environments that start anew whenever an episode ends.

    Returns:
        Sum of the returns of the episodes that ended inside the window f32[], and their number i32[].
    """
    keys = jax.vmap(lambda e: jax.random.fold_in(key, e))(jnp.arange(num_envs))

    def one(key: Key) -> tuple[Array, Array]:
        def advance(carry: tuple[Any, ...], t: Array) -> tuple[tuple[Any, ...], None]:
            state, obs, running, length, total, count = carry
            k_act, k_step, k_reset = jax.random.split(jax.random.fold_in(key, t + 1), 3)
            state, step = env.step(k_step, state, act(k_act, obs))
            running, length = running + step.reward, length + 1
            done = step.terminated | step.truncated | (length >= env.spec.max_episode_steps)
            total, count = total + jnp.where(done, running, 0.0), count + done
            fresh = env.reset(k_reset)
            state, obs = jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, (state, step.obs))
            return (state, obs, jnp.where(done, 0.0, running), jnp.where(done, 0, length), total, count), None

        start = (*env.reset(jax.random.fold_in(key, 0)), 0.0, 0, 0.0, 0)
        carry, _ = lax.scan(advance, jax.tree.map(jnp.asarray, start), jnp.arange(num_steps))
        return carry[-2], carry[-1]

    totals, counts = jax.vmap(one)(keys)
    return totals.sum(), counts.sum()


def record_episode(key: Key, env: Environment, act: ActFn) -> tuple[TimeStep, Array, Array]:
    """One episode with every step kept, for pictures.

    Returns:
        Time steps stacked over T = max_episode_steps, the actions taken [T, ...] and the observations acted on
        f32[T, *obs_shape]. Steps behind the first `terminated | truncated` are not part of the episode.
    """

    def advance(carry: tuple[Any, Array], t: Array) -> tuple[tuple[Any, Array], tuple[TimeStep, Array, Array]]:
        state, obs = carry
        k_act, k_step = jax.random.split(jax.random.fold_in(key, t + 1))
        action = act(k_act, obs)
        state, step = env.step(k_step, state, action)
        return (state, step.obs), (step, action, obs)

    start = env.reset(jax.random.fold_in(key, 0))
    return lax.scan(advance, start, jnp.arange(env.spec.max_episode_steps))[1]


def visited_observations(key: Key, env: Environment, num: int) -> Array:
    """Raw observations f32[num, *obs_shape] that a uniformly random policy meets, each from an episode of its own."""

    def one(key: Key) -> Array:
        k_episode, k_time = jax.random.split(key)
        steps, _, observations = record_episode(k_episode, env, random_policy(env.spec))
        ended = steps.terminated | steps.truncated
        length = jnp.where(ended.any(), jnp.argmax(ended) + 1, ended.size)
        return observations[jax.random.randint(k_time, (), 0, length)]

    return lax.map(one, jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num)))


def random_policy(spec: EnvSpec) -> ActFn:
    """Uniform over the actions."""

    def act(key: Key, obs: Array) -> Array:
        del obs
        if isinstance(spec.action_space, Discrete):
            return jax.random.randint(key, (), 0, spec.action_space.n)
        return jax.random.uniform(key, (spec.action_space.size,), minval=-1.0, maxval=1.0)

    return act


@struct.dataclass
class _Loop:
    state: PyTree
    obs: Array
    alive: Array  # bool[E]
    t: Array  # i32[]
    episodes: Episodes

    def after(self, state: PyTree, step: TimeStep, max_steps: int) -> "_Loop":
        done = self.episodes
        alive = self.alive
        episodes = Episodes(
            returns=done.returns + jnp.where(alive, step.reward, 0.0),
            lengths=done.lengths + alive,
            terminated=done.terminated | (alive & step.terminated),
            info_max={k: jnp.where(alive, jnp.maximum(v, step.info[k]), v) for k, v in done.info_max.items()},
            info_sum={k: v + jnp.where(alive, step.info[k], 0.0) for k, v in done.info_sum.items()},
            executed=done.executed + alive.size,
            moments=None if done.moments is None else done.moments.merge(Moments.of(self.obs, alive)),
        )
        ended = step.terminated | step.truncated | (self.t + 1 >= max_steps)
        return _Loop(state=state, obs=step.obs, alive=alive & ~ended, t=self.t + 1, episodes=episodes)


def _fold(keys: Key, t: Array | int) -> Key:
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t)


def _actions(act: Callable[[Key, Array], Array], keys: Key, obs: Array) -> PyTree:
    return jax.eval_shape(jax.vmap(act), keys, obs)
