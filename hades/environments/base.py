"""The Environment interface."""

import abc
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, TypeAlias

import jax.numpy as jnp
from jax import Array

from hades.fields import Range
from hades.types import EnvSpec, Key, TimeStep

EnvState: TypeAlias = Any
NumSteps = Annotated[int, Range(least=1, most=1_000_000)]
"""Length of an episode; nothing longer was ever played here, and an evaluation waits for its end."""


class Environment(abc.ABC):
    """A frozen dataclass of names and numbers whose methods are pure and can be jitted and vmapped.

    An implementation never resets itself: after `terminated | truncated` the caller decides. Box actions arrive in
    [-1, 1] and are mapped to the environment's own bounds here. Observations are f32.
    """

    @property
    @abc.abstractmethod
    def spec(self) -> EnvSpec:
        """Shapes, names and limits."""

    @abc.abstractmethod
    def reset(self, key: Key) -> tuple[EnvState, Array]:
        """First state and observation f32[*obs_shape]."""

    @abc.abstractmethod
    def step(self, key: Key, state: EnvState, action: Array) -> tuple[EnvState, TimeStep]:
        """One transition; `action` is i32[] (Discrete) or f32[A] in [-1, 1] (Box)."""

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        """Values of the first field, for an adapter of several environments."""
        return ()

    def native_action(self, action: Array) -> Array:
        """Actions i32[...] or f32[..., A] of a policy as the environment's own library takes them."""
        return action if self.spec.is_discrete else jnp.clip(action, -1.0, 1.0)

    def right_action(self, state: EnvState) -> Array | None:
        """The action i32[] that is right in a state, where the environment knows it (labels); None elsewhere."""
        del state
        return None

    @property
    def for_selection(self) -> "Environment":
        """Where selection keys play: itself, unless it holds examples back for them."""
        return self

    @property
    def for_report(self) -> "Environment":
        """Where report keys play: itself, unless it holds examples back for them."""
        return self

    @property
    def drawn(self) -> "Environment | None":
        """The environment whose observations this one shows as pictures; None where it draws nothing."""
        return None

    def picture(self, obs: Array) -> Array:
        """An observation f32[*drawn.spec.obs_shape] of `drawn` as this environment shows it: f32[*obs_shape]."""
        raise NotImplementedError(f"{type(self).__name__} draws nothing.")

    @property
    def members(self) -> tuple["Environment", ...]:
        """Tasks of equal shapes, each played and measured by itself; the environment alone where it is one task."""
        return (self,)

    def combine(self, values: Sequence[Array]) -> Array:
        """One value to maximise from those of the members."""
        (value,) = values
        return value

    @cached_property
    def versions(self) -> dict[str, str]:
        """Packages that decide what this environment is, with their versions."""
        return {}
