"""Fitness shaping treats equals equally and keeps the sum of the weights."""

import jax.numpy as jnp
import numpy as np
import pytest

from hades.outer.evosax import Evosax
from hades.outer.shaping import SHAPINGS, average_over_ties, centered_rank, rank_utilities, standardized, tied_share

TIED = jnp.array([500.0] * 20 + [float(i) for i in range(12)])  # 20 of 32 at CartPole's best
TEMPERATURE_20 = rank_utilities(32, 20.0)


def test_weights_keep_their_sum_when_20_of_32_tie_for_best():
    shaped = average_over_ties(TIED, TEMPERATURE_20)
    np.testing.assert_allclose(shaped.sum(), TEMPERATURE_20.sum(), rtol=1e-5)
    np.testing.assert_allclose(shaped[:20], TEMPERATURE_20[:20].mean(), rtol=1e-5)
    np.testing.assert_allclose(shaped[20:], TEMPERATURE_20[20:][::-1], rtol=1e-4, atol=1e-8)


def test_candidates_are_tied_that_share_their_fitness():
    assert tied_share(TIED) == 20 / 32
    assert tied_share(jnp.array([3.0, 1.0, 3.0, 2.0, 1.0])) == pytest.approx(4 / 5)
    assert tied_share(jnp.array([jnp.nan, jnp.nan, 1.0, 2.0])) == 0.0


def test_distinct_fitness_gets_the_weights_by_rank():
    np.testing.assert_allclose(
        average_over_ties(jnp.array([1.0, 3.0, 2.0]), jnp.array([5.0, 1.0, 0.0])), [0.0, 5.0, 1.0]
    )


def test_all_equal_get_equal_weights():
    np.testing.assert_allclose(average_over_ties(jnp.ones(4), jnp.array([4.0, 3.0, 2.0, 1.0])), 2.5)


def test_centered_ranks_lie_between_minus_and_plus_a_half():
    np.testing.assert_allclose(centered_rank(jnp.array([3.0, 1.0, 2.0])), [0.5, -0.5, 0.0])
    np.testing.assert_allclose(centered_rank(jnp.array([1.0, 1.0, 2.0, 0.0])), [0.0, 0.0, 0.5, -0.5], atol=1e-7)
    np.testing.assert_allclose(centered_rank(TIED).sum(), 0.0, atol=1e-5)


def test_standardized_fitness_has_mean_zero_and_is_zero_where_all_are_equal():
    shaped = standardized(jnp.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose([shaped.mean(), shaped.std()], [0.0, 1.0], atol=1e-6)
    np.testing.assert_array_equal(standardized(jnp.full(4, 7.0)), 0.0)


@pytest.mark.parametrize("name", [n for n in SHAPINGS if n != "raw"])
def test_shaping_ignores_scale_and_offset(name):
    fitness = jnp.array([1.0, 2.0, 6.0, 2.0])
    np.testing.assert_allclose(SHAPINGS[name](3.0 * fitness - 5.0), SHAPINGS[name](fitness), atol=1e-5)


def test_evosax_strategies_get_our_tie_safe_weights(key):
    outer = Evosax("SNES", population_size=32, params={"weights": tuple(map(float, TEMPERATURE_20))})
    state = outer.init(key, jnp.zeros(3), lambda x: x)
    population, asked = outer.ask(key, state)
    told, _ = outer.tell(key, asked, population, TIED)
    expected = average_over_ties(TIED, TEMPERATURE_20) @ population
    np.testing.assert_allclose(outer.solution(told), expected, rtol=1e-4, atol=1e-6)
