"""Play episodes to their end, storing nothing per step.

All episodes of a rollout step in lockstep until the last one has ended. `environments/lockstep.py` tells how the
rollouts of a population, which `vmap` puts together, share their steps.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax

from hades.contracts import expect_shape
from hades.environments.base import Environment, EnvState
from hades.environments.lockstep import advance_until_ended, any_in_lockstep
from hades.errors import ConfigError
from hades.types import ActFn, Discrete, EnvSpec, Key, Moments, PyTree, TimeStep


@struct.dataclass
class Episodes:
    """Sums and extremes of E episodes."""

    returns: Array  # f32[E], undiscounted
    lengths: Array  # i32[E], live steps
    terminated: Array  # bool[E], False where the time limit ended the episode
    info_max: dict[str, Array]  # f32[E] each, largest value of the episode
    info_sum: dict[str, Array]  # f32[E] each
    executed: Array  # i32[], steps computed, live or not; of rollouts played together, each one's share of the sum
    moments: Moments | None  # of the raw observations acted on
    kept: "Sample | None" = None


@struct.dataclass
class Sample:
    """An even sample of the raw observations that each of E episodes acted on (Vitter, 1985, Algorithm R)."""

    observations: Array  # f32[E, K, *obs_shape]
    steps: Array  # i32[E, K], the step of each; -1 where a short episode left a place empty

    @staticmethod
    def empty(num_episodes: int, size: int, obs: Array) -> "Sample":
        """K empty places for each episode, whose first observations are f32[E, *obs_shape]."""
        return Sample(
            observations=jnp.zeros((num_episodes, size, *obs.shape[1:]), obs.dtype),
            steps=jnp.full((num_episodes, size), -1, jnp.int32),
        )

    def add(self, keys: Key, t: Array, obs: Array, alive: Array) -> "Sample":
        """The sample after step t: each state seen so far is in it with equal probability.

        Args:
            keys: one for each episode.
            t: i32[], from 0.
            obs: f32[E, *obs_shape], what was acted on.
            alive: bool[E]; an episode that has ended adds nothing.
        """
        size = self.steps.shape[1]

        def one(key: Key, alive: Array, obs: Array, observations: Array, steps: Array) -> tuple[Array, Array]:
            drawn = jax.random.randint(key, (), 0, t + 1)
            place = jnp.where(t < size, t, drawn)
            place = jnp.where(alive, place, size)  # out of range: dropped
            return observations.at[place].set(obs, mode="drop"), steps.at[place].set(t, mode="drop")

        return Sample(*jax.vmap(one)(keys, alive, obs, self.observations, self.steps))


@struct.dataclass
class Window:
    """Totals over the episodes that ended inside a window, or with one step of E environments."""

    returns: Array  # f32[], sum of theirs
    steps: Array  # i32[], sum of their lengths
    episodes: Array  # i32[], how many there were


@dataclasses.dataclass(frozen=True)
class RunningAct:
    """An act with a memory that the environments of one rollout share, such as statistics gathered while playing.

    It stands wherever an ActFn does: `rollout`, `rollout_window` and `record_episode` carry the memory, each from its
    start. The observations of all environments are observed before any of them is acted on.

    Attributes:
        start: the memory before the first observation.
        observe: the memory after raw observations f32[E, *obs_shape], those of live environments bool[E].
        act_with: a memory to an ActFn on raw observations.
    """

    start: PyTree
    observe: Callable[[PyTree, Array, Array], PyTree]
    act_with: Callable[[PyTree], ActFn]

    def __call__(self, key: Key, obs: Array) -> Array:
        """A single call has no memory.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            "This policy normalises by statistics that it gathers while it plays, so it cannot act on one observation "
            "alone: play it with rollout, rollout_window or record_episode, or give the dataset constant statistics "
            "(hades.policy.trained_policy.freeze_statistics)."
        )


def _running(act: ActFn) -> RunningAct:
    """Any act as one with a memory, which is empty for a plain one."""
    if isinstance(act, RunningAct):
        return act
    return RunningAct(start=(), observe=lambda memory, obs, live: memory, act_with=lambda memory: act)


