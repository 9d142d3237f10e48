"""Pairs moved to visited states: the searches, the front, its page, and the program's refusals, on `point`."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hades.algorithms.keys import Stream
from hades.data.sources import load_dataset
from hades.errors import ConfigError
from hades.inner.identity import Identity
from hades.registry import describe
from hades.studies.readable.numbers import Front, check_strengths, measure_front
from hades.studies.readable.page import draw_front, page, write_front
from hades.studies.readable.project import (
    Protocol,
    Search,
    check_projectable,
    distances,
    projected,
    region_of,
    visited_states,
)
from hades.studies.retention import Reference
from tests.studies.pairs import expert_pairs
from tests.support import SMALL

PROTOCOL = Protocol(visits=(2, 4), selection=(2, 1), report=(2, 2))
SEARCH = Search(generations=1, population_size=2, num_inits=1, num_episodes=1, eval_every=1)
DATASET = expert_pairs()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readable")


@pytest.fixture(scope="module")
def front(folder: Path) -> Front:
    made = measure_front(DATASET, "expert", folder, (1.0,), SEARCH, PROTOCOL, rounds=1)
    assert made is not None
    return made


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


def test_every_point_is_a_file_that_was_measured(front, folder):
    assert [(p.strength, p.is_searched) for p in front.points] == [(0.0, False), (1.0, False), (1.0, True)]
    for point in front.points:
        dataset = load_dataset(folder / point.file)
        assert dataset.returns["mean"] == pytest.approx(point.returns)
        assert dataset.learner.region is None
        assert len(point.nearest.pairs) == len(dataset) == 16
    np.testing.assert_array_equal(load_dataset(folder / "points/given.safetensors").observations, DATASET.observations)
    source = load_dataset(folder / "points/searched-1.safetensors").metadata["training"]["source"]
    assert source == "pairs of expert, moved to visited states"
    assert front.points[0].retention == 1.0
    assert front.points[-1].furthest < front.points[0].furthest
    assert front.points[-1].env_steps > 0


def test_the_front_holds_what_nothing_beats(front):
    best = front.undominated()
    for point in front.points:
        assert any(b.returns >= point.returns and b.furthest <= point.furthest for b in best)
    assert [p.furthest for p in best] == sorted(p.furthest for p in best)


def test_files_and_page(front, folder):
    nearest = dataclasses.replace(front.points[0].nearest, neighbour_far=1e9)
    readable = dataclasses.replace(front.points[-1], nearest=nearest, retention=0.95)
    done = dataclasses.replace(front, points=(*front.points[:-1], readable))
    files = write_front(done, folder)
    assert {"page", "markdown", "numbers", "table", "figures"} == set(files)
    text = files["markdown"].read_text()
    assert "expert: at strength 1 the dataset has all pairs within the band" in text
    assert "| pair | state → action |" in text
    numbers = json.loads(files["numbers"].read_text())
    assert [p["is_readable"] for p in numbers["points"]][-1] is True
    assert (folder / "figures/front.png").stat().st_size > 1000
    none = dataclasses.replace(front, points=(dataclasses.replace(front.points[1], retention=0.1),))
    assert "no dataset has all pairs within the band and keeps 90 %" in page(none).title
    assert draw_front(none, narrow=True) != draw_front(none)


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
    learner = describe(Identity(policy=SMALL))
    other = dataclasses.replace(DATASET)
    other.__dict__["learner"] = Identity(policy=SMALL)  # what `learner` describes, built
    assert learner
    with pytest.raises(ConfigError, match="The learner of mine is Identity, which searches for no pairs in a region"):
        check_projectable(other, "mine")
    embedded = dataclasses.replace(DATASET)
    embedded.__dict__["init"] = {"layers_0/kernel": np.zeros(1)}
    with pytest.raises(ConfigError, match="mine embeds its initial weights"):
        check_projectable(embedded, "mine")


def test_a_negative_return_counts_from_random_actions():
    assert Reference(-80.0, -500.0).retention(-122.0) == pytest.approx(0.9)
