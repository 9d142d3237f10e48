"""The course of the search, and the returns behind the reported figure."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.palette import BLUE, GREEN, INK, MUTED, VERMILION, mix
from hades.text import duration, return_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
_TALLEST_STACK = 12  # dots


def fitness_curve(*rows: Any, image_format: str = "svg", **options: Any) -> bytes:
    """`fitness_figure` as the content of a file."""
    return render(fitness_figure(*rows, **options), image_format)


def fitness_figure(
    metrics: Sequence[Row],
    evaluations: Sequence[Row] = (),
    report: Row | None = None,
    timing: Sequence[Row] = (),
    *,
    of: str = "population",
    narrow: bool = False,
) -> "Figure":
    """Population average and best over environment steps, with the solution's selection returns and the report.

    Args:
        metrics: rows with "env_steps_total", "generation", "fitness/mean" and "fitness/max"; missing ones leave gaps.
            Without rows the solution is drawn alone.
        evaluations: rows with "env_steps_total", "return_mean" and "best".
        report: "mean" and "ci95" of the report, drawn as a line with its interval.
        timing: rows with "generation" and "seconds", written below the steps.
        of: whose fitness it is.
        narrow: laid out for a phone.
    """
    from matplotlib.ticker import EngFormatter, MaxNLocator

    with figure(NARROW if narrow else WIDE, 3.5 if narrow else 3.9) as fig:
        ax = fig.add_subplot()
        marks, labels = [], []
        if metrics:
            steps, mean, best = (column(metrics, name) for name in ("env_steps_total", "fitness/mean", "fitness/max"))
            band = ax.fill_between(steps, mean, best, color=BLUE, alpha=0.16, linewidth=0)
            (line,) = ax.plot(steps, mean, color=BLUE, linewidth=1.6)
            marks, labels = [(line, band)], [f"{of}: mean fitness, shaded up to the best"]
        also_returns = _draw_population_return(ax, metrics)
        _draw_evaluations(ax, evaluations)
        if report is not None:
            _draw_report(ax, report)
        seconds = _seconds_at(metrics, timing)
        ax.set_xlabel(f"environment steps {'and time ' if seconds else ''}of the search")
        ax.set_ylabel("fitness, return" if also_returns else "return of an episode")
        ax.xaxis.set_major_locator(MaxNLocator(4 if narrow else 7))
        steps_text = EngFormatter(sep=" ")
        ax.xaxis.set_major_formatter(lambda x, _: steps_text(x) + (f"\n{duration(seconds(x))}" if seconds else ""))
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.margins(x=0.02, y=0.08)
        _generation_axis(ax, metrics, 4 if narrow else 8)
        also, names = ax.get_legend_handles_labels()
        handles: list[Any] = [*marks, *also]  # matplotlib lays a tuple's marks over each other
        fig.legend(handles, [*labels, *names], loc="outside lower left", ncols=1 if narrow else 4)
        fig.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
        return fig


def report_returns(report: Row, unit: str = "one policy", *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """The mean return of every policy of the report, with the mean over policies and its interval below.

    One dot for each `unit`, stacked where they coincide; bars with counts where the stacks would not fit.
    """
    values = np.sort(np.asarray(report["per_init"], np.float64))
    low, high = _range(values, report)
    width, bins = (NARROW, 24) if narrow else (WIDE, 60)
    position = np.clip(((values - low) / (high - low) * bins).astype(int), 0, bins - 1)
    counts = np.bincount(position, minlength=bins)
    pitch = (width - 0.5) / bins
    stacked = counts.max() <= _TALLEST_STACK
    tall = (counts.max() if stacked else _TALLEST_STACK) * pitch + 0.1
    total = tall + 0.75
    with figure(width, total) as fig:
        ax = fig.add_axes((0.25 / width, 0.65 / total, 1 - 0.5 / width, tall / total))
        at = np.bincount(position, weights=values, minlength=bins) / np.maximum(counts, 1)
        if stacked:
            level = np.concatenate([np.arange(c) for c in counts if c])
            size = pitch * 72 * 0.82
            ax.plot(at[position], (level + 0.5) * pitch, "o", color=BLUE, markersize=size, markeredgewidth=0)
        else:
            _draw_counts(ax, at, counts, (high - low) / bins, tall - 0.2)
        ax.set(xlim=(low, high), ylim=(0, tall), yticks=[])
        ax.spines["left"].set_visible(False)
        ax.spines["bottom"].set_position(("outward", 14))
        ax.grid(False)
        _draw_interval(ax, report, -0.09)
        ax.set_xlabel(f"mean return of {unit}")
        return render(fig, image_format)


def _seconds_at(metrics: Sequence[Row], timing: Sequence[Row]) -> Callable[[float], float] | None:
    """Seconds of the search by environment steps, along a line between the rows; None where nothing was timed."""
    if not (metrics and timing):
        return None
    generation, steps = column(metrics, "generation"), column(metrics, "env_steps_total")
    timed = np.interp(column(timing, "generation"), generation, steps)
    known, seconds = np.append(0.0, timed), np.append(0.0, column(timing, "seconds"))
    return lambda x: float(np.interp(x, known, seconds))


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """f64[rows]; NaN where a row lacks the name or holds null."""
    return np.array([np.nan if row.get(name) is None else float(row[name]) for row in rows])


def _draw_population_return(ax: "Axes", metrics: Sequence[Row]) -> bool:
    """The population's mean return, where fitness is something else; whether there is such a difference.

    A shaped search plays no whole episodes, so its population has no return to draw.
    """
    if any("population/return_within_horizon" in row for row in metrics):
        return True
    fitness, returns = column(metrics, "fitness/mean"), column(metrics, "population/return")
    same = np.isclose(fitness, returns, rtol=1e-3, atol=1e-3) | ~np.isfinite(returns) | ~np.isfinite(fitness)
    if same.all():
        return False
    steps = column(metrics, "env_steps_total")
    ax.plot(steps, returns, color=BLUE, linewidth=1.0, linestyle=(0, (2, 2)), label="population mean return")
    return True


def _draw_counts(ax: "Axes", at: np.ndarray, counts: np.ndarray, width: float, tall: float) -> None:
    heights = counts / counts.max() * tall
    ax.bar(at, heights, 0.86 * width, color=BLUE)
    for x, y, count in zip(at, heights, counts, strict=True):
        if count:
            ax.text(x, y + 0.03, str(count), fontsize=8, color=MUTED, ha="center", va="bottom")


def _draw_evaluations(ax: "Axes", evaluations: Sequence[Row]) -> None:
    if not evaluations:
        return
    steps, returns = column(evaluations, "env_steps_total"), column(evaluations, "return_mean")
    ax.plot(steps, returns, color=INK, linewidth=1.1, marker="o", markersize=3.2, label="solution, selection episodes")
    best = [i for i, row in enumerate(evaluations) if row.get("best")]
    if best:
        i = best[-1]
        ax.plot(
            steps[i],
            returns[i],
            "*",
            color=VERMILION,
            markersize=12,
            markeredgecolor="white",
            label="selected",
            zorder=5,
        )


def _draw_report(ax: "Axes", report: Row) -> None:
    mean = float(report["mean"])
    if not np.isfinite(mean):
        return
    ax.axhline(mean, color=GREEN, linewidth=1.4, linestyle=(0, (5, 3)), label=f"report: {return_text(mean)}", zorder=1)
    interval = _interval(report)
    if interval:
        ax.axhspan(*interval, color=GREEN, alpha=0.16, linewidth=0, zorder=0)


def _draw_interval(ax: "Axes", report: Row, y: float) -> None:
    interval = _interval(report)
    if interval:
        ax.plot(interval, (y, y), color=GREEN, linewidth=4, alpha=0.45, solid_capstyle="butt", clip_on=False)
    colour = mix(GREEN, INK, 0.25)
    ax.plot(float(report["mean"]), y, "D", color=colour, markersize=5, markeredgewidth=0, clip_on=False)


def _interval(report: Row) -> tuple[float, float] | None:
    """The 95 % interval, where it is known and finite."""
    interval = report.get("ci95")
    if not interval or any(x is None or not np.isfinite(x) for x in interval):
        return None
    return float(interval[0]), float(interval[1])


def _range(values: np.ndarray, report: Row) -> tuple[float, float]:
    """Limits around all dots and the interval, never empty."""
    shown = [*values, *(_interval(report) or ())]
    low, high = float(min(shown)), float(max(shown))
    margin = max(0.04 * (high - low), 0.01 * max(abs(low), abs(high)), 1e-3)
    return low - margin, high + margin


def _generation_axis(ax: "Axes", metrics: Sequence[Row], ticks: int) -> None:
    """Generations along the upper edge, at the steps they had reached."""
    from matplotlib.ticker import MaxNLocator

    generation, steps = column(metrics, "generation"), column(metrics, "env_steps_total")
    if len(metrics) < 2:
        return
    wanted = MaxNLocator(ticks, integer=True).tick_values(generation[0], generation[-1])
    wanted = wanted[(wanted >= generation[0]) & (wanted <= generation[-1])]
    upper = ax.secondary_xaxis("top")
    upper.set_xticks(np.interp(wanted, generation, steps), [f"{g:.0f}" for g in wanted])
    upper.set_xlabel("generation", color=MUTED)
    upper.spines["top"].set_visible(False)
