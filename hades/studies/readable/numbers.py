"""The front of return against readability of a dataset: its pairs moved towards visited states by rising strengths.

At strength s the largest distance of a pair from the nearest visited state falls by the share s of the way from what it
was to the radius that is asked for, in standard deviations of the visited states. A radius of 0 makes every pair one of
these states. Each strength gives two datasets: one is only moved, the other is what a search finds that starts there.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hades.algorithms.keys import Stream
from hades.data.dataset import DistilledDataset
from hades.data.files import read_json, write_bytes
from hades.errors import ConfigError, DatasetError, require, shown
from hades.fitness.episodic_return import EpisodicReturn
from hades.inner.region import NearStates
from hades.policy.trained_policy import evaluate_dataset
from hades.runs.loop import run
from hades.studies.inspection.nearest import ROUNDING, Nearest, measure_nearest
from hades.studies.inspection.numbers import dataset_fingerprint, with_tuples
from hades.studies.inspection.visited import Visited
from hades.studies.readable.project import (
    Protocol,
    Search,
    check_projectable,
    distances,
    projected,
    region_of,
    search,
    visited_states,
    with_constant_statistics,
)
from hades.studies.retention import Reference, reference
from hades.text import json_text

FOLDER = "readable"
"""Where the study of a run's own dataset lies in its work directory."""
NUMBERS = "readable.json"
KEEPS = 0.9
"""Share of the given dataset's return that a readable dataset is to keep."""


@dataclasses.dataclass(frozen=True)
class FrontPoint:
    """A dataset of the front, measured on report keys.

    Attributes:
        strength: 0 is the given dataset.
        is_searched: whether a search followed the projection.
        file: its name in the folder of the study.
        returns: mean over policies.
        low, high: Student's 95 % interval.
        retention: share of the given dataset's return.
        nearest: its pairs beside the states that policies trained from it visit.
        env_steps, seconds: of its searches.
    """

    strength: float
    is_searched: bool
    file: str
    returns: float
    low: float
    high: float
    retention: float
    nearest: Nearest
    env_steps: int = 0
    seconds: float = 0.0

    @property
    def inside(self) -> float:
        """Share of the pairs within the band of visited states."""
        return float(np.mean([self.nearest.is_visited(i) for i in range(len(self.nearest.pairs))]))

    @property
    def furthest(self) -> float:
        """Largest distance of a pair, as a multiple of the band."""
        return _multiple(max(pair.distance for pair in self.nearest.pairs), self.nearest.neighbour_far)

    @property
    def apart(self) -> float:
        """Mean distance of the pairs, as a multiple of the usual distance between visited states."""
        return _multiple(float(np.mean([pair.distance for pair in self.nearest.pairs])), self.nearest.neighbour_median)

    @property
    def is_readable(self) -> bool:
        """True if all pairs lie within the band, at the return that is asked for."""
        return self.inside == 1.0 and self.retention >= KEEPS


def _multiple(distance: float, unit: float) -> float:
    """A distance as a multiple of another, which is 0 where all visited states recur."""
    return 0.0 if distance <= ROUNDING else distance / unit if unit > 0 else float("inf")


@dataclasses.dataclass(frozen=True)
class Front:
    """All points of one dataset.

    Attributes:
        name: of the dataset.
        dataset: its fingerprint, from `dataset_fingerprint`.
        environment, method, num_pairs: its own.
        reference: the returns that count as 100 % and 0 %.
        points: the given dataset first.
        search, protocol, within, rounds: settings.
        versions: of the libraries.
    """

    name: str
    dataset: str
    environment: str
    method: str
    num_pairs: int
    reference: Reference
    points: tuple[FrontPoint, ...]
    search: Search
    protocol: Protocol
    within: float
    rounds: int
    versions: dict[str, str]

    @property
    def best(self) -> FrontPoint | None:
        """The readable point with the highest return; None where there is none."""
        readable = [point for point in self.points if point.is_readable]
        return max(readable, key=lambda point: point.returns) if readable else None

    def undominated(self) -> list[FrontPoint]:
        """The points that no other beats in both return and distance, by rising distance."""
        found: list[FrontPoint] = []
        for point in sorted(self.points, key=lambda point: (point.furthest, -point.returns)):
            if not found or point.returns > found[-1].returns:
                found.append(point)
        return found

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        derived = ("inside", "furthest", "apart", "is_readable")
        points = [dataclasses.asdict(p) | {name: getattr(p, name) for name in derived} for p in self.points]
        return dataclasses.asdict(self) | {"points": points}

    def save(self, folder: Path) -> Path:
        """Write the numbers."""
        return write_bytes(folder / NUMBERS, (json_text(self.describe(), indent=1) + "\n").encode())


