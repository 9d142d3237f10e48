"""Merged datasets for readers: the retention matrix as a picture, a page, CSV and the merged files themselves."""

import json
from pathlib import Path

import numpy as np

from hades.data.files import write_bytes
from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.heat import draw_shares
from hades.pictures.markup import captioned, paragraph, responsive, section, table
from hades.pictures.page import header, html_page
from hades.pictures.text import csv_text, duration, interval_text, markdown_table, percent, return_text
from hades.studies.tasks.numbers import Multitask

SINGLE_HEAD = ("dataset", "environment", "pairs", "single-task return", "95 % interval", "0 % is")
MERGER_HEAD = ("merged", "points", "task", "return", "retention", "single-task")


def write_multitask(result: Multitask, folder: Path) -> dict[str, Path]:
    """Write numbers, page, matrix and every merged dataset; their paths by kind."""
    for merger in result.mergers:
        merger.dataset.save(folder / "datasets" / f"{'+'.join(merger.names)}.safetensors")
    for kind in ("svg", "png"):
        write_bytes(folder / f"figures/matrix.{kind}", matrix(result, image_format=kind))
    rows = [
        {"merged": "+".join(m.names), "dataset": n, "return": m.returns[n].mean, "retention": result.retention(m, n)}
        for m in result.mergers
        for n in m.names
    ]
    return {
        "page": write_bytes(folder / "multitask.html", page(result).encode()),
        "numbers": write_bytes(folder / "multitask.json", json.dumps(result.describe(), indent=1).encode()),
        "table": write_bytes(folder / "multitask.csv", csv_text(rows).encode()),
        "figures": folder / "figures",
        "datasets": folder / "datasets",
    }


def matrix(result: Multitask, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """What the task of each row keeps, in percent, when it is merged with that of a column; last, with all."""
    values, columns = result.matrix, [_short(name) for name in result.names]
    if result.union is not None:
        union = result.union
        values = np.column_stack([values, [result.retention(union, name) for name in result.names]])
        columns.append("all")
    with figure(NARROW if narrow else min(WIDE, 2.6 + 0.75 * len(columns)), 1.6 + 0.38 * len(values)) as fig:
        ax = fig.subplots()
        draw_shares(ax, values, [_short(name) for name in result.names], columns)
        ax.tick_params(axis="x", labeltop=True, labelbottom=False)
        ax.set_xticklabels(columns, rotation=90 if narrow else 40, ha="center" if narrow else "left")
        ax.set_xlabel("merged with")
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def page(result: Multitask) -> str:
    """One HTML file that holds everything it shows."""
    wide, narrow = matrix(result), matrix(result, narrow=True)
    caption = "Retention in percent of the task of a row, in a policy cloned from its pairs and those of a column."
    parts = [
        header("Merged datasets", title(result), conditions(result)),
        section("Retention matrix", captioned(responsive(wide, narrow, "matrix", title(result)), caption)),
        section("Single-task policies", table(single_rows(result), SINGLE_HEAD, "numbers whole")),
        section("Mergers", table(merger_rows(result), MERGER_HEAD, "numbers whole")),
        section("How to read this", *(paragraph(note) for note in notes())),
    ]
    footer = "Written by hades; the merged datasets lie in datasets/ beside this page, all numbers in multitask.json."
    return html_page(title(result), parts, footer)


def title(result: Multitask) -> str:
    count = len(result.pairs)
    pairs = "Two tasks in one policy" if count == 1 else f"{count} pairs of tasks, each in one policy"
    return f"{pairs}: {percent(result.median)} median retention, 0 environment steps"


def conditions(result: Multitask) -> list[str]:
    """What is equal for every number."""
    protocol = result.protocol
    return [
        f"{protocol['num_inits']} freshly initialised policies from each dataset and from each merger, "
        f"{protocol['num_episodes']} whole episodes each in every task, on report keys of seed {protocol['seed']}. "
        f"Network: {protocol['policy']}; layout: {protocol['layout']}"
        f"{', with a task token' if protocol['task_token'] else ''}.",
        f"Environment steps taken to train the policies: 0. Everything took {duration(result.seconds)}.",
        ", ".join(f"{name} {version}" for name, version in protocol["versions"].items()) + ".",
    ]


def single_rows(result: Multitask) -> list[tuple[str, ...]]:
    """One row a dataset."""
    rows: list[tuple[str, ...]] = []
    for name in result.names:
        summary, floor = result.singles[name], result.references[name].floor
        environment, count = _facts(result, name)
        what = "0" if floor == 0 else f"{return_text(floor)} (random actions)"
        interval = interval_text(summary.describe()).removeprefix("95 % interval ")
        rows.append((name, environment, str(count), return_text(summary.mean), interval, what))
    return rows


def merger_rows(result: Multitask) -> list[tuple[str, ...]]:
    """One row a task of a merger."""
    return [
        (
            *(" + ".join(_short(n) for n in merger.names), str(len(merger.dataset)), _short(name)),
            *(return_text(merger.returns[name].mean), percent(result.retention(merger, name))),
            return_text(result.singles[name].mean),
        )
        for merger in result.mergers
        for name in merger.names
    ]


def markdown(result: Multitask) -> str:
    """The matrix, and its median."""
    names = [_short(name) for name in result.names]
    union = result.union
    head = ["retention of", *(f"with {name}" for name in names), *(["with all"] if union else [])]
    rows = []
    for name, short, row in zip(result.names, names, result.matrix, strict=True):
        cells = ["–" if np.isnan(share) else percent(share) for share in row]
        rows.append([short, *cells, *([percent(result.retention(union, name))] if union else [])])
    return f"{markdown_table(head, rows)}\n\n{title(result)}"


def notes() -> list[str]:
    """What the words of the page mean."""
    return [
        "Retention: the mean return of the merged policies in a task, as a share of what single-task policies of the "
        "same size earn that are cloned from its dataset alone, measured anew on the same keys. Where that return is "
        "not positive, 0 % is what random actions earn.",
        "A merger holds the pairs of its datasets, padded with zeros to common observations and actions and repeated "
        "until every task has equally many. In the layout “blocks” every task has entries of its own; in “overlap” all "
        "tasks share the first ones. A policy acts in a task on that task's actions only.",
    ]


def _facts(result: Multitask, name: str) -> tuple[str, int]:
    merger = next(merger for merger in result.mergers if name in merger.names)
    training = merger.dataset.metadata["training"]
    at = merger.names.index(name)
    return training["merged_from"][at], training["points"][at]


def _short(name: str) -> str:
    """Without what a name of the zoo says of the method."""
    return name.split("-hades-")[0]
