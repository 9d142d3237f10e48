"""A square picture in world coordinates, drawn larger and scaled down, so that its edges are smooth."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from hades.pictures.palette import SCENE

if TYPE_CHECKING:
    from PIL import Image, ImageFont

Point: TypeAlias = Sequence[float] | np.ndarray
SUPERSAMPLE = 3


class Canvas:
    """x to the right, y upwards, `centre` in the middle and `half` from there to each edge.

    Line widths are in 240ths of the picture's side, so that a picture looks the same at any size.
    """

    def __init__(self, size: int, half: float, centre: Point = (0.0, 0.0), background: str = SCENE):
        from PIL import Image, ImageDraw

        self._side = size * SUPERSAMPLE
        self._half, self._centre = half, centre
        self._image = Image.new("RGB", (self._side, self._side), background)
        self._draw = ImageDraw.Draw(self._image)

    def image(self) -> "Image.Image":
        """The finished picture, `size` pixels a side."""
        return self._image.reduce(SUPERSAMPLE)

    def line(self, points: Iterable[Point], colour: str, width: float = 2.0) -> None:
        """A polyline with round ends and corners."""
        xy = [self._pixel(p) for p in points]
        w = self._width(width)
        self._draw.line(xy, fill=colour, width=max(1, round(w)), joint="curve")
        if w > 3:
            for x, y in (xy[0], xy[-1]):
                self._draw.ellipse((x - w / 2, y - w / 2, x + w / 2, y + w / 2), fill=colour)

    def dashes(self, points: Sequence[Point], colour: str, width: float = 1.5, dash: float = 5.0) -> None:
        """A dashed polyline; `dash` is in the unit of widths."""
        path = np.array([self._pixel(p) for p in points])
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        step = self._width(dash)
        for start in np.arange(0.0, along[-1], 2 * step):
            t = np.linspace(start, min(start + step, along[-1]), 4)
            xy = list(zip(np.interp(t, along, path[:, 0]), np.interp(t, along, path[:, 1]), strict=True))
            self._draw.line(xy, fill=colour, width=max(1, round(self._width(width))))

    def polygon(self, points: Iterable[Point], fill: str) -> None:
        self._draw.polygon([self._pixel(p) for p in points], fill=fill)

    def disc(self, centre: Point, radius: float, fill: str, outline: str | None = None, width: float = 2.0) -> None:
        """A disc of `radius` in world units."""
        (x, y), r = self._pixel(centre), radius / self._half * self._side / 2
        box = (x - r, y - r, x + r, y + r)
        self._draw.ellipse(box, fill=fill, outline=outline, width=max(1, round(self._width(width))) if outline else 0)

    def arrow(self, start: Point, vector: Point, colour: str, width: float = 3.0) -> None:
        """An arrow whose head has a fixed size; one hardly longer than its head is not drawn."""
        (x0, y0), (x1, y1) = self._pixel(start), self._pixel((start[0] + vector[0], start[1] + vector[1]))
        length = float(np.hypot(x1 - x0, y1 - y0))
        head = self._width(3.2 * width)
        if length < 1.3 * head:
            return
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        bx, by = x1 - ux * head, y1 - uy * head
        w = self._width(width)
        self._draw.line(((x0, y0), (bx + ux, by + uy)), fill=colour, width=max(1, round(w)))
        side = 0.62 * head
        self._draw.polygon(((x1, y1), (bx - uy * side, by + ux * side), (bx + uy * side, by - ux * side)), fill=colour)

    def text(self, where: Point, text: str, colour: str, size: float = 11.0, anchor: str = "mm") -> None:
        """Text with PIL's anchor letters; `size` is in the unit of widths."""
        self._draw.text(self._pixel(where), text, fill=colour, font=font(self._width(size)), anchor=anchor)

    def _pixel(self, point: Point) -> tuple[float, float]:
        scale = self._side / (2 * self._half)
        x = (point[0] - self._centre[0] + self._half) * scale
        y = (self._half - point[1] + self._centre[1]) * scale
        return float(x), float(y)

    def _width(self, width: float) -> float:
        return width * self._side / 240


def font(pixels: float, bold: bool = False) -> "ImageFont.FreeTypeFont":
    """DejaVu Sans, which matplotlib ships: Greek letters and minus signs are drawn everywhere alike."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", max(1, round(pixels)))
