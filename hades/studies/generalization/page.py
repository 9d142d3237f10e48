"""A generalisation grid for readers: a page, Markdown, CSV, and figures as files for a paper."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from hades.studies.aggregate import interquartile_mean
from hades.studies.generalization import figures
from hades.studies.generalization.figures import by_environment
from hades.studies.generalization.grid import axis_text, value_text
from hades.studies.generalization.numbers import Generalization, worst_decile
from hades.studies.page import Figure, Section, StudyPage, Table
from hades.text import csv_text, duration, integer, interval, percent, return_text, versions_text

KEPT_HEAD = ("dataset", "IQM", "95 % interval", "worst decile", "keep ≥ 90 %", "keep ≥ 50 %")
SUMMARY_HEAD = (*KEPT_HEAD, "environment", "method", "pairs", "100 % is", "policies", "measured in")


def write_generalization(results: Sequence[Generalization], folder: Path) -> dict[str, Path]:
    """Write `generalization.html`, `.md` and `.csv` (a row for each policy) and `figures/`; their paths by kind."""
    maps = {f"heat_maps_{r.name}": partial(figures.heat_maps, r) for r in results if figures.axis_pairs(r)}
    rows = [row for result in results for row in policy_rows(result)]
    return page(results).write(
        folder,
        "generalization",
        figures={"retention": partial(figures.retention_profile, results), **maps},
        files={"policies": ("generalization.csv", csv_text(rows))},
    )


def page(results: Sequence[Generalization]) -> StudyPage:
    """The page of a grid; its Markdown has one table that also describes the datasets."""
    environments = by_environment(results)
    profile = Figure(
        partial(figures.retention_profile, results, titled=len(environments) > 1),
        figures.describe(results),
        "Above: interquartile mean retention (diamond) with its 95 % interval and the worst decile (triangle) of each "
        "dataset. Below: the share of its policies that keep at least so much; dotted at 50 and 90 %.",
    )
    return StudyPage(
        eyebrow="Generalisation grid",
        title=title(results),
        conditions=conditions(results),
        sections=[
            Section("Retention", [Table(KEPT_HEAD, kept_rows(results)), profile]),
            *(_axes(name, group) for name, group in environments.items()),
            *map(_dataset, results),
        ],
        summary=[Table(SUMMARY_HEAD, summary_rows(results))],
        notes=notes(results),
        footer="Written by hades; generalization.csv beside this page has every policy, generalization.json the "
        "protocol.",
    )


def _axes(name: str, group: Sequence[Generalization]) -> Section:
    """The retention of the datasets of an environment for each value of each axis; empty where none varies."""
    table = Table(("", *(result.name for result in group)), axis_rows(group))
    caption = "Interquartile mean, in brackets worst decile, over all other axes and inits."
    return Section(f"By axis, {name}", [table, caption] if table.rows else [])


def _dataset(result: Generalization) -> Section:
    """The heat maps of one dataset and, folded away, every recipe."""
    maps = Figure(
        partial(figures.heat_maps, result),
        f"Mean retention of {result.name} for each pair of axes",
        "Mean retention in percent for each pair of axes, over all other axes and inits.",
    )
    axes = list(result.axes) or ["width"]
    head = (*map(axis_text, axes), "mean return", "mean retention", "worst init", "best init")
    rows = [
        (
            *(value_text(axis, settings[axis]) for axis in axes),
            return_text(float(returns.mean())),
            *(percent(float(share)) for share in (kept.mean(), kept.min(), kept.max())),
        )
        for settings, returns, kept in zip(result.settings, result.returns, result.retention, strict=True)
    ]
    every = Table(head, rows, folded=f"Every recipe ({len(rows)})")
    return Section(result.name, [maps, every] if figures.axis_pairs(result) else [every])


def title(results: Sequence[Generalization]) -> str:
    kept = ", ".join(f"{percent(result.iqm.value)} ({result.name})" for result in results)
    return f"What other recipes keep: {kept}"


def conditions(results: Sequence[Generalization]) -> list[str]:
    """Lines on what is equal for every number."""
    lines = []
    for result in results:
        protocol, (recipes, inits) = result.protocol, result.returns.shape
        lines.append(
            f"{result.name}: {recipes} recipes × {inits} fresh initial policies = {integer(recipes * inits)} policies, "
            f"{protocol['num_episodes']} whole episodes each, on report keys of seed {protocol['seed']}. "
            f"{result.reference.describe()} The original recipe: {len(result.original)} policies. "
            f"Measured in {duration(result.seconds['total'])}."
        )
    return [*lines, f"{versions_text(results[0].protocol['versions'])}."]


def kept_rows(results: Sequence[Generalization]) -> list[tuple[str, ...]]:
    """The retention of each dataset."""
    return [
        (
            *(r.name, percent(r.iqm.value), interval((r.iqm.low, r.iqm.high), percent)),
            *(percent(r.worst_decile), percent(r.share(0.9)), percent(r.share(0.5))),
        )
        for r in results
    ]


def summary_rows(results: Sequence[Generalization]) -> list[tuple[str, ...]]:
    """The retention of each dataset with what it is and what measuring took."""
    return [
        (
            *(*kept, r.environment, r.method, str(r.num_pairs), return_text(r.reference.original)),
            *(integer(r.returns.size), duration(r.seconds["total"])),
        )
        for kept, r in zip(kept_rows(results), results, strict=True)
    ]


def axis_rows(group: Sequence[Generalization]) -> list[tuple[str, ...]]:
    """A row for each value of each axis that varies: IQM and, in brackets, worst decile of each dataset."""
    rows = []
    for axis in group[0].axes:
        for value in dict.fromkeys(value for result in group for value in result.axes.get(axis, ())):
            kept = [r.retention[[settings.get(axis) == value for settings in r.settings]] for r in group]
            cells = (_kept(retention) if retention.size else "–" for retention in kept)
            rows.append((f"{axis_text(axis)} {value_text(axis, value)}", *cells))
    return rows


def _kept(retention: np.ndarray) -> str:
    middle = float(interquartile_mean(retention.ravel()))
    return f"{percent(middle)} ({percent(worst_decile(retention))})"


def policy_rows(result: Generalization) -> list[dict[str, object]]:
    """Raw numbers, a row for each trained policy; None stands for what does not exist."""
    return [
        {
            "dataset": result.name,
            "environment": result.environment,
            "method": result.method,
            **settings,
            "init": i,
            "return": result.returns[c, i] if np.isfinite(result.returns[c, i]) else None,
            "retention": round(float(result.retention[c, i]), 6),
        }
        for c, settings in enumerate(result.settings)
        for i in range(result.returns.shape[1])
    ]


def notes(results: Sequence[Generalization]) -> list[str]:
    """Explanations of the words of the page."""
    lost = sum(int((~np.isfinite(result.returns)).sum()) for result in results)
    return [
        "Retention: the mean return of a policy over its episodes, as a share of what the original recipe earns, "
        "measured anew on the same keys. Where the original return is not positive, 0 % is what random actions earn.",
        "IQM: mean of the middle half of all policies. Its interval draws the inits again, never the recipes: init i "
        "has the same keys in every recipe. Worst decile: mean over the lowest tenth of all policies.",
        "Every policy starts from fresh initial weights, those from a HaDES-F dataset too; only its original recipe "
        "has the initial weights that the dataset was made for.",
        "Network: searched with, between those in width and depth (interpolated), or held out.",
        "Learning rate, updates and init scale are factors on the recipe's own values.",
        *([f"{lost} policies have a return that is not finite; they count as 0 %."] if lost else []),
    ]
