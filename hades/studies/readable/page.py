"""The front of return against readability for readers: a figure, a table, a page."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from markupsafe import Markup

from hades.data.sources import load_dataset
from hades.errors import HadesError
from hades.pictures.figures import NARROW, WIDE, figure, render
from hades.pictures.markup import html
from hades.pictures.pairs import pairs_of
from hades.pictures.palette import BLUE, GREEN, INK, MUTED, VERMILION, mix
from hades.runs.record import RunRecord
from hades.studies.inspection.numbers import dataset_fingerprint
from hades.studies.inspection.words import HOW_WORDS_ARE_READ, pairs_in_words
from hades.studies.page import Figure, Section, StudyPage, Table
from hades.studies.readable.numbers import FOLDER, KEEPS, Front, FrontPoint, read_front
from hades.studies.readable.project import Search
from hades.text import csv_text, duration, integer, interval, number, percent, return_text, versions_text

HEAD = (
    *("strength", "search", "return", "95 % interval", "kept", "pairs inside", "furthest / band", "mean / usual"),
    *("steps", "seconds", "file"),
)
WORDS_HEAD = ("pair", "state → action")
BAND = mix(GREEN, "#ffffff", 0.75)
"""Colour of the half of the figure in which all pairs lie within the band."""


def write_front(front: Front, folder: Path) -> dict[str, Path]:
    """Write page, numbers, table and figure; their paths by kind."""
    front.save(folder)
    rows = [dict(zip(HEAD, cells, strict=True)) for cells in map(_raw, front.points)]
    files = page(front, words_of(front, folder)).write(
        folder,
        "readable",
        figures={"front": partial(draw_front, front)},
        files={"table": ("readable.csv", csv_text(rows))},
    )
    return {**files, "numbers": folder / "readable.json"}


def words_of(front: Front, folder: Path) -> tuple[str, ...]:
    """The pairs of the best point in words; empty where there is none, or no name for its features."""
    if front.best is None:
        return ()
    return pairs_in_words(pairs_of(load_dataset(folder / front.best.file)), front.best.nearest)


def readable_pairs(run: RunRecord) -> Markup:
    """The pairs of the best readable dataset of a run in words; empty where no study of it lies in its folder."""
    folder = run.workdir / FOLDER
    try:
        front = read_front(folder)
        if run.dataset is None or front is None:
            return Markup()
        if front.dataset != dataset_fingerprint(run.dataset):
            again = f"hades readable --workdir={run.workdir}"
            return html.hint(f"The study in {FOLDER}/ is about another dataset; {again} makes one of this.")
        words = words_of(front, folder)
    except HadesError as error:
        return html.hint(str(error))
    best, more = front.best, f"{FOLDER}/readable.html has the front of return against readability."
    if best is None:
        return html.section("Readable pairs", html.note(f"{title(front)}. {more}"))
    kept = f"{percent(best.retention)} of what the pairs below earn"
    return html.section(
        "Readable pairs",
        f"The {front.num_pairs} pairs of {FOLDER}/{best.file} all lie among states that their own policies visit, and "
        f"earn {return_text(best.returns)}, {kept}.",
        html.table([(str(i), text) for i, text in enumerate(words, 1)], WORDS_HEAD, "words") if words else "",
        html.note(f"{HOW_WORDS_ARE_READ} {more}" if words else more),
    )


def page(front: Front, words: Sequence[str] = ()) -> StudyPage:
    """The page of a front, with the pairs of its best point in words."""
    picture = Figure(
        partial(draw_front, front),
        f"Return over the distance of the furthest pair of {front.name}: " + "; ".join(map(_in_words, front.points)),
        f"Diamond: the given dataset; discs: moved and searched; rings: only moved. The line joins the points that no "
        f"other beats in both. Green: all pairs within the band. Dotted: {percent(KEEPS)} of the given return.",
    )
    table = Table(HEAD, [_cells(point) for point in front.points])
    named = Table(WORDS_HEAD, [(str(i), text) for i, text in enumerate(words, 1)])
    return StudyPage(
        eyebrow="Readable pairs",
        title=title(front),
        conditions=conditions(front),
        sections=[
            Section("Return against readability", [picture, table]),
            Section("The readable pairs in words", [named, HOW_WORDS_ARE_READ] if words else []),
        ],
        summary=[table, *([named] if words else [])],
        notes=NOTES,
        footer="Written by hades; readable.csv and readable.json beside this page hold the numbers, points/ the "
        "datasets.",
    )


def title(front: Front) -> str:
    """The outcome in a sentence."""
    if (best := front.best) is None:
        return f"{front.name}: no dataset has all pairs within the band and keeps {percent(KEEPS)} of the return"
    what = "the given dataset has" if best.strength == 0 else f"at strength {best.strength:g} the dataset has"
    return (
        f"{front.name}: {what} all pairs within the band and earns {return_text(best.returns)}, "
        f"{percent(best.retention)} of the given return"
    )


def draw_front(front: Front, *, narrow: bool = False, image_format: str = "svg") -> bytes:
    """Draw the return over the distance of the furthest pair, in multiples of the band, more readable to the right."""
    with figure(NARROW if narrow else WIDE, 3.3) as fig:
        ax = fig.add_subplot()
        reach = [_drawn(point) for point in front.points]
        left, right = 1.5 * max(*reach, 1.0), min(*reach, 0.8) / 1.5
        ax.axvspan(1.0, right, color=BAND, linewidth=0, zorder=0)
        asked = front.reference.floor + KEEPS * (front.reference.original - front.reference.floor)
        ax.axhline(asked, color=MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
        best = front.undominated()
        ax.plot([_drawn(p) for p in best], [p.returns for p in best], "-", color=BLUE, linewidth=1.2, zorder=1)
        for point in front.points:
            colour = INK if point.strength == 0 else BLUE if point.is_searched else VERMILION
            ax.plot([_drawn(point)] * 2, [point.low, point.high], color=colour, linewidth=1.2, zorder=2)
            marker = "D" if point.strength == 0 else "o"
            face = colour if point.strength == 0 or point.is_searched else "white"
            ax.plot(_drawn(point), point.returns, marker, color=colour, markerfacecolor=face, markersize=6, zorder=3)
            text = "given" if point.strength == 0 else f"{point.strength:g}"
            ax.annotate(
                text, (_drawn(point), point.returns), (6, 5), textcoords="offset points", fontsize=8.5, color=INK
            )
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda x, _: number(x))
        ax.set_xlim(left, right)
        ax.set_ylabel("return")
        ax.set_xlabel("furthest pair / band" if narrow else "distance of the furthest pair, as a multiple of the band")
        ax.margins(y=0.12)
        ax.grid(True, axis="x")
        fig.set_layout_engine("constrained")
        return render(fig, image_format)


def conditions(front: Front) -> list[str]:
    """Lines on what is equal for every number."""
    (visits, episodes), (inits, whole), search = front.protocol.visits, front.protocol.report, front.search
    limit = f", at most {search.max_seconds:g} s" if search.max_seconds else ""
    return [
        f"{front.environment}, {front.method}, {front.num_pairs} pairs. {front.reference.describe()}",
        f"Returns: {inits} policies × {whole} whole episodes on report keys of seed {front.protocol.seed}. Distances: "
        f"to the states of {visits} policies × {episodes} episodes, trained from the same dataset, on report keys.",
        f"A search: {_search_in_words(search)}{limit}; up to {front.rounds} at strength 1. "
        f"Radius at strength 1: {_within(front)}. {versions_text(front.versions)}.",
    ]


def _search_in_words(search: Search) -> str:
    if search.by == "gradient":
        return f"{search.generations} iterations by policy gradient, {search.num_inits} policies each"
    each = f"{search.num_inits} policies × {search.num_episodes} episodes each"
    return f"{search.generations} generations of {search.population_size} candidates, {each}"


def _drawn(point: FrontPoint) -> float:
    """Where a point stands on the logarithmic axis: 0 and infinity are at its ends."""
    return min(max(point.furthest, 0.01), 1e4)


def _within(front: Front) -> str:
    return f"{front.within:g} of the band" if front.within else "0, so that every pair is a visited state"


NOTES = (
    "Strength s: a pair is moved towards the nearest visited state until its distance, in standard deviations of the "
    "visited states, is within a radius that falls from its distance in the given dataset (0) to the radius that is "
    "asked for (1).",
    "Search: evolution, or policy gradient, that starts from the moved pairs, moves observations and targets, and "
    "keeps the observations within that distance. It sees search keys, selection keys choose, and report keys measure "
    "each dataset once.",
    "Band: 95 % of the visited states are at most so far from the nearest one of another episode; usual: the median "
    "of that distance. Both are those of the dataset's own policies, and so differ from point to point.",
)


def _cells(point: FrontPoint) -> tuple[str, ...]:
    found = (
        *(return_text(point.returns), interval((point.low, point.high)), percent(point.retention)),
        *(percent(point.inside), number(point.furthest), number(point.apart)),
    )
    cost = (integer(point.env_steps), duration(point.seconds)) if point.is_searched else ("", "")
    return (f"{point.strength:g}", _kind(point), *found, *cost, point.file)


def _raw(point: FrontPoint) -> tuple[object, ...]:
    found = (point.returns, f"{point.low} to {point.high}", point.retention, point.inside, point.furthest, point.apart)
    return (point.strength, _kind(point), *found, point.env_steps, point.seconds, point.file)


def _kind(point: FrontPoint) -> str:
    return "given" if point.strength == 0 else "yes" if point.is_searched else "no"


def _in_words(point: FrontPoint) -> str:
    return f"{return_text(point.returns)} at {number(point.furthest)} of the band"
