"""An environment whose observations are pictures of those of another one, with earlier frames stacked behind.

Rewards, actions and ends of episodes are the other environment's. Its observations of the last few steps are the state
here, not their pictures, which are drawn anew in every step: a picture is cheap to draw, and costly to carry through a
loop of thousands of episodes.
"""

import dataclasses
from collections.abc import Iterable
from functools import cached_property

import jax.numpy as jnp
from flax import struct
from jax import Array

from hades.environments.base import Environment, EnvState
from hades.environments.drawings import CLASSIC, Drawing, drawing_of
from hades.errors import ConfigError, require
from hades.fields import Count
from hades.registry import register
from hades.types import EnvSpec, Key, TimeStep


@struct.dataclass
class RenderedState:
    """The drawn environment's state, and its last observations."""

    state: EnvState
    seen: Array  # f32[(frames - 1) · stride + 1, *obs_shape], the newest first


@register("Environment", "Rendered")
@dataclasses.dataclass(frozen=True)
class Rendered(Environment):
    """Pictures f32[size, size, C · frames] in [0, 1]: one channel for a classic task, three for a grid of objects.

    The newest frame comes first. Before the first step, earlier frames show what the first one shows.

    Attributes:
        environment: what is drawn: CartPole, Acrobot, Pendulum or MountainCar of gymnax, or any environment whose
            observations are a grid of objects, one kind a channel, such as MinAtar's.
        size: pixels of a side.
        frames: pictures in an observation.
        stride: steps between two of them.

    Raises:
        ConfigError: for an environment that cannot be drawn, and for a size too small to show its objects.
    """

    environment: Environment
    size: Count = 84
    frames: Count = 1
    stride: Count = 1

    def __post_init__(self) -> None:
        inner = self.environment.spec
        drawing = drawing_of(inner)
        if drawing is None or len(self.environment.members) > 1:
            raise ConfigError(
                f"Rendered.environment is {inner.name}, which cannot be drawn: there are drawings of "
                f"{', '.join(CLASSIC)} and of environments whose observations are a grid of objects, such as MinAtar's."
            )
        require(
            self.size >= drawing.least_size,
            f"Rendered.size is {self.size}, too small to show the objects of {inner.name}: use at least "
            f"{drawing.least_size}.",
        )

    @cached_property
    def _drawing(self) -> Drawing:
        drawing = drawing_of(self.environment.spec)
        assert drawing is not None  # checked at construction
        return drawing

    @cached_property
    def spec(self) -> EnvSpec:
        ages = [self.stride * i for i in range(self.frames)]
        names = [name if age == 0 else f"{name}, {age} earlier" for age in ages for name in self._drawing.channels]
        inner = self.environment.spec
        return dataclasses.replace(
            inner,
            name=f"{inner.name} {self.size}px",
            obs_shape=(self.size, self.size, len(names)),
            observation_names=tuple(names),
        )

    @property
    def drawn(self) -> Environment:
        return self.environment

    @cached_property
    def versions(self) -> dict[str, str]:
        return dict(self.environment.versions)

    def reset(self, key: Key) -> tuple[RenderedState, Array]:
        state, obs = self.environment.reset(key)
        seen = jnp.broadcast_to(obs, ((self.frames - 1) * self.stride + 1, *obs.shape))
        return RenderedState(state=state, seen=seen), self._stacked(seen[:: self.stride])

    def step(self, key: Key, state: RenderedState, action: Array) -> tuple[RenderedState, TimeStep]:
        after, step = self.environment.step(key, state.state, action)
        seen = jnp.concatenate([step.obs[None], state.seen[:-1]])
        pictures = self._stacked(seen[:: self.stride])
        return RenderedState(state=after, seen=seen), dataclasses.replace(step, obs=pictures)

    def picture(self, obs: Array) -> Array:
        """An observation of the drawn environment as pictures; earlier frames follow from the velocities it states."""
        ages = [self.stride * i for i in range(self.frames)]
        return self._stacked([self._drawing.earlier(obs, age) for age in ages])

    def _stacked(self, observations: Iterable[Array]) -> Array:
        """Pictures of observations, one behind the other: f32[size, size, C · frames]."""
        return jnp.concatenate([self._drawing.draw(obs, self.size) for obs in observations], axis=-1)

    def native_action(self, action: Array) -> Array:
        return self.environment.native_action(action)
