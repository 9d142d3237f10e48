"""Scenes of the classic tasks: the state as it stands, velocities as orange arrows whose length is bounded by tanh.

Synthetic observations need not be states that the environment can reach, and are drawn as they are: a (cos, sin) pair
off the unit circle gives a rod longer or shorter than the dashed circle, and the view widens for far positions.
"""

import functools
from collections.abc import Callable

import numpy as np

from hades.pictures.palette import BLUE, GREEN, GRID, INK, MUTED, ORANGE, SKY, SLATE, VERMILION, mix
from hades.pictures.scenes.canvas import Canvas, Place
from hades.text import fixed

_GROUND = mix(GRID, SLATE, 0.35)
_CART, _POLE = 0.5, 2.2  # half a cart's width and a pole's length, drawn longer than it is so that angles show
_FAR = 3.0  # how far a view widens, as a multiple of its usual half side
_CIRCLE = np.stack([f(np.linspace(0.0, 2 * np.pi, 97)) for f in (np.cos, np.sin)], -1)


def _cart_pole(obs: np.ndarray, size: int) -> Canvas:
    x, velocity, angle, spin = obs
    pole = _POLE * _upwards(angle)
    half = _view(2.9, max(abs(x) + _CART, abs(x + pole[0]) + abs(pole[0]) / _POLE))
    canvas = Canvas(size, half, (0.0, 0.9))
    x, clipped = _clip(x, half - _CART)
    pivot = np.array([x, 0.42])
    canvas.polygon([pivot, *(pivot + 1.1 * _POLE * _upwards(np.deg2rad(range(-12, 13, 2))))], mix(SKY, "#ffffff", 0.78))
    canvas.line([(-half, 0.0), (half, 0.0)], _GROUND)
    for stop in (-2.4, 2.4):
        canvas.line([(stop, -0.13), (stop, 0.13)], VERMILION, 3)
    canvas.polygon([(x - _CART, 0.0), (x + _CART, 0.0), (x + _CART, pivot[1]), (x - _CART, pivot[1])], INK)
    canvas.line([pivot, pivot + pole], BLUE, 8)
    canvas.disc(pivot, 0.1, "#ffffff")
    canvas.arrow((x, -0.42), (np.tanh(velocity / 0.8) * 1.5, 0.0), ORANGE)
    canvas.arrow(pivot + pole, -_left_of(pole) * np.tanh(spin / 1.2) * 1.3, ORANGE)
    if clipped:
        _chevron(canvas, half, x, 0.5 * half, half / 3)
    return canvas


def _pendulum(obs: np.ndarray, size: int) -> Canvas:
    cos, sin, spin = obs
    tip = _shortened(np.array([sin, cos]), 3.3)
    half = _view(1.55, np.hypot(*tip) + 0.35)
    canvas = Canvas(size, half)
    canvas.dashes(_CIRCLE, _GROUND)
    canvas.line([(0.0, 0.0), tip], BLUE, 8)
    canvas.disc(tip, 0.07 * half, BLUE)
    canvas.disc((0.0, 0.0), 0.045 * half, INK)
    canvas.arrow(tip, _left_of(tip) * np.tanh(spin / 4.0) * 0.6 * half, ORANGE)
    return canvas


def _acrobot(obs: np.ndarray, size: int) -> Canvas:
    cos1, sin1, cos2, sin2, spin1, spin2 = obs
    # θ₁ is measured from hanging down, θ₂ relative to the first link; both grow anti-clockwise.
    elbow = _shortened(np.array([sin1, -cos1]), 3.0)
    angle = np.arctan2(sin1, cos1) + np.arctan2(sin2, cos2)
    link = _shortened(np.hypot(cos2, sin2) * _upwards(angle) * [1, -1], 3.0)
    tip = elbow + link
    half = _view(2.35, np.hypot(*elbow) + np.hypot(*link) + 0.2)
    canvas = Canvas(size, half)
    canvas.dashes([(-half, 1.0), (half, 1.0)], GREEN, 2)
    canvas.dashes(_CIRCLE, GRID)
    canvas.dashes(elbow + _CIRCLE, GRID)
    canvas.line([(0.0, 0.0), elbow], BLUE, 8)
    canvas.line([elbow, tip], SKY, 8)
    for joint in ((0.0, 0.0), elbow):
        canvas.disc(joint, 0.035 * half, INK)
    canvas.arrow(elbow, _left_of(elbow) * np.tanh(spin1 / 4.0) * 0.5 * half, ORANGE)
    canvas.arrow(tip, _left_of(link) * np.tanh(spin2 / 6.0) * 0.5 * half, ORANGE)
    return canvas


