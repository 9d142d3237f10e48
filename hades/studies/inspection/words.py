"""Pairs in words, such as "pole leans left, pole tips left → left".

A feature is named where it lies in the lower or the upper third of the visited states. Features with a direction have
words for it, which are used where the value itself points that way; any other feature is "low" or "high".
"""

import numpy as np

from hades.pictures.pairs import Pairs
from hades.studies.inspection.nearest import Nearest
from hades.text import integer

MOST_FEATURES = 4
"""Named of a pair; those furthest from the usual, in standard deviations."""
HOW_WORDS_ARE_READ = (
    "A feature of a vector is named where it lies in the lowest or the highest third of the visited states, the four "
    "that are furthest out; an object of a game’s board where it lights at most three cells."
)
_LIT = 0.5  # a cell of a game's board counts as lit from here
_MOST_CELLS = 3  # an object of more cells has no place to name

Words = dict[str, tuple[float, str, str]]
_PLANAR: Words = {
    "velocity x": (0.0, "moves backwards", "moves forwards"),
    "velocity z": (0.0, "falls", "rises"),
}
WORDS: dict[str, Words] = {
    "CartPole-v1": {
        "cart position": (0.0, "cart left of the centre", "cart right of the centre"),
        "cart velocity": (0.0, "cart moves left", "cart moves right"),
        "pole angle": (0.0, "pole leans left", "pole leans right"),
        "pole angular velocity": (0.0, "pole tips left", "pole tips right"),
    },
    "Acrobot-v1": {
        "cos θ₁": (0.0, "first link up", "first link down"),
        "sin θ₁": (0.0, "first link on the left", "first link on the right"),
        "cos θ₂": (0.0, "second link folded back", "second link stretched"),
        "sin θ₂": (0.0, "second link bent clockwise", "second link bent counter-clockwise"),
        "angular velocity 1": (0.0, "first link turns clockwise", "first link turns counter-clockwise"),
        "angular velocity 2": (0.0, "second link turns clockwise", "second link turns counter-clockwise"),
    },
    "MountainCar-v0": {
        "position": (-np.pi / 6, "left of the valley", "right of the valley"),
        "velocity": (0.0, "moves left", "moves right"),
    },
    **dict.fromkeys(("hopper", "walker2d", "halfcheetah"), _PLANAR),
}
"""By environment and feature: the value between two directions, and the words below and above it."""


def pairs_in_words(pairs: Pairs, nearest: Nearest) -> tuple[str, ...]:
    """One line for each pair; empty where the environment names no features.

    Args:
        pairs: of a dataset.
        nearest: with the thirds of the visited states.
    """
    if pairs.spec.is_image:
        if len(pairs.spec.observation_names) != pairs.spec.obs_shape[-1]:
            return ()
        return tuple(f"{_board(pairs, i)} → {pairs.label(i)}" for i in range(len(pairs)))
    if len(pairs.spec.observation_names) != pairs.spec.obs_size or not nearest.thirds:
        return ()
    return tuple(f"{_state(pairs, nearest, i)} → {pairs.label(i)}" for i in range(len(pairs)))


def _state(pairs: Pairs, nearest: Nearest, row: int) -> str:
    """A vector observation in words."""
    low, high = np.asarray(nearest.thirds)
    std, raw = np.asarray(nearest.std), np.asarray(pairs.raw[row], np.float64)
    beyond = np.where(raw < low, raw - low, np.where(raw > high, raw - high, 0.0)) / np.where(std > 0, std, np.inf)
    named = np.argsort(-np.abs(beyond), kind="stable")[:MOST_FEATURES]
    words = [_word(pairs, int(j), raw[j], bool(beyond[j] > 0)) for j in sorted(named) if beyond[j]]
    return ", ".join(words) or "nothing unusual"


def _word(pairs: Pairs, feature: int, value: float, is_high: bool) -> str:
    name = pairs.features[feature]
    centre, below, above = WORDS.get(pairs.spec.name, {}).get(name, (np.nan, "", ""))
    if is_high and value > centre:
        return above
    if not is_high and value < centre:
        return below
    return f"{name} {'high' if is_high else 'low'}"


def _board(pairs: Pairs, row: int) -> str:
    """The objects of a game's board with their places, rows and columns counted from 1."""
    lit, words = pairs.raw[row] > _LIT, []
    for channel, name in enumerate(pairs.spec.observation_names):
        cells = np.argwhere(lit[..., channel])
        if 0 < len(cells) <= _MOST_CELLS:
            words.append(
                f"{name} at " + " and ".join(f"row {integer(r + 1)} column {integer(c + 1)}" for r, c in cells)
            )
    return ", ".join(words) or "no single object"