def read_front(folder: Path) -> Front | None:
    """The front of a study in a folder; None where there is none.

    Raises:
        HadesError: where the file is damaged or of another version.
    """
    path = folder / NUMBERS
    if not path.is_file():
        return None
    remedy = "Run hades readable again."
    try:
        values = with_tuples(read_json(path, remedy))
        known = {field.name for field in dataclasses.fields(FrontPoint)}
        points = tuple(
            FrontPoint(
                **{k: v for k, v in point.items() if k in known} | {"nearest": Nearest.from_json(point["nearest"])}
            )
            for point in values["points"]
        )
        parts = {"reference": Reference, "search": Search, "protocol": Protocol}
        return Front(**values | {name: kind(**values[name]) for name, kind in parts.items()} | {"points": points})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read ({error}). {remedy}") from error


def check_strengths(strengths: Sequence[float]) -> tuple[float, ...]:
    """Strengths in rising order, each once.

    Raises:
        ConfigError: for none, and for one outside of 0 (excluded) to 1.
    """
    wrong = [s for s in strengths if not 0.0 < s <= 1.0]
    if wrong or not strengths:
        given = f"--strengths names {shown(wrong[0])}" if wrong else "--strengths is empty"
        raise ConfigError(f"{given}: give numbers above 0, which is the dataset as it is, up to 1, such as 0.5,1.")
    return tuple(sorted(set(strengths)))


def measure_front(
    dataset: DistilledDataset,
    name: str,
    folder: Path,
    strengths: Sequence[float],
    settings: Search,
    protocol: Protocol,
    within: float = 0.0,
    rounds: int = 4,
    say: Callable[[str], None] = lambda text: None,
) -> Front | None:
    """Make and measure a dataset for each strength; None where a signal has ended a search, which can continue.

    A search starts from the pairs and the visited states of the last strength that kept its return. At strength 1 it is
    repeated, up to `rounds` times, until all pairs also lie among the states that the new dataset's policies visit.

    Args:
        dataset: given.
        name: of the dataset, for readers.
        folder: gets a file for each point below `points/`, and the searches below `searches/`.
        strengths: above 0, up to 1.
        settings: of each search.
        protocol: policies and episodes of all measurements.
        within: radius at strength 1, as a multiple of the band of visited states.
        rounds: most searches at strength 1.
        say: told what happens next.

    Raises:
        ConfigError: for strengths or a radius out of range, and for a dataset whose pairs cannot be moved.
    """
    strengths = check_strengths(strengths)
    require(
        0.0 <= within < 1.0,
        f"--within is {within:g}: give a multiple of the band from 0, which is on visited states, to below 1, which is "
        "its end.",
    )
    check_projectable(dataset, name)
    given = with_constant_statistics(dataset, protocol.seed)
    study = _Study(name, folder, settings, protocol, within, rounds, say)
    say("states that the given dataset's policies visit")
    visited = visited_states(given, protocol, Stream.SEARCH)
    before = distances(given, visited)[0]
    points = [study.point(given, 0.0, "given", Reference(1.0))]
    scale = reference(given.environment, points[0].returns)
    points[0] = dataclasses.replace(points[0], retention=1.0)
    asked = scale.floor + KEEPS * (study.selected(given)[1] - scale.floor)
    base = made = given
    for strength in strengths:
        region = region_of(base, visited, study.radius(strength, before, base, visited))
        points.append(study.point(projected(given, region), strength, "projected", scale))
        if (found := study.searched(base, region, strength, before, asked)) is None:
            return None
        made = found.dataset
        points.append(study.point(made, strength, "searched", scale, found.cost))
        if found.keeps:
            base, visited = made, visited_states(made, protocol, Stream.SEARCH)
    return Front(
        name=name,
        dataset=dataset_fingerprint(dataset),
        environment=given.environment.spec.name,
        method=dataset.method,
        num_pairs=len(dataset),
        reference=scale,
        points=tuple(points),
        search=settings,
        protocol=protocol,
        within=within,
        rounds=rounds,
        versions=dict(made.metadata["versions"]),
    )


