"""The sections of the report that hold pictures."""

import contextlib
import re
from functools import partial

import numpy as np
from markupsafe import Markup

from hades.environments.rollout import RunningAct
from hades.errors import HadesError, MissingPackageError
from hades.pictures.markup import downloads, film, html, image, png, responsive
from hades.pictures.pairs import Pairs, pairs_of
from hades.pictures.scenes.animation import frames_gif, frames_mp4, frames_sheet
from hades.pictures.scenes.draw import can_draw, draw, explanation
from hades.pictures.scenes.episodes import episode_picture
from hades.pictures.scenes.frames import is_picture, legend
from hades.pictures.scenes.interactive import write_viewer
from hades.pictures.scenes.recording import Actor, Episode
from hades.report.action_field import Field, View, action_field, can_show_field, field_legend, measure_field
from hades.report.channels import channel_maps
from hades.report.curves import fitness_curve, report_returns
from hades.report.dataset_only import is_bare
from hades.report.dataset_table import dataset_table, fits_table
from hades.report.episodes import Choice, Shown, shown_episodes
from hades.report.sections import is_fixed_policy
from hades.runs.record import RunRecord
from hades.studies.inspection.page import inspection_of
from hades.text import number, percent, return_text

MOST_SCENES = 64
MOST_HELD = 12
VIEWER = "episode.html"


def dataset(run: RunRecord) -> Markup:
    """The pairs as a picture."""
    if run.dataset is None:
        return html.section("The dataset", run.dataset_problem)
    pairs = pairs_of(run.dataset)
    if is_picture(pairs.spec.obs_shape):
        note = "All of it, as the policy network sees it, each with the action that it teaches; earlier frames are "
        note += "orange, or fainter where pictures are coloured."
        return html.section("The dataset", note, _scene_cards(pairs))
    if pairs.spec.is_image:
        return html.section("The dataset", _reading_frames(pairs), _scene_cards(pairs), _channels(run, pairs))
    if fits_table(pairs):
        note = f"All of it. A bar is the value that the policy network is given, {_coordinates(pairs)}"
        note += "; the number is the same value in the environment’s own units." if pairs.is_normalized else "."
    else:
        note = "All of it. A row is a pair; colours are the values that the policy network is given, "
        note += f"{_coordinates(pairs)}."
    picture = responsive(partial(dataset_table, pairs), "dataset", "The pairs of the dataset", run.figures)
    return html.section("The dataset", note, picture)


def _coordinates(pairs: Pairs) -> str:
    return f"in {pairs.unit} from the mean of the observations" if pairs.is_normalized else f"in {pairs.unit}"


def states(run: RunRecord) -> Markup:
    """The synthetic states of a vector environment as scenes."""
    if run.dataset is None:
        return Markup()
    pairs = pairs_of(run.dataset)
    if pairs.spec.is_image or not can_draw(pairs.spec.name, pairs.spec.obs_shape):
        return Markup()
    note = "The synthetic states as the environment would show them, with the action that each one teaches. "
    return html.section("The states", note + explanation(pairs.spec.name), _scene_cards(pairs))


def _scene_cards(pairs: Pairs) -> Markup:
    """One picture for each pair with its label beneath."""
    cards = []
    for i in range(min(len(pairs), MOST_SCENES)):
        picture, label = draw(pairs.spec.name, pairs.raw[i], 240), pairs.label(i)
        assert picture is not None
        cards.append((png(picture, f"State of pair {i + 1}; target: {label}"), label))
    more = len(pairs) - len(cards)
    rest = html.note(f"The first {len(cards)} pairs; {more} more are in the file.") if more else Markup()
    return html.cards(cards) + rest


def _reading_frames(pairs: Pairs) -> Markup:
    """Explain frames, and the colours of the channels."""
    colours = legend(pairs.spec.name, pairs.spec.observation_names, pairs.spec.obs_shape[-1])
    note = (
        "All of it, in the environment’s own units, each frame with the action that it teaches. A cell has the colour "
        "of its strongest channel, full at 1 and empty at 0; a square inside is a second one, a ring a negative one."
    )
    return html.paragraph(note) + html.legend(colours)