def _mountain_car(goal: float, obs: np.ndarray, size: int) -> Canvas:
    position, velocity = obs
    middle = -0.3
    half = _view(1.0, abs(position - middle) / 0.9)
    canvas = Canvas(size, half, (middle, 0.6))
    position, clipped = _clip(position - middle, 0.9 * half)
    position += middle
    xs = np.linspace(middle - half, middle + half, 240)
    canvas.polygon([*_road(xs), (xs[-1], -half), (xs[0], -half)], mix(GRID, "#ffffff", 0.35))
    canvas.line(_road(xs), SLATE, 2.5)
    _flag(canvas, _road(goal), half)
    slope = np.arctan(3 * 0.45 * np.cos(3 * position))
    foot = _road(position)
    axes = half * np.array([[np.cos(slope), np.sin(slope)], [-np.sin(slope), np.cos(slope)]])  # along the road, and up
    canvas.polygon(foot + np.array([(-0.13, 0.05), (0.13, 0.05), (0.13, 0.16), (-0.13, 0.16)]) @ axes, BLUE)
    for wheel in (-0.075, 0.075):
        canvas.disc(foot + (wheel, 0.05) @ axes, 0.05 * half, INK)
    canvas.arrow(foot + 0.28 * axes[1], np.tanh(velocity / 0.04) * 0.45 * axes[0], ORANGE)
    if clipped:
        _chevron(canvas, half, position - middle, foot[1] + 0.4 * half, half / 3, middle)
    return canvas


def _point(obs: np.ndarray, size: int) -> Canvas:
    position, goal = obs
    half = _view(1.3, 1.2 * max(abs(position), abs(goal)))
    canvas = Canvas(size, half)
    unit = half / 1.3
    (position, far), (goal, goal_far) = _clip(position, 0.84 * half), _clip(goal, 0.84 * half)
    canvas.line([(-half, 0.0), (half, 0.0)], _GROUND, 2)
    for mark in (-1.0, 0.0, 1.0):
        canvas.line([(mark, -0.05 * unit), (mark, 0.05 * unit)], _GROUND, 2)
        canvas.text((mark, -0.22 * unit), fixed(mark), MUTED)
    _flag(canvas, (goal, 0.0), 1.6 * unit)
    canvas.disc((position, 0.0), 0.09 * unit, BLUE)
    for x, clipped in ((position, far), (goal, goal_far)):
        if clipped:
            _chevron(canvas, half, x, 0.0, unit / 2)
    return canvas


SCENES: dict[str, Callable[[np.ndarray, int], Canvas]] = {
    "CartPole-v1": _cart_pole,
    "Acrobot-v1": _acrobot,
    "Pendulum-v1": _pendulum,
    "MountainCar-v0": functools.partial(_mountain_car, 0.5),
    "MountainCarContinuous-v0": functools.partial(_mountain_car, 0.45),
    "point": _point,
    "point-discrete": _point,
}
"""Environment name -> function that draws its raw observation f64[O] on a canvas of a size."""


def _view(usual: float, needed: float) -> float:
    """Half the side of a view that shows `needed`, at most `_FAR` times the usual one."""
    return float(np.clip(needed, usual, _FAR * usual))


def _clip(x: float, limit: float) -> tuple[float, bool]:
    return float(np.clip(x, -limit, limit)), bool(abs(x) > limit)


def _upwards(angle: np.ndarray) -> np.ndarray:
    """Unit vectors f64[..., 2] at angles f64[...] clockwise from straight up."""
    return np.stack([np.sin(angle), np.cos(angle)], -1)


def _shortened(rod: np.ndarray, longest: float) -> np.ndarray:
    """The end f64[2] of a rod from the origin that is no longer than `longest`."""
    return rod * min(1.0, longest / max(np.hypot(*rod), 1e-9))


def _left_of(vector: np.ndarray) -> np.ndarray:
    """Unit vector a quarter turn anti-clockwise from a vector."""
    return vector[::-1] * [-1, 1] / max(np.hypot(*vector), 1e-6)


def _road(x: np.ndarray | float) -> np.ndarray:
    """Places f64[..., 2] of the road at x f64[...]."""
    return np.stack([x, 0.45 * np.sin(np.multiply(3, x)) + 0.55], -1)


def _flag(canvas: Canvas, foot: Place, unit: float) -> None:
    x, y = foot
    canvas.line([(x, y), (x, y + 0.3 * unit)], INK, 2)
    canvas.polygon([(x, y + 0.3 * unit), (x + 0.16 * unit, y + 0.235 * unit), (x, y + 0.17 * unit)], GREEN)


def _chevron(canvas: Canvas, half: float, x: float, y: float, unit: float, middle: float = 0.0) -> None:
    """A mark at the edge for a place that lies further out."""
    sign = np.sign(x)
    for shift in (0.03, 0.09):
        tip = middle + sign * half * (1 - shift)
        back = tip - sign * 0.14 * unit
        canvas.line([(back, y + 0.2 * unit), (tip, y), (back, y - 0.2 * unit)], VERMILION, 2.5)
