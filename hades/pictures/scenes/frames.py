"""Image observations as coloured grids, one colour a channel.

Real frames hold zeros and ones; synthetic ones hold any number. A cell is filled with the colour of its strongest
channel, as opaque as that is lit (1 or more: fully); a second lit channel is a small square inside; the most negative
channel is a ring. No colours are mixed, so that every one of them is in the legend.

Pictures (`Rendered`) are shown as they are, with the earlier frames of a stack behind the newest one.
"""

from typing import TYPE_CHECKING

import numpy as np

from hades.environments.drawings import CLASSIC, NO_SMALLER
from hades.pictures.pairs import names_or_numbers
from hades.pictures.palette import PAPER, SCENE, channel_colours, mix

if TYPE_CHECKING:
    from PIL import Image

_SUPERSAMPLE = 2
_LAYERS = (
    (0, 1, 0.0, (0.04, 0.5)),
    (1, 1, 0.25, (0.31, 0.5)),
    (-1, -1, 0.1, (0.13, 0.22)),
)
"""Rank of the channel in its cell, sign, least strength shown, and a square: from where to where, in cells."""


_EARLIER_GREY, _EARLIER_COLOUR = (1.0, 0.45, 0.0), 0.4
"""Tint of earlier grey frames, and share of earlier coloured ones; each further one keeps as much of the one before."""


def is_picture(obs_shape: tuple[int, ...]) -> bool:
    """Return True if observations of this shape are pictures to look at, not grids of objects."""
    return len(obs_shape) == 3 and min(obs_shape[:2]) >= NO_SMALLER


def draw_picture(env_name: str, image: np.ndarray, size: int = 240) -> "Image.Image":
    """A stack of pictures f[H, W, C · frames] in [0, 1] as one of `size` pixels a longer side, the newest on top."""
    from PIL import Image

    height, width, channels = image.shape
    is_grey = env_name.rpartition(" ")[0] in CLASSIC or channels % 3 > 0
    frames = np.split(np.clip(image, 0.0, 1.0), channels if is_grey else channels // 3, axis=-1)
    shown = np.broadcast_to(frames[0], (height, width, 3))
    for age, frame in enumerate(frames[1:]):
        tint = np.array(_EARLIER_GREY) if is_grey else np.full(3, _EARLIER_COLOUR)
        shown = np.maximum(shown, frame * tint * _EARLIER_COLOUR**age)
    picture = Image.fromarray((255 * shown + 0.5).astype(np.uint8))
    scale = size / max(height, width)
    return picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)


def draw_frame(env_name: str, image: np.ndarray, size: int = 240) -> "Image.Image":
    """f[H, W, C] as a picture whose longer side has `size` pixels."""
    from PIL import Image, ImageDraw

    height, width, channels = image.shape
    cell = max(6, round(size * _SUPERSAMPLE / max(height, width)))
    colours = channel_colours(env_name, channels)
    layers = [layer for layer in _LAYERS if layer[0] < channels]
    ranked = np.argsort(-image, -1, kind="stable")
    picture = Image.new("RGB", (width * cell, height * cell), PAPER)
    pen = ImageDraw.Draw(picture)
    for row, column in np.ndindex(height, width):
        for rank, sign, least, borders in layers:
            channel = ranked[row, column, rank]
            value = float(np.clip(sign * image[row, column, channel], 0.0, 1.0))
            if value >= least:
                tint = mix(SCENE, colours[channel], value)
                outer, inner = (int(border * cell + 0.5) for border in borders)
                x, y, last = column * cell + outer, row * cell + outer, cell - 1 - 2 * outer
                pen.rectangle((x, y, x + last, y + last), outline=tint, width=inner - outer)
    scale = size / max(height, width)
    return picture.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)


def legend(env_name: str, channel_names: tuple[str, ...], num_channels: int) -> dict[str, str]:
    """Channel name -> "#rrggbb", numbered where names are not known."""
    names = names_or_numbers(channel_names, num_channels, "channel")
    return dict(zip(names, channel_colours(env_name, num_channels), strict=True))
