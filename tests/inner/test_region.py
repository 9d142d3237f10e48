"""Where the observations of a search may lie."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.errors import ConfigError
from hades.inner.codes import Cosines
from hades.inner.region import NearStates
from hades.types import Dataset
from tests.support import BOX_SPEC, CLONING, POINT, RIDGE

STATES = ((0.0, 0.0, 5.0), (2.0, 1.0, 7.0))
REGION = NearStates(2, states=(*STATES[0], *STATES[1]), unit=(1.0, 0.5, 0.0), radius=(0.0, 0.5, 100.0))
OUTSIDE = jnp.array([[1.5, 0.9, 1.0], [4.0, 1.0, 7.0], [9.0, -9.0, 3.0]])
KEY = jax.random.key(0)


def distance(a: Any, b: Any) -> float:
    """Root mean square over the two features with a unit."""
    return float(np.sqrt(np.mean(np.square((np.asarray(a) - np.asarray(b))[:2] / (1.0, 0.5)))))


def test_a_pair_goes_to_its_nearest_state_until_it_is_within_its_radius():
    moved = np.asarray(REGION.observations(REGION.code(OUTSIDE)))
    np.testing.assert_allclose(moved[0], STATES[1], atol=1e-6)  # with the feature that has no unit
    assert distance(moved[1], STATES[1]) == pytest.approx(0.5)
    assert moved[1][1] == pytest.approx(1.0)  # on the straight line
    np.testing.assert_allclose(moved[2], OUTSIDE[2], atol=1e-5)  # its radius reaches far enough
    again = REGION.observations(REGION.code(jnp.asarray(moved)))
    np.testing.assert_allclose(again, moved, atol=1e-5)


def test_a_gradient_passes_to_pairs_that_lie_on_a_state():
    goal = jnp.array([0.0, 0.0, 5.0])
    code = REGION.code(OUTSIDE)
    gradient = jax.grad(lambda x: jnp.square(REGION.observations(x)[0] - goal).sum())(code)
    assert (gradient[0] != 0).all()


@pytest.mark.parametrize("learner", [CLONING, RIDGE], ids=["updates", "ridge"])
def test_a_search_starts_and_stays_in_the_region(learner):
    region = NearStates(2, states=(0.0, 0.0, 1.0, 1.0), unit=(1.0, 1.0), radius=(0.0, 0.0, 0.1))
    bound = dataclasses.replace(learner, start="gaussian", start_scale=3.0, region=region)
    genome = bound.init_genome(KEY, POINT, lambda obs: obs)
    pairs = bound.dataset(genome, POINT.spec)
    assert isinstance(pairs, Dataset)
    np.testing.assert_allclose(region.observations(genome.observations), genome.observations, atol=1e-5)
    states = np.array([[0.0, 0.0], [1.0, 1.0]])
    apart = np.sqrt(np.square(np.asarray(pairs.observations)[:, None] - states).mean(-1)).min(1)
    np.testing.assert_allclose(apart, [0.0, 0.0, 0.1], atol=1e-5)
    assert bound.constant(genome).region is None  # a dataset file needs no region


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NearStates(3, (0.0,) * 4, (1.0, 1.0), (0.0,)), r"states are 4 numbers, but 3 states .* are 6\."),
        (lambda: NearStates(2, (0.0,) * 4, (0.0, 0.0), (0.0,)), r"NearStates\.unit is 0 for every feature"),
        (
            lambda: dataclasses.replace(RIDGE, num_pairs=4, region=REGION),
            r"RidgeCloning\.num_pairs is 4, but its region has 3 radii",
        ),
        (
            lambda: dataclasses.replace(RIDGE, region=REGION, code=Cosines()),
            r"RidgeCloning\.region keeps observations in place, but with RidgeCloning\.code a genome holds none",
        ),
        (
            lambda: dataclasses.replace(RIDGE, region=REGION).check(POINT.spec),
            r"NearStates\.unit has 3 features, but an observation of point has 2\.",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
    RIDGE.changed(region=REGION).check(BOX_SPEC)
