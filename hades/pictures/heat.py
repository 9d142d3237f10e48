"""Shares of something as a heat map: white keeps nothing, blue everything, and every cell shows its percentage."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hades.pictures.palette import BLUE, PAPER, mix
from hades.text import fixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DARK, _DEEP = "#14202b", mix(BLUE, "#000000", 0.35)
"""Ink of pale cells, the same in dark mode, and the colour of a cell that keeps everything."""


def draw_shares(ax: "Axes", values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Draw f64[R, C], 1 is 100 %; what is not finite stays empty."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("kept", [mix(PAPER, BLUE, 0.05), mix(PAPER, BLUE, 0.6), _DEEP])
    ax.imshow(values, cmap=colours, vmin=0.0, vmax=1.0, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ax.text(j, i, fixed(100 * value), ha="center", va="center", color=PAPER if value > 0.66 else _DARK)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
