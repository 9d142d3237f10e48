"""Scenes of the classic tasks: the state as it stands, velocities as orange arrows.

Synthetic observations need not be states that the environment can reach, and are drawn as they are: a (cos, sin) pair
off the unit circle gives a rod longer or shorter than the dashed circle, and the view widens for far positions.
"""

from collections.abc import Callable

import numpy as np

from hades.pictures.palette import BLUE, GREEN, GRID, INK, MUTED, ORANGE, SKY, SLATE, VERMILION, mix
from hades.pictures.scenes.canvas import Canvas, Point
from hades.text import fixed

_GROUND = mix(GRID, SLATE, 0.35)
_CART, _POLE = 0.5, 2.2  # half a cart's width and a pole's length, drawn longer than it is so that angles show
_FAR = 3.0  # how far a view widens, as a multiple of its usual half side


def _cart_pole(obs: np.ndarray, size: int) -> Canvas:
    x, velocity, angle, spin = obs
    sin = float(np.sin(angle))
    half = _view(2.9, max(abs(x) + _CART, abs(x + _POLE * sin) + abs(sin)))
    canvas = Canvas(size, half, (0.0, 0.9))
    x, clipped = _clip(x, half - _CART)
    pivot = (x, 0.42)
    tip = (x + _POLE * sin, pivot[1] + _POLE * np.cos(angle))
    rim = [(x + 1.1 * _POLE * np.sin(a), pivot[1] + 1.1 * _POLE * np.cos(a)) for a in np.deg2rad(range(-12, 13, 2))]
    canvas.polygon([pivot, *rim], mix(SKY, "#ffffff", 0.78))
    canvas.line([(-half, 0.0), (half, 0.0)], _GROUND, 2)
    for stop in (-2.4, 2.4):
        canvas.line([(stop, -0.13), (stop, 0.13)], VERMILION, 3)
    canvas.polygon([(x + i * _CART, y) for i, y in ((-1, 0.0), (1, 0.0), (1, pivot[1]), (-1, pivot[1]))], INK)
    canvas.line([pivot, tip], BLUE, 8)
    canvas.disc(pivot, 0.1, "#ffffff")
    canvas.arrow((x, -0.42), (_bounded(velocity, 0.8) * 1.5, 0.0), ORANGE)
    _spin_arrow(canvas, tip, (np.cos(angle), -np.sin(angle)), _bounded(spin, 1.2) * 1.3)
    if clipped:
        _chevron(canvas, half, x, 0.5 * half, half / 3)
    return canvas


def _pendulum(obs: np.ndarray, size: int) -> Canvas:
    cos, sin, spin = obs
    tip, length = _radial(sin, cos, 3.3)
    half = _view(1.55, length + 0.35)
    canvas = Canvas(size, half)
    canvas.dashes(_circle((0.0, 0.0), 1.0), _GROUND)
    canvas.line([(0.0, 0.0), tip], BLUE, 8)
    canvas.disc(tip, 0.07 * half, BLUE)
    canvas.disc((0.0, 0.0), 0.045 * half, INK)
    _spin_arrow(canvas, tip, _left_of((sin, cos)), _bounded(spin, 4.0) * 0.6 * half)
    return canvas


def _acrobot(obs: np.ndarray, size: int) -> Canvas:
    cos1, sin1, cos2, sin2, spin1, spin2 = obs
    # θ₁ is measured from hanging down, θ₂ relative to the first link; both grow anti-clockwise.
    elbow, first = _radial(sin1, -cos1, 3.0)
    angle = np.arctan2(sin1, cos1) + np.arctan2(sin2, cos2)
    link, second = _radial(np.sin(angle) * np.hypot(cos2, sin2), -np.cos(angle) * np.hypot(cos2, sin2), 3.0)
    tip = (elbow[0] + link[0], elbow[1] + link[1])
    half = _view(2.35, first + second + 0.2)
    canvas = Canvas(size, half)
    canvas.dashes([(-half, 1.0), (half, 1.0)], GREEN, 2)
    canvas.dashes(_circle((0.0, 0.0), 1.0), GRID)
    canvas.dashes(_circle(elbow, 1.0), GRID)
    canvas.line([(0.0, 0.0), elbow], BLUE, 8)
    canvas.line([elbow, tip], SKY, 8)
    for joint in ((0.0, 0.0), elbow):
        canvas.disc(joint, 0.035 * half, INK)
    _spin_arrow(canvas, elbow, _left_of(elbow), _bounded(spin1, 4.0) * 0.5 * half)
    _spin_arrow(canvas, tip, _left_of(link), _bounded(spin2, 6.0) * 0.5 * half)
    return canvas


