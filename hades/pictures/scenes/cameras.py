"""The camera of each task: its position, and the colours of the bodies that it shows."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from hades.pictures.palette import BLUE, GREEN, INK, ORANGE, PAPER, SKY, SLATE, mix
from hades.pictures.scenes.bodies import Bodies, Shape

_TRUNK = mix(SLATE, INK, 0.45)


@dataclasses.dataclass(frozen=True)
class Camera:
    """An orthographic camera.

    Attributes:
        half: metres from the middle of the picture to its edge, where the bodies fit into it.
        centre: what is in the middle, in metres; where the camera follows, x and y are relative to the bodies.
        azimuth, elevation: degrees; (0, 0) looks along +y, so that x is to the right and z upwards; elevation 90 is
            the view from above.
        follow: whether the camera moves with the bodies.
        forward: whether the task is to move along +x.
        spacing: metres between marks on the ground.
        other: beginnings of the names of links in the second colour: the left leg, the front legs.
        colours: link or geometry name -> colour.
    """

    half: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    azimuth: float = 0.0
    elevation: float = 0.0
    follow: bool = False
    forward: bool = False
    spacing: float = 1.0
    other: tuple[str, ...] = ("left",)
    colours: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @cached_property
    def axes(self) -> np.ndarray:
        """f64[3, 3]; rows are to the right, upwards and towards the eye."""
        return Rotation.from_euler("ZX", [self.azimuth, 90.0 - self.elevation], degrees=True).as_matrix().T

    def flat(self, points: np.ndarray) -> np.ndarray:
        """Points f64[..., 3] of the world in the picture's coordinates f64[..., 2], in metres."""
        return points @ self.axes[:2].T

    def colour(self, bodies: Bodies, shape: Shape) -> str:
        """Colour of a shape: its own, else grey (world), slate (trunk), blue, or sky blue (the other side)."""
        link = bodies.links[shape.link] if shape.link >= 0 else "world"
        usual = SLATE if shape.link < 0 else SKY if self.is_other(bodies, shape) else BLUE
        return self.colours.get(shape.name) or self.colours.get(link, usual)

    def is_other(self, bodies: Bodies, shape: Shape) -> bool:
        """Return True if a shape belongs to the limbs in the second colour."""
        return shape.link >= 0 and bodies.links[shape.link].startswith(self.other)


_ARM = dict.fromkeys(("r_shoulder_pan_link", "r_shoulder_lift_link"), _TRUNK)
_ARM |= {"e1": PAPER, "e2": PAPER, "e1p": INK, "e2p": INK, "goal": GREEN, "object": ORANGE}
_TORSO = dict.fromkeys(("torso", "lwaist", "pelvis"), _TRUNK)
_PLANAR = Camera(1.05, (0.0, 0.0, 0.75), follow=True, forward=True, spacing=0.5, colours=_TORSO)
_BIPED = Camera(1.15, (0.0, 0.0, 0.8), 28.0, 16.0, follow=True, forward=True, colours=_TORSO)
_ANT = Camera(1.35, (0.0, 0.0, 0.35), 22.0, 30.0, follow=True, forward=True, colours=_TORSO)
CAMERAS: dict[str, Camera] = {
    "ant": dataclasses.replace(_ANT, other=("aux_1", "link 2", "aux_4", "link 8")),
    "halfcheetah": dataclasses.replace(_PLANAR, centre=(0.05, 0.0, 0.66), other=("fthigh", "fshin", "ffoot")),
    "hopper": _PLANAR,
    "humanoid": _BIPED,
    "humanoidstandup": dataclasses.replace(_BIPED, centre=(0.0, 0.0, 0.6), forward=False),
    "inverted_double_pendulum": Camera(1.35, (0.0, 0.0, 0.5), colours={"cart": INK, "pole2": SKY}),
    "inverted_pendulum": Camera(1.1, (0.0, 0.0, 0.3), colours={"cart": INK}),
    "pusher": Camera(0.8, (0.32, -0.3, -0.12), 25.0, 42.0, spacing=0.5, colours=_ARM),
    "reacher": Camera(0.26, elevation=90.0, colours={"body1": SKY, "fingertip": INK, "target": GREEN}),
    "walker2d": dataclasses.replace(_PLANAR, other=("thigh_left", "leg_left", "foot_left")),
}
"""Brax's name of a task, and its camera."""


def camera_of(env_name: str, bodies: Bodies) -> Camera:
    """The camera of a task; for an unknown task, a three-quarter view that is wide enough."""
    if env_name in CAMERAS:
        return CAMERAS[env_name]
    reach = sum(float(np.abs(s.points).max() + s.radius) for s in bodies.moving)
    half = float(np.clip(reach / 4, 0.3, 3.0))
    trunk = bodies.links[0] if bodies.links else ""
    return Camera(half, (0, 0, half / 2), 28.0, 20.0, follow=True, colours={trunk: _TRUNK})
