"""Size, type and colours of every matplotlib figure, and its way to SVG or PNG bytes. No pyplot."""

import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hades.pictures.palette import GRID, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 9.0, 3.8
"""Inches: a text column on a desk, and on a phone. With 9 pt type both come out at about 12 px on the screen."""

_TICKS = {"color": GRID, "labelcolor": MUTED, "labelsize": 8.5}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "hades",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    **{f"{axis}tick.{key}": value for axis in "xy" for key, value in _TICKS.items()},
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.6,
    "lines.solid_capstyle": "round",
}


@contextmanager
def figure(width: float, height: float) -> "Iterator[Figure]":
    """A figure of a size in inches, drawn in the house style; `render` saves it in that style, too."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield _figure_class()(figsize=(width, height))


@functools.cache
def _figure_class() -> "type[Figure]":
    """The class of our figures, which need matplotlib when they are made, not before."""
    from matplotlib.figure import Figure

    class HouseFigure(Figure):
        """A figure that a notebook shows as it is, without pyplot."""

        def _repr_png_(self) -> bytes:
            return render(self, "png")

    return HouseFigure


def render(fig: "Figure", image_format: str = "svg") -> bytes:
    """SVG (text as text), PNG at 160 dots an inch, or PDF; nothing random, no date."""
    import matplotlib

    buffer = io.BytesIO()
    options: dict[str, Any] = {"dpi": 160, "facecolor": "white"} if image_format == "png" else {"transparent": True}
    undated: dict[str, list[str]] = {"svg": ["Date", "Creator"], "pdf": ["CreationDate", "Creator", "Producer"]}
    metadata = dict.fromkeys(undated.get(image_format, ["Software"]))
    with matplotlib.rc_context(_STYLE):  # ticks take their style when they are first drawn
        fig.savefig(buffer, format=image_format, metadata=metadata, **options)
    return buffer.getvalue()


class Sheet:
    """A page of text, bars and rules in inches from its upper left corner."""

    def __init__(self, fig: "Figure"):
        width, height = fig.get_size_inches()
        self.axes: Axes = fig.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.set_axis_off()

    def text(self, x: float, y: float, text: str, size: float = 9.0, colour: str = INK, **style: Any) -> None:
        """Text; `ha` and `va` as in matplotlib, vertically centred by default. A dollar sign stays one."""
        self.axes.text(x, y, text, fontsize=size, color=colour, parse_math=False, **{"va": "center", **style})

    def bar(self, x: float, y: float, width: float, height: float, colour: str, opacity: float = 1.0) -> None:
        """A rectangle from x (to the left where `width` is negative), vertically centred on y."""
        self.axes.barh(y, width, height, left=x, color=colour, alpha=opacity, linewidth=0)

    def rule(self, x0: float, y0: float, x1: float, y1: float, colour: str = GRID, width: float = 0.8) -> None:
        self.axes.plot([x0, x1], [y0, y1], color=colour, linewidth=width)
