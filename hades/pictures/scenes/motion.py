"""Movement of a simulated robot's bodies through an episode."""

import dataclasses
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jax import Array

from hades.environments.base import EnvState
from hades.pictures.scenes.bodies import Bodies, bodies_of
from hades.pictures.scenes.cameras import Camera, camera_of
from hades.pictures.scenes.canvas import Canvas
from hades.pictures.scenes.stage import Stage


@runtime_checkable
class HasBodies(Protocol):
    """An environment that can be drawn from its state: rigid bodies of a MuJoCo model."""

    @property
    def native(self) -> Any:
        """The simulator's environment, with the model as `mj_model` or `sys.mj_model`, and the time of a step `dt`."""
        ...

    def pose(self, state: EnvState) -> tuple[Array, Array]:
        """Positions f32[L, 3] and rotations f32[L, 4] of the model's bodies but the world."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Motion:
    """The poses of an episode of T steps.

    Attributes:
        env_name: name of the task, for its camera.
        bodies: the shapes that move.
        positions, rotations: f32[T + 1, L, 3] and quaternions f32[T + 1, L, 4].
        dt: seconds between poses.
    """

    env_name: str
    bodies: Bodies
    positions: np.ndarray
    rotations: np.ndarray
    dt: float

    @classmethod
    def of(cls, env: HasBodies, env_name: str, positions: np.ndarray, rotations: np.ndarray) -> "Motion":
        native = env.native
        model = native.mj_model if hasattr(native, "mj_model") else native.sys.mj_model
        return cls(env_name, bodies_of(model), positions, rotations, float(native.dt))

    @cached_property
    def camera(self) -> Camera:
        return camera_of(self.env_name, self.bodies)

    @cached_property
    def _stage(self) -> Stage:
        return Stage.fitting(self.bodies, self.camera, self.positions, self.rotations)

    def draw(self, t: int, size: int) -> Canvas:
        """The bodies before step t."""
        trail = self.positions[: t + 1, 0] if self.camera.follow else None
        return self._stage.draw(self.positions[t], self.rotations[t], size, trail=trail)