@dataclasses.dataclass(frozen=True)
class _Found:
    """The best dataset of the searches at one strength, whether it keeps the return, and their steps and seconds."""

    dataset: DistilledDataset
    keeps: bool
    cost: tuple[int, float]


@dataclasses.dataclass(frozen=True)
class _Study:
    """Searches and measurements of one study, by the arguments of `measure_front`."""

    name: str
    folder: Path
    settings: Search
    protocol: Protocol
    within: float
    rounds: int
    say: Callable[[str], None]

    def radius(self, strength: float, before: np.ndarray, dataset: DistilledDataset, visited: Visited) -> np.ndarray:
        """Radius f64[N] at a strength, from the distances of the given pairs and the band of visited states."""
        asked = np.minimum(before, self.within * distances(dataset, visited)[1])
        return (1.0 - strength) * before + strength * asked

    def searched(
        self, base: DistilledDataset, region: NearStates, strength: float, before: np.ndarray, asked: float
    ) -> _Found | None:
        """What searches in a region find that start from a dataset; None where a signal has ended one."""
        tried: list[tuple[tuple[bool, float, float], DistilledDataset]] = []
        start, steps, seconds = base, 0, 0.0
        for number in range(1, (self.rounds if strength == 1.0 else 1) + 1):
            self.say(f"search at strength {strength:g}, round {number}")
            experiment = search(start, region, self.settings, self.protocol, self.name)
            made = run(experiment, self.folder / f"searches/{strength:g}-{number}", progress=False)
            if made.interrupted:
                return None
            assert made.dataset is not None  # the learner searches for pairs
            steps += made.details["env_steps"]["search"]
            seconds += made.details["seconds"]["search"]
            start = _from(made.dataset, self.name)
            inside, returns = self.selected(start)
            keeps = returns >= asked
            tried.append(((keeps, inside, returns), start))
            if strength < 1.0 or (keeps and inside == 1.0):
                break
            if keeps:
                met = visited_states(start, self.protocol, Stream.SEARCH)
                region = region_of(start, met, self.radius(strength, before, start, met))
        (keeps, _, _), best = max(tried, key=lambda entry: entry[0])
        return _Found(best, keeps, (steps, seconds))

    def selected(self, dataset: DistilledDataset) -> tuple[float, float]:
        """Share of the pairs inside the band, and the mean return, on selection keys."""
        visited = visited_states(dataset, self.protocol, Stream.SELECTION)
        apart, far = distances(dataset, visited)
        return float(np.mean(apart <= far)), float(visited.returns.mean())

    def point(
        self,
        dataset: DistilledDataset,
        strength: float,
        kind: str,
        scale: Reference,
        cost: tuple[int, float] = (0, 0.0),
    ) -> FrontPoint:
        """Measure a dataset once, on report keys, and write its file."""
        self.say(f"the dataset at strength {strength:g}, {kind}")
        inits, episodes = self.protocol.report
        seed = self.protocol.seed
        summary = evaluate_dataset(dataset, inits, episodes, seed, EpisodicReturn(episodes))
        nearest: Nearest = measure_nearest(dataset, *self.protocol.visits, seed)
        file = f"points/{kind}-{strength:g}.safetensors" if strength else f"points/{kind}.safetensors"
        returns = summary.describe() | {"protocol": "whole episodes on report keys"}
        dataclasses.replace(dataset, metadata={**dataset.metadata, "returns": returns}).save(self.folder / file)
        return FrontPoint(
            strength=strength,
            is_searched=kind == "searched",
            file=file,
            returns=summary.mean,
            low=summary.ci95[0],
            high=summary.ci95[1],
            retention=float(scale.retention(summary.mean)),
            nearest=nearest,
            env_steps=cost[0],
            seconds=cost[1],
        )


def _from(dataset: DistilledDataset, name: str) -> DistilledDataset:
    """A search's dataset with the name of the one whose pairs it moved in its header."""
    training = {**dataset.metadata["training"], "source": f"pairs of {name}, moved to visited states"}
    return dataclasses.replace(dataset, metadata={**dataset.metadata, "training": training})
