"""Draws rigid bodies in a pose onto a canvas: orthographic, sorted by depth, lightly shaded, no GL."""

import dataclasses
from functools import cached_property

import numpy as np

from hades.pictures.palette import GRID, INK, ORANGE, PAPER, SCENE, SLATE, mix
from hades.pictures.scenes.bodies import Bodies, Shape, circle, hull
from hades.pictures.scenes.cameras import Camera
from hades.pictures.scenes.canvas import Canvas
from hades.pictures.scenes.ground import Ground

_SHADOW, _TRAIL = mix(GRID, SLATE, 0.45), mix(ORANGE, SCENE, 0.35)
_ROOM = 1.06  # of the view around the bodies
_FAR = 3.0  # how far a view widens, as a multiple of its usual half side
_FAR_FIXED = 1.5  # where the camera stands still, so that one distant target does not make the robot tiny
_FAST = 3.0  # m/s, of an arrow three quarters as long as it can be


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """Bodies under a camera that shows `half` metres from the middle to the edge in every picture."""

    bodies: Bodies
    camera: Camera
    half: float

    @classmethod
    def fitting(cls, bodies: Bodies, camera: Camera, positions: np.ndarray, rotations: np.ndarray) -> "Stage":
        """A stage wide enough for nearly all of T poses, f[T, L, 3] and f[T, L, 4]."""
        low, high = cls(bodies, camera, camera.half)._reach(_finite(positions), _finite(rotations))
        needed = float(np.percentile(_ROOM * np.maximum(np.abs(low), np.abs(high)).max(-1), 95))
        most = (_FAR if camera.follow else _FAR_FIXED) * camera.half
        return cls(bodies, camera, float(np.clip(needed, camera.half, most)))

    def draw(
        self,
        positions: np.ndarray,
        rotations: np.ndarray,
        size: int,
        *,
        trail: np.ndarray | None = None,
        velocity: np.ndarray | None = None,
    ) -> Canvas:
        """One pose as a square picture; the camera moves aside where the bodies would leave it.

        Args:
            positions, rotations: f[L, 3] and quaternions f[L, 4].
            size: pixels a side.
            trail: f[K, 3], where the root has been.
            velocity: f[3] of the root in m/s, drawn as an arrow.
        """
        positions, rotations = _finite(positions), _finite(rotations)
        target = self._target(positions, rotations)
        middle = self.camera.flat(target) + self._aside(positions, rotations)
        canvas = Canvas(size, self.half, middle)
        if self._ground is not None:
            self._ground.draw(canvas, middle, target)
            if self.camera.elevation > 0:
                self._trail_and_shadows(canvas, self._ground.height, trail, positions, rotations)
        placed = [(s, self.bodies.place(s, positions, rotations)) for s in self.bodies.shapes if s.kind != "plane"]
        for shape, points in sorted(placed, key=lambda pair: self._depth(*pair)):
            self._shape(canvas, shape, points)
            if shape.link >= 0:
                self._mark_if_outside(canvas, middle, shape, self.camera.flat(points).mean(0))
        if velocity is not None:
            speed = max(float(np.linalg.norm(np.nan_to_num(velocity))), 1e-9)
            arrow = np.nan_to_num(velocity) / speed * np.tanh(speed / _FAST) * 0.6 * self.half
            canvas.arrow(self.camera.flat(positions[0]), self.camera.flat(arrow), ORANGE)
        return canvas

    @cached_property
    def _ground(self) -> Ground | None:
        """The highest plane in view."""
        grounds = [Ground(s, self.camera, self.half) for s in self.bodies.shapes if s.kind == "plane"]
        in_view = [g for g in grounds if abs(g.height - self.camera.centre[2]) < 2 * self.half]
        return max(in_view, key=lambda g: g.height, default=None)

    def _target(self, positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """f64[..., 3], the point in the world that the camera is directed at."""
        centre = np.array(self.camera.centre)
        if not self.camera.follow:
            return np.broadcast_to(centre, (*positions.shape[:-2], 3))
        each = [self.bodies.place(s, positions, rotations).mean(-2) for s in self.bodies.moving]
        return np.mean(each, 0) * [1.0, 1.0, 0.0] + centre

    def _reach(self, positions: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least and largest coordinates in the picture f64[..., 2] of what moves, relative to the target."""
        target = self.camera.flat(self._target(positions, rotations))
        placed = [(s, self.camera.flat(self.bodies.place(s, positions, rotations))) for s in self.bodies.moving]
        low = np.min([flat.min(-2) - shape.radius for shape, flat in placed], 0)
        high = np.max([flat.max(-2) + shape.radius for shape, flat in placed], 0)
        return low - target, high - target

    def _aside(self, positions: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """f64[2], how far the picture is moved so that the bodies are in it, the first link in any case."""
        low, high = self._reach(positions, rotations)
        room = self.half / _ROOM
        root = self.camera.flat(positions[0] - self._target(positions, rotations))
        shift = np.maximum(high - room, 0) + np.minimum(low + room, 0)
        shift = np.where(high - low > 2 * room, (low + high) / 2 if self.camera.follow else 0.0, shift)
        return np.clip(shift, root - room, root + room)

    def _depth(self, shape: Shape, points: np.ndarray) -> tuple[float, bool]:
        """Larger is nearer to the eye; in one plane, links of the other side are behind."""
        depth = round(float((points @ self.camera.axes[2]).mean()), 3)
        return depth, not self.camera.is_other(self.bodies, shape)

    def _shape(self, canvas: Canvas, shape: Shape, points: np.ndarray) -> None:
        """Draw a shape with a darker edge, and a highlight where it is round: the light is in the upper left."""
        colour = self.camera.colour(self.bodies, shape)
        edge = mix(colour, INK, 0.5)
        if not shape.radius:
            outline = hull(self.camera.flat(points))
            canvas.polygon(outline, colour)
            canvas.line([*outline, outline[0]], edge, 1.2)
            return
        width = 2 * shape.radius * 120.0 / self.half  # 240ths of the picture's side
        ends = self.camera.flat(points[[0, -1]])
        canvas.line(ends, edge, width)
        canvas.line(ends, colour, width - 2 * min(1.3, 0.2 * width))
        if width > 6:
            r = 0.3 * shape.radius
            canvas.line(ends + np.array([-r, r]), mix(colour, PAPER, 0.3), 0.28 * width)

    def _mark_if_outside(self, canvas: Canvas, middle: np.ndarray, shape: Shape, place: np.ndarray) -> None:
        """A chevron at the edge that points to a shape outside the picture."""
        away = place - middle
        if np.abs(away).max() < self.half + shape.radius:
            return
        x, y = 0.07 * self.half * away / np.linalg.norm(away)
        tip = middle + 0.94 * self.half * away / np.abs(away).max()
        chevron = tip + np.array([(-x - y, x - y), (0.0, 0.0), (y - x, -x - y)])
        canvas.line(chevron, self.camera.colour(self.bodies, shape), 3.0)

    def _trail_and_shadows(
        self, canvas: Canvas, ground: float, trail: np.ndarray | None, positions: np.ndarray, rotations: np.ndarray
    ) -> None:
        """Draw the trail and the shadows straight below the bodies, on the ground."""
        onto, at = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, ground])
        if trail is not None and len(trail) > 1:
            canvas.line(self.camera.flat(np.nan_to_num(trail) * onto + at), _TRAIL, 1.6)
        if self.camera.elevation == 90:
            return
        for shape in self.bodies.moving:
            points = self.bodies.place(shape, positions, rotations)
            if shape.radius:
                points = (points[:, None] + 0.95 * shape.radius * circle(20)).reshape(-1, 3)
            canvas.polygon(hull(self.camera.flat(points * onto + at)), _SHADOW)


def _finite(pose: np.ndarray) -> np.ndarray:
    """Convert to f64 and replace NaN and infinities by 0."""
    return np.nan_to_num(np.asarray(pose, np.float64), posinf=0.0, neginf=0.0)
