"""Adapter to every gymnax 1.x environment (Lange, 2022, github.com/RobertTLange/gymnax).

Steps the raw transition `step_env`, so that nothing resets itself and the last observation is the true one. Rank-3
observations are images and keep their shape; all others are flattened. Box actions are mapped from [-1, 1].
"""

import dataclasses
import functools
import importlib.metadata
import math
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.devices import check_devices
from hades.environments.base import Environment, EnvState, NumSteps
from hades.environments.session_object import SessionObject
from hades.errors import ConfigError, offer, shown
from hades.fields import Natural, checked
from hades.libraries import unchanged
from hades.registry import Choices, register
from hades.types import Box, Discrete, EnvSpec, Key, TimeStep

EXCLUDED = {
    "MNISTBandit-bsuite": "its constructor downloads MNIST from the network",
}
"""gymnax environments that are not offered, with the reason."""

TIME_LIMIT_ONLY = frozenset(
    {
        "Freeway-MinAtar",
        "Pendulum-v1",
        "BernoulliBandit-misc",
        "DiscountingChain-bsuite",
        "GaussianBandit-misc",
        "PointRobot-misc",
        "Reacher-misc",
        "Swimmer-misc",
    }
)
"""Environments whose episodes only the time limit ends (those whose traced `terminated` is constantly False; a test).
"""

_OBSERVATION_NAMES = {
    "CartPole-v1": ("cart position", "cart velocity", "pole angle", "pole angular velocity"),
    "Acrobot-v1": ("cos θ₁", "sin θ₁", "cos θ₂", "sin θ₂", "angular velocity 1", "angular velocity 2"),
    "Pendulum-v1": ("cos θ", "sin θ", "angular velocity"),
    "MountainCar-v0": ("position", "velocity"),
    "MountainCarContinuous-v0": ("position", "velocity"),
    "Asterix-MinAtar": ("player", "enemy", "trail", "gold"),
    "Breakout-MinAtar": ("paddle", "ball", "trail", "brick"),
    "Freeway-MinAtar": ("chicken", "car", "speed 1", "speed 2", "speed 3", "speed 4", "speed 5"),
    "SpaceInvaders-MinAtar": ("cannon", "alien", "alien left", "alien right", "friendly bullet", "enemy bullet"),
    "Seaquest-MinAtar": (
        "submarine front",
        "submarine back",
        "friendly bullet",
        "trail",
        "enemy bullet",
        "enemy fish",
        "enemy submarine",
        "oxygen gauge",
        "diver gauge",
        "diver",
    ),
}
_MINATAR_ACTIONS = ("stay", "left", "up", "right", "down", "fire")
_ACTION_NAMES = {
    "CartPole-v1": ("left", "right"),
    "Acrobot-v1": ("torque -1", "torque 0", "torque +1"),
    "Pendulum-v1": ("torque",),
    "MountainCar-v0": ("left", "coast", "right"),
    "MountainCarContinuous-v0": ("force",),
}


def _gymnax() -> Any:
    check_devices()  # the import computes
    with unchanged():
        import gymnax
    return gymnax


def env_ids() -> tuple[str, ...]:
    """Every gymnax environment that the adapter offers."""
    return tuple(sorted(set(_gymnax().registered_envs) - set(EXCLUDED)))


@runtime_checkable
class GymnaxEnvironment(Protocol):
    """The part of `gymnax.environments.environment.Environment` that is used."""

    default_params: Any

    def reset_env(self, key: Key, params: Any) -> tuple[Any, Any]: ...

    def step_env(self, key: Key, state: Any, action: Any, params: Any) -> tuple[Any, ...]: ...

    def is_truncated(self, state: Any, params: Any) -> Any: ...

    def observation_space(self, params: Any) -> Any: ...

    def action_space(self, params: Any) -> Any: ...


