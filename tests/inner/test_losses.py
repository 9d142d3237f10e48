"""Losses equal their formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.errors import ConfigError
from hades.inner.losses import MSE, CrossEntropy, GaussianNLL, Huber, LogitMSE
from hades.policies.distributions import Categorical, DiagonalGaussian
from tests.support import POINT, POINT_DISCRETE

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 3)).astype(np.float32)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
MEAN, TARGETS = RNG.normal(size=(2, 5, 3)).astype(np.float32) * 2
STD = np.array([0.5, 1.0, 3.0], np.float32)
GAUSSIAN = DiagonalGaussian(jnp.asarray(MEAN), jnp.log(STD))


def test_hard_cross_entropy_is_minus_the_log_probability_of_the_label():
    labels = np.array([0, 2, 1, 1, 0])
    loss = CrossEntropy()(Categorical(jnp.asarray(LOGITS)), jnp.eye(3)[labels])
    np.testing.assert_allclose(loss, -np.log(PROBABILITIES[np.arange(5), labels]).mean(), rtol=1e-5)


def test_soft_cross_entropy_weighs_every_action():
    targets = RNG.dirichlet(np.ones(3), 5).astype(np.float32)
    loss = CrossEntropy()(Categorical(jnp.asarray(LOGITS)), jnp.asarray(targets))
    np.testing.assert_allclose(loss, -(targets * np.log(PROBABILITIES)).sum(-1).mean(), rtol=1e-5)


def test_the_published_cross_entropy_also_averages_over_actions():
    targets = jnp.eye(3)[jnp.array([0, 2, 1, 1, 0])]
    plain, published = (CrossEntropy(m)(Categorical(jnp.asarray(LOGITS)), targets) for m in (False, True))
    np.testing.assert_allclose(published, plain / 3, rtol=1e-6)


def test_gaussian_nll_is_minus_the_log_density_summed_over_action_entries():
    density = np.exp(-0.5 * ((TARGETS - MEAN) / STD) ** 2) / (STD * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(
        GaussianNLL()(GAUSSIAN, jnp.asarray(TARGETS)), -np.log(density).sum(-1).mean(), rtol=1e-5
    )


def test_mse_and_huber_look_at_the_mean_action():
    error = MEAN - TARGETS
    np.testing.assert_allclose(MSE()(GAUSSIAN, jnp.asarray(TARGETS)), np.square(error).mean(), rtol=1e-5)
    for delta in (0.5, 1.5):
        small = np.abs(error) <= delta
        assert small.any()
        assert not small.all()
        expected = np.where(small, 0.5 * error**2, delta * (np.abs(error) - 0.5 * delta)).mean()
        np.testing.assert_allclose(Huber(delta)(GAUSSIAN, jnp.asarray(TARGETS)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "env"), [(MSE(), POINT_DISCRETE), (GaussianNLL(), POINT_DISCRETE), (CrossEntropy(), POINT)]
)
def test_a_loss_refuses_the_other_kind_of_action_space(loss, env):
    with pytest.raises(ConfigError, match=rf"{type(loss).__name__} .*{env.spec.name} .*Use "):
        loss.check(env.spec)


def test_logit_mse_compares_logits_up_to_a_shift() -> None:
    logits = jnp.asarray([[3.0, -40.0, 1.0], [0.0, 0.5, 2.0]])
    assert float(LogitMSE()(Categorical(logits=logits + 7.0), jax.nn.softmax(logits))) < 1e-6
    moved = Categorical(logits=logits.at[0, 0].add(3.0))
    np.testing.assert_allclose(LogitMSE()(moved, jax.nn.softmax(logits)), (2.0**2 + 1 + 1) / 6, rtol=1e-4)
