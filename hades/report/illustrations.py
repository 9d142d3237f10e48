"""The sections of the report that hold pictures."""

from collections.abc import Mapping, Sequence

import numpy as np

from hades.environments.rollout import RunningAct
from hades.errors import HadesError
from hades.pictures.markup import captioned, details, escape, image, paragraph, png, responsive, section
from hades.pictures.pairs import Pairs, pairs_of
from hades.pictures.scenes.draw import can_draw, draw, explanation
from hades.pictures.scenes.episodes import episode_picture
from hades.pictures.scenes.frames import legend
from hades.pictures.scenes.interactive import write_viewer
from hades.pictures.scenes.recording import Actor, Episode, record
from hades.pictures.text import number, return_text
from hades.policy.in_task import in_each_task
from hades.policy.trained_policy import train_policy
from hades.report.action_field import Field, View, action_field, can_show_field, field_legend, measure_field
from hades.report.channels import channel_maps
from hades.report.curves import fitness_curve, report_returns
from hades.report.dataset_only import is_bare
from hades.report.sections import is_fixed_policy
from hades.report.tables import dataset_table, fits_table
from hades.runs.record import RunRecord
from hades.runs.restore import load_policy
from hades.studies.inspection.page import reading_of

MOST_SCENES = 64
MOST_HELD = 12
VIEWER = "episode.html"


def dataset(run: RunRecord) -> str:
    """The pairs as a picture."""
    if run.dataset is None:
        return section("The dataset", paragraph(run.dataset_problem)) if run.dataset_problem else ""
    pairs = pairs_of(run.dataset)
    if pairs.spec.is_image:
        return section("The dataset", _reading_frames(pairs), _scene_cards(pairs), _channels(pairs))
    if fits_table(pairs):
        note = f"All of it. A bar is the value that the policy network is given, {_coordinates(pairs)}"
        note += "; the number is the same value in the environment’s own units." if pairs.is_normalized else "."
    else:
        note = "All of it. A row is a point; colours are the values that the policy network is given, "
        note += f"{_coordinates(pairs)}."
    wide, narrow = dataset_table(pairs), dataset_table(pairs, narrow=True)
    return section("The dataset", paragraph(note), responsive(wide, narrow, "dataset", "The points of the dataset"))


def _coordinates(pairs: Pairs) -> str:
    return f"in {pairs.unit} from the mean of the observations" if pairs.is_normalized else f"in {pairs.unit}"


def states(run: RunRecord) -> str:
    """The synthetic states of a vector environment as scenes."""
    if run.dataset is None:
        return ""
    pairs = pairs_of(run.dataset)
    if pairs.spec.is_image or not can_draw(pairs.spec.name, pairs.spec.obs_shape):
        return ""
    note = "The synthetic states as the environment would show them, with the action that each one teaches. "
    return section("The states", paragraph(note + explanation(pairs.spec.name)), _scene_cards(pairs))


def _scene_cards(pairs: Pairs) -> str:
    """One picture for each point with its label beneath."""
    cards = []
    for i in range(min(len(pairs), MOST_SCENES)):
        picture = draw(pairs.spec.name, pairs.raw[i], 240)
        assert picture is not None
        label = pairs.label(i)
        shown = png(picture, f"State of point {i + 1}; target: {label}")
        cards.append(f"<figure>{shown}<figcaption><b>{i + 1}</b>{escape(label)}</figcaption></figure>")
    more = len(pairs) - len(cards)
    rest = paragraph(f"The first {len(cards)} points; {more} more are in the file.", "note") if more else ""
    return f'<div class="cards">{"".join(cards)}</div>{rest}'


def _reading_frames(pairs: Pairs) -> str:
    """How to read frames, and the colours of the channels."""
    colours = legend(pairs.spec.name, pairs.spec.observation_names, pairs.spec.obs_shape[-1])
    note = (
        "All of it, in the environment’s own units, each frame with the action that it teaches. A cell has the colour "
        "of its strongest channel, full at 1 and empty at 0; a square inside is a second one, a ring a negative one."
    )
    return paragraph(note) + _legend(colours)


def _channels(pairs: Pairs) -> str:
    kind = ", normalised" if pairs.is_normalized else ""
    note = f"Every channel by itself{kind}: the values that the policy network is given."
    maps = responsive(channel_maps(pairs), channel_maps(pairs, narrow=True), "channels", note)
    return details("Every channel by itself", paragraph(note, "note"), maps)


def policy(run: RunRecord, given: Actor | None) -> str:
    """One policy that was trained on the dataset: an episode of it, and its actions over two features."""
    title = "A policy trained on it" if run.dataset is not None else "The policy"
    try:
        actor = given or (load_policy(run.workdir) if run.dataset is None else train_policy(run.dataset, seed=0))
    except HadesError as error:
        return section(title, paragraph(f"There is no policy to show an episode of: {error}"))
    tasks = in_each_task(actor)
    episodes = [record(task) for task in tasks]
    trained = "It was trained on the pairs above with seed 0; this" if run.dataset is not None else "This"
    how = (
        ""
        if given and run.dataset is not None
        else f"{trained} is its first episode{_of_each(tasks)}, not a chosen one. "
    )
    shown = [_episode(episode, how if i == 0 else "") for i, episode in enumerate(episodes)]
    return section(title, *shown, _interactive_view(run, episodes[0]), _field(run, actor))


def _of_each(tasks: Sequence[Actor]) -> str:
    return "" if len(tasks) == 1 else " in each of its tasks"


def _episode(episode: Episode, how: str) -> str:
    picture = episode_picture(episode)
    shown = image(picture.content, picture.mime, picture.description)
    kind = "episode" if picture.mime == "image/gif" else "episode curves"
    return captioned(shown, how + picture.caption, kind)


