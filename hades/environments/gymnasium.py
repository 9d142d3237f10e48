"""Adapter to environments of Gymnasium (Towers et al., 2024), which Python steps one at a time: slow, but any of them.

An environment of Gymnasium is an object that changes; one of ours is a pure function. The state here is the seed of the
episode with the actions so far, which stand for the object: the host keeps the objects of recent states, and makes one
anew, by playing the actions again, where it has none. So common random numbers and repeated episodes hold, as far as
the environment depends on its seed and actions alone.
"""

import collections
import dataclasses
import functools
import importlib.metadata
import math
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

from hades.environments.base import Environment, NumSteps
from hades.errors import ConfigError, MissingPackageError, require, shown
from hades.registry import register
from hades.types import Box, Discrete, EnvSpec, Key, TimeStep

MOST_OBJECTS = 4096
"""Environments that the host keeps of one component; the one that was not used for the longest time goes first."""


@struct.dataclass
class History:
    """The state of an episode, which stands for an environment. After its end nothing changes any more."""

    seed: Array  # u32[]
    t: Array  # i32[], steps so far
    actions: Array  # i32[T] or f32[T, A]; those behind t are 0
    over: Array  # bool[]
    obs: Array  # f32[*obs_shape]


@register("Environment", "Gymnasium")
@dataclasses.dataclass(frozen=True)
class Gymnasium(Environment):
    """One environment of Gymnasium, on the host of this process.

    Attributes:
        env_id: Gymnasium's name, such as "CartPole-v1".
        make_options: keyword arguments of `gymnasium.make`.
        max_episode_steps: time limit; None: that of the environment.

    Raises:
        ConfigError: at its first use, for an unknown id, spaces that are neither Box nor Discrete, actions without
            bounds, and where there is no time limit.
        MissingPackageError: at its first use, where gymnasium is not installed.
    """

    env_id: str
    make_options: tuple[tuple[str, Any], ...] = ()
    max_episode_steps: NumSteps | None = None

    @property
    def _host(self) -> "_Host":
        return _host(self)

    @cached_property
    def spec(self) -> EnvSpec:
        env, name = self._host.make(), f'"{self.env_id}"'
        space, shape = env.action_space, env.observation_space.shape
        steps = self.max_episode_steps or (env.spec.max_episode_steps if env.spec else None)
        env.close()
        require(shape, f"The observations of Gymnasium's {name} are {env.observation_space}; they must be a Box.")
        require(steps, f"Gymnasium's {name} has no time limit: set Gymnasium.max_episode_steps.")
        is_box = not hasattr(space, "n") and getattr(space, "shape", None)
        fits = np.isfinite([space.low, space.high]).all() if is_box else np.ndim(getattr(space, "n", ())) == 0
        require(
            fits and (is_box or hasattr(space, "n")),
            f"The actions of Gymnasium's {name} are {space}; they must be Discrete or a Box with finite bounds.",
        )
        return EnvSpec(
            name=self.env_id,
            obs_shape=shape if len(shape) == 3 else (math.prod(shape),),
            action_space=Box(math.prod(space.shape)) if is_box else Discrete(int(space.n)),
            max_episode_steps=steps or 0,
        )

    @cached_property
    def versions(self) -> dict[str, str]:
        return {"gymnasium": importlib.metadata.version("gymnasium")}

    def reset(self, key: Key) -> tuple[History, Array]:
        spec, seed = self.spec, jax.random.bits(key, (), jnp.uint32)
        shape = jax.ShapeDtypeStruct(spec.obs_shape, jnp.float32)
        obs = jax.pure_callback(self._host.reset, shape, seed, vmap_method="broadcast_all")
        row, dtype = ((), jnp.int32) if spec.is_discrete else ((spec.action_space.size,), jnp.float32)
        actions = jnp.zeros((spec.max_episode_steps, *row), dtype)
        return History(seed, jnp.int32(0), actions, jnp.bool_(False), obs), obs

    def step(self, key: Key, state: History, action: Array) -> tuple[History, TimeStep]:
        del key  # what is random follows from the seed
        like = jax.ShapeDtypeStruct((), jnp.float32)
        end = jax.ShapeDtypeStruct((), bool)
        shapes = (jax.ShapeDtypeStruct(self.spec.obs_shape, jnp.float32), like, end, end)
        actions = jnp.where(
            state.over, state.actions, state.actions.at[state.t].set(action.astype(state.actions.dtype))
        )
        asked = (state.seed, state.t, actions, state.over)
        obs, reward, terminated, truncated = jax.pure_callback(
            self._host.step, shapes, *asked, vmap_method="broadcast_all"
        )
        obs, t = jnp.where(state.over, state.obs, obs), state.t + ~state.over
        truncated = ~terminated & (truncated | (t >= self.spec.max_episode_steps))
        over = state.over | terminated | truncated
        step = TimeStep(obs=obs, reward=reward, terminated=terminated, truncated=truncated, info={})
        return History(state.seed, t, actions, over, obs), step

    def native_action(self, action: Array) -> Array:
        if self.spec.is_discrete:
            return action
        return _within(action, *self._host.bounds)


