"""Pictures of observations, drawn in JAX: classic tasks as lines and discs, grids of objects as sprites.

A classic task is drawn from signed distances: a pixel is covered by a shape in proportion to how far it lies inside it,
over the width of one pixel, so that motions of a fraction of a pixel show and the picture has a derivative with respect
to the state. A grid is drawn as one small coloured picture a channel, in each cell as strong as the channel is lit: the
picture is linear in the grid up to its clipping, so that grids of any numbers between 0 and 1 can be drawn too.
"""

import colorsys
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from hades.types import EnvSpec

NO_SMALLER = 24
"""Least pixels of a side: programs take smaller images for grids of objects."""
_LEAST_CELL = 3  # pixels of a cell in which the shapes of sprites still differ


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A way to draw observations of an environment.

    Attributes:
        channels: names of the picture's channels.
        least_size: pixels of a side with which every object is at least a pixel wide.
        draw: an observation f32[*obs_shape] and the number of pixels of a side to f32[size, size, C] in [0, 1].
        earlier: an observation and a number of steps to the observation so many steps before, if velocities had stayed
            as they are; the observation itself where it states no velocities.
    """

    channels: tuple[str, ...]
    least_size: int
    draw: Callable[[Array, int], Array]
    earlier: Callable[[Array, int], Array]


def drawing_of(spec: EnvSpec) -> Drawing | None:
    """The drawing of an environment; None where there is none."""
    if spec.is_image:
        return _grid_drawing(spec.obs_shape, spec.observation_names)
    return CLASSIC.get(spec.name)


class _Canvas(NamedTuple):
    """A picture f32[size, size] over a square of the world, whose pixels have their centres at x, y."""

    picture: Array
    x: np.ndarray
    y: np.ndarray
    pixel: float

    @staticmethod
    def blank(size: int, half: float, middle: tuple[float, float]) -> "_Canvas":
        pixel = 2.0 * half / size
        along = ((np.arange(size) + 0.5) * pixel - half).astype(np.float32)
        x, y = np.meshgrid(middle[0] + along, middle[1] - along)
        return _Canvas(jnp.zeros((size, size)), x, y, pixel)

    def paint(self, distance: Array, level: float) -> "_Canvas":
        """Paint over where a signed distance f32[size, size] is negative."""
        covered = jnp.clip(0.5 - distance / self.pixel, 0.0, 1.0)
        return self._replace(picture=self.picture + covered * (level - self.picture))

    def line(self, start: Array, end: Array, radius: float, level: float) -> "_Canvas":
        """Paint a line with round ends; a disc where both ends are one place."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        px, py = jnp.subtract(self.x, start[0]), jnp.subtract(self.y, start[1])
        share = jnp.clip((px * dx + py * dy) / (dx * dx + dy * dy + 1e-9), 0.0, 1.0)
        return self.paint(_length(px - share * dx, py - share * dy) - radius, level)

    def box(self, centre: Array, half_width: float, half_height: float, level: float) -> "_Canvas":
        """Paint an upright rectangle."""
        dx, dy = jnp.abs(self.x - centre[0]) - half_width, jnp.abs(self.y - centre[1]) - half_height
        outside = _length(jnp.maximum(dx, 0.0), jnp.maximum(dy, 0.0))
        return self.paint(outside + jnp.minimum(jnp.maximum(dx, dy), 0.0), level)

    @property
    def image(self) -> Array:
        return self.picture[..., None]


def _length(x: Array, y: Array) -> Array:
    return jnp.sqrt(x * x + y * y + 1e-12)  # whose derivative is finite at 0


def _place(x: Array | float, y: Array | float) -> Array:
    return jnp.stack([jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)])