def _channels(run: RunRecord, pairs: Pairs) -> Markup:
    kind = ", normalised" if pairs.is_normalized else ""
    note = f"Every channel by itself{kind}: the values that the policy network is given."
    maps = responsive(partial(channel_maps, pairs), "channels", note, run.figures)
    return html.details("Every channel by itself", html.note(note), maps)


def policy(run: RunRecord, given: Actor | None) -> Markup:
    """Show episodes of several policies that were trained on the dataset, and the actions of one."""
    title = "A policy trained on it" if run.dataset is not None else "The policy"
    try:
        shown = shown_episodes(run, given)
    except HadesError as error:
        return html.section(title, f"There is no policy to show an episode of: {error}")
    pictures = [_episode(run, one, alone=len(shown.episodes) == 1) for one in shown.episodes]
    view = _interactive_view(run, shown.usual.episode)
    return html.section(title, html.note(shown.choice), html.films(pictures), view, _field(run, shown))


def _episode(run: RunRecord, one: Shown, *, alone: bool) -> Markup:
    """An episode that moves, and its files; or curves of it."""
    picture = episode_picture(one.episode, 320 if alone else 240)
    caption = html.labelled(one.label, picture.caption)
    if not picture.frames:
        curves = image(picture.curves, "image/png", picture.description)
        return html.figure(curves, caption, "curves")
    name = "-".join(["episode", *re.findall(r"[a-z0-9]+", one.label.lower())])
    files = {"GIF": frames_gif(picture.frames)}
    with contextlib.suppress(MissingPackageError):
        files["MP4"] = frames_mp4(picture.frames)
    moving = film(frames_sheet(picture.frames), name, picture.description)
    return html.figure(moving, caption + downloads(name, files, run.figures), "moving")


def _interactive_view(run: RunRecord, episode: Episode) -> Markup:
    """Written beside the report, and a link to it; a sentence where that fails; nothing where there are no bodies."""
    if episode.motion is None:
        return Markup()
    try:
        path = write_viewer(episode, run.workdir / VIEWER)
    except HadesError as error:
        return html.note(f"There is no interactive view of it. {error}")
    size = f"({path.stat().st_size / 1024:.0f} kB, beside this page; needs JavaScript and WebGL, but no network)"
    return html.link(VIEWER, "Open the interactive view", size)


def _field(run: RunRecord, shown: Choice) -> Markup:
    """The actions of the most usual policy over two features."""
    policy = shown.usual.actor
    if run.dataset is None or not can_show_field(policy.environment.spec):
        return Markup()
    if isinstance(policy.act, RunningAct):
        return html.note("Its actions depend on what it has seen before, so no field of them is shown.")
    pairs = pairs_of(run.dataset)
    inspection, _ = inspection_of(run)
    field = measure_field(policy, run.dataset, View.of(run.dataset, inspection))
    drawn = partial(action_field, field, pairs)
    picture = responsive(drawn, "field", "The policy's actions over two features of the observation", run.figures)
    colours = field_legend(pairs.spec, pairs.actions)
    return html.field(picture, colours) + html.note(_reading_field(field, pairs, shown.who))


def _reading_field(field: Field, pairs: Pairs, who: str) -> str:
    """Explain the field, and the values of the features that it does not show."""
    shown = "the two features that were asked for" if field.view.features else "the two that change its actions most"
    others = [i for i in range(len(pairs.features)) if i not in field.features]
    at = "a typical visited state" if field.view.is_visited else "the centre of the dataset’s coordinates"
    note = f"What {who} does over {shown}"
    if others:
        values = ", ".join(f"{pairs.features[i]} {number(field.view.held[i])}" for i in others[:MOST_HELD])
        rest = ", …" if len(others) > MOST_HELD else ""
        note += f", the others held at {at} ({values}{rest})"
    if pairs.spec.is_discrete:
        note += ". Colours are shares of actions. "
    else:
        limit = number(field.limit)
        note += f". Colours are {pairs.actions[field.entry]}: orange −{limit}, white 0, blue +{limit}. "
    note += "Discs are the pairs of the dataset in the colours of their targets; their other features differ."
    return note + (" Dots are visited states." if len(field.view.visited) else "")


