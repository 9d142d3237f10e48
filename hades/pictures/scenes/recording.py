"""One episode of a policy, recorded step by step."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np
from jax import Array

from hades.algorithms.keys import Purpose, Stream, purpose_key, root_key, stream_key
from hades.environments.base import Environment
from hades.environments.rollout import record_episode_keeping
from hades.pictures.scenes.draw import can_draw, draw
from hades.pictures.scenes.motion import HasBodies, Motion
from hades.text import fixed, return_text
from hades.types import ActFn, EnvSpec, Key, PyTree

if TYPE_CHECKING:
    from PIL import Image


class Actor(Protocol):
    """A policy that can be shown: `hades.TrainedPolicy`, or anything else with these two members."""

    @property
    def environment(self) -> Environment: ...

    def act(self, key: Key, observation: Array) -> Array:
        """An action for one raw observation."""
        ...


@dataclasses.dataclass(frozen=True)
class Episode:
    """A whole episode of T steps.

    Attributes:
        spec: of its environment.
        observations: f32[T + 1, *obs_shape], raw; the last one is behind the last step.
        actions: i32[T] or f32[T, A].
        rewards: f32[T].
        terminated: whether the environment ended it, not the time limit.
        motion: of the bodies, where the environment is a simulation of rigid bodies.
    """

    spec: EnvSpec
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    motion: Motion | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def returns(self) -> np.ndarray:
        """f64[T], what was earned up to and with each step."""
        return np.cumsum(self.rewards, dtype=np.float64)

    def earned(self, t: int) -> str:
        """The return up to and with step t, without decimals where all rewards are whole numbers."""
        value = float(self.returns[min(t, len(self) - 1)])
        whole = bool((self.rewards == np.round(self.rewards)).all())
        return fixed(value) if whole else return_text(value)

    @property
    def can_be_drawn(self) -> bool:
        return self.motion is not None or can_draw(self.spec.name, self.spec.obs_shape)

    def distance(self, t: int) -> str:
        """Forward distance of the robot before step t, as "3.20 m"; empty where moving is not the task."""
        if self.motion is None or not self.motion.camera.forward:
            return ""
        along = self.motion.positions[:, 0, 0]
        return f"{fixed(float(along[t] - along[0]), 2)} m"

    def draw(self, t: int, size: int) -> "Image.Image":
        """The scene before step t.

        Raises:
            ValueError: where the environment cannot be drawn.
        """
        scene = self.motion.draw(t, size).image() if self.motion else draw(self.spec.name, self.observations[t], size)
        if scene is None:
            raise ValueError(f"{self.spec.name} cannot be drawn.")
        return scene


def record(policy: Actor, seed: int = 0) -> Episode:
    """Play one episode on report keys; it is the first one, not one that was chosen."""
    env = policy.environment
    steps = jax.tree.map(np.asarray, jax.jit(lambda key: _steps(key, env, policy.act))(_key(seed)))
    return _episode(env, *steps)


def record_each(
    env: Environment, act_for: Callable[[PyTree], ActFn], params: PyTree, seeds: Sequence[int]
) -> list[Episode]:
    """Play an episode with each of several policies, side by side in one program.

    Args:
        env: what they act in.
        act_for: from the weights of one policy to how it acts on raw observations.
        params: the weights, stacked over the policies.
        seeds: of the episodes, one for each policy.
    """
    play = jax.jit(jax.vmap(lambda key, params: _steps(key, env, act_for(params))))
    steps = jax.tree.map(np.asarray, play(jax.numpy.stack([_key(seed) for seed in seeds]), params))
    return [_episode(env, *jax.tree.map(lambda x, i=i: x[i], steps)) for i in range(len(seeds))]


def _key(seed: int) -> Key:
    return purpose_key(stream_key(root_key(seed), Stream.REPORT), Purpose.EPISODES)


def _steps(key: Key, env: Environment, act: ActFn) -> tuple[Any, ...]:
    """Steps, actions, observations and, where there are bodies, their poses, up to the time limit."""
    return record_episode_keeping(key, env, act, env.pose if isinstance(env, HasBodies) else lambda state: None)


def _episode(env: Environment, steps: Any, actions: np.ndarray, observations: np.ndarray, poses: Any) -> Episode:
    """The part that was played before the episode ended."""
    ended = np.flatnonzero(steps.terminated | steps.truncated)
    length = int(ended[0]) + 1 if len(ended) else len(steps.reward)
    return Episode(
        spec=env.spec,
        observations=np.concatenate([observations[:length], steps.obs[length - 1 : length]]),
        actions=actions[:length],
        rewards=steps.reward[:length],
        terminated=bool(steps.terminated[length - 1]),
        motion=Motion.of(env, env.spec.name, *(x[: length + 1] for x in poses)) if isinstance(env, HasBodies) else None,
    )