def rollout(
    key: Key,
    env: Environment,
    act: ActFn,
    num_episodes: int,
    *,
    with_moments: bool = False,
    keep: int = 0,
    max_steps: Array | int = 0,
) -> Episodes:
    """Play `num_episodes` whole episodes, each from its own `fold_in` of the key.

    Args:
        key: one key; episode e uses `fold_in(key, e)` whatever else is batched with it.
        env: steps without resetting itself.
        act: called on raw observations; a RunningAct's memory is shared by the episodes that have not ended.
        num_episodes: E.
        with_moments: also reduce the moments of the observations.
        keep: also keep an even sample of so many observations of each episode; it changes no action.
        max_steps: break episodes off after so many steps; 0: never.
    """
    longest = env.spec.max_episode_steps
    limit = jnp.where(jnp.equal(max_steps, 0), longest, jnp.minimum(max_steps, longest))
    keys = jax.vmap(lambda e: jax.random.fold_in(key, e))(jnp.arange(num_episodes))
    state, obs = jax.vmap(env.reset)(_fold(keys, 0))
    expect_shape(obs, (num_episodes, *env.spec.obs_shape), env, f"{num_episodes} observations")
    running = _running(act)
    memory = running.observe(running.start, obs, jnp.ones(num_episodes, bool))
    step = jax.eval_shape(jax.vmap(env.step), keys, state, _actions(running.act_with(memory), keys, obs))[1]
    for value, what in (
        (step.reward, "rewards"),
        *((value, f"info values {name}") for name, value in step.info.items()),
    ):
        expect_shape(value, (num_episodes,), env, f"{num_episodes} {what}")
    shape = env.spec.obs_shape
    first = _Loop(
        state=state,
        obs=obs,
        memory=memory,
        alive=jnp.ones(num_episodes, bool),
        episodes=Episodes(
            returns=jnp.zeros(num_episodes),
            lengths=jnp.zeros(num_episodes, jnp.int32),
            terminated=jnp.zeros(num_episodes, bool),
            info_max={name: jnp.full(num_episodes, -jnp.inf) for name in step.info},
            info_sum={name: jnp.zeros(num_episodes) for name in step.info},
            executed=jnp.zeros((), jnp.int32),
            moments=Moments.zeros(shape) if with_moments else None,
            kept=Sample.empty(num_episodes, keep, obs) if keep else None,
        ),
    )

    def advance(t: Array, loop: _Loop) -> _Loop:
        k_now = _fold(keys, t + 1)
        k_act, k_step = jax.vmap(lambda k: jax.random.split(k, 2), out_axes=1)(k_now)
        action = jax.vmap(running.act_with(loop.memory))(k_act, loop.obs)
        state, step = jax.vmap(functools.partial(step_if_defined, env))(k_step, loop.state, action)
        after = loop.after(t, state, step, limit, _fold(k_now, 2))
        return after.replace(memory=running.observe(loop.memory, after.obs, after.alive))  # type: ignore[attr-defined]

    last, executed = advance_until_ended(advance, lambda loop: loop.alive, first)
    return dataclasses.replace(last.episodes, executed=executed)


def step_if_defined(env: Environment, key: Key, state: EnvState, action: Array) -> tuple[EnvState, TimeStep]:
    """`env.step`, unless the action is undefined: not finite, or NO_ACTION. Then all is NaN, and the episode ends.

    Environments clip actions, so that a policy of NaN weights would otherwise earn a finite return.
    """
    counted = jnp.issubdtype(action.dtype, jnp.integer)
    defined = (action >= 0).all() if counted else jnp.isfinite(action).all()
    state, step = env.step(key, state, action)
    reward, info = jax.tree.map(lambda value: jnp.where(defined, value, jnp.nan), (step.reward, step.info))
    return state, dataclasses.replace(step, reward=reward, info=info, terminated=step.terminated | ~defined)


def rollout_window(key: Key, env: Environment, act: ActFn, num_envs: int, num_steps: int) -> Window:
    """The published protocol: a fixed number of steps in environments that start anew whenever an episode ends.

    All environments step in lockstep and share a RunningAct's memory, which lasts over the ends of episodes.
    """
    keys = jax.vmap(lambda e: jax.random.fold_in(key, e))(jnp.arange(num_envs))
    running, live = _running(act), jnp.ones(num_envs, bool)

    def advance(carry: tuple[AutoReset, PyTree, Window], t: Array) -> tuple[tuple[Any, ...], None]:
        envs, memory, totals = carry
        k_act, k_step, k_reset = jax.vmap(lambda k: jax.random.split(k, 3), out_axes=1)(_fold(keys, t + 1))
        action = jax.vmap(running.act_with(memory))(k_act, envs.obs)
        envs, _, ended = envs.step(k_step, k_reset, env, action)
        return (envs, running.observe(memory, envs.obs, live), jax.tree.map(jnp.add, totals, ended)), None

    envs = AutoReset.start(_fold(keys, 0), env)
    none = jnp.zeros(num_envs, jnp.int32)
    totals = Window(returns=jnp.zeros(num_envs), steps=none, episodes=none)
    start = (envs, running.observe(running.start, envs.obs, live), totals)
    totals = lax.scan(advance, start, jnp.arange(num_steps))[0][-1]
    return jax.tree.map(lambda x: x.sum(0), totals)


