"""A generalisation grid for readers: a page, CSV, and figures as files for a paper."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hades.data.files import write_bytes
from hades.pictures.markup import captioned, details, paragraph, responsive, section, table
from hades.pictures.page import header, html_page
from hades.pictures.text import csv_text, duration, integer, markdown_table, percent, return_text
from hades.studies.aggregate import interquartile_mean
from hades.studies.generalization import figures
from hades.studies.generalization.figures import by_environment
from hades.studies.generalization.grid import axis_text, value_text
from hades.studies.generalization.numbers import Generalization, worst_decile

KEPT_HEAD = ("dataset", "IQM", "95 % interval", "worst decile", "keep ≥ 90 %", "keep ≥ 50 %")
SUMMARY_HEAD = (*KEPT_HEAD, "environment", "method", "pairs", "100 % is", "policies", "measured in")
_CELL_HEAD = ("mean return", "mean retention", "worst init", "best init")


def write_generalization(results: Sequence[Generalization], folder: Path) -> dict[str, Path]:
    """Write `generalization.html`, `generalization.csv` (a row a policy) and `figures/`; their paths by kind."""
    for kind in ("svg", "png"):
        write_bytes(folder / f"figures/retention.{kind}", figures.retention_profile(results, image_format=kind))
        for result in results:
            if figures.axis_pairs(result):
                maps = figures.heat_maps(result, image_format=kind)
                write_bytes(folder / f"figures/heat_maps_{result.name}.{kind}", maps)
    rows = [row for result in results for row in policy_rows(result)]
    return {
        "page": write_bytes(folder / "generalization.html", page(results).encode()),
        "policies": write_bytes(folder / "generalization.csv", csv_text(rows).encode()),
        "figures": folder / "figures",
    }


def page(results: Sequence[Generalization]) -> str:
    """One HTML file that holds everything it shows."""
    parts = [
        header("Generalisation grid", title(results), conditions(results)),
        section("Retention", table(kept_rows(results), KEPT_HEAD, "numbers whole"), _profile(results)),
        *(_axes(name, group) for name, group in by_environment(results).items()),
        *(_dataset(result, i) for i, result in enumerate(results)),
        section("How to read this", *(paragraph(note) for note in notes(results))),
    ]
    footer = "Written by hades; generalization.csv beside this page has every policy, generalization.json the protocol."
    return html_page(title(results), parts, footer)


def title(results: Sequence[Generalization]) -> str:
    kept = ", ".join(f"{percent(result.iqm.value)} ({result.name})" for result in results)
    return f"What other recipes keep: {kept}"


def conditions(results: Sequence[Generalization]) -> list[str]:
    """What is equal for every number."""
    lines = []
    for result in results:
        protocol, (recipes, inits) = result.protocol, result.returns.shape
        lines.append(
            f"{result.name}: {recipes} recipes × {inits} fresh initial policies = {integer(recipes * inits)} policies, "
            f"{protocol['num_episodes']} whole episodes each, on report keys of seed {protocol['seed']}. "
            f"{result.reference.describe()} The original recipe: {len(result.original)} policies. "
            f"Measured in {duration(result.seconds['total'])}."
        )
    versions = results[0].protocol["versions"]
    return [*lines, ", ".join(f"{name} {version}" for name, version in versions.items()) + "."]


def kept_rows(results: Sequence[Generalization]) -> list[tuple[str, ...]]:
    """What the policies of each dataset keep."""
    return [
        (
            *(r.name, percent(r.iqm.value), f"{percent(r.iqm.low)} to {percent(r.iqm.high)}"),
            *(percent(r.worst_decile), percent(r.share(0.9)), percent(r.share(0.5))),
        )
        for r in results
    ]


def summary_rows(results: Sequence[Generalization]) -> list[tuple[str, ...]]:
    """The same with what each dataset is."""
    return [
        (
            *(*kept, r.environment, r.method, str(r.num_points), return_text(r.reference.original)),
            *(integer(r.returns.size), duration(r.seconds["total"])),
        )
        for kept, r in zip(kept_rows(results), results, strict=True)
    ]


def axis_rows(group: Sequence[Generalization]) -> list[tuple[str, ...]]:
    """One row a value of each axis that varies: IQM and, in brackets, worst decile of each dataset over all else."""
    rows = []
    for axis, values in group[0].axes.items():
        for value in values:
            masks = [result.chosen(**{axis: value}) for result in group]
            cells = (_kept(result.retention[mask]) for result, mask in zip(group, masks, strict=True))
            rows.append((f"{axis_text(axis)} {value_text(axis, value)}", *cells))
    return rows


def _kept(retention: np.ndarray) -> str:
    middle = float(interquartile_mean(retention.ravel()))
    return f"{percent(middle)} ({percent(worst_decile(retention))})"


def policy_rows(result: Generalization) -> list[dict[str, object]]:
    """One row a trained policy, in raw numbers; empty cells stand for what does not exist."""
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


def markdown(results: Sequence[Generalization]) -> str:
    """The summary table."""
    return markdown_table(SUMMARY_HEAD, summary_rows(results))


def notes(results: Sequence[Generalization]) -> list[str]:
    """What the words of the page mean."""
    lost = sum(int((~np.isfinite(result.returns)).sum()) for result in results)
    return [
        "Retention: the mean return of a policy over its episodes, as a share of what the original recipe earns, "
        "measured anew on the same keys. Where the original return is not positive, 0 % is what random actions earn.",
        "IQM: mean of the middle half of all policies. Its interval draws the inits again, never the recipes: init i "
        "has the same keys in every recipe. Worst decile: mean over the lowest tenth of all policies.",
        "Every policy starts from fresh initial weights, those from a HaDES-F dataset too; only its original recipe "
        "has the initial weights that the dataset was made for.",
        "Learning rate, updates and init scale are factors on the recipe's own values.",
        *([f"{lost} policies have a return that is not finite; they count as 0 %."] if lost else []),
    ]


def _profile(results: Sequence[Generalization]) -> str:
    titled = len(by_environment(results)) > 1
    wide = figures.retention_profile(results, titled=titled)
    narrow = figures.retention_profile(results, titled=titled, narrow=True)
    caption = (
        "Above: interquartile mean retention (diamond) with its 95 % interval and the worst decile (triangle) of each "
        "dataset. Below: the share of its policies that keep at least so much; dotted at 50 and 90 %."
    )
    return captioned(responsive(wide, narrow, "retention", figures.describe(results)), caption)


def _axes(name: str, group: Sequence[Generalization]) -> str:
    rows = axis_rows(group)
    caption = paragraph("Interquartile mean, in brackets worst decile, over all other axes and inits.", "note")
    heads = ("", *(result.name for result in group))
    return section(f"By axis, {name}", *((table(rows, heads, "numbers whole"), caption) if rows else ()))


def _dataset(result: Generalization, i: int) -> str:
    """The heat maps of one dataset and, folded away, every recipe."""
    pairs = figures.axis_pairs(result)
    letters = chr(ord("a") + i % 26) * (i // 26 + 1)
    picture = ""
    if pairs:
        wide, narrow = figures.heat_maps(result), figures.heat_maps(result, narrow=True)
        label = f"Mean retention of {result.name} for each pair of axes"
        caption = "Mean retention in percent for each pair of axes, over all other axes and inits."
        picture = captioned(responsive(wide, narrow, f"maps-{letters}", label), caption)
    every = table(_cell_rows(result), (*map(axis_text, _shown(result)), *_CELL_HEAD), "numbers whole")
    return section(result.name, picture, details(f"Every recipe ({len(result.settings)})", every))


def _shown(result: Generalization) -> list[str]:
    """The axes that vary, or the first one where none does."""
    return list(result.axes) or ["width"]


def _cell_rows(result: Generalization) -> list[tuple[str, ...]]:
    return [
        (
            *(value_text(axis, settings[axis]) for axis in _shown(result)),
            return_text(float(returns.mean())),
            *(percent(float(share)) for share in (kept.mean(), kept.min(), kept.max())),
        )
        for settings, returns, kept in zip(result.settings, result.returns, result.retention, strict=True)
    ]
