"""Image observations as coloured grids, one colour a channel.

Real frames hold zeros and ones; synthetic ones hold any number. A cell is filled with the colour of its strongest
channel, as opaque as that is lit (1 or more: fully); a second lit channel is a small square inside; the most negative
channel is a ring. No colours are mixed, so that every one of them is in the legend.
"""

from typing import TYPE_CHECKING

import numpy as np

from hades.pictures.pairs import names_or_numbers
from hades.pictures.palette import SCENE, channel_colours, rgb

if TYPE_CHECKING:
    from PIL import Image

_SUPERSAMPLE = 2
_LAYERS = (
    (0, 1, 0.0, (0.04, 0.5)),
    (1, 1, 0.25, (0.31, 0.5)),
    (-1, -1, 0.1, (0.13, 0.22)),
)
"""Rank of the channel in its cell, sign, least strength shown, and where in the cell: fill, inner square, ring."""


def draw_frame(env_name: str, image: np.ndarray, size: int = 240) -> "Image.Image":
    """f[H, W, C] as a picture whose longer side has `size` pixels."""
    from PIL import Image

    height, width, channels = image.shape
    cell = max(6, round(size * _SUPERSAMPLE / max(height, width)))
    colours = np.array([rgb(c) for c in channel_colours(env_name, channels)], np.float64)
    image = np.asarray(image, np.float64)
    background = np.array(rgb(SCENE), np.float64)
    canvas = _checkered(height, width, cell)
    at = np.argsort(-image, -1, kind="stable")
    for rank, sign, least, (outer, inner) in _LAYERS:
        channel = at[..., rank if rank < channels else 0]
        value = np.clip(sign * np.take_along_axis(image, channel[..., None], -1)[..., 0], 0.0, 1.0)
        shown = (value >= least) & (rank < channels)
        tint = background + value[..., None] * (colours[channel] - background)
        _paint(canvas, tint, shown, _square(cell, outer, inner))
    scale = size / max(height, width)
    picture = Image.fromarray(np.clip(canvas.round(), 0, 255).astype(np.uint8))
    return picture.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)


def legend(env_name: str, channel_names: tuple[str, ...], num_channels: int) -> dict[str, str]:
    """Channel name -> "#rrggbb", numbered where names are not known."""
    names = names_or_numbers(channel_names, num_channels, "channel")
    return dict(zip(names, channel_colours(env_name, num_channels), strict=True))


def _checkered(height: int, width: int, cell: int) -> np.ndarray:
    """An empty grid f[H·cell, W·cell, 3]: light cells with hairlines of white between them."""
    canvas = np.full((height, width, cell, cell, 3), 255.0)
    canvas[:, :, _square(cell, 0.04, 0.5)] = rgb(SCENE)
    return canvas.transpose(0, 2, 1, 3, 4).reshape(height * cell, width * cell, 3)


def _square(cell: int, outer: float, inner: float) -> np.ndarray:
    """bool[cell, cell], true between two concentric squares, given by their distances from the border in cells."""
    at = (np.arange(cell) + 0.5) / cell
    depth = np.minimum(np.minimum(at, 1 - at)[:, None], np.minimum(at, 1 - at)[None])
    return (depth >= outer) & (depth <= inner)


def _paint(canvas: np.ndarray, colours: np.ndarray, shown: np.ndarray, mask: np.ndarray) -> None:
    """Paint colours f[H, W, 3] into the cells bool[H, W], where `mask` bool[cell, cell] allows."""
    size = mask.shape[0]
    where = np.kron(shown, mask).astype(bool)
    canvas[where] = np.repeat(np.repeat(colours, size, 0), size, 1)[where]
