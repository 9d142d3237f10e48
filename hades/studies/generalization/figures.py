"""Figures of a generalisation grid: retention over all trained policies, and heat maps over pairs of axes."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.heat import draw_shares
from hades.pictures.palette import BLUE, GREEN, INDIGO, INK, MUTED, ORANGE, PINK, SLATE, VERMILION
from hades.studies.generalization.grid import KIND, axis_text, value_text
from hades.studies.generalization.numbers import Generalization
from hades.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, GREEN, VERMILION, ORANGE, INDIGO, PINK, SLATE)
_MARKS: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (1, 2)), "zorder": 1.0}


def by_environment(results: Sequence[Generalization]) -> dict[str, list[Generalization]]:
    """The results of each environment, in order."""
    found: dict[str, list[Generalization]] = {}
    for result in results:
        found.setdefault(result.environment, []).append(result)
    return found


def retention_profile(
    results: Sequence[Generalization], *, titled: bool = True, narrow: bool = False, image_format: str = "svg"
) -> bytes:
    """For each environment: IQM, its interval and the worst decile of each dataset above the share of its policies that
    keep at least so much. Dotted lines are at 50 and 90 %."""
    panels = by_environment(results)
    columns = 1 if narrow else min(len(panels), 2)
    rows = -(-len(panels) // columns)
    most = max(len(group) for group in panels.values())
    heights = [0.3 * most + 0.15, 2.5]
    with figure(NARROW if narrow else WIDE, rows * (sum(heights) + (0.7 if titled else 0.5)) + 0.1) as fig:
        axes = fig.subplots(2 * rows, columns, squeeze=False, height_ratios=heights * rows)
        for ax in axes.flat:
            ax.set_visible(False)
        for i, (name, group) in enumerate(panels.items()):
            top, bottom = axes[2 * (i // columns), i % columns], axes[2 * (i // columns) + 1, i % columns]
            _draw_aggregates(top, group, narrow)
            _draw_profiles(bottom, group, narrow)
            top.sharex(bottom)
            if titled:
                top.set_title(name, loc="left", fontsize=10, color=INK)
        fig.set_layout_engine("constrained", h_pad=0.04, w_pad=0.06, hspace=0.02)
        return render(fig, image_format)


def heat_maps(result: Generalization, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """Mean retention in percent for each pair of axes, over all other axes and inits; empty where there is no pair."""
    pairs = axis_pairs(result)
    if not pairs:
        return b""
    columns = 1 if narrow else min(3, len(pairs))
    rows = -(-len(pairs) // columns)
    deepest = [max(len(result.axes[a]) for a, _ in pairs[row * columns : (row + 1) * columns]) for row in range(rows)]
    heights = [0.36 * count + 0.75 for count in deepest]
    with figure(NARROW if narrow else WIDE * columns / 3 + (0 if columns == 3 else 0.4), sum(heights) + 0.1) as fig:
        axes = fig.subplots(rows, columns, squeeze=False, height_ratios=heights)
        for ax in axes.flat[len(pairs) :]:
            ax.set_visible(False)
        for ax, (a, b) in zip(axes.flat, pairs, strict=False):
            _draw_heat_map(ax, result, a, b)
        fig.set_layout_engine("constrained", h_pad=0.06, w_pad=0.06)
        return render(fig, image_format)


def axis_pairs(result: Generalization) -> list[tuple[str, str]]:
    """Pairs of axes that vary together, the one with more values first (it goes downwards)."""
    pairs = itertools.combinations([axis for axis in result.axes if axis != KIND], 2)
    ordered = [(a, b) if len(result.axes[a]) >= len(result.axes[b]) else (b, a) for a, b in pairs]
    return [pair for pair in ordered if min(np.isfinite(heat(result, *pair)).any(i).sum() for i in (0, 1)) > 1]


def heat(result: Generalization, a: str, b: str) -> np.ndarray:
    """Mean retention f64[len a, len b] over all other axes and inits; NaN where no recipe has both values."""
    cells = [[result.retention[result.chosen(**{a: x, b: y})] for y in result.axes[b]] for x in result.axes[a]]
    return np.array([[cell.mean() if cell.size else np.nan for cell in row] for row in cells])


def describe(results: Sequence[Generalization]) -> str:
    """The profile in words, for those who cannot see it."""
    each = [f"{r.name} {percent(r.iqm.value)} (worst decile {percent(r.worst_decile)})" for r in results]
    return f"Share of policies by retention; interquartile mean retention: {', '.join(each)}"


def _draw_aggregates(ax: "Axes", group: Sequence[Generalization], narrow: bool) -> None:
    ax.set_visible(True)
    for y, (result, colour) in enumerate(zip(group, itertools.cycle(_COLOURS), strict=False)):
        iqm = result.iqm
        ax.plot((iqm.low, iqm.high), (y, y), color=colour, alpha=0.4, linewidth=5, solid_capstyle="butt")
        ax.plot(iqm.value, y, "D", color=colour, markersize=5.5, markeredgewidth=0)
        worst = max(result.worst_decile, 0.0)
        ax.plot(worst, y, "v", color=colour, markersize=5.5, markerfacecolor="none", markeredgewidth=1.2)
    ax.set_yticks(range(len(group)), [_short(r.name, narrow) for r in group])
    ax.tick_params(axis="both", length=0, labelbottom=False)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set_ylim(len(group) - 0.4, -0.6)
    ax.spines["left"].set_visible(False)
    ax.grid(False)
    ax.grid(True, axis="x")


def _draw_profiles(ax: "Axes", group: Sequence[Generalization], narrow: bool) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    ax.set_visible(True)
    largest = max(1.0, *(float(np.quantile(r.retention, 0.995)) for r in group))
    for result, colour in zip(group, itertools.cycle(_COLOURS), strict=False):
        kept = np.sort(result.retention, axis=None)
        share = 1.0 - np.arange(len(kept)) / len(kept)  # of policies that keep at least kept[i]
        x = np.concatenate([[min(kept[0], -1.0)], kept, [kept[-1]]])
        y = np.concatenate([[1.0], share, [0.0]])
        ax.step(x, y, where="pre", color=colour, linewidth=1.7)
    for mark in (0.5, 0.9):
        ax.axvline(mark, **_MARKS)
    ax.set_xlim(-0.02, 1.04 * largest)
    ax.set_ylim(-0.02, 1.04)
    ax.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, steps=[2, 5, 10]))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    ax.set_xlabel("retention" if narrow else "retention: share of the original recipe's return")
    ax.set_ylabel("policies that keep\nat least so much")


def _draw_heat_map(ax: "Axes", result: Generalization, a: str, b: str) -> None:
    rows, columns = ([value_text(axis, v) for v in result.axes[axis]] for axis in (a, b))
    draw_shares(ax, heat(result, a, b), rows, columns)
    ax.set_ylabel(axis_text(a))
    ax.set_xlabel(axis_text(b))


def _short(name: str, narrow: bool) -> str:
    most = 20 if narrow else 32
    return name if len(name) <= most else f"{name[: most - 1]}…"
