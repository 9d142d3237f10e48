"""Return over the size of the dataset for readers: a figure, a table, a page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.palette import BLUE, INK, MUTED
from hades.studies.page import Figure, Section, StudyPage, Table
from hades.studies.size.numbers import SizePoint, SizeSweep
from hades.text import csv_text, duration, integer, interval, json_text, return_text, versions_text

HEAD = ("pairs", "numbers evolved", "return", "95 % interval", "each seed", "steps", "search")


def write_size_sweeps(sweeps: Sequence[SizeSweep], folder: Path) -> dict[str, Path]:
    """Write page, numbers, table and figure; their paths by kind."""
    rows = [
        {"environment": s.environment, "method": s.method, "size": p.size, "return": final, "env_steps": p.env_steps}
        for s in sweeps
        for p in s.points
        for final in p.finals
    ]
    numbers = [
        {"environment": s.environment, "method": s.method, "points": [_describe(p) for p in s.points]} for s in sweeps
    ]
    return page(sweeps).write(
        folder,
        "size",
        figures={"size": partial(curves, sweeps)},
        files={"numbers": ("size.json", json_text(numbers, indent=1)), "table": ("size.csv", csv_text(rows))},
    )


def page(sweeps: Sequence[SizeSweep]) -> StudyPage:
    """The page of a sweep over sizes, with a table for each environment."""
    picture = Figure(
        partial(curves, sweeps),
        "Return over the number of pairs: " + "; ".join(map(_in_words, sweeps)),
        "Diamonds: interquartile mean over seeds; band: its 95 % interval; dots: single seeds; dotted: random actions.",
    )
    tables = [(f"{sweep.environment}, {sweep.method}", Table(HEAD, rows(sweep))) for sweep in sweeps]
    return StudyPage(
        eyebrow="Size of the dataset",
        title="Return over the size of the dataset",
        conditions=conditions(sweeps),
        sections=[Section("Curves", [picture]), *(Section(name, [table]) for name, table in tables)],
        summary=[part for name, table in tables for part in (f"{name}:", table)],
        notes=(),
        footer="Written by hades; size.csv and size.json beside this page hold the numbers.",
    )


def curves(sweeps: Sequence[SizeSweep], *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """Draw a panel for each environment: every seed as a dot, the interquartile mean and its interval over D."""
    columns = 1 if narrow else min(len(sweeps), 2)
    rows = -(-len(sweeps) // columns)
    with figure(NARROW if narrow else WIDE, 2.7 * rows + 0.1) as fig:
        panels = fig.subplots(rows, columns, squeeze=False)
        for ax in panels.flat[len(sweeps) :]:
            ax.set_visible(False)
        for ax, sweep in zip(panels.flat, sweeps, strict=False):
            sizes = [point.size for point in sweep.points]
            found = [point.estimate for point in sweep.points]
            low, high = [e.low for e in found], [e.high for e in found]
            ax.fill_between(sizes, low, high, color=BLUE, alpha=0.16, linewidth=0)
            ax.plot(sizes, [e.value for e in found], "D-", color=BLUE, linewidth=1.7, markersize=5, markeredgewidth=0)
            for point in sweep.points:
                ax.plot(np.full(len(point.finals), point.size), point.finals, "o", color=MUTED, markersize=2.8)
            ax.axhline(sweep.random, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
            ax.set_xscale("log", base=2)
            ax.set_xticks(sizes, [str(size) for size in sizes])
            ax.set_title(f"{sweep.environment}, {sweep.method}", loc="left", fontsize=10, color=INK)
            ax.set_xlabel("pairs in the dataset")
            ax.set_ylabel("return")
            ax.margins(y=0.08)
        fig.set_layout_engine("constrained", h_pad=0.05, w_pad=0.06)
        return render(fig, image_format)


def conditions(sweeps: Sequence[SizeSweep]) -> list[str]:
    """Lines on what is equal for every number."""
    first = sweeps[0]
    lines = [f"{s.environment}: {_budget(s)}, equal for every size." for s in sweeps]
    report = f"{first.protocol['report_inits']} policies × {first.protocol['report_episodes']} episodes"
    versions = versions_text(first.versions)
    return [*lines, f"Returns: {report} on report keys, over seeds. {first.device}; {versions}."]


def rows(sweep: SizeSweep) -> list[tuple[str, ...]]:
    """A row for each size."""
    found: list[tuple[str, ...]] = []
    for point in sweep.points:
        value = point.estimate
        ends = interval((value.low, value.high)) if len(point.finals) > 1 else "–"
        each = ", ".join(return_text(final) for final in point.finals)
        cost = integer(round(point.env_steps)), duration(point.seconds)
        found.append((str(point.size), integer(point.genome_size), return_text(value.value), ends, each, *cost))
    return found


def _budget(sweep: SizeSweep) -> str:
    seconds, steps = sweep.budget.get("max_seconds"), sweep.budget.get("max_env_steps")
    ends = [*([f"{seconds:g} s"] if seconds else []), *([f"{integer(steps)} environment steps"] if steps else [])]
    return " or ".join(ends) or "no budget"


def _in_words(sweep: SizeSweep) -> str:
    each = ", ".join(f"{return_text(point.estimate.value)} with {point.size}" for point in sweep.points)
    return f"{sweep.environment} {each}"


def _describe(point: SizePoint) -> dict[str, object]:
    value = point.estimate
    return {
        **{"size": point.size, "genome_size": point.genome_size, "finals": point.finals.tolist()},
        **{"iqm": value.value, "ci95": [value.low, value.high]},
        **{"env_steps": point.env_steps, "seconds": point.seconds},
    }
