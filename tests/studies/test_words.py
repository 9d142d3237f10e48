"""Pairs in words, from thirds of visited states written by hand."""

import dataclasses

import numpy as np
import pytest

from hades.environments.brax import Brax
from hades.environments.gymnax import Gymnax
from hades.pictures.pairs import Pairs
from hades.runs.record import read_run
from hades.studies.inspection import page
from hades.studies.inspection.nearest import Nearest
from hades.studies.inspection.words import MOST_FEATURES, WORDS, pairs_in_words
from hades.types import EnvSpec
from tests.studies.small import make_dataset, make_inspection
from tests.support import BOX_SPEC

CARTPOLE = Gymnax("CartPole-v1").spec
BREAKOUT = Gymnax("Breakout-MinAtar").spec


def nearest(size: int, low: float = -0.1, high: float = 0.1) -> Nearest:
    return dataclasses.replace(
        make_inspection(make_dataset()).nearest, std=(1.0,) * size, thirds=((low,) * size, (high,) * size)
    )


def pairs(spec: EnvSpec, raw: np.ndarray, targets: np.ndarray) -> Pairs:
    return Pairs(spec=spec, observations=raw, raw=raw, targets=targets)


def test_cartpole_reads_as_a_person_would_say_it():
    raw = np.array([[0.0, -0.3, -0.2, 0.05], [0.3, 0.0, 0.2, 0.3], [0.0, 0.0, 0.0, 0.0]])
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.6]])
    assert pairs_in_words(pairs(CARTPOLE, raw, targets), nearest(4)) == (
        "cart moves left, pole leans left → left",
        "cart right of the centre, pole leans right, pole tips right → right",
        "nothing unusual → right (0.60)",
    )


def test_a_direction_is_named_only_where_the_value_points_there():
    """A cart that stays at the right has a lower third to the right of the centre, too."""
    raw = np.array([[0.5, 0.0, 0.0, 0.0]])
    shifted = dataclasses.replace(nearest(4), thirds=((0.6, -1, -1, -1), (0.8, 1, 1, 1)))
    assert pairs_in_words(pairs(CARTPOLE, raw, np.array([[1.0, 0.0]])), shifted) == ("cart position low → left",)


def test_features_without_words_are_low_or_high_and_the_furthest_are_named():
    spec = dataclasses.replace(
        BOX_SPEC, obs_shape=(6,), observation_names=("a", "b", "c", "d", "e", "f"), action_names=("x", "y")
    )
    raw = np.array([[0.2, -3.0, 4.0, -0.3, 5.0, 6.0]])
    (words,) = pairs_in_words(pairs(spec, raw, np.array([[0.5, -0.25]])), nearest(6))
    assert words == "b low, c high, e high, f high → +0.50 −0.25"
    assert words.count(",") == MOST_FEATURES - 1


def test_a_board_names_objects_with_their_places():
    raw = np.zeros((1, *BREAKOUT.obs_shape))
    raw[0, 9, 3, 0] = raw[0, 4, 5, 1] = 1.0
    raw[0, 1:4, :, 3] = 1.0  # a wall has no place
    words = pairs_in_words(pairs(BREAKOUT, raw, np.array([[0.0, 1.0, 0.0]])), nearest(0))
    assert words == ("paddle at row 10 column 4, ball at row 5 column 6 → left",)


def test_without_names_or_thirds_there_are_no_words():
    raw, targets = np.zeros((1, 3)), np.zeros((1, 2))
    assert pairs_in_words(pairs(BOX_SPEC, raw, targets), nearest(3)) == ()
    old = dataclasses.replace(nearest(4), thirds=())
    assert pairs_in_words(pairs(CARTPOLE, np.zeros((1, 4)), targets), old) == ()


def test_the_report_shows_the_words(tmp_path):
    dataset = make_dataset()
    thirds = dataclasses.replace(make_inspection(dataset).nearest, std=(1.0, 1.0), thirds=((-0.1, -0.1), (0.2, 0.2)))
    dataset.save(tmp_path / "dataset.safetensors")
    make_inspection(dataset, nearest=thirds).save(tmp_path)
    part = page.in_words(read_run(tmp_path))
    assert "position low" in part
    assert "→" in part


@pytest.mark.parametrize("name", sorted(WORDS))
def test_words_are_of_features_that_exist(name):
    spec = Gymnax(name).spec if "-v" in name else Brax(name).spec
    assert set(WORDS[name]) <= set(spec.observation_names)
