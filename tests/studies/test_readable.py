"""Pairs moved to visited states: the searches, the front, its page, and the program's refusals, on `point`."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from hades.algorithms.gradient_distillation import GradientDistillation
from hades.algorithms.keys import Stream
from hades.data.sources import load_dataset
from hades.errors import ConfigError, DatasetError
from hades.inner.identity import Identity
from hades.report.report import write_report
from hades.studies.inspection.numbers import dataset_fingerprint
from hades.studies.readable.numbers import Front, FrontPoint, check_strengths, measure_front, read_front
from hades.studies.readable.page import draw_front, page, write_front
from hades.studies.readable.project import (
    Protocol,
    Search,
    check_projectable,
    distances,
    projected,
    region_of,
    search,
    visited_states,
)
from hades.studies.retention import Reference
from tests.studies.pairs import expert_pairs
from tests.studies.small import make_dataset, make_inspection
from tests.support import SMALL

PROTOCOL = Protocol(visits=(2, 4), selection=(2, 1), report=(2, 2))
SEARCH = Search(generations=1, population_size=2, num_inits=1, num_episodes=1, eval_every=1)
DATASET = expert_pairs()


@pytest.fixture
def front() -> Front:
    """Three points written by hand, whose pairs lie 0, 1 and 2 bands from a visited state."""
    inspected = make_inspection(make_dataset())
    nearest = dataclasses.replace(inspected.nearest, std=(1.0, 1.0), thirds=((-0.1, -0.1), (0.2, 0.2)))

    def point(strength: float, is_searched: bool, returns: float, far: float) -> FrontPoint:
        return FrontPoint(
            strength=strength,
            is_searched=is_searched,
            file="points/mine.safetensors",
            returns=returns,
            low=returns - 1.0,
            high=returns + 1.0,
            retention=returns / 10.0,
            nearest=dataclasses.replace(nearest, neighbour_far=far),
        )

    return Front(
        name="mine",
        dataset=dataset_fingerprint(make_dataset()),
        environment="point",
        method="HaDES-R",
        num_pairs=3,
        reference=Reference(10.0),
        points=(point(0.0, False, 10.0, 1.0), point(1.0, False, 2.0, 4.0), point(1.0, True, 9.5, 3.0)),
        search=SEARCH,
        protocol=PROTOCOL,
        within=0.0,
        rounds=1,
        versions={"jax": "0"},
    )


def test_pairs_move_by_their_strength_and_onto_states_that_were_visited():
    visited = visited_states(DATASET, PROTOCOL, Stream.SEARCH)
    before, _ = distances(DATASET, visited)
    half = projected(DATASET, region_of(DATASET, visited, 0.5 * before))
    whole = projected(DATASET, region_of(DATASET, visited, 0.0 * before))
    assert (distances(half, visited)[0] <= 0.5 * before + 1e-4).all()  # another state may be nearer by now
    met = np.unique(visited.observations, axis=0)
    apart = np.abs(whole.observations[:, None] - met).max(-1).min(1)
    np.testing.assert_allclose(apart, 0.0, atol=1e-5)
    assert before.max() > 0.1


@pytest.mark.slow
def test_every_point_is_a_file_that_was_measured(tmp_path):
    front = measure_front(DATASET, "expert", tmp_path, (1.0,), SEARCH, PROTOCOL, rounds=1)
    assert front is not None
    assert [(p.strength, p.is_searched) for p in front.points] == [(0.0, False), (1.0, False), (1.0, True)]
    for point in front.points:
        dataset = load_dataset(tmp_path / point.file)
        assert dataset.returns["mean"] == pytest.approx(point.returns)
        assert dataset.learner.region is None
        assert len(point.nearest.pairs) == len(dataset) == 16
    given = load_dataset(tmp_path / "points/given.safetensors")
    np.testing.assert_array_equal(given.observations, DATASET.observations)
    source = load_dataset(tmp_path / "points/searched-1.safetensors").metadata["training"]["source"]
    assert source == "pairs of expert, moved to visited states"
    assert front.points[0].retention == 1.0
    assert front.points[-1].furthest < front.points[0].furthest
    assert front.points[-1].env_steps > 0
    assert {"page", "markdown", "numbers", "table", "figures"} == set(write_front(front, tmp_path))


def test_a_search_by_gradient_starts_from_the_moved_pairs_in_their_region():
    """Adam without eps_root has no gradient through its first update."""
    settings = dataclasses.replace(SEARCH, by="gradient", num_inits=4, visited_weight=0.5)
    by_sgd = expert_pairs(optimizer="sgd")
    region = region_of(by_sgd, visited_states(by_sgd, PROTOCOL, Stream.SEARCH), np.full(16, 0.1))
    algorithm = search(by_sgd, region, settings, PROTOCOL, "mine").algorithm
    assert isinstance(algorithm, GradientDistillation)
    assert (algorithm.num_groups, algorithm.visited_weight) == (4, 0.5)
    genome = algorithm.start_genome(
        jax.random.key(0), algorithm.normalizer.init(jax.random.key(0), algorithm.environment)
    )
    np.testing.assert_allclose(
        algorithm.learner.dataset(genome, algorithm.spec).observations,
        projected(by_sgd, region).observations,
        atol=1e-5,
    )
    with pytest.raises(ConfigError, match="derivative at 0 is infinite"):
        search(DATASET, region, settings, PROTOCOL, "mine")
    with pytest.raises(ConfigError, match='--by is "backprop"'):
        Search(by="backprop")
    with pytest.raises(ConfigError, match="--search names 5 policies, which cannot share the 64 environments"):
        Search(by="gradient", num_inits=5)
    assert Search(num_inits=5).num_inits == 5


def test_a_point_knows_its_share_inside_and_its_furthest_pair(front):
    given, moved, searched = front.points
    assert given.inside == pytest.approx(2 / 3)  # distances 0, 1 and 2, a band of 1
    assert (given.furthest, moved.furthest) == (2.0, 0.5)
    assert given.apart == pytest.approx(1.0 / 0.125)
    assert [p.is_readable for p in front.points] == [False, False, True]
    assert front.best is searched


def test_the_front_holds_what_nothing_beats(front):
    given, moved, searched = front.points
    assert front.undominated() == [moved, searched, given]
    worse = dataclasses.replace(searched, returns=1.0)
    assert dataclasses.replace(front, points=(given, moved, worse)).undominated() == [moved, given]


def test_a_band_of_zero_has_only_pairs_on_states_inside(front):
    """Frames of a game may all recur in other episodes."""
    near = front.points[0].nearest
    off = dataclasses.replace(near, neighbour_far=0.0, neighbour_median=0.0)
    on = dataclasses.replace(off, pairs=tuple(dataclasses.replace(pair, distance=1e-6) for pair in near.pairs))
    outside, inside = (dataclasses.replace(front.points[2], nearest=nearest) for nearest in (off, on))
    assert (outside.furthest, inside.furthest, inside.inside) == (float("inf"), 0.0, 1.0)
    assert draw_front(dataclasses.replace(front, points=(outside, inside)), image_format="png")


def test_files_and_page(front, tmp_path):
    make_dataset().save(tmp_path / "points/mine.safetensors")
    files = write_front(front, tmp_path)
    assert {"page", "markdown", "numbers", "table", "figures"} == set(files)
    text = files["markdown"].read_text()
    assert "mine: at strength 1 the dataset has all pairs within the band and earns 9.50, 95 %" in text
    assert "| 2 | position low, goal high → " in text
    numbers = json.loads(files["numbers"].read_text())
    assert [p["is_readable"] for p in numbers["points"]] == [False, False, True]
    assert (tmp_path / "figures/front.png").stat().st_size > 1000
    none = dataclasses.replace(front, points=front.points[:2])
    assert page(none).title == "mine: no dataset has all pairs within the band and keeps 90 % of the return"
    assert draw_front(none, narrow=True) != draw_front(none)


def test_the_numbers_are_read_as_they_were_written(front, tmp_path):
    assert read_front(tmp_path) is None
    front.save(tmp_path)
    assert read_front(tmp_path) == front
    (tmp_path / "readable.json").write_text('{"points": 1}')
    with pytest.raises(DatasetError, match=r"readable\.json cannot be read .* Run hades readable again"):
        read_front(tmp_path)


def test_the_report_of_a_run_begins_with_its_readable_pairs(front, tmp_path):
    dataset, folder = make_dataset(), tmp_path / "readable"
    dataset.save(tmp_path / "dataset.safetensors")
    assert "Readable pairs" not in write_report(tmp_path).read_text()
    dataset.save(folder / "points/mine.safetensors")
    front.save(folder)
    report = write_report(tmp_path).read_text()
    assert report.index("Readable pairs") < report.index(">The dataset<")
    assert "position low, goal high → " in report
    dataclasses.replace(front, points=front.points[:2]).save(folder)
    assert "no dataset has all pairs within the band" in write_report(tmp_path).read_text()
    dataclasses.replace(front, dataset="of another").save(folder)
    assert "about another dataset" in write_report(tmp_path).read_text()
    (folder / "readable.json").write_text("{")
    assert "Run hades readable again" in write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    ("strengths", "message"),
    [
        ((0.5, 0.0), r"--strengths names 0\.0: give numbers above 0"),
        ((1.5,), r"--strengths names 1\.5: give numbers above 0, .* up to 1"),
        ((), "--strengths is empty: give numbers"),
    ],
)
def test_strengths_out_of_range_are_named(strengths, message):
    with pytest.raises(ConfigError, match=message):
        check_strengths(strengths)
    assert check_strengths((1.0, 0.5, 1.0)) == (0.5, 1.0)


def test_a_radius_out_of_range_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--within is 1: give a multiple of the band from 0"):
        measure_front(DATASET, "expert", tmp_path, (1.0,), SEARCH, PROTOCOL, within=1.0)


def test_datasets_whose_pairs_cannot_move_are_named():
    other = dataclasses.replace(DATASET)
    other.__dict__["learner"] = Identity(policy=SMALL)  # what `learner` describes, built
    with pytest.raises(ConfigError, match="The learner of mine is Identity, which searches for no pairs in a region"):
        check_projectable(other, "mine")
    embedded = dataclasses.replace(DATASET)
    embedded.__dict__["init"] = {"layers_0/kernel": np.zeros(1)}
    with pytest.raises(ConfigError, match="mine embeds its initial weights"):
        check_projectable(embedded, "mine")