@struct.dataclass
class AutoReset:
    """E environments in lockstep, each of which begins anew where its episode ends."""

    state: EnvState
    obs: Array  # f32[E, *obs_shape], the first ones of an episode where one has just ended
    earned: Array  # f32[E], rewards of the episode so far
    length: Array  # i32[E], its steps so far

    @staticmethod
    def start(keys: Key, env: Environment) -> "AutoReset":
        """At the beginning of E episodes, one for each key."""
        state, obs = jax.vmap(env.reset)(keys)
        count = keys.shape[0]
        return AutoReset(state=state, obs=obs, earned=jnp.zeros(count), length=jnp.zeros(count, jnp.int32))

    def step(self, k_step: Key, k_reset: Key, env: Environment, action: Array) -> tuple["AutoReset", TimeStep, Window]:
        """One step of each.

        Args:
            k_step, k_reset: E keys each.
            env: what is stepped.
            action: E actions.

        Returns:
            The environments after it, the time steps (with the true last observations, `truncated` at the time limit
            too), and of the episodes that ended their returns f32[E], steps i32[E] and number bool[E]: 0 where none
            did.
        """
        state, step = jax.vmap(functools.partial(step_if_defined, env))(k_step, self.state, action)
        earned, length = self.earned + step.reward, self.length + 1
        truncated = step.truncated | (length >= env.spec.max_episode_steps)
        done = step.terminated | truncated
        ended = Window(returns=jnp.where(done, earned, 0.0), steps=jnp.where(done, length, 0), episodes=done)
        state, obs = _begin_anew(env, done, k_reset, (state, step.obs))
        after = AutoReset(state=state, obs=obs, earned=jnp.where(done, 0.0, earned), length=jnp.where(done, 0, length))
        return after, dataclasses.replace(step, truncated=truncated), ended


def _begin_anew(env: Environment, done: Array, k_reset: Key, going_on: PyTree) -> PyTree:
    """(state, obs) of E environments, fresh ones where bool[E] is true."""

    def one(done: Array, k: Key, going_on: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: jnp.where(done, a, b), env.reset(k), going_on)

    # A reset can cost as much as a step, and most steps end no episode.
    return lax.cond(
        any_in_lockstep(done.any()), jax.vmap(one), lambda done, k, going_on: going_on, done, k_reset, going_on
    )


def record_episode(key: Key, env: Environment, act: ActFn) -> tuple[TimeStep, Array, Array]:
    """One episode with every step kept, for pictures.

    Returns:
        Time steps stacked over T = max_episode_steps, the actions taken [T, ...] and the observations acted on
        f32[T, *obs_shape]. Steps behind the first `terminated | truncated` are not part of the episode.
    """
    return record_episode_keeping(key, env, act, lambda state: None)[:3]


def record_episode_keeping(
    key: Key, env: Environment, act: ActFn, keep: Callable[[EnvState], PyTree]
) -> tuple[TimeStep, Array, Array, PyTree]:
    """The same, with what `keep` takes from each state: stacked over T + 1, the last one behind the last step."""

    running, live = _running(act), jnp.ones(1, bool)

    def advance(carry: tuple[Any, ...], t: Array) -> tuple[tuple[Any, ...], tuple[TimeStep, Array, Array, PyTree]]:
        state, obs, memory = carry
        k_act, k_step = jax.random.split(jax.random.fold_in(key, t + 1))
        action = running.act_with(memory)(k_act, obs)
        after, step = env.step(k_step, state, action)
        memory = running.observe(memory, step.obs[None], live)
        return (after, step.obs, memory), (step, action, obs, keep(state))

    state, obs = env.reset(jax.random.fold_in(key, 0))
    start = (state, obs, running.observe(running.start, obs[None], live))
    (last, *_), (steps, actions, observations, kept) = lax.scan(advance, start, jnp.arange(env.spec.max_episode_steps))
    kept = jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), kept, keep(last))
    return steps, actions, observations, kept


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
    memory: PyTree  # of a RunningAct; shared by all episodes
    alive: Array  # bool[E]
    episodes: Episodes

    def after(self, t: Array, state: PyTree, step: TimeStep, max_steps: Array, k_keep: Key) -> "_Loop":
        done = self.episodes
        alive = self.alive
        episodes = Episodes(
            returns=done.returns + jnp.where(alive, step.reward, 0.0),
            lengths=done.lengths + alive,
            terminated=done.terminated | (alive & step.terminated),
            info_max={k: jnp.where(alive, jnp.maximum(v, step.info[k]), v) for k, v in done.info_max.items()},
            info_sum={k: v + jnp.where(alive, step.info[k], 0.0) for k, v in done.info_sum.items()},
            executed=done.executed,
            moments=None if done.moments is None else done.moments.merge(Moments.of(self.obs, alive)),
            kept=None if done.kept is None else done.kept.add(k_keep, t, self.obs, alive),
        )
        ended = step.terminated | step.truncated | (t + 1 >= max_steps)
        return _Loop(state=state, obs=step.obs, memory=self.memory, alive=alive & ~ended, episodes=episodes)


def _fold(keys: Key, t: Array | int) -> Key:
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, t)


def _actions(act: Callable[[Key, Array], Array], keys: Key, obs: Array) -> PyTree:
    return jax.eval_shape(jax.vmap(act), keys, obs)