def search(run: RunRecord) -> Markup:
    """Fitness over the search."""
    if is_bare(run):
        return _kept_search(run)
    title = "The search"
    if run.result.get("stages") and not run.result.get("generations"):
        text = (
            "This stage searches no more: it trains policies from the pairs of the stage before, whose report is "
            "first/report.html."
        )
        return html.section(title, text)
    if not run.metrics:
        return html.section(title, "There is no metrics.jsonl, so the course of the search is not known.")
    is_evolved = any(name.startswith("population/") for name in run.metrics[-1])
    of = "population" if is_evolved else "training episodes"
    drawn = partial(fitness_curve, run.metrics, run.evaluations, run.report, run.timing, of=of)
    parts = [responsive(drawn, "search", "Fitness over environment steps", run.figures)]
    if any("population/return_within_horizon" in row for row in run.metrics):
        note = (
            "The population was searched for a shaped objective, in stages or within a horizon (Fitness under “How it "
            "was made”), so its fitness is no return. The solution and the report are measured by whole episodes."
        )
        parts.append(html.note(note))
    chosen, selected = run.result.get("best_generation"), run.result.get("selection_return")
    if not run.evaluations:
        parts.append(html.note("The solution was not evaluated on selection keys during the search."))
    elif chosen is not None and selected is not None:
        note = (
            f"The solution of generation {chosen} was selected for its {return_text(selected)} on selection keys. That "
            "is the best of many measurements, so it flatters; the report measured the selected solution anew."
        )
        parts.append(html.note(note))
    if run.result.get("stopped_by") == "patience":
        since = run.result.get("improved_generation")
        parts.append(html.note(f"The search stopped on a plateau: no evaluation after generation {since} was better."))
    if (tied := [row["fitness/tied"] for row in run.metrics if row.get("fitness/tied") is not None]) and any(tied):
        note = (
            f"{percent(sum(tied) / len(tied))} of the candidates tied with another one, {percent(tied[-1])} in the end."
        )
        parts.append(html.note(note))
    if (ratio := run.metrics[-1].get("outer/sigma_ratio")) is not None:
        parts.append(html.note(f"The mean step size ended at {ratio:.3g} times its start."))
    counted = (
        ("fitness/nonfinite", "candidates had a fitness that was not finite and were ranked last."),
        ("normalizer/rejected", "candidates did not count in the normaliser, for numbers that were not finite."),
        ("normalizer/refused", "updates of the normaliser were dropped: its statistics would not have been finite."),
        ("ppo/rewards_refused", "updates of the reward scale were dropped: it would not have been finite."),
    )
    for name, what in counted:
        if count := sum(int(row.get(name) or 0) for row in run.metrics):
            parts.append(html.note(f"{count} {what}"))
    return html.section(title, *parts)


def _kept_search(run: RunRecord) -> Markup:
    """The curve that the card of a dataset of the zoo keeps; empty where it keeps none."""
    if not run.evaluations:
        return Markup()
    note = "What the card of the zoo keeps of the search: the return of the solution, on selection keys."
    drawn = partial(fitness_curve, (), run.evaluations, run.report)
    picture = responsive(drawn, "search", "Return of the solution over environment steps", run.figures)
    return html.section("The search", picture, html.note(note))


def returns(run: RunRecord) -> Markup:
    """The returns behind the reported mean."""
    title, report = "Behind the reported return", run.report
    values = [] if report is None else [v for v in report.get("per_init", ()) if v is not None and np.isfinite(v)]
    if is_bare(run) and not values:
        return Markup()
    if report is None:
        return html.section(title, "The returns of single policies are not known: the run has not reported yet.")
    if not values:
        return html.section(title, "No policy earned a finite return.")
    report = {**report, "per_init": values}
    if len(values) == 1:
        return html.section(title, f"One policy was measured: {return_text(values[0])}.")
    unit = f"{report['num_episodes']} episodes" if is_fixed_policy(run) else "one policy"
    picture = responsive(partial(report_returns, report, unit), "returns", "Returns on report keys", run.figures)
    note = (
        f"Worst {return_text(report['worst_init'])}, best {return_text(report['best_init'])}, standard deviation "
        f"{return_text(report['std_over_inits'])}. Green: the mean and its 95 % interval."
    )
    return html.section(title, picture, html.note(note))
