"""A dataset of states as one of pictures, with what was drawn beside them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hades
from hades.data.dataset import parse_dataset
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rendered import Rendered
from hades.errors import ConfigError, DatasetError
from hades.inner.codes import Cosines, Drawn
from hades.policies.mlp import MLP
from hades.runs.experiment import Experiment
from hades.runs.stages import check_stages, pairs_of, started_from
from tests.support import CLASSIFYING, EVOLUTION

RECIPE = {"policy": MLP(width=2, depth=0), "num_updates": 1}
CARTPOLE = Rendered(Gymnax("CartPole-v1"), size=30, frames=2)


@pytest.fixture(scope="module")
def states():
    return hades.zoo.load("cartpole-hades-r-d2")


@pytest.fixture(scope="module")
def drawn(states):
    return hades.draw_dataset(states, size=30, frames=2, **RECIPE)


def evolving(environment, code=None):
    """An experiment with two pairs."""
    learner = dataclasses.replace(CLASSIFYING, num_pairs=2, targets="evolved", code=code)
    return Experiment(dataclasses.replace(EVOLUTION, environment=environment, learner=learner), generations=1)


def test_pairs_are_drawn_and_targets_kept(states, drawn):
    assert drawn.environment == CARTPOLE
    np.testing.assert_allclose(drawn.observations[1], jax.jit(CARTPOLE.picture)(jnp.asarray(drawn.codes[1])), atol=1e-6)
    np.testing.assert_allclose(drawn.codes, states.observations * states.obs_std + states.obs_mean, rtol=1e-6)
    np.testing.assert_array_equal(drawn.targets, states.targets)
    assert drawn.method == "HaDES-R, drawn"
    assert not drawn.returns  # those of the states are no returns of pictures


def test_a_file_keeps_what_was_drawn(drawn, tmp_path):
    path = drawn.save(tmp_path / "drawn.safetensors")
    again = parse_dataset(path.read_bytes(), "drawn")
    assert again == drawn
    np.testing.assert_array_equal(again.codes, drawn.codes)
    assert parse_dataset(hades.zoo.load("cartpole-hades-r-d2")._file(), "plain").codes is None


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((3, 4), np.float32), r"codes have shape \(3, 4\), but there are 2 pairs"),
        (np.full((2, 4), np.nan, np.float32), "codes hold 8 non-finite numbers"),
    ],
)
def test_codes_that_do_not_fit_are_refused(drawn, codes, message):
    with pytest.raises(DatasetError, match=message):
        dataclasses.replace(drawn, codes=codes)


def test_what_cannot_be_drawn_is_refused():
    points = hades.make_dataset([[0.0, 1.0]], [[1.0]], Point())
    with pytest.raises(ConfigError, match="cannot be drawn"):
        hades.draw_dataset(points)


def test_a_stage_starts_from_what_the_pictures_of_another_size_show(drawn):
    small = evolving(CARTPOLE, Drawn(CARTPOLE))
    large = Rendered(Gymnax("CartPole-v1"), size=31, frames=2)
    after = dataclasses.replace(evolving(large, Drawn(large)), first=small)
    check_stages(after)
    start = started_from(after, drawn).algorithm.learner.start_pairs
    np.testing.assert_allclose(start.observations, drawn.codes.reshape(-1), rtol=1e-6)


def test_a_stage_with_pictures_starts_from_one_with_states(states):
    after = dataclasses.replace(evolving(CARTPOLE, Drawn(CARTPOLE)), first=evolving(Gymnax("CartPole-v1")))
    check_stages(after)
    start = started_from(after, states).algorithm.learner.start_pairs
    assert len(start.observations) == 2 * 4


@pytest.mark.parametrize("code", [None, Cosines(4)])
def test_a_stage_without_states_does_not_start_from_them(code):
    after = dataclasses.replace(evolving(CARTPOLE, code), first=evolving(Gymnax("CartPole-v1")))
    with pytest.raises(ConfigError, match="first is on CartPole-v1, but the stage after it is on CartPole-v1 30px"):
        check_stages(after)


def test_a_dataset_without_codes_offers_none(states):
    with pytest.raises(DatasetError, match=r"has no codes.*Leave out codes"):
        pairs_of(states, "a test", coded=True)
