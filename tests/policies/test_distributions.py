"""Distributions equal their formulas, and their samples follow them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.policies.distributions import NO_ACTION, Categorical, DiagonalGaussian

LOGITS = np.array([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]], np.float32)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
MEAN = np.array([[0.5, -1.0], [2.0, 0.0]], np.float32)
STD = np.array([0.5, 3.0], np.float32)


def test_categorical_equals_its_formulas():
    distribution = Categorical(jnp.asarray(LOGITS))
    np.testing.assert_allclose(
        distribution.log_prob(jnp.array([2, 1])), np.log(PROBABILITIES[[0, 1], [2, 1]]), rtol=1e-5
    )
    np.testing.assert_allclose(distribution.log_probs(), np.log(PROBABILITIES), rtol=1e-5)
    entropy = -(PROBABILITIES * np.log(PROBABILITIES)).sum(-1)
    np.testing.assert_allclose(distribution.entropy(), entropy, rtol=1e-5)
    assert math.isclose(distribution.entropy()[1], math.log(3), rel_tol=1e-6)
    assert distribution.mode()[0] == 2


def test_gaussian_equals_its_formulas():
    distribution = DiagonalGaussian(jnp.asarray(MEAN), jnp.log(STD))
    action = np.array([[0.0, 0.0], [1.0, -3.0]], np.float32)
    density = np.exp(-0.5 * ((action - MEAN) / STD) ** 2) / (STD * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(distribution.log_prob(jnp.asarray(action)), np.log(density).sum(-1), rtol=1e-5)
    entropy = np.log(STD * math.sqrt(2 * math.pi * math.e)).sum()
    np.testing.assert_allclose(distribution.entropy(), [entropy, entropy], rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), MEAN)


def test_samples_follow_the_distribution(key):
    keys = jax.random.split(key, 4000)
    drawn = jax.vmap(Categorical(jnp.asarray(LOGITS[0])).sample)(keys)
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, PROBABILITIES[0], atol=0.03)
    drawn = jax.vmap(DiagonalGaussian(jnp.asarray(MEAN[0]), jnp.log(STD)).sample)(keys)
    np.testing.assert_allclose(drawn.mean(0), MEAN[0], atol=0.15)
    np.testing.assert_allclose(drawn.std(0), STD, rtol=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_choose_no_action(key, value):
    distribution = Categorical(jnp.asarray(LOGITS).at[0, 1].set(value))
    for actions in (distribution.mode(), distribution.sample(key)):
        assert actions[0] == NO_ACTION
        assert 0 <= actions[1] < 3
