"""Figures of a comparison: learning curves on both axes, and final returns with their intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.palette import BLUE, GREEN, INDIGO, INK, MUTED, ORANGE, PINK, SKY, SLATE, VERMILION, WINE
from hades.studies.comparison.numbers import AXES, Comparison, EnvironmentComparison, sorted_methods
from hades.text import return_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_COLOURS = {
    "HaDES-R": BLUE,
    "HaDES-F": GREEN,
    "HaDES-R by gradient": INDIGO,
    "HaDES-F by gradient": PINK,
    "ES": ORANGE,
    "PPO": VERMILION,
}
_OTHERS = (SLATE, WINE, SKY)
_LABELS = {"env_steps": "environment steps of the search", "seconds": "seconds of the search"}
_TARGET: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (5, 3)), "zorder": 1.0}
_RANDOM: dict[str, Any] = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (1, 2)), "zorder": 1.0}
_FAR = 1.5
"""Random actions are left out of a panel of returns where they lie this many times the methods' range away from it."""
_LOG_RATIO = 30.0
"""A logarithmic axis where the latest end of a curve lies so many times beyond the earliest first point."""

_TWO_A_DECADE = 2.6
"""Decades up to which a logarithmic axis also labels 3, 30, 300."""


def colours(methods: Sequence[str]) -> dict[str, str]:
    """One colour a method, the same in every comparison for the known ones."""
    others = [method for method in methods if method not in _COLOURS]
    return _COLOURS | {method: _OTHERS[i % len(_OTHERS)] for i, method in enumerate(others)}


def learning_curves(
    environments: Sequence[EnvironmentComparison],
    *,
    titled: bool = False,
    narrow: bool = False,
    image_format: str = "svg",
) -> bytes:
    """Return against environment steps and against seconds, a row an environment.

    A line is a method, its band the interval, its dot the end of the first of its runs to end. The dashed line is the
    return to reach, the dotted one what random actions earn. `titled` names the environments.
    """
    methods = sorted_methods(cell.method for env in environments for cell in env.cells)
    rows = 2 * len(environments) if narrow else len(environments)
    with figure(NARROW if narrow else WIDE, (2.75 if narrow else 3.0) * rows + 0.6) as fig:
        panels = fig.subplots(rows, 1 if narrow else 2, squeeze=False).reshape(-1, 2)
        for env, pair in zip(environments, panels, strict=True):
            for ax, axis in zip(pair, AXES, strict=True):
                _draw_curves(ax, env, axis, narrow)
                ax.set_ylabel("return")
            if not narrow:
                pair[1].sharey(pair[0])
                pair[1].set_ylabel("")
            if titled:
                pair[0].set_title(env.name, loc="left", fontsize=10, color=INK)
        handles, labels = _legend(methods, environments)
        fig.legend(handles, labels, loc="outside upper left", ncols=2 if narrow else len(labels))
        fig.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05, wspace=0.03)
        return render(fig, image_format)