def _turned(cos: Array, sin: Array, angle: Array) -> tuple[Array, Array]:
    """A (cos, sin) pair turned by an angle."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return cos * c - sin * s, sin * c + cos * s


def _direction(cos: Array, sin: Array) -> tuple[Array, Array]:
    """The (cos, sin) pair of that direction with length 1, or (0, 0)."""
    length = _length(cos, sin)
    return cos / length, sin / length


_FAINT, _MIDDLE, _BRIGHT = 0.25, 0.6, 1.0
_CART_HALF, _POLE = 2.9, 2.2  # half a view; a pole's length, longer than it is so that small angles show


def _cart_pole(obs: Array, size: int) -> Array:
    x, angle = jnp.clip(obs[0], -2.4, 2.4), obs[2]
    canvas = _Canvas.blank(size, _CART_HALF, (0.0, 0.9)).box(_place(0.0, -0.1), _CART_HALF, 0.1, _FAINT)
    canvas = canvas.box(_place(x, 0.21), 0.5, 0.21, _MIDDLE)
    pivot = _place(x, 0.42)
    return canvas.line(pivot, pivot + _POLE * _place(jnp.sin(angle), jnp.cos(angle)), 0.1, _BRIGHT).image


def _cart_pole_earlier(obs: Array, steps: int) -> Array:
    back = 0.02 * steps
    return jnp.stack([obs[0] - back * obs[1], obs[1], obs[2] - back * obs[3], obs[3]])


def _acrobot(obs: Array, size: int) -> Array:
    cos, sin = _direction(obs[0], obs[1])
    c2, s2 = _direction(obs[2], obs[3])
    elbow = _place(sin, -cos)  # angles are measured from hanging down, the second from the first link
    tip = elbow + _place(sin * c2 + cos * s2, -(cos * c2 - sin * s2))
    canvas = _Canvas.blank(size, 2.35, (0.0, 0.0)).box(_place(0.0, 1.0), 2.35, 0.05, _FAINT)
    return canvas.line(_place(0.0, 0.0), elbow, 0.1, _MIDDLE).line(elbow, tip, 0.1, _BRIGHT).image


def _acrobot_earlier(obs: Array, steps: int) -> Array:
    back = -0.2 * steps
    return jnp.stack([*_turned(obs[0], obs[1], back * obs[4]), *_turned(obs[2], obs[3], back * obs[5]), obs[4], obs[5]])


def _pendulum(obs: Array, size: int) -> Array:
    cos, sin = _direction(obs[0], obs[1])
    canvas = _Canvas.blank(size, 1.3, (0.0, 0.0)).line(_place(0.0, 0.0), _place(-sin, cos), 0.09, _BRIGHT)
    return canvas.line(_place(0.0, 0.0), _place(0.0, 0.0), 0.09, _MIDDLE).image


def _pendulum_earlier(obs: Array, steps: int) -> Array:
    return jnp.stack([*_turned(obs[0], obs[1], -0.05 * steps * obs[2]), obs[2]])


def _mountain_car(goal: float, obs: Array, size: int) -> Array:
    position = jnp.clip(obs[0], -1.2, 0.6)
    canvas = _Canvas.blank(size, 1.0, (-0.3, 0.55))
    slopes = 1.35 * np.cos(3 * canvas.x)
    canvas = canvas.paint((canvas.y - _road(canvas.x)) / np.sqrt(1.0 + slopes**2), _FAINT)
    foot = float(_road(np.array(goal)))
    canvas = canvas.line(_place(goal, foot), _place(goal, foot + 0.25), 0.03, _MIDDLE)
    slope = 1.35 * jnp.cos(3 * position)
    along = _place(1.0, slope) / _length(jnp.ones(()), slope)
    middle = _place(position, 0.45 * jnp.sin(3 * position) + 0.55) + 0.07 * _place(-along[1], along[0])
    return canvas.line(middle - 0.07 * along, middle + 0.07 * along, 0.06, _BRIGHT).image


def _road(x: np.ndarray) -> np.ndarray:
    road: np.ndarray = 0.45 * np.sin(3 * x) + 0.55
    return road


def _mountain_car_earlier(obs: Array, steps: int) -> Array:
    return jnp.stack([obs[0] - steps * obs[1], obs[1]])


def _lines(least: float, view: float, draw: Callable[..., Array], earlier: Callable[[Array, int], Array]) -> Drawing:
    """The drawing of a task in a view so wide, the thinnest of whose objects is so wide."""
    return Drawing(("grey",), max(math.ceil(view / least), NO_SMALLER), draw, earlier)


CLASSIC: Mapping[str, Drawing] = {
    "CartPole-v1": _lines(0.2, 2 * _CART_HALF, _cart_pole, _cart_pole_earlier),
    "Acrobot-v1": _lines(0.2, 4.7, _acrobot, _acrobot_earlier),
    "Pendulum-v1": _lines(0.18, 2.6, _pendulum, _pendulum_earlier),
    "MountainCar-v0": _lines(0.06, 2.0, functools.partial(_mountain_car, 0.5), _mountain_car_earlier),
    "MountainCarContinuous-v0": _lines(0.06, 2.0, functools.partial(_mountain_car, 0.45), _mountain_car_earlier),
}
"""Drawings by the environment's name. Steps are of the environments' usual lengths."""


def _grid_drawing(shape: tuple[int, ...], names: tuple[str, ...]) -> Drawing:
    height, width, channels = shape
    least = max(_LEAST_CELL * max(height, width), NO_SMALLER)

    def draw(obs: Array, size: int) -> Array:
        cell = size // max(height, width)
        sprites = _sprites(cell, channels, names)
        # Straight through: a number beyond [0, 1] is drawn as the nearest one, and has that one's derivative.
        lit = obs + lax.stop_gradient(jnp.clip(obs, 0.0, 1.0) - obs)
        picture = jnp.einsum("ijc,cabk->iajbk", lit, sprites).reshape(height * cell, width * cell, 3)
        above, left = (size - height * cell) // 2, (size - width * cell) // 2
        below, right = size - height * cell - above, size - width * cell - left
        return jnp.pad(jnp.clip(picture, 0.0, 1.0), ((above, below), (left, right), (0, 0)))

    return Drawing(("red", "green", "blue"), least, draw, lambda obs, steps: obs)


_WHITE, _GREY, _RED, _YELLOW = (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (1.0, 0.2, 0.2), (1.0, 0.85, 0.1)
_GREEN, _BLUE, _CYAN, _VIOLET = (0.2, 0.9, 0.3), (0.25, 0.5, 1.0), (0.1, 0.7, 0.8), (0.6, 0.25, 0.7)
_SPRITES: Mapping[str, tuple[str, tuple[float, float, float]]] = {
    "player": ("triangle", _GREEN),
    "enemy": ("block", _RED),
    "trail": ("dot", _GREY),
    "gold": ("diamond", _YELLOW),
    "paddle": ("bar", _BLUE),
    "ball": ("disc", _WHITE),
    "brick": ("block", (0.9, 0.45, 0.1)),
    "chicken": ("triangle", _YELLOW),
    "car": ("block", _RED),
    "speed 1": ("dot", _WHITE),
    "speed 2": ("bar", _BLUE),
    "speed 3": ("dot", _GREEN),
    "speed 4": ("bar", _CYAN),
    "speed 5": ("diamond", _VIOLET),
    "cannon": ("triangle", _GREEN),
    "alien": ("disc", _VIOLET),
    "alien left": ("left", _CYAN),
    "alien right": ("right", _YELLOW),
    "friendly bullet": ("dot", _WHITE),
    "enemy bullet": ("diamond", _RED),
    "submarine front": ("disc", _YELLOW),
    "submarine back": ("bar", _YELLOW),
    "enemy fish": ("diamond", _GREEN),
    "enemy submarine": ("block", _RED),
    "oxygen gauge": ("bar", _CYAN),
    "diver gauge": ("bar", _WHITE),
    "diver": ("triangle", _BLUE),
}
"""Shape and colour of a channel by its name. Others are blocks of evenly spread hues."""
_SHAPES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "block": lambda x, y: np.maximum(abs(x), abs(y)) - 0.85,
    "bar": lambda x, y: np.maximum(abs(x) - 0.95, abs(y) - 0.45),
    "disc": lambda x, y: np.hypot(x, y) - 0.8,
    "dot": lambda x, y: np.hypot(x, y) - 0.5,
    "diamond": lambda x, y: (abs(x) + abs(y) - 1.0) / 2**0.5,
    "triangle": lambda x, y: np.maximum((2 * abs(x) + y - 0.9) / 5**0.5, -y - 0.85),
    "left": lambda x, y: np.maximum(abs(x + 0.65) - 0.35, abs(y) - 0.95),
    "right": lambda x, y: np.maximum(abs(x - 0.65) - 0.35, abs(y) - 0.95),
}
"""Signed distances in a cell whose sides are at ±1; y grows upwards."""


@functools.cache
def _sprites(cell: int, channels: int, names: tuple[str, ...]) -> np.ndarray:
    """f32[C, cell, cell, 3], one small picture a channel."""
    pixel = 2.0 / cell
    along = (np.arange(cell) + 0.5) * pixel - 1.0
    x, y = np.meshgrid(along, -along)
    made = []
    for i in range(channels):
        unknown = ("block", colorsys.hsv_to_rgb(i / channels, 0.75, 1.0))
        shape, colour = _SPRITES.get(names[i], unknown) if len(names) == channels else unknown
        covered = np.clip(0.5 - _SHAPES[shape](x, y) / pixel, 0.0, 1.0)
        made.append(covered[..., None] * np.array(colour))
    return np.stack(made).astype(np.float32)
