"""The report of a run: one HTML file that holds everything it shows, for any screen, without JavaScript."""

import importlib.resources
import io
import string
from pathlib import Path

import numpy as np

from hades.data.files import write_bytes
from hades.errors import HadesError
from hades.train.policies import train_policy
from hades.visualize import sections
from hades.visualize.channels import channel_maps
from hades.visualize.curves import fitness_curve, report_returns
from hades.visualize.episodes import Actor, episode_picture, record
from hades.visualize.figures import return_text
from hades.visualize.frames import legend
from hades.visualize.html import captioned, details, escape, image, paragraph, responsive, section
from hades.visualize.pairs import Pairs, pairs_of
from hades.visualize.run_record import RunRecord, read_run
from hades.visualize.scenes import can_draw, draw, explanation
from hades.visualize.tables import dataset_table, fits_table

MOST_SCENES = 64
_TEMPLATE = "report_template.html"


def write_report(workdir: str | Path, policy: Actor | None = None) -> Path:
    """Write `report.html` into a work directory, from whatever files there are.

    Args:
        workdir: of a finished or unfinished run.
        policy: what plays the episode; by default one that is trained from the dataset file, where there is one.
    """
    run = read_run(workdir)
    body = "\n".join(part for part in _body(run, policy) if part)
    template = string.Template(importlib.resources.files("hades.visualize").joinpath(_TEMPLATE).read_text("utf-8"))
    version = run.result.get("versions", {}).get("hades-rl") or run.result.get("versions", {}).get("hades", "")
    page = template.substitute(
        title=escape(f"{run.environment}, {run.method}"),
        body=body,
        footer=escape(f"Written by hades {version} from the files in {run.workdir.name}.".replace("  ", " ")),
    )
    return write_bytes(run.workdir / "report.html", page.encode("utf-8"))


def _body(run: RunRecord, policy: Actor | None) -> list[str]:
    return [
        sections.headline(run),
        _dataset(run),
        _states(run),
        _episode(run, policy),
        _search(run),
        _returns(run),
        sections.cost(run),
        sections.how_to_use(run),
        sections.recipe(run),
    ]


def _dataset(run: RunRecord) -> str:
    """The pairs as a picture."""
    if run.dataset is None:
        return section("The dataset", paragraph(run.dataset_problem)) if run.dataset_problem else ""
    pairs = pairs_of(run.dataset)
    if pairs.spec.is_image:
        return section("The dataset", _reading_frames(pairs), _scene_cards(pairs), _channels(pairs))
    if fits_table(pairs):
        note = (
            "All of it. A bar is the value that the policy network is given, in standard deviations from the mean of "
            "the observations; the number is the same value in the environment’s own units."
        )
    else:
        note = (
            "All of it. A row is a point; colours are the values that the policy network is given, in standard "
            "deviations from the mean of the observations."
        )
    wide, narrow = dataset_table(pairs), dataset_table(pairs, narrow=True)
    return section("The dataset", paragraph(note), responsive(wide, narrow, "dataset", "The points of the dataset"))


def _states(run: RunRecord) -> str:
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
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        label = pairs.label(i)
        shown = image(buffer.getvalue(), "image/png", f"State of point {i + 1}; target: {label}")
        cards.append(f"<figure>{shown}<figcaption><b>{i + 1}</b>{escape(label)}</figcaption></figure>")
    more = len(pairs) - len(cards)
    rest = paragraph(f"The first {len(cards)} points; {more} more are in the file.", "note") if more else ""
    return f'<div class="cards">{"".join(cards)}</div>{rest}'


def _reading_frames(pairs: Pairs) -> str:
    """How to read frames, and the colours of the channels."""
    colours = legend(pairs.spec.name, pairs.spec.observation_names, pairs.spec.obs_shape[-1])
    note = (
        "All of it, in the environment’s own units, each frame with the action that it teaches. A cell has the colour "
        "of its strongest channel, full at 1 and empty at 0; a square inside is a second channel, a ring a negative one."
    )
    items = "".join(f'<li><i style="background:{c}"></i>{escape(name)}</li>' for name, c in colours.items())
    return paragraph(note) + f'<ul class="legend">{items}</ul>'


def _channels(pairs: Pairs) -> str:
    note = "Every channel by itself, normalised: the values that the policy network is given."
    maps = responsive(channel_maps(pairs), channel_maps(pairs, narrow=True), "channels", note)
    return details("Every channel by itself", paragraph(note, "note"), maps)


def _episode(run: RunRecord, policy: Actor | None) -> str:
    """One episode of a policy that was trained on the dataset."""
    title = "A policy at work"
    try:
        actor = policy or (train_policy(run.dataset, seed=0) if run.dataset is not None else None)
    except HadesError as error:
        return section(title, paragraph(f"No policy could be trained from the dataset here: {error}"))
    if actor is None:
        return section(title, paragraph("There is no dataset to train a policy from, so no episode is shown."))
    picture = episode_picture(record(actor))
    shown = image(picture.content, picture.mime, picture.description)
    kind = "episode" if picture.mime == "image/gif" else "episode curves"
    how = (
        ""
        if policy
        else "The policy was trained on the pairs above with seed 0, and this is its first episode, not a chosen one. "
    )
    return section(title, captioned(shown, how + picture.caption, kind))


def _search(run: RunRecord) -> str:
    """Fitness over the search."""
    title = "The search"
    if not run.metrics:
        return section(title, paragraph("There is no metrics.jsonl, so the course of the search is not known."))
    wide, narrow = (fitness_curve(run.metrics, run.evaluations, run.report, narrow=n) for n in (False, True))
    parts = [responsive(wide, narrow, "search", "Fitness over environment steps")]
    chosen, selected = run.result.get("best_generation"), run.result.get("selection_return")
    if not run.evaluations:
        parts.append(paragraph("The solution was not evaluated on selection keys during the search.", "note"))
    elif chosen is not None and selected is not None:
        note = (
            f"The solution of generation {chosen} was selected for its {return_text(selected)} on selection keys. That "
            "is the best of many measurements, so it flatters; the report measured the selected solution anew."
        )
        parts.append(paragraph(note, "note"))
    lost = sum(int(row.get("fitness/nonfinite") or 0) for row in run.metrics)
    if lost:
        parts.append(paragraph(f"{lost} candidates had a fitness that was not finite and were ranked last.", "note"))
    return section(title, *parts)


def _returns(run: RunRecord) -> str:
    """The returns behind the reported mean."""
    title, report = "Behind the reported return", run.report
    values = [] if report is None else [v for v in report.get("per_init", ()) if v is not None and np.isfinite(v)]
    if report is None or not values:
        return section(title, paragraph("The returns of single policies are not known: the run has not reported yet."))
    report = {**report, "per_init": values}
    unit = f"{report['num_episodes']} episodes" if sections.is_fixed_policy(run) else "one policy"
    wide, narrow = (report_returns(report, unit, narrow=n) for n in (False, True))
    note = (
        f"Worst {return_text(report['worst_init'])}, best {return_text(report['best_init'])}, standard deviation "
        f"{return_text(report['std_over_inits'])}. Green: the mean and its 95 % interval."
    )
    return section(title, responsive(wide, narrow, "returns", "Returns on report keys"), paragraph(note, "note"))
