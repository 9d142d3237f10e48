"""The sections of the report that hold words and numbers; every number is one that the run's files state."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from hades import registry
from hades.data import zoo
from hades.environments.references import references
from hades.environments.thresholds import MOST, SOLVED
from hades.pictures.markup import html
from hades.policy.published import remeasured_text
from hades.report.dataset_only import is_bare
from hades.runs.record import RunRecord
from hades.runs.result import all_stages
from hades.text import duration, integer, interval, interval_text, number, return_text

_PHASES = {
    "compile": "compilation",
    "search": "search",
    "selection": "selection of the best",
    "report": "report",
}


def headline(run: RunRecord) -> Markup:
    """The top of the page: the result of the run, its return, the protocol and the threshold it is compared with."""
    count = run.result.get("num_pairs", len(run.dataset) if run.dataset else 0)
    if count:
        pairs = "one observation–action pair" if count == 1 else f"{count} observation–action pairs"
        title = f"{run.environment}, distilled into {pairs}"
    elif run.result:
        title = f"{run.environment}: a policy found by {run.method}"
    else:
        title = f"{run.environment}: an unfinished run"
    report, parts = run.report, []
    if report is None or report.get("mean") is None:
        parts.append("This run has not reported yet: there is no result.json with a measured return.")
    else:
        what = "mean over the tasks, each return as a share of its reference" if report.get("tasks") else "mean return"
        parts.append(html.result(return_text(report["mean"]), f"{what}, {interval_text(report)}"))
        parts += [html.note(protocol(run)), html.note(no_spread(run)), _against_threshold(run), _beside(run)]
    return html.header(run.title, title, *parts, html.tiles(_facts(run, count)))


def protocol(run: RunRecord) -> str:
    """Describe the measurement of the reported return in one sentence."""
    report = run.report or {}
    inits, episodes = report.get("num_inits", 0), report.get("num_episodes", 0)
    once = "measured once, on report keys that the search never saw"
    if not inits:
        today = f" Today: {remeasured_text(run.dataset)}." if run.dataset and "remeasured" in report else ""
        return f"As the file states it ({report.get('protocol', 'it does not say how it was measured')}).{today}"
    each = f"{episodes} whole episode{'s' if episodes != 1 else ''}"
    if is_fixed_policy(run):
        what = "the policy that the pairs train from its fixed initial weights" if run.dataset else "the policy"
        return f"Mean over {f'{inits} × ' if inits != 1 else ''}{each} of {what}; {once}."
    policies = f"{inits} freshly initialised policies" if inits != 1 else "one freshly initialised policy"
    return f"Mean over {policies}, each trained on these pairs alone and then played for {each}; {once}."


def no_spread(run: RunRecord) -> str:
    """Why the interval of the reported return has no length; empty where it has one."""
    report = run.report or {}
    low, high = report.get("ci95") or (None, None)
    if not report.get("num_inits") or low is None or low != high:
        return ""
    text, earned = "The interval has no length:", return_text(report["mean"])
    many = "episode" if is_fixed_policy(run) else "policy"
    if run.spec is not None and MOST.get(run.spec.name) == (report["mean"], run.spec.max_episode_steps):
        return f"{text} every {many} earned {earned}, the most that {run.spec.name} pays."
    if is_fixed_policy(run):
        count = report["num_inits"] * report["num_episodes"]
        return f"{text} all episodes earned {earned}, as one deterministic game, played {count} times."
    return f"{text} each of the {report['num_inits']} policies earned {earned}."


def _beside(run: RunRecord) -> Markup:
    """Returns of others on this environment, beside that of this run; empty where none is known."""
    if run.spec is None:
        return Markup()
    others = references(run.spec.name, run.spec.max_episode_steps)
    for name in zoo.names() if others else ():
        card = zoo.card(name)
        if card["environment"] == run.spec.name:
            others[f"{card['method']}, {card['num_pairs']} pairs, in the zoo as {name}"] = card["report"]["mean"]
    own = (Markup("<strong>this run</strong>"), (run.report or {})["mean"])
    ranked = sorted([own, *others.items()], key=lambda row: -row[1])
    rows = [(what, return_text(earned)) for what, earned in ranked]
    return html.table(rows, ("beside others", "return")) if others else Markup()


def is_fixed_policy(run: RunRecord) -> bool:
    """Return True if the report played a single policy: HaDES-F and methods without a dataset."""
    return run.dataset.learner.is_fixed if run.dataset is not None else "num_pairs" not in run.result


def _against_threshold(run: RunRecord) -> Markup:
    spec, report = run.spec, run.report or {}
    if spec is None or spec.name not in SOLVED or spec.max_episode_steps != SOLVED[spec.name][1]:
        return Markup()
    threshold = SOLVED[spec.name][0]
    low = (report.get("ci95") or (None,))[0]
    counts = f"{spec.name} counts as solved at {number(threshold)} (Gymnasium’s threshold): "
    if report["mean"] < threshold:
        return html.note(counts + "not reached.")
    if low is None or not low >= threshold:
        return html.note(counts + "reached by the mean, but not by the lower end of its interval.")
    return html.paragraph(counts + "reached, by the lower end of the interval too.", "note good")


def _facts(run: RunRecord, count: int) -> dict[str, str]:
    def total(*place: str) -> float | None:
        return all_stages(run.result, *place) if place[0] in run.result else None

    facts = {
        "pairs": integer(count) if count else "",
        "numbers evolved": integer(run.result.get("genome_size")),
        "generations": integer(total("generations")),
        "steps of the search": integer(total("env_steps", "search")),
        "time of the search": duration(total("seconds", "search")),
    }
    return {name: value for name, value in facts.items() if value}


def tasks(run: RunRecord) -> Markup:
    """The returns of each task in its own units; empty where there is one task."""
    report = run.report or {}
    each = report.get("tasks") or {}
    worst = "worst group" if report.get("one_policy") else "worst policy"
    rows = [
        (
            name,
            return_text(task["mean"]),
            interval(task.get("ci95")),
            return_text(task["worst_init"]),
        )
        for name, task in each.items()
    ]
    head = ("task", "return", "95 % interval", worst)
    return html.section("Each task", html.table(rows, head) if rows else "")


_QUANTITIES = {
    "height": ("highest body, m", "{:.2f}"),
    "speed": ("fastest body, m/s", "{:.1f}"),
    "return": ("absolute return", "{:,.0f}"),
    "nonfinite": ("physics that broke down", "{:.0f}"),
}


def plausibility(run: RunRecord) -> Markup:
    """The exploit alarm over the episodes of the report; empty where the environment states no bounds."""
    report = run.report or {}
    alarms = report.get("alarms") or {}
    if not alarms:
        return Markup()
    flagged, episodes = report.get("implausible_episodes", 0), report["num_inits"] * report["num_episodes"]
    if flagged:
        plausible = report.get("plausible_mean")
        without = "" if plausible is None else f", which is {return_text(plausible)} without them"
        verdict = html.paragraph(
            f"{flagged} of {episodes} episodes of the report are physically implausible: the policy may exploit a "
            f"fault of the simulator. They are part of the return above{without}. Look at the episode, then search "
            "again with EpisodicReturn.implausible = 'mask'.",
            "note bad",
        )
    else:
        verdict = html.paragraph(f"None of the {episodes} episodes of the report raised an alarm.", "note good")
    rows = []
    for name, alarm in alarms.items():
        label, form = _QUANTITIES.get(name, (name, "{:g}"))
        rows.append((label, alarm["episodes"] or "–", form.format(alarm["largest"]), form.format(alarm["bound"])))
    head = ("quantity", "episodes beyond", "largest met", "plausible up to")
    return html.section("Exploit alarm", verdict, html.table(rows, head))


def cost(run: RunRecord) -> Markup:
    """Environment steps and seconds of each phase."""
    steps, seconds = run.result.get("env_steps", {}), run.result.get("seconds", {})
    if not steps and not seconds:
        if is_bare(run):
            return Markup()
        text = "The run has not written what it cost."
        if run.timing:
            last = run.timing[-1]
            text = f"So far {last['generation']} generations in {duration(last['seconds'])}."
        return html.section("What it cost", text)
    rows = []
    for name, label in _PHASES.items():
        if name in steps or name in seconds:
            count = all_stages(run.result, "env_steps", name) if name in steps else None
            took = all_stages(run.result, "seconds", name) if name in seconds else None
            rate = integer(round(count / took)) if count and took else ""
            rows.append((label, integer(count) or "–", duration(took) or "–", rate or "–"))
    head = ("phase", "environment steps", "time", "steps a second")
    known = len(head) if seconds else 2  # a dataset file alone states no time
    device, devices = run.result.get("device"), run.result.get("num_devices", 1)
    measured = f"Measured on {f'{devices} × ' if devices != 1 else ''}{device}."
    table = html.table([row[:known] for row in rows], head[:known])
    return html.section("What it cost", table, _stages(run), _teachers(run), html.note(measured) if device else "")


def _stages(run: RunRecord) -> Markup:
    """The stages of a run, the last of which is the run itself; empty where it has one."""
    if not (before := run.result.get("stages")):
        return Markup()
    report = run.report or {}
    last = {**run.result, "recipe": "this one", "return": report.get("mean")}
    rows = [
        (
            stage.get("recipe", stage.get("method", "")),
            return_text(stage["return"]) if stage.get("return") is not None else "",
            integer(stage.get("generations")),
            integer(stage.get("env_steps", {}).get("search")),
        )
        for stage in [*before, last]
    ]
    note = html.note("The table above sums all stages. Each one starts from the dataset of the one before:")
    return note + html.table(rows, ("stage", "return", "generations", "steps of the search"))


def _teachers(run: RunRecord) -> Markup:
    """The teachers that the search had, whose steps are in no other table; empty where it had none."""
    if not (teachers := run.result.get("teachers")):
        return Markup()
    rows = [(t["method"], t["source"], integer(t.get("env_steps")) or "not stated") for t in teachers]
    note = html.note("Not from nothing: the search had a teacher, whose steps come on top of those above:")
    return note + html.table(rows, ("teacher", "from", "environment steps"))


def how_to_use(run: RunRecord) -> Markup:
    """Three lines of Python."""
    if run.dataset is None:
        return Markup()
    code = (
        "import hades\n\n"
        'dataset = hades.load_dataset("dataset.safetensors")\n'
        "policy = hades.train_policy(dataset, seed=0)\n"
        "print(hades.evaluate(policy))"
    )
    note = (
        "The file lies beside this page. It holds the pairs, the normaliser, the training recipe, the environment and "
        "its versions, and can be read with numpy alone."
    )
    return html.section("How to use it", html.code(code), html.note(note))


def recipe(run: RunRecord) -> Markup:
    """Environment, training recipe and library versions, and the configuration in full."""
    facts = {}
    if fitness := (run.experiment.get("algorithm") or {}).get("fitness"):
        facts["Fitness"] = flat(fitness)
    if run.dataset is not None:
        parts = (("Environment", "environment"), ("Training recipe", "learner"), ("Normaliser", "normalizer"))
        facts |= {title: flat(run.dataset.metadata[name]) for title, name in parts}
    if versions := run.result.get("versions") or (run.dataset.metadata["versions"] if run.dataset else {}):
        facts["Versions"] = list(versions.items())
    shown = [part for title, rows in facts.items() for part in (html.heading(title), html.table(rows, kind="facts"))]
    if run.config:
        config = html.details("Operative configuration (config.gin)", html.code(run.config))
    elif is_bare(run):
        config = ""
    else:
        config = html.note("There is no config.gin here: the run was started from Python.")
        if run.experiment:
            config += html.details("Every field of the run", html.table(flat(run.experiment), kind="facts"))
    folded = html.details("Environment, recipe and versions", *shown) if shown else ""
    return html.section("How it was made", folded, config)


def flat(description: Any, name: str = "") -> list[tuple[str, str]]:
    """A description from the registry as (dotted name, value) rows; a component is named by its class."""
    if isinstance(description, Mapping):
        rows = [(name or "component", description["name"])] if "name" in description else []
        defaults = registry.described_defaults(description)
        for key, value in description.items():
            if key not in ("interface", "name"):
                inside = flat(value, f"{name}.{key}" if name else key)
                if inside and key in defaults and defaults[key] == value:
                    inside[0] = (inside[0][0], f"{inside[0][1]} (default)")
                rows += inside
        return rows
    if isinstance(description, list) and any(isinstance(item, Mapping) for item in description):
        return [row for i, item in enumerate(description) for row in flat(item, f"{name}[{i}]")]
    if isinstance(description, float):
        return [(name, f"{description:g}")]
    return [(name, "–" if description in (None, "", []) else str(description))]
