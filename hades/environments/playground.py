"""Adapter to the control suite of MuJoCo Playground (Zakka et al., 2025, github.com/google-deepmind/mujoco_playground).

The tasks are those of the DeepMind control suite (Tassa et al., 2018): rewards in [0, 1], actions in [-1, 1], episodes
that only the time limit ends. Playground is an optional package (`pip install 'hades-rl[playground]'`). Steps the raw
environment, without Playground's wrappers, so that nothing resets itself and no action is repeated. The physics is
always MJX's JAX implementation: Playground's default, Warp, is for NVIDIA GPUs.
"""

import dataclasses
import functools
import importlib.metadata
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.devices import check_devices
from hades.environments.base import Environment, EnvState, NumSteps
from hades.environments.physics import body_info, first_state, guarded_step, quiet
from hades.errors import ConfigError, MissingPackageError, offer
from hades.registry import Choices, register
from hades.types import Box, EnvSpec, Key, TimeStep

IMPLEMENTATION = "jax"
_NEEDS_MENAGERIE = "it loads robots of mujoco_menagerie, which Playground clones from GitHub"
_WARP_ONLY = "only the Warp implementation reads it"
NOT_OVERRIDDEN = {
    "impl": f'hades always runs MJX\'s "{IMPLEMENTATION}" implementation',
    "episode_length": "set Playground.episode_length",
    "action_repeat": "only Playground's training wrappers read it",
    "vision": "its renderer needs the Warp implementation",
    **dict.fromkeys(("vision_config", "naconmax", "naccdmax", "njmax"), _WARP_ONLY),
}
"""Entries of Playground's configurations that `config_overrides` does not take, with the reason."""

TIME_LIMIT_ONLY = frozenset(
    {
        *("AcrobotSwingup", "AcrobotSwingupSparse", "BallInCup", "CartpoleBalance", "CartpoleBalanceSparse"),
        *("CartpoleSwingup", "CartpoleSwingupSparse", "CheetahRun", "FingerSpin", "FingerTurnEasy", "FingerTurnHard"),
        *("FishSwim", "HopperHop", "HopperStand", "HumanoidRun", "HumanoidStand", "HumanoidWalk", "PendulumSwingup"),
        *("PointMass", "ReacherEasy", "ReacherHard", "SwimmerSwimmer6", "WalkerRun", "WalkerStand", "WalkerWalk"),
    }
)
"""Environments whose episodes only the time limit ends, as long as the physics stays finite: all of the suite's own,
but not those that a user registers in `mujoco_playground.dm_control_suite`."""


def env_names() -> tuple[str, ...]:
    """Every Playground environment that the adapter offers."""
    return tuple(sorted(_playground().dm_control_suite.ALL_ENVS))


def excluded() -> dict[str, str]:
    """Registered Playground environments that are not offered, with the reason."""
    playground = _playground()
    return dict.fromkeys((*playground.locomotion.ALL_ENVS, *playground.manipulation.ALL_ENVS), _NEEDS_MENAGERIE)