def _within(action: Any, low: np.ndarray, high: np.ndarray) -> Any:
    """Actions f32[..., A] in [-1, 1], of NumPy or JAX, within the bounds of an environment."""
    return low + (action.clip(-1.0, 1.0) + 1.0) * 0.5 * (high - low)


def made(env_id: str, make_options: Mapping[str, Any]) -> Any:
    """An environment of Gymnasium.

    Raises:
        ConfigError: where `gymnasium.make` fails.
        MissingPackageError: where gymnasium is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise MissingPackageError(
            "Environments of Gymnasium need the package gymnasium: pip install gymnasium, or hades-rl[gymnasium]."
        ) from error
    try:
        return gymnasium.make(env_id, **make_options)
    except Exception as error:  # of gymnasium, or of the package that it loads
        raise ConfigError(f"gymnasium.make({shown(env_id)}) fails: {shown(str(error), 300)}.") from error


class _Host:
    """The objects behind the states of one component."""

    def __init__(self, config: Gymnasium):
        self._config, self._lock = config, threading.Lock()
        self._objects: collections.OrderedDict[tuple[int, bytes], list[Any]] = collections.OrderedDict()
        self._idle: list[Any] = []
        self._count = 0

    def make(self) -> Any:
        limit = self._config.max_episode_steps
        options = dict(self._config.make_options) | ({"max_episode_steps": limit} if limit else {})
        return made(self._config.env_id, options)

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of continuous actions, f32[A] each."""
        env = self.make()
        low, high = (
            np.asarray(bound, np.float32).reshape(-1) for bound in (env.action_space.low, env.action_space.high)
        )
        env.close()
        return low, high

    def reset(self, seeds: Any) -> np.ndarray:
        """First observations, for seeds with any leading axes."""
        seeds = np.asarray(seeds)
        with self._lock:
            rows = [self._begin(int(seed)) for seed in seeds.reshape(-1)]
            for seed, (env, _) in zip(seeds.reshape(-1), rows, strict=True):
                self._keep((int(seed), b""), env)
        return np.stack([obs for _, obs in rows]).reshape(*seeds.shape, *self._config.spec.obs_shape)

    def step(self, seeds: Any, times: Any, actions: Any, over: Any) -> tuple[np.ndarray, ...]:
        """Observations, rewards, and whether the episode terminated or was truncated, after t + 1 actions."""
        seeds, times, actions, over = (np.asarray(x) for x in (seeds, times, actions, over))
        batch, shape = seeds.shape, self._config.spec.obs_shape
        rows = (x.reshape(-1, *x.shape[len(batch) :]) for x in (seeds, times, actions, over))
        with self._lock:
            results = [
                (np.zeros(shape, np.float32), 0.0, False, False) if is_over else self._step(int(seed), chosen[: t + 1])
                for seed, t, chosen, is_over in zip(*rows, strict=True)
            ]
        obs, *others = zip(*results, strict=True)
        kinds = zip(others, (np.float32, bool, bool), strict=True)
        return np.stack(obs).reshape(*batch, *shape), *(np.asarray(x, kind).reshape(batch) for x, kind in kinds)

    def _step(self, seed: int, actions: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        before = (seed, actions[:-1].tobytes())
        if known := self._objects.get(before):
            env = known.pop()
            self._count -= 1
            if not known:
                del self._objects[before]
        else:
            env, _ = self._begin(seed)
            for action in actions[:-1]:
                env.step(self._native(env, action))
        obs, reward, terminated, truncated, _ = env.step(self._native(env, actions[-1]))
        if terminated or truncated:
            self._idle.append(env)
        else:
            self._keep((seed, actions.tobytes()), env)
        return self._observation(obs), float(reward), bool(terminated), bool(truncated)

    def _begin(self, seed: int) -> tuple[Any, np.ndarray]:
        env = self._idle.pop() if self._idle else self.make()
        return env, self._observation(env.reset(seed=seed)[0])

    def _keep(self, state: tuple[int, bytes], env: Any) -> None:
        self._objects.setdefault(state, []).append(env)
        self._objects.move_to_end(state)
        self._count += 1
        while self._count > MOST_OBJECTS:
            oldest = next(iter(self._objects))
            self._idle.append(self._objects[oldest].pop())
            self._count -= 1
            if not self._objects[oldest]:
                del self._objects[oldest]

    def _native(self, env: Any, action: np.ndarray) -> Any:
        if self._config.spec.is_discrete:
            return int(action) + int(env.action_space.start)
        native = _within(action, *self.bounds)
        return native.reshape(env.action_space.shape).astype(env.action_space.dtype)

    def _observation(self, obs: Any) -> np.ndarray:
        return np.asarray(obs, np.float32).reshape(self._config.spec.obs_shape)


@functools.cache
def _host(config: Gymnasium) -> _Host:
    return _Host(config)