def final_returns(comparison: Comparison, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """One panel an environment, one line a method: every seed as a small dot, the interquartile mean and its interval.

    Methods that lack an environment leave their line empty.
    """
    methods, count = comparison.methods, len(comparison.environments)
    paint = colours(methods)
    columns = 1 if narrow else min(count, 3)
    rows = -(-count // columns)
    panel = 0.27 * len(methods) + 0.75
    with figure(NARROW if narrow else WIDE, rows * panel + 0.1) as fig:
        panels = fig.subplots(rows, columns, squeeze=False)
        for ax in panels.flat[count:]:
            ax.set_visible(False)
        for i, (ax, env) in enumerate(zip(panels.flat, comparison.environments, strict=False)):
            ax.set_title(env.name, loc="left", fontsize=9.5, color=INK)
            for cell in env.cells:
                y = methods.index(cell.method)
                finals = [run.final for run in cell.runs]
                ax.plot(finals, np.full(len(finals), y + 0.2), "o", color=MUTED, markersize=2.8, markeredgewidth=0)
                final = cell.final
                band = {"color": paint[cell.method], "alpha": 0.4, "linewidth": 5, "solid_capstyle": "butt"}
                ax.plot((final.low, final.high), (y - 0.08, y - 0.08), **band)
                ax.plot(final.value, y - 0.08, "D", color=paint[cell.method], markersize=5.5, markeredgewidth=0)
            if env.random is not None and _is_near(ax.dataLim.intervalx, env.random):
                ax.axvline(env.random, **_RANDOM)
            ax.set_yticks(range(len(methods)), methods if i % columns == 0 else [""] * len(methods))
            ax.tick_params(axis="y", labelcolor=INK, length=0)
            ax.set_ylim(len(methods) - 0.45, -0.55)
            ax.spines["left"].set_visible(False)
            ax.grid(False)
            ax.grid(True, axis="x")
            ax.margins(x=0.06)
            ax.set_xlabel("return")
        fig.set_layout_engine("constrained", h_pad=0.05, w_pad=0.06, wspace=0.04)
        return render(fig, image_format)


def describe(env: EnvironmentComparison) -> str:
    """The curves in words, for those who cannot see them."""
    ends = [f"{c.method} {return_text(curve.value[-1])}" for c in env.cells if len((curve := c.curves["seconds"]).x)]
    return f"Return on {env.name} over environment steps and seconds; at the end: {', '.join(ends) or 'none'}"


def _is_near(interval: np.ndarray, value: float) -> bool:
    low, high = interval
    return bool(low - _FAR * (high - low) <= value <= high + _FAR * (high - low))


def _draw_curves(ax: "Axes", env: EnvironmentComparison, axis: str, narrow: bool) -> None:
    paint = colours([cell.method for cell in env.cells])
    curves = {cell.method: cell.curves[axis] for cell in env.cells}
    for method, curve in curves.items():
        colour = paint[method]
        ax.fill_between(curve.x, curve.low, curve.high, step="post", color=colour, alpha=0.16, linewidth=0)
        ax.step(curve.x, curve.value, where="post", color=colour, linewidth=1.7)
        ax.plot(curve.x[-1:], curve.value[-1:], "o", color=colour, markersize=4.5, markeredgewidth=0)
    ax.axhline(env.target, **_TARGET)
    if env.random is not None:
        ax.axhline(env.random, **_RANDOM)
    ax.margins(y=0.06)
    _x_axis(ax, axis, [curve.x for curve in curves.values() if len(curve.x)], narrow)


def _legend(methods: Sequence[str], environments: Sequence[EnvironmentComparison]) -> tuple[list["Line2D"], list[str]]:
    """A line a method, and the two lines that are no method."""
    from matplotlib.lines import Line2D

    paint = colours(methods)
    entries = [(Line2D([], [], color=paint[method], linewidth=1.7), method) for method in methods]
    entries.append((Line2D([], [], **_TARGET), "to reach"))
    if any(env.random is not None for env in environments):
        entries.append((Line2D([], [], **_RANDOM), "random actions"))
    handles, labels = zip(*entries, strict=True)
    return list(handles), list(labels)


def _x_axis(ax: "Axes", axis: str, xs: Sequence[np.ndarray], narrow: bool) -> None:
    """From 0, or logarithmic where the curves span too much."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    ax.set_xlabel(_LABELS[axis])
    ax.margins(x=0.03)
    starts, ends = [x[0] for x in xs if x[0] > 0], [x[-1] for x in xs]
    if starts and max(ends) > _LOG_RATIO * min(starts):
        decades = np.log10(max(ends) / min(starts))
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if decades < _TWO_A_DECADE else (1.0,)))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4 if narrow else 6))
        ax.set_xlim(left=0.0)
    plain = FuncFormatter(lambda x, _: f"{x:,g}")
    ax.xaxis.set_major_formatter(plain if axis == "seconds" else EngFormatter(sep=" "))
