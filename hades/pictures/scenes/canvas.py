"""A square picture in world coordinates, drawn larger and scaled down, so that its edges are smooth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hades.pictures.palette import SCENE

if TYPE_CHECKING:
    from PIL import Image, ImageFont

Place: TypeAlias = Sequence[float] | np.ndarray
Path: TypeAlias = Sequence[Place] | np.ndarray
SUPERSAMPLE = 3


class Canvas:
    """x to the right, y upwards, `centre` in the middle and `half` from there to each edge.

    Places are f[2] and polylines f[K, 2]. Line widths are in 240ths of the picture's side, so that a picture looks the
    same at any size.
    """

    def __init__(self, size: int, half: float, centre: Place = (0.0, 0.0)):
        from PIL import Image, ImageDraw

        self._side = size * SUPERSAMPLE
        self._half, self._centre = half, np.asarray(centre)
        self._image = Image.new("RGB", (self._side, self._side), SCENE)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> "Image.Image":
        """The finished picture, `size` pixels a side."""
        return self._image.reduce(SUPERSAMPLE)

    def line(self, points: Path, colour: str, width: float = 2.0) -> None:
        """A polyline with round ends and corners."""
        xy = self._pixels(points)
        self._draw.line(xy, fill=colour, width=self._stroke(width), joint="curve")
        if (radius := self._width(width) / 2) > 1.5:
            for end in (xy[0], xy[-1]):
                self._draw.circle(end, radius, fill=colour)

    def dashes(self, points: Path, colour: str, width: float = 1.5, dash: float = 5.0) -> None:
        """A dashed polyline; `dash` is in the unit of widths."""
        path = np.array(self._pixels(points))
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        step = self._width(dash)
        for start in np.arange(0.0, along[-1], 2 * step):
            t = np.linspace(start, min(start + step, along[-1]), 4)
            xy = np.stack([np.interp(t, along, places) for places in path.T], -1)
            self._draw.line(xy.ravel().tolist(), fill=colour, width=self._stroke(width))

    def polygon(self, points: Path, fill: str) -> None:
        self._draw.polygon(self._pixels(points), fill=fill)

    def disc(self, centre: Place, radius: float, fill: str) -> None:
        """A disc of `radius` in world units."""
        self._draw.circle(self._pixel(centre), radius / self._half * self._side / 2, fill=fill)

    def arrow(self, start: Place, vector: Place, colour: str, width: float = 3.0) -> None:
        """An arrow whose head has a fixed size; one hardly longer than its head is not drawn."""
        tail, tip = np.array(self._pixels([start, np.add(start, vector)]))
        length, head = np.linalg.norm(tip - tail), self._width(3.2 * width)
        if length < 1.3 * head:
            return
        along = (tip - tail) / length
        neck, side = tip - head * along, 0.62 * head * along[::-1] * [-1, 1]
        self._draw.line([*tail, *(neck + along)], fill=colour, width=self._stroke(width))
        self._draw.polygon([*tip, *(neck + side), *(neck - side)], fill=colour)

    def text(self, where: Place, text: str, colour: str, size: float = 11.0) -> None:
        """Text around a place; `size` is in the unit of widths."""
        self._draw.text(self._pixel(where), text, fill=colour, font=font(self._width(size)), anchor="mm")

    def _pixels(self, points: Path) -> list[tuple[float, float]]:
        scale = self._side / (2 * self._half)
        xy = ((np.asarray(points, np.float64) - self._centre) * [1, -1] + self._half) * scale
        return [(x, y) for x, y in xy.tolist()]

    def _pixel(self, place: Place) -> tuple[float, float]:
        return self._pixels([place])[0]

    def _width(self, width: float) -> float:
        return width * self._side / 240

    def _stroke(self, width: float) -> int:
        """Whole pixels, for PIL."""
        return max(1, round(self._width(width)))


def font(pixels: float) -> "ImageFont.FreeTypeFont":
    """DejaVu Sans, which matplotlib ships: Greek letters and minus signs are drawn everywhere alike."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", max(1, round(pixels)))