@register("Environment", "Gymnax")
@dataclasses.dataclass(frozen=True)
class Gymnax(Environment):
    """One gymnax environment.

    Attributes:
        env_id: gymnax's name, such as "CartPole-v1"; that of `env` in files, by default its class's.
        params: overrides of gymnax's environment parameters, as pairs, a mapping or gymnax's own EnvParams.
        make_options: keyword arguments of `gymnax.make`.
        env: an environment object of your own, instead of one that gymnax makes. It is not part of a file, which opens
            in a session that has made such a component before.

    Raises:
        ConfigError: for an unknown or excluded id, or unknown parameters, naming the known ones.
    """

    env_id: str = ""
    params: tuple[tuple[str, Any], ...] = ()
    make_options: tuple[tuple[str, Any], ...] = ()
    env: SessionObject | GymnaxEnvironment | None = None
    choices: ClassVar[Choices] = {"env_id": lambda: env_ids()}

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        return env_ids()

    def __post_init__(self) -> None:
        if self.env is not None:
            key = self.env_id or type(self.env).__name__
            own = self.env if isinstance(self.env, SessionObject) else SessionObject.of(self.env, key)
            vars(self).update(env=own, env_id=own.key)
        elif not self.env_id:
            raise ConfigError(
                'Gymnax.env_id is not set: bind a name of gymnax, such as "CartPole-v1", or give an object as env.'
            )
        elif self.env_id in EXCLUDED:
            raise ConfigError(f'gymnax "{self.env_id}" is not offered: {EXCLUDED[self.env_id]}.')
        if "max_steps_in_episode" in (params := dict(self.params)):
            checked(params["max_steps_in_episode"], NumSteps, "Gymnax.params['max_steps_in_episode']")

    @property
    def _env(self) -> Any:
        return self._made[0]

    @property
    def _params(self) -> Any:
        return self._made[1]

    @property
    def _made(self) -> tuple[Any, Any]:
        """The environment and its parameters."""
        if isinstance(self.env, SessionObject):
            return self.env.value, _own_params(self.env, self.params)
        return _make(self.env_id, self.params, self.make_options)

    @cached_property
    def spec(self) -> EnvSpec:
        with jax.ensure_compile_time_eval():  # gymnax computes its spaces with jax, and this may run inside a trace
            shape = tuple(self._env.observation_space(self._params).shape)
            actions = self._env.action_space(self._params)
            minatar = np.asarray(self._env.action_set).tolist() if self.env_id.endswith("MinAtar") else []
        return EnvSpec(
            name=self.env_id,
            obs_shape=shape if len(shape) == 3 else (math.prod(shape),),
            action_space=Discrete(int(actions.n)) if hasattr(actions, "n") else Box(math.prod(actions.shape)),
            max_episode_steps=int(self._params.max_steps_in_episode),
            observation_names=_OBSERVATION_NAMES.get(self.env_id, ()),
            action_names=_ACTION_NAMES.get(self.env_id) or tuple(_MINATAR_ACTIONS[action] for action in minatar),
            can_terminate=self.env_id not in TIME_LIMIT_ONLY,
        )

    @cached_property
    def versions(self) -> dict[str, str]:
        return {"gymnax": importlib.metadata.version("gymnax")}

    def reset(self, key: Key) -> tuple[EnvState, Array]:
        obs, state = self._env.reset_env(key, self._params)
        return state, self._observation(obs)

    def step(self, key: Key, state: EnvState, action: Array) -> tuple[EnvState, TimeStep]:
        obs, state, reward, terminated, _ = self._env.step_env(key, state, self.native_action(action), self._params)
        truncated = self._env.is_truncated(state, self._params)
        step = TimeStep(
            obs=self._observation(obs),
            reward=jnp.asarray(reward, jnp.float32).reshape(()),
            terminated=jnp.asarray(terminated, bool).reshape(()),
            truncated=jnp.asarray(truncated, bool).reshape(()),
            info={},
        )
        return state, step

    def _observation(self, obs: Array) -> Array:
        return jnp.asarray(obs, jnp.float32).reshape(self.spec.obs_shape)

    def native_action(self, action: Array) -> Array:
        if self.spec.is_discrete:
            return action
        low, high = self._bounds
        action = jnp.clip(action, -1.0, 1.0).reshape(*action.shape[:-1], *low.shape)
        return low + (action + 1.0) * 0.5 * (high - low)

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        with jax.ensure_compile_time_eval():
            space = self._env.action_space(self._params)
            low, high = (np.broadcast_to(np.asarray(b, np.float32), space.shape) for b in (space.low, space.high))
        return low, high


@functools.cache
def _make(
    env_id: str, params: tuple[tuple[str, Any], ...], make_options: tuple[tuple[str, Any], ...]
) -> tuple[Any, Any]:
    known = env_ids()
    if env_id not in known:
        raise ConfigError(f'gymnax has no environment "{env_id}". {offer(env_id, known)}')
    try:
        with jax.ensure_compile_time_eval():
            env, defaults = _gymnax().make(env_id, **dict(make_options))
    except Exception as error:  # gymnax checks nothing: any error of JAX or Python may come
        raise ConfigError(
            f'gymnax.make("{env_id}") does not take make_options {shown(dict(make_options))}: {error}.'
        ) from error
    return env, _overridden(env_id, defaults, params)


@functools.cache
def _own_params(env: SessionObject, params: tuple[tuple[str, Any], ...]) -> Any:
    """The parameters of the user's own environment.

    Raises:
        ConfigError: where they do not say how long an episode is.
    """
    with jax.ensure_compile_time_eval():
        overridden = _overridden(env.key, env.value.default_params, params)
    if not hasattr(overridden, "max_steps_in_episode"):
        raise ConfigError(
            f'The default_params of "{env.key}" have no max_steps_in_episode, after which an episode ends: derive them '
            "from gymnax.environments.environment.EnvParams."
        )
    return overridden


def _overridden(env_id: str, defaults: Any, params: tuple[tuple[str, Any], ...]) -> Any:
    """Parameters with the given ones in the place of defaults."""
    unknown = [name for name, _ in params if not hasattr(defaults, name)]
    if unknown:
        fields = [f.name for f in dataclasses.fields(defaults)]
        raise ConfigError(f'gymnax "{env_id}" has no parameter {unknown[0]!r}. {offer(unknown[0], fields)}')
    return defaults.replace(**{name: _override(name, getattr(defaults, name), value) for name, value in params})


def _override(name: str, default: Any, value: Any) -> Any:
    """An override of a parameter, of the type and shape of its default."""
    place = f"Gymnax.params[{name!r}]"
    if not isinstance(default, jax.Array | np.ndarray):
        if value == default:  # of gymnax's own EnvParams, any value
            return default
        kind = NumSteps if name == "max_steps_in_episode" else Natural if type(default) is int else type(default)
        return checked(value, kind, place)
    entries: Any = float
    for _ in default.shape:
        entries = tuple[entries, ...]
    array = np.asarray(checked(value, entries, place), default.dtype)
    if array.shape != default.shape:
        raise ConfigError(f"{place} has {len(array)} entries; it must have {len(default)}.")
    return jnp.asarray(array)
