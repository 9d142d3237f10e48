"""The ground under bodies, with marks at whole steps of metres: motion is visible although the camera follows."""

import dataclasses

import numpy as np

from hades.pictures.palette import GRID, MUTED, SCENE, SLATE, mix
from hades.pictures.scenes.bodies import Shape
from hades.pictures.scenes.cameras import Camera
from hades.pictures.scenes.canvas import Canvas, Point
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

    @property
    def is_in_view(self) -> bool:
        return abs(self.height - self.camera.centre[2]) < 2 * self.half

    def draw(self, canvas: Canvas, middle: np.ndarray, target: np.ndarray) -> None:
        """Draw the plane; `middle` f64[2] is that of the picture, `target` f64[3] what the camera is directed at."""
        if is_table(self.plane):
            self._table(canvas)
        elif self.camera.elevation == 0:
            self._from_the_side(canvas, middle)
        else:
            self._from_above(canvas, middle, target)

    def _table(self, canvas: Canvas) -> None:
        """Its outline, where the view is not straight from above: there it is only a frame."""
        if self.camera.elevation < 90:
            corners = self.camera.flat(self.plane.points)
            canvas.polygon(corners, _FLOOR)
            canvas.line([*corners, corners[0]], _RULER, 1.2)

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
        canvas.polygon(middle + self.half * np.array([(-2, -2), (2, -2), (2, 2), (-2, 2)]), _FLOOR)
        step = self._step
        foreshortening = max(float(np.sin(np.deg2rad(self.camera.elevation))), 0.25)
        reach = int(np.ceil(3 * self.half / foreshortening / step))
        i, j = round(target[0] / step), round(target[1] / step)
        for k in range(-reach, reach + 1):
            self._rule(canvas, ((i + k) * step, (j - reach) * step), ((i + k) * step, (j + reach) * step), _LINE, 1.2)
            self._rule(canvas, ((i - reach) * step, (j + k) * step), ((i + reach) * step, (j + k) * step), _LINE, 1.2)
        if not self.camera.forward:
            return
        front = (j - 1) * step
        self._rule(canvas, ((i - reach) * step, front), ((i + reach) * step, front), _RULER, 1.6)
        for k in range(i - reach, i + reach + 1):
            x, y = self.camera.flat(np.array([k * step, front, self.height]))
            if max(abs(x - middle[0]), abs(y - middle[1])) < 0.88 * self.half:
                canvas.text((x, y - 0.07 * self.half), metres(k * step), MUTED, 10)

    def _rule(self, canvas: Canvas, start: Point, end: Point, colour: str, width: float) -> None:
        canvas.line(self.camera.flat(np.array([(*start, self.height), (*end, self.height)])), colour, width)

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
