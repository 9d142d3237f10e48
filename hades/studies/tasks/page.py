"""Merged datasets for readers: the retention matrix as a picture, a page, Markdown, CSV, and the merged datasets."""

from functools import partial
from pathlib import Path

import numpy as np

from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.heat import draw_shares
from hades.studies.page import Figure, Section, StudyPage, Table
from hades.studies.tasks.numbers import Multitask
from hades.text import csv_text, duration, interval, json_text, percent, return_text, versions_text

SINGLE_HEAD = ("dataset", "environment", "pairs", "single-task return", "95 % interval", "0 % is")
MERGER_HEAD = ("merged", "pairs", "task", "return", "retention", "single-task")


def write_multitask(result: Multitask, folder: Path) -> dict[str, Path]:
    """Write page, numbers, matrix and every merged dataset; their paths by kind."""
    for merger in result.mergers:
        merger.dataset.save(folder / "datasets" / f"{'+'.join(merger.names)}.safetensors")
    rows = [
        {"merged": "+".join(m.names), "dataset": n, "return": m.returns[n].mean, "retention": result.retention(m, n)}
        for m in result.mergers
        for n in m.names
    ]
    written = page(result).write(
        folder,
        "multitask",
        figures={"matrix": partial(matrix, result)},
        files={
            "numbers": ("multitask.json", json_text(result.describe(), indent=1)),
            "table": ("multitask.csv", csv_text(rows)),
        },
    )
    return {**written, "datasets": folder / "datasets"}


def page(result: Multitask) -> StudyPage:
    """The page of merged datasets; its Markdown has the matrix as a table."""
    caption = "Retention in percent of the task of a row, in a policy cloned from its pairs and those of a column."
    return StudyPage(
        eyebrow="Merged datasets",
        title=title(result),
        conditions=conditions(result),
        sections=[
            Section("Retention matrix", [Figure(partial(matrix, result), title(result), caption)]),
            Section("Single-task policies", [Table(SINGLE_HEAD, single_rows(result))]),
            Section("Mergers", [Table(MERGER_HEAD, merger_rows(result))]),
        ],
        summary=[matrix_table(result)],
        notes=_NOTES,
        footer="Written by hades; the merged datasets lie in datasets/ beside this page, all numbers in "
        "multitask.json.",
    )


def matrix(result: Multitask, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """Draw the retention of the task of each row, merged with that of each column and, in the last, with all."""
    values, columns = _matrix(result)
    with figure(NARROW if narrow else min(WIDE, 2.6 + 0.75 * len(columns)), 1.6 + 0.38 * len(values)) as fig:
        ax = fig.subplots()
        draw_shares(ax, values, [_short(name) for name in result.names], columns)
        ax.tick_params(axis="x", labeltop=True, labelbottom=False)
        ax.set_xticklabels(columns, rotation=90 if narrow else 40, ha="center" if narrow else "left")
        ax.set_xlabel("merged with")
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def title(result: Multitask) -> str:
    count = len(result.pairs)
    pairs = "Two tasks in one policy" if count == 1 else f"{count} pairs of tasks, each in one policy"
    return f"{pairs}: {percent(result.median)} median retention, 0 environment steps"


def conditions(result: Multitask) -> list[str]:
    """Lines on what is equal for every number."""
    protocol = result.protocol
    return [
        f"{protocol['num_inits']} freshly initialised policies from each dataset and from each merger, "
        f"{protocol['num_episodes']} whole episodes each in every task, on report keys of seed {protocol['seed']}. "
        f"Network: {protocol['policy']}; layout: {protocol['layout']}"
        f"{', with a task token' if protocol['task_token'] else ''}.",
        f"Environment steps taken to train the policies: 0. Everything took {duration(result.seconds)}.",
        f"{versions_text(protocol['versions'])}.",
    ]


def single_rows(result: Multitask) -> list[tuple[str, ...]]:
    """A row for each dataset."""
    rows: list[tuple[str, ...]] = []
    for name in result.names:
        summary, floor = result.singles[name], result.references[name].floor
        environment, count = _facts(result, name)
        what = "0" if floor == 0 else f"{return_text(floor)} (random actions)"
        rows.append((name, environment, str(count), return_text(summary.mean), interval(summary.ci95), what))
    return rows


def merger_rows(result: Multitask) -> list[tuple[str, ...]]:
    """A row for each task of each merger."""
    return [
        (
            *(" + ".join(_short(n) for n in merger.names), str(len(merger.dataset)), _short(name)),
            *(return_text(merger.returns[name].mean), percent(result.retention(merger, name))),
            return_text(result.singles[name].mean),
        )
        for merger in result.mergers
        for name in merger.names
    ]


def matrix_table(result: Multitask) -> Table:
    """The matrix as text."""
    values, columns = _matrix(result)
    rows = [
        (_short(name), *("–" if np.isnan(share) else percent(share) for share in row))
        for name, row in zip(result.names, values, strict=True)
    ]
    return Table(("retention of", *(f"with {column}" for column in columns)), rows)


_NOTES = (
    "Retention: the mean return of the merged policies in a task, as a share of what single-task policies of the "
    "same size earn that are cloned from its dataset alone, measured anew on the same keys. Where that return is "
    "not positive, 0 % is what random actions earn.",
    "A merger holds the pairs of its datasets, padded with zeros to common observations and actions and repeated "
    "until every task has equally many. In the layout “blocks” every task has entries of its own; in “overlap” all "
    "tasks share the first ones. A policy acts in a task on that task's actions only.",
)


def _matrix(result: Multitask) -> tuple[np.ndarray, list[str]]:
    """Retention f64[tasks, columns] and the names of its columns: every task and, where all are merged, "all"."""
    values, columns = result.matrix, [_short(name) for name in result.names]
    if result.union is None:
        return values, columns
    union = [result.retention(result.union, name) for name in result.names]
    return np.column_stack([values, union]), [*columns, "all"]


def _facts(result: Multitask, name: str) -> tuple[str, int]:
    merger = next(merger for merger in result.mergers if name in merger.names)
    training = merger.dataset.metadata["training"]
    at = merger.names.index(name)
    return training["merged_from"][at], training["points"][at]


def _short(name: str) -> str:
    """The name of a dataset of the zoo up to its method."""
    return name.split("-hades-")[0]