def _interactive_view(run: RunRecord, episode: Episode) -> str:
    """Written beside the report, and a link to it; a sentence where that fails; nothing where there are no bodies."""
    if episode.motion is None:
        return ""
    try:
        path = write_viewer(episode, run.workdir / VIEWER)
    except HadesError as error:
        return paragraph(f"There is no interactive view of it. {error}", "note")
    size = f" ({path.stat().st_size / 1024:.0f} kB, beside this page; needs JavaScript and WebGL, but no network)"
    return f'<p><a href="{VIEWER}">Open the interactive view</a>{escape(size)}</p>'


def _field(run: RunRecord, policy: Actor) -> str:
    """The policy's actions over two features."""
    if run.dataset is None or not can_show_field(policy.environment.spec):
        return ""
    if isinstance(policy.act, RunningAct):
        return paragraph("Its actions depend on what it has seen before, so no field of them is shown.", "note")
    pairs = pairs_of(run.dataset)
    reading, _ = reading_of(run)
    field = measure_field(policy, run.dataset, View.of(run.dataset, reading))
    wide, narrow = (action_field(field, pairs, narrow=n) for n in (False, True))
    shown = responsive(wide, narrow, "field", "The policy's actions over two features of the observation")
    return (
        f'<h3>Its actions</h3><div class="field">{shown}</div>'
        + _legend(field_legend(pairs.spec, pairs.actions))
        + paragraph(_reading_field(field, pairs), "note")
    )


def _reading_field(field: Field, pairs: Pairs) -> str:
    """What the field shows, and what the features that it does not show are held at."""
    shown = "the two features that were asked for" if field.view.features else "the two that change its actions most"
    others = [i for i in range(len(pairs.features)) if i not in field.features]
    at = "a typical visited state" if field.view.is_visited else "the centre of the dataset’s coordinates"
    note = f"What the same policy does over {shown}"
    if others:
        values = ", ".join(f"{pairs.features[i]} {number(field.view.held[i])}" for i in others[:MOST_HELD])
        rest = ", …" if len(others) > MOST_HELD else ""
        note += f", the others held at {at} ({values}{rest})"
    if pairs.spec.is_discrete:
        note += ". Colours are shares of actions. "
    else:
        limit = number(field.limit)
        note += f". Colours are {pairs.actions[field.entry]}: orange −{limit}, white 0, blue +{limit}. "
    note += "Discs are the points of the dataset in the colours of their targets; their other features differ."
    return note + (" Dots are visited states." if len(field.view.visited) else "")


def _legend(colours: Mapping[str, str]) -> str:
    """Names with swatches of their colours."""
    items = "".join(f'<li><i style="background:{c}"></i>{escape(name)}</li>' for name, c in colours.items())
    return f'<ul class="legend">{items}</ul>' if items else ""


def search(run: RunRecord) -> str:
    """Fitness over the search."""
    title = "The search"
    if not run.metrics:
        return section(title, paragraph("There is no metrics.jsonl, so the course of the search is not known."))
    of = "training episodes" if run.method == "PPO" else "population"
    wide, narrow = (fitness_curve(run.metrics, run.evaluations, run.report, of=of, narrow=n) for n in (False, True))
    parts = [responsive(wide, narrow, "search", "Fitness over environment steps")]
    if any("population/return_within_horizon" in row for row in run.metrics):
        note = (
            "The population was searched for a shaped objective, in stages or within a horizon (Fitness under “How it "
            "was made”), so its fitness is no return. The solution and the report are measured by whole episodes."
        )
        parts.append(paragraph(note, "note"))
    chosen, selected = run.result.get("best_generation"), run.result.get("selection_return")
    if not run.evaluations:
        parts.append(paragraph("The solution was not evaluated on selection keys during the search.", "note"))
    elif chosen is not None and selected is not None:
        note = (
            f"The solution of generation {chosen} was selected for its {return_text(selected)} on selection keys. That "
            "is the best of many measurements, so it flatters; the report measured the selected solution anew."
        )
        parts.append(paragraph(note, "note"))
    counted = (
        ("fitness/nonfinite", "candidates had a fitness that was not finite and were ranked last."),
        ("normalizer/rejected", "candidates did not count in the normaliser, for numbers that were not finite."),
        ("normalizer/refused", "updates of the normaliser were dropped: its statistics would not have been finite."),
        ("ppo/rewards_refused", "updates of the reward scale were dropped: it would not have been finite."),
    )
    for name, what in counted:
        if count := sum(int(row.get(name) or 0) for row in run.metrics):
            parts.append(paragraph(f"{count} {what}", "note"))
    return section(title, *parts)


def returns(run: RunRecord) -> str:
    """The returns behind the reported mean."""
    title, report = "Behind the reported return", run.report
    values = [] if report is None else [v for v in report.get("per_init", ()) if v is not None and np.isfinite(v)]
    if is_bare(run) and not values:
        return ""
    if report is None or not values:
        return section(title, paragraph("The returns of single policies are not known: the run has not reported yet."))
    report = {**report, "per_init": values}
    if len(values) == 1:
        return section(title, paragraph(f"One policy was measured: {return_text(values[0])}."))
    unit = f"{report['num_episodes']} episodes" if is_fixed_policy(run) else "one policy"
    wide, narrow = (report_returns(report, unit, narrow=n) for n in (False, True))
    note = (
        f"Worst {return_text(report['worst_init'])}, best {return_text(report['best_init'])}, standard deviation "
        f"{return_text(report['std_over_inits'])}. Green: the mean and its 95 % interval."
    )
    return section(title, responsive(wide, narrow, "returns", "Returns on report keys"), paragraph(note, "note"))
