"""A dataset of image observations channel by channel: nothing hidden behind a stronger channel."""

from typing import TYPE_CHECKING

import numpy as np

from hades.pictures.figures import NARROW, WIDE, Sheet, figure, render
from hades.pictures.pairs import Pairs, names_or_numbers
from hades.pictures.palette import GRID, MUTED, rgb
from hades.report.dataset_table import bar_scale, diverging
from hades.text import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ZOOM = 6  # pixels a cell, so that no viewer smooths the edges away
_GAP = 3  # pixels between maps


def channel_maps(pairs: Pairs, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """`channel_figure` as a file's content."""
    return render(channel_figure(pairs, narrow=narrow), image_format)


def channel_figure(pairs: Pairs, *, narrow: bool = False) -> "Figure":
    """Rows are pairs, columns are channels; colours are normalised values, what the policy network is given."""
    images = pairs.observations
    count, height, width, channels = images.shape
    page = NARROW if narrow else min(WIDE, 0.45 + 1.05 * channels)
    names = names_or_numbers(pairs.spec.observation_names, channels, "channel")
    left, foot = 0.3, 0.35
    pitch = (page - left) / channels
    longest = 0.085 * max(map(len, names))
    upright = longest < pitch
    head = 0.28 if upright else longest + 0.15
    tall = pitch * (height * _ZOOM + _GAP) / (width * _ZOOM + _GAP)
    scale = bar_scale(images)
    total = head + count * tall + foot
    with figure(page, total) as fig:
        ax = fig.add_axes((left / page, foot / total, 1 - left / page, count * tall / total))
        ax.imshow(_mosaic(images / scale), aspect="auto", interpolation="none")
        ax.set_axis_off()
        sheet = Sheet(fig)
        for c, name in enumerate(names):
            x = left + (c + 0.5) * pitch
            sheet.text(x, head - 0.06, name, 8.5, MUTED, ha="center", va="bottom", rotation=0 if upright else 90)
        for i in range(count):
            sheet.text(0.03, head + (i + 0.5) * tall, str(i + 1), 8.5, MUTED)
        note = f"orange −{number(scale)}, no colour 0, blue +{number(scale)}{' s.d.' if pairs.is_normalized else ''}"
        sheet.text(left, total - 0.14, note, 8, MUTED)
        return fig


def _mosaic(images: np.ndarray) -> np.ndarray:
    """f[N, H, W, C] in [-1, 1] as one picture u8[N·(H·zoom+gap), C·(W·zoom+gap), 3], a grey line after each map."""
    count, height, width, channels = images.shape
    maps = diverging(images.transpose(0, 1, 3, 2)).repeat(_ZOOM, 1).repeat(_ZOOM, 3)
    cells = np.empty((count, height * _ZOOM + _GAP, channels, width * _ZOOM + _GAP, 3), np.uint8)
    cells[:] = rgb(GRID)
    cells[:, : height * _ZOOM, :, : width * _ZOOM] = maps
    return cells.reshape(count * cells.shape[1], channels * cells.shape[3], 3)
