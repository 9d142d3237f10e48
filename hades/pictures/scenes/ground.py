"""The ground under bodies, with marks at whole steps of metres: motion is visible although the camera follows."""

import dataclasses

import numpy as np

from hades.pictures.palette import GRID, MUTED, SCENE, SLATE, mix
from hades.pictures.scenes.bodies import Shape
from hades.pictures.scenes.cameras import Camera
from hades.pictures.scenes.canvas import Canvas
from hades.text import fixed

_FLOOR = mix(SCENE, GRID, 0.45)
_LINE, _RULER = mix(GRID, SLATE, 0.12), mix(GRID, SLATE, 0.6)
_TABLE = 5.0  # metres


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
    """A horizontal plane of a model, as a view shows it with `half` metres from the middle to the edge."""

    plane: Shape
    camera: Camera
    half: float

    @property
    def height(self) -> float:
        return float(self.plane.position[2])

    def draw(self, canvas: Canvas, middle: np.ndarray, target: np.ndarray) -> None:
        """Draw it below the bodies.

        Args:
            canvas: the picture.
            middle: f64[2] of the picture.
            target: f64[3], the place in the world that the camera is directed at.
        """
        if is_table(self.plane):
            if self.camera.elevation < 90:  # straight from above it would only be a frame
                corners = self.camera.flat(self.plane.points)
                canvas.polygon(corners, _FLOOR)
                canvas.line([*corners, corners[0]], _RULER, 1.2)
        elif self.camera.elevation == 0:
            self._from_the_side(canvas, middle)
        else:
            self._from_above(canvas, middle, target)

    def _from_the_side(self, canvas: Canvas, middle: np.ndarray) -> None:
        """A line with marks and their distances."""
        left, right, bottom = middle[0] - self.half, middle[0] + self.half, middle[1] - self.half
        top, step = self.height, self._step
        canvas.polygon([(left, top), (right, top), (right, min(bottom, top)), (left, min(bottom, top))], _FLOOR)
        canvas.line([(left, top), (right, top)], SLATE, 2)
        for k in range(int(np.floor(left / step)), int(np.ceil(right / step)) + 1):
            x, whole = k * step, abs(k * step - round(k * step)) < 1e-6
            canvas.line([(x, top), (x, top - (0.06 if whole else 0.035) * self.half)], SLATE, 1.6)
            if whole and abs(x - middle[0]) < 0.87 * self.half:
                canvas.text((x, top - 0.14 * self.half), metres(x), MUTED, 10)

    def _from_above(self, canvas: Canvas, middle: np.ndarray, target: np.ndarray) -> None:
        """A grid, and a ruler along x in front of the bodies."""
        canvas.polygon(middle + 2 * self.half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]), _FLOOR)
        step = self._step
        foreshortening = max(float(np.sin(np.deg2rad(self.camera.elevation))), 0.25)
        reach = int(np.ceil(3 * self.half / foreshortening / step))
        xs, ys = (step * (round(place / step) + np.arange(-reach, reach + 1)) for place in target[:2])
        lines = [[(x, ys[0]), (x, ys[-1])] for x in xs] + [[(xs[0], y), (xs[-1], y)] for y in ys]
        for line in lines:
            canvas.line(self._flat(line), _LINE, 1.2)
        if self.camera.forward:
            front = ys[reach - 1]
            canvas.line(self._flat([(xs[0], front), (xs[-1], front)]), _RULER, 1.6)
            for x, place in zip(xs, self._flat([(x, front) for x in xs]), strict=True):
                if np.abs(place - middle).max() < 0.88 * self.half:
                    canvas.text(place - [0, 0.07 * self.half], metres(x), MUTED, 10)

    def _flat(self, places: list[tuple[float, float]]) -> np.ndarray:
        """Places f64[K, 2] of the ground in the picture's coordinates."""
        return self.camera.flat(np.array([(x, y, self.height) for x, y in places]))

    @property
    def _step(self) -> float:
        """Metres between marks; more where the view has widened."""
        return self.camera.spacing * (1 if self.half < 1.6 * self.camera.half else 2)


def is_table(plane: Shape) -> bool:
    """Return True if a plane ends within reach. MuJoCo's endless planes have size 0, Brax's grounds 20 m and more."""
    return 0 < float(max(plane.size[:2])) < _TABLE


def metres(x: float) -> str:
    """ "−2 m", "0.5 m"."""
    return fixed(x, 1).removesuffix(".0") + " m"