@register("Environment", "Playground")
@dataclasses.dataclass(frozen=True)
class Playground(Environment):
    """One task of MuJoCo Playground's control suite.

    `info` holds `height` and `speed` (the highest and the fastest body that can move, in m and m/s), `nonfinite`
    (1 where the physics broke down, which ends the episode) and every scalar of the task's own `metrics`, such as
    `reward/upright`.

    Attributes:
        env_name: Playground's name, such as "CartpoleBalance".
        episode_length: steps after which an episode is truncated; None: the task's own (1000 in the whole suite).
        config_overrides: entries of the task's configuration, such as `ctrl_dt`, as pairs or a mapping.

    Raises:
        ConfigError: for an unknown or excluded environment or an override that cannot be, naming the known ones.
        MissingPackageError: where Playground is not installed.
    """

    env_name: str
    episode_length: NumSteps | None = None
    config_overrides: tuple[tuple[str, Any], ...] = ()
    choices: ClassVar[Choices] = {"env_name": lambda: env_names()}

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        return env_names()

    def __post_init__(self) -> None:
        for name, _ in self.config_overrides:
            if name in NOT_OVERRIDDEN:
                raise ConfigError(f"Playground.config_overrides cannot set {name!r}: {NOT_OVERRIDDEN[name]}.")

    @property
    def native(self) -> Any:
        """Playground's own environment, for viewers."""
        return _make(self.env_name, self.config_overrides)

    @cached_property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            name=self.env_name,
            obs_shape=_observation_shape(self.native, self.env_name),
            action_space=Box(int(self.native.action_size)),
            max_episode_steps=self._num_steps,
            can_terminate=self.env_name not in TIME_LIMIT_ONLY,
        )

    @cached_property
    def versions(self) -> dict[str, str]:
        packages = ("playground", "mujoco", "mujoco-mjx")
        found = {name: importlib.metadata.version(name) for name in packages}
        return found | {"mjx implementation": IMPLEMENTATION}

    def reset(self, key: Key) -> tuple[EnvState, Array]:
        return first_state(self.native, key)

    def step(self, key: Key, state: EnvState, action: Array) -> tuple[EnvState, TimeStep]:
        del key
        model = self.native.mj_model
        return guarded_step(self.native, state, action, lambda after: _bodies(model, after.data), self._num_steps)

    @cached_property
    def _num_steps(self) -> int:
        return self.episode_length or int(_default_config(self.env_name).episode_length)


@functools.cache
def _make(env_name: str, config_overrides: tuple[tuple[str, Any], ...]) -> Any:
    known = [name for name in _default_config(env_name) if name not in NOT_OVERRIDDEN]
    for name, _ in config_overrides:
        if name not in known:
            raise ConfigError(f'Playground\'s "{env_name}" has no setting {name!r}. {offer(name, known)}')
    overrides = {**dict(config_overrides), "impl": IMPLEMENTATION}
    suite = _playground().dm_control_suite
    try:
        with jax.ensure_compile_time_eval(), quiet():
            env = suite.load(env_name, config_overrides=overrides)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'Playground\'s "{env_name}" does not take config_overrides {dict(config_overrides)}: {error}'
        ) from error
    if not 0 < env.sim_dt <= env.dt:
        raise ConfigError(
            f'Playground\'s "{env_name}" with config_overrides {dict(config_overrides)} has sim_dt {env.sim_dt} and '
            f"ctrl_dt {env.dt}; both must be above 0, and sim_dt the smaller one."
        )
    return env


def _default_config(env_name: str) -> Any:
    known = env_names()
    if env_name not in known:
        if env_name in excluded():
            raise ConfigError(f'Playground\'s "{env_name}" is not offered: {excluded()[env_name]}.')
        raise ConfigError(f'Playground has no environment "{env_name}". {offer(env_name, known)}')
    return _playground().dm_control_suite.get_default_config(env_name)


def _observation_shape(env: Any, env_name: str) -> tuple[int, ...]:
    size = env.observation_size
    if isinstance(size, Mapping):
        raise ConfigError(
            f'Playground\'s "{env_name}" observes a dictionary ({", ".join(sorted(size))}); hades takes one array.'
        )
    return (int(size),)


def _bodies(model: Any, data: Any) -> dict[str, Array]:
    """`body_info` of the bodies that the simulation can move: neither the world nor targets."""
    (moving,) = np.nonzero((model.body_mocapid < 0) & (model.body_weldid > 0))
    spin, drift = data.cvel[moving, :3], data.cvel[moving, 3:]  # f32[L, 3] each, at the centre of mass of the tree
    arm = data.xpos[moving] - data.subtree_com[model.body_rootid[moving]]
    return body_info(data.xpos[moving], drift + jnp.cross(spin, arm))


def _playground() -> Any:
    check_devices()
    try:
        with quiet():
            import mujoco_playground
    except ImportError as error:
        raise MissingPackageError(
            f"The Playground environments need the package \"playground\" ({error}): pip install 'hades-rl[playground]'"
        ) from error
    return mujoco_playground
