"""One bar for each pair of a dataset: how far it lies from visited states, and what it is worth."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.palette import BLUE, GREEN, GRID, INK, MUTED, SLATE, VERMILION, mix
from hades.studies.inspection.influence import Influence, PairInfluence
from hades.studies.inspection.nearest import Nearest
from hades.text import number, return_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAND = mix(GREEN, "#ffffff", 0.65)
"""Colour of the band of distances between visited states."""


def distance_bars(nearest: Nearest, labels: Sequence[str], *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """Draw the distance of each synthetic observation to the nearest visited state.

    The band ends where 95 % of the visited states have met one of another episode. Blue bars end inside it, orange
    ones beyond; a circle is the distance to the nearest state that random actions led to.
    """
    distances = [pair.distance for pair in nearest.pairs]
    reach = max(*distances, *(pair.random_distance for pair in nearest.pairs), nearest.neighbour_far)
    with figure(NARROW if narrow else WIDE, _height(len(distances))) as fig:
        ax = fig.add_subplot()
        ax.axvspan(0, nearest.neighbour_far, color=BAND, linewidth=0, zorder=0)
        for i, pair in enumerate(nearest.pairs):
            colour = BLUE if nearest.is_visited(i) else VERMILION
            ax.barh(i, pair.distance, 0.5, color=colour)
            ax.plot(pair.random_distance, i, "o", markersize=6, markerfacecolor="none", color=INK)
            has_room = pair.random_distance > pair.distance + (0.3 if narrow else 0.12) * reach  # before the circle
            end = pair.distance if has_room else max(pair.distance, pair.random_distance)
            _beside(ax, end + (0.045 if narrow else 0.025) * reach, i, number(pair.distance))
        unit = "s.d." if narrow else "standard deviations"
        ax.set(xlim=(0, (1.2 if narrow else 1.12) * reach), xlabel=f"{unit} to the nearest visited state")
        _label_rows(ax, labels, narrow)
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def influence_bars(
    influence: Influence, labels: Sequence[str], *, narrow: bool = False, image_format: str = "svg"
) -> bytes:
    """The return with all pairs less the return without one, with its 95 % interval; 0 is a line.

    Blue: the pair helps, orange: it harms, grey: the interval holds 0.
    """
    ends = [(min(p.influence, p.low or 0.0, 0.0), max(p.influence, p.high or 0.0, 0.0)) for p in influence.pairs]
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    span = max(high - low, 0.02 * abs(influence.returns), 0.01)  # so that no rounding error fills the picture
    with figure(NARROW if narrow else WIDE, _height(len(ends))) as fig:
        ax = fig.add_subplot()
        for i, pair in enumerate(influence.pairs):
            ax.barh(i, pair.influence, 0.5, color=_colour(pair))
            if pair.low is not None and pair.high is not None:
                ax.plot([pair.low, pair.high], [i, i], color=INK, linewidth=1.4)
                for x in (pair.low, pair.high):
                    ax.plot([x, x], [i - 0.14, i + 0.14], color=INK, linewidth=1.4)
            _beside(ax, ends[i][1] + 0.025 * span, i, _signed_return(pair.influence))
        ax.axvline(0, color=MUTED, linewidth=1.2)
        xlabel = "return lost without the pair" if narrow else "return with all pairs less return without this one"
        ax.set(xlim=(low - 0.04 * span, high + (0.3 if narrow else 0.14) * span), xlabel=xlabel)
        _label_rows(ax, labels, narrow)
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def _colour(pair: PairInfluence) -> str:
    """By what the interval leaves open."""
    if pair.low is None or pair.high is None or pair.low <= 0.0 <= pair.high:
        return SLATE
    return BLUE if pair.influence > 0 else VERMILION


def _signed_return(x: float) -> str:
    return return_text(x) if x < 0 else f"+{return_text(x)}"


def _height(rows: int) -> float:
    """Inches, of a figure with so many bars."""
    return 0.34 * max(rows, 2) + 0.62


def _beside(ax: "Axes", x: float, y: float, text: str) -> None:
    ax.text(x, y, text, fontsize=9, color=INK, ha="left", va="center", parse_math=False)


def _label_rows(ax: "Axes", labels: Sequence[str], narrow: bool) -> None:
    """From above: "1 left", or only the numbers where there is no room for more."""
    most = 15 if narrow else 34
    rows = range(len(labels))
    texts = [f"{i + 1}  {label}" if len(label) <= most else str(i + 1) for i, label in enumerate(labels)]
    ax.set_yticks(rows, texts, parse_math=False)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0, labelcolor=INK, labelsize=9)
    ax.spines["left"].set_visible(False)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    ax.spines["bottom"].set_color(GRID)
