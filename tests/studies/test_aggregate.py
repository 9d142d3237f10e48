"""Interquartile means and their intervals are those of rliable."""

import numpy as np
import pytest
import scipy.stats

from hades.studies.aggregate import estimate, estimates, interquartile_mean

SCORES = np.array([[3.0, 10.0], [1.0, 12.0], [7.0, 11.0], [2.0, 30.0], [9.0, 13.0]])  # runs × tasks


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 11])
def test_interquartile_mean_is_the_trimmed_mean_that_rliable_takes(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=(3, count))
    np.testing.assert_allclose(interquartile_mean(scores), scipy.stats.trim_mean(scores, 0.25, axis=1))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (SCORES[:, :1], (4.0, 1.333, 8.333)),
        (SCORES, (8.667, 6.667, 12.333)),
        (SCORES[:3, :1], (3.667, 1.0, 7.0)),
    ],
)
def test_estimates_are_those_of_rliable(scores: np.ndarray, expected: tuple[float, float, float]) -> None:
    """Truth: rliable 1.2.0, `get_interval_estimates(…, aggregate_iqm, reps=50000)` on the same matrices."""
    found = estimate(list(scores.T))
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=0.17)  # a sixth: the grid of such means
    assert found.value == pytest.approx(expected[0], abs=1e-3)


def test_runs_are_drawn_within_their_task() -> None:
    """Tasks that are constant leave nothing to draw, however far apart they lie."""
    found = estimate([np.full(3, 1.0), np.full(5, 100.0)])
    assert found.low == found.value == found.high


def test_whole_runs_are_drawn_for_a_curve() -> None:
    """Two points that are equal in every run have equal intervals, and equal data give equal intervals."""
    curve = np.random.default_rng(0).normal(size=(4, 1)).repeat(2, axis=1)
    value, low, high = estimates([curve], reps=200)
    assert value[0] == value[1]
    assert (low[0], high[0]) == (low[1], high[1])
    assert low[0] < value[0] < high[0]
    np.testing.assert_array_equal(estimates([curve], reps=200), (value, low, high))
