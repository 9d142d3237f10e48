"""A raw observation as a picture that a person can read, for environments with a scene, a pose or frames."""

from typing import TYPE_CHECKING

import numpy as np

from hades.pictures.scenes.brax_states import can_pose, state_scene
from hades.pictures.scenes.cameras import CAMERAS
from hades.pictures.scenes.classic import SCENES
from hades.pictures.scenes.frames import draw_frame, draw_picture, is_picture

if TYPE_CHECKING:
    from PIL import Image


def draw(env_name: str, observation: np.ndarray, size: int = 240) -> "Image.Image | None":
    """A raw observation f32[*obs_shape] as a square picture; None where the environment cannot be drawn."""
    observation = np.nan_to_num(np.asarray(observation, np.float64))
    if is_picture(observation.shape):
        return draw_picture(env_name, observation, size)
    if observation.ndim == 3:
        return draw_frame(env_name, observation, size)
    if can_pose(env_name, observation.shape):
        return state_scene(env_name, observation, size).image()
    scene = SCENES.get(env_name)
    return scene(observation, size).image() if scene else None


def can_draw(env_name: str, obs_shape: tuple[int, ...]) -> bool:
    """Return True if `draw` returns a picture."""
    return len(obs_shape) == 3 or env_name in SCENES or can_pose(env_name, obs_shape)


def explanation(env_name: str) -> str:
    """Explain a scene in one or two sentences; empty where it needs no explanation."""
    return _EXPLANATIONS.get(env_name) or (_POSES if env_name in CAMERAS else "")


_ARROWS = "Orange arrows are velocities."
_RODS = "The dashed circle is the unit circle: a rod that does not end on it is a (cos, sin) pair that no angle has."
_POSES = (
    "Each is the pose that its positions and angles describe, at the start of the track; an orange arrow is the "
    "velocity of the body, where the observation holds it; a chevron points to what lies outside. "
    "Nothing keeps a synthetic state above the ground."
)
_EXPLANATIONS = {
    "CartPole-v1": f"{_ARROWS} An episode ends when the pole leaves the light wedge or the cart passes a red mark.",
    "Acrobot-v1": f"{_ARROWS} The tip must rise above the green line. {_RODS}",
    "Pendulum-v1": f"{_ARROWS} The pendulum should stand upright. {_RODS}",
    "MountainCar-v0": f"{_ARROWS} The car should reach the flag.",
    "MountainCarContinuous-v0": f"{_ARROWS} The car should reach the flag.",
    "point": "The blue point should move to the flag.",
    "point-discrete": "The blue point should move to the flag.",
}
