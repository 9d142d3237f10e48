"""A comparison for readers: a page, Markdown, CSV, and figures as files for a paper."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hades.studies.comparison import figures
from hades.studies.comparison.numbers import Comparison, EnvironmentComparison
from hades.studies.comparison.tables import (
    COST_HEAD,
    OVERALL_HEAD,
    RESULTS_HEAD,
    cost_rows,
    method_rows,
    overall_rows,
    result_rows,
    run_rows,
)
from hades.studies.page import Figure, Section, StudyPage, Table
from hades.text import csv_text, duration, integer, percent, return_text, versions_text

CROWDED = 0.25
"""Seconds of selection for a second of search from which on a comparison says so."""
TRIMMED = 4
"""Runs from which on an interquartile mean leaves some out."""
FEW = 10
"""Evaluations of a run below which a comparison says so."""


def write_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """Write `comparison.html`, `comparison.md`, `runs.csv`, `methods.csv` and `figures/`; their paths by kind."""
    return page(comparison).write(
        folder,
        "comparison",
        figures={
            "curves": partial(figures.learning_curves, comparison.environments, titled=True),
            "returns": partial(figures.final_returns, comparison),
        },
        files={
            "runs": ("runs.csv", csv_text(run_rows(comparison))),
            "methods": ("methods.csv", csv_text(method_rows(comparison))),
        },
    )


def page(comparison: Comparison) -> StudyPage:
    """The page of a comparison; its Markdown has all environments in one table."""
    environments = comparison.environments
    returns = Figure(
        partial(figures.final_returns, comparison),
        "Final returns of every method and seed",
        "Report returns: small dots are seeds, a diamond is their interquartile mean, the bar its 95 % bootstrap "
        "interval, a dotted line what random actions earn.",
    )
    earned = [(env.name, *row) for env in environments for row in result_rows(env)]
    cost = [(env.name, *row) for env in environments for row in cost_rows(env)]
    overall = (Table(OVERALL_HEAD, overall_rows(comparison)), _OVERALL_NOTE) if comparison.overall else ()
    return StudyPage(
        eyebrow=", ".join(comparison.methods),
        title=title(comparison),
        conditions=conditions(comparison),
        sections=[
            Section("What they earn", [returns]),
            *(_environment(env, is_first=i == 0) for i, env in enumerate(environments)),
            Section("Over all environments", overall),
        ],
        summary=[
            Table(("environment", *RESULTS_HEAD), earned),
            *(Table(("environment", *COST_HEAD), cost), _COST_NOTE),
            *overall,
        ],
        notes=notes(comparison),
        footer="Written by hades from the files of the runs; runs.csv and methods.csv beside this page hold every "
        "number.",
    )


def _environment(env: EnvironmentComparison, is_first: bool) -> Section:
    """The returns, curves and costs of the methods on an environment; the first section explains its terms."""
    caption = f"Dashed: {return_text(env.target)}, {env.target_source}."
    if env.random is not None:
        caption += f" Dotted: random actions, {return_text(env.random)}."
    if is_first:
        caption = f"{_CURVES_NOTE} {caption}"
    curves = Figure(partial(figures.learning_curves, [env]), figures.describe(env), caption)
    tables = Table(RESULTS_HEAD, result_rows(env)), Table(COST_HEAD, cost_rows(env))
    return Section(env.name, [tables[0], curves, tables[1], *([_COST_NOTE] if is_first else [])])


def title(comparison: Comparison) -> str:
    names = [env.name for env in comparison.environments]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    count = len(comparison.methods)
    return f"{count} methods on {listed}" if count > 1 else f"{comparison.methods[0]} on {listed}"


def conditions(comparison: Comparison) -> list[str]:
    """Budget, device, protocol and versions: what is equal for every row."""
    protocol = comparison.protocol
    lines = [f"{env.name}: {budget_text(env)}; {_versions(env.versions)}." for env in comparison.environments]
    lines.append(
        f"Return: {protocol['report_inits']} policies × {protocol['report_episodes']} whole episodes of the best "
        f"solution, on report keys that no search saw. Selection: {protocol['eval_inits']} × "
        f"{protocol['eval_episodes']} episodes, on keys of its own."
    )
    common = {name: values[0] for name, values in comparison.versions.items() if len(values) == 1}
    lines.append(f"Device: {comparison.device}. {_versions(common)}.")
    mixed = [f"{name} {' and '.join(v)}" for name, v in comparison.versions.items() if len(v) > 1]
    return [*lines, f"The runs were made with several versions of {'; '.join(mixed)}."] if mixed else lines


def budget_text(env: EnvironmentComparison) -> str:
    """ "60 s of search and selection a run"."""
    budget = env.budget
    ends = []
    if budget["max_seconds"] is not None:
        ends.append(f"{duration(budget['max_seconds'])} of search and selection")
    if budget["max_env_steps"] is not None:
        ends.append(f"{integer(budget['max_env_steps'])} environment steps of search")
    if not ends:
        ends.append(f"{integer(budget['generations'])} generations")
    stop = "" if budget["target_return"] is None else f", or a selection return of {budget['target_return']:g}"
    return f"{' or '.join(ends)}{stop} a run"


_CURVES_NOTE = (
    "Interquartile mean over seeds of the selection return of the current solution, with its 95 % bootstrap interval; "
    "an evaluation counts until the next one. Steps and seconds are those of the search alone. A curve ends where the "
    "first of its runs does."
)
_COST_NOTE = (
    "Steps, search, selection and compilation are means over seeds. A fresh policy: median wall time of training one "
    "from the evolved pairs, compiled; – where the result is a policy, and another one costs another run."
)
_OVERALL_NOTE = (
    "Returns rescaled on each environment so that uniformly random actions earn 0 and the best method's mean here "
    "is 1; the scale depends on which methods are compared."
)


def notes(comparison: Comparison) -> list[str]:
    """Explanations of the words of the tables."""
    fewest = min(len(cell.runs) for env in comparison.environments for cell in env.cells)
    targets = "; ".join(f"{e.name} {return_text(e.target)} ({e.target_source})" for e in comparison.environments)
    chance = [f"{e.name} {return_text(e.random)}" for e in comparison.environments if e.random is not None]
    return [
        "Return and normalised return are interquartile means over seeds with 95 % stratified bootstrap intervals, as "
        "rliable defines them (Agarwal et al., 2021)."
        + (
            f" With {fewest} seed{'s' * (fewest > 1)} nothing is trimmed, and no interval reaches beyond the seeds."
            if fewest < TRIMMED
            else ""
        ),
        f"Reached: how many seeds had an evaluation at or above {targets}. Steps and seconds to it are medians over "
        "all seeds, those that never did counting as later than any; the seconds are of search, without compilation, "
        "selection and report.",
        *_stages(comparison),
        *_advice(comparison),
        *([f"Uniformly random actions earn: {'; '.join(chance)}."] if chance else []),
    ]


def _stages(comparison: Comparison) -> list[str]:
    """Notes on the stages of the methods that have several."""
    texts: dict[str, None] = {}
    for cell in (cell for env in comparison.environments for cell in env.cells):
        if recipes := [stage["recipe"] for stage in cell.runs[0].result.get("stages", ())]:
            texts[
                f"{cell.method} runs in {len(recipes) + 1} stages: {', '.join(recipes)}, then the recipe that is "
                "reported. Steps, seconds and curve are those of all stages. An evaluation is of policies that its "
                "stage trains; only those trained as reported count in Reached."
            ] = None
    return list(texts)


def _advice(comparison: Comparison) -> list[str]:
    """Warnings where selection took much of a budget that was meant for search, or came too seldom for a curve."""
    cells = [(f"{cell.method} on {env.name}", cell) for env in comparison.environments for cell in env.cells]
    often = [n for n, c in cells if c.total("seconds", "selection") > CROWDED * c.total("seconds", "search")]
    seldom = [n for n, c in cells if min(len(run.returns) for run in c.runs) < FEW]
    too_often = f"Evaluated so often that it took over {percent(CROWDED)} of the seconds of the search"
    too_seldom = f"Evaluated fewer than {FEW} times in a run, so that curves are coarse"
    return [f"{what}: {', '.join(whose)}." for what, whose in ((too_often, often), (too_seldom, seldom)) if whose]


def _versions(versions: Mapping[str, str]) -> str:
    return versions_text(versions) or "no package decides it"