def _mountain_car(goal: float) -> Callable[[np.ndarray, int], Canvas]:
    def scene(obs: np.ndarray, size: int) -> Canvas:
        position, velocity = obs
        middle = -0.3
        half = _view(1.0, abs(position - middle) / 0.9)
        canvas = Canvas(size, half, (middle, 0.6))
        position, clipped = _clip(position - middle, 0.9 * half)
        position += middle
        xs = np.linspace(middle - half, middle + half, 240)
        hill = [(x, _hill(x)) for x in xs]
        canvas.polygon([*hill, (xs[-1], -half), (xs[0], -half)], mix(GRID, "#ffffff", 0.35))
        canvas.line(hill, SLATE, 2.5)
        _flag(canvas, (goal, _hill(goal)), half)
        slope = np.arctan(3 * 0.45 * np.cos(3 * position))
        along, up = np.array([np.cos(slope), np.sin(slope)]), np.array([-np.sin(slope), np.cos(slope)])
        foot = np.array([position, _hill(position)])
        wheels = [foot + up * 0.05 * half + along * s * 0.075 * half for s in (-1, 1)]
        body = [wheels[0] - along * 0.055 * half, wheels[1] + along * 0.055 * half]
        canvas.polygon([*body, body[1] + up * 0.11 * half, body[0] + up * 0.11 * half], BLUE)
        for wheel in wheels:
            canvas.disc(wheel, 0.05 * half, INK)
        canvas.arrow(foot + up * 0.28 * half, along * _bounded(velocity, 0.04) * 0.45 * half, ORANGE)
        if clipped:
            _chevron(canvas, half, position - middle, float(foot[1]) + 0.4 * half, half / 3, middle)
        return canvas

    return scene


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
    "MountainCar-v0": _mountain_car(0.5),
    "MountainCarContinuous-v0": _mountain_car(0.45),
    "point": _point,
    "point-discrete": _point,
}
"""Environment name -> what draws its raw observation f64[O] on a canvas of a size."""


def _view(usual: float, needed: float) -> float:
    """Half the side of a view that shows `needed`, at most `_FAR` times the usual one."""
    return float(np.clip(needed, usual, _FAR * usual))


def _bounded(x: float, scale: float) -> float:
    """A number in (-1, 1) that grows with x, steepest around 0."""
    return float(np.tanh(x / scale))


def _clip(x: float, limit: float) -> tuple[float, bool]:
    return float(np.clip(x, -limit, limit)), bool(abs(x) > limit)


def _radial(x: float, y: float, longest: float) -> tuple[Point, float]:
    """The end of a rod from the origin, shortened to `longest`, and its length."""
    length = float(np.hypot(x, y))
    scale = min(1.0, longest / max(length, 1e-9))
    return (x * scale, y * scale), length * scale


def _left_of(vector: Point) -> Point:
    """Unit vector a quarter turn anti-clockwise from a vector."""
    length = max(float(np.hypot(*vector)), 1e-6)
    return -vector[1] / length, vector[0] / length


def _spin_arrow(canvas: Canvas, tip: Point, direction: Point, length: float) -> None:
    canvas.arrow(tip, (direction[0] * length, direction[1] * length), ORANGE)


def _hill(x: float) -> float:
    return 0.45 * float(np.sin(3 * x)) + 0.55


def _circle(centre: Point, radius: float) -> list[Point]:
    angles = np.linspace(0.0, 2 * np.pi, 97)
    return [(centre[0] + radius * np.cos(a), centre[1] + radius * np.sin(a)) for a in angles]


def _flag(canvas: Canvas, foot: Point, unit: float) -> None:
    x, y = foot
    canvas.line([(x, y), (x, y + 0.3 * unit)], INK, 2)
    canvas.polygon([(x, y + 0.3 * unit), (x + 0.16 * unit, y + 0.235 * unit), (x, y + 0.17 * unit)], GREEN)


def _chevron(canvas: Canvas, half: float, x: float, y: float, unit: float, middle: float = 0.0) -> None:
    """A mark at the edge: what is drawn there lies further out."""
    sign = np.sign(x)
    for shift in (0.03, 0.09):
        tip = middle + sign * half * (1 - shift)
        back = tip - sign * 0.14 * unit
        canvas.line([(back, y + 0.2 * unit), (tip, y), (back, y - 0.2 * unit)], VERMILION, 2.5)
