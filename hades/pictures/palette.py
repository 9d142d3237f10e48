"""The colours of every picture, distinguishable without full colour vision (Okabe & Ito, 2008; Tol, 2021)."""

import itertools

INK = "#1f2933"
MUTED = "#6b7785"
GRID = "#dde2e7"
PAPER = "#ffffff"
SCENE = "#f5f7f9"  # background of scenes and frames; pages invert it in dark mode

BLUE = "#0072b2"
VERMILION = "#d55e00"
SKY = "#56b4e9"
ORANGE = "#e69f00"
GREEN = "#009e73"
PINK = "#cc79a7"
WINE = "#882255"
OLIVE = "#999933"
INDIGO = "#332288"
SLATE = "#8a97a6"

DRAWN = (BLUE, SKY, ORANGE, VERMILION, GREEN, SLATE, INK, MUTED, SCENE, PAPER)
"""Colours that scenes are drawn in."""

POSITIVE, NEGATIVE = BLUE, VERMILION
"""Colours of signed bars."""

_CHANNELS = (BLUE, VERMILION, GREEN, ORANGE, PINK, SKY, WINE, OLIVE, INDIGO, SLATE)
_CHANNELS_OF = {
    "Asterix-MinAtar": (BLUE, VERMILION, SLATE, ORANGE),
    "Breakout-MinAtar": (BLUE, VERMILION, SLATE, GREEN),
    "Freeway-MinAtar": (BLUE, VERMILION, "#fdb863", "#e9a3c9", "#b2abd2", "#8073ac", "#542788"),
    "SpaceInvaders-MinAtar": (BLUE, GREEN, PINK, ORANGE, SKY, VERMILION),
    "Seaquest-MinAtar": (BLUE, SKY, INDIGO, SLATE, VERMILION, GREEN, WINE, OLIVE, ORANGE, PINK),
}
"""The player is blue, what kills the player is vermilion, and trails are grey."""


def channel_colours(env_name: str, num_channels: int) -> tuple[str, ...]:
    """One colour a channel as "#rrggbb"; environments that are not known get them in a fixed order, repeating."""
    known = _CHANNELS_OF.get(env_name, ())
    return known if len(known) == num_channels else tuple(itertools.islice(itertools.cycle(_CHANNELS), num_channels))


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb", 0 to 255."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def mix(a: str, b: str, share: float) -> str:
    """The colour between a (`share` 0) and b (1)."""
    return "#" + bytes(round(x + (y - x) * share) for x, y in zip(rgb(a), rgb(b), strict=True)).hex()


TRACK = mix(GRID, "#ffffff", 0.45)
