"""Advantages and losses of PPO against loops and numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.algorithms.advantages import (
    discounted_returns,
    explained_variance,
    generalized_advantages,
    linear_decay,
    minibatches,
    policy_loss,
    value_loss,
)
from hades.policies.distributions import Categorical

GAMMA, LAMBDA = 0.9, 0.8


def test_advantages_of_three_steps_by_hand() -> None:
    rewards, values = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[0.5], [1.0], [-1.0]])
    done = jnp.array([[False], [True], [False]])
    found = generalized_advantages(rewards, values, jnp.array([4.0]), done, GAMMA, LAMBDA)
    last = 3.0 + 0.9 * 4.0 - (-1.0)  # 7.6
    middle = 2.0 - 1.0  # the episode ends: nothing follows
    first = (1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.8 * middle  # 1.4 + 0.72
    np.testing.assert_allclose(found[:, 0], [first, middle, last], rtol=1e-6)


@pytest.mark.parametrize("anything", [jnp.nan, jnp.inf])
def test_what_follows_the_end_of_an_episode_may_be_anything(anything) -> None:
    rewards, values = jnp.array([[1.0], [2.0], [anything]]), jnp.array([[0.5], [1.0], [anything]])
    done = jnp.array([[False], [True], [True]])
    found = generalized_advantages(rewards, values, jnp.array([anything]), done, GAMMA, LAMBDA)
    np.testing.assert_allclose(found[:2, 0], [(1.0 + 0.9 * 1.0 - 0.5) + 0.9 * 0.8 * 1.0, 1.0], rtol=1e-6)


def test_advantages_equal_a_loop() -> None:
    rng = np.random.default_rng(0)
    steps, envs = 7, 3
    rewards, values = rng.normal(size=(2, steps, envs))
    last_value, done = rng.normal(size=envs), rng.random((steps, envs)) < 0.3
    expected = np.zeros((steps, envs))
    for e in range(envs):
        for t in range(steps):
            weight = 1.0
            for later in range(t, steps):
                following = values[later + 1, e] if later + 1 < steps else last_value[e]
                delta = rewards[later, e] + GAMMA * (0.0 if done[later, e] else following) - values[later, e]
                expected[t, e] += weight * delta
                if done[later, e]:
                    break
                weight *= GAMMA * LAMBDA
    arguments = (jnp.asarray(x, jnp.float32) for x in (rewards, values, last_value))
    found = generalized_advantages(*arguments, jnp.asarray(done), GAMMA, LAMBDA)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_surrogate_by_hand() -> None:
    """Two actions, uniform before; advantages ±1 are already standardised."""
    distribution = Categorical(logits=jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25]])))
    action, old = jnp.array([0, 0]), jnp.log(jnp.array([0.5, 0.5]))
    loss, metrics = policy_loss(distribution, action, old, jnp.array([1.0, -1.0]), 0.2)
    # ratio 1.5 in both: min(1.5, 1.2) = 1.2 for the good action, min(-1.5, -1.2) = -1.5 for the bad one
    assert loss == pytest.approx(-(1.2 - 1.5) / 2, rel=1e-5)
    assert metrics["clip_share"] == 1.0
    assert metrics["kl"] == pytest.approx(0.5 - np.log(1.5), rel=1e-4)


def test_a_clipped_surrogate_has_no_gradient() -> None:
    def loss(logit: jax.Array) -> jax.Array:
        distribution = Categorical(logits=jnp.stack([jnp.stack([logit, 0.0 * logit])] * 2))
        return policy_loss(
            distribution, jnp.array([0, 1]), jnp.log(jnp.array([0.5, 0.5])), jnp.array([1.0, -1.0]), 0.2
        )[0]

    assert jax.grad(loss)(0.0) != 0.0
    assert jax.grad(loss)(2.0) == 0.0  # the ratio of the good action lies beyond 1.2, that of the bad one below 0.8


def test_the_value_loss_by_hand() -> None:
    value, old, target = jnp.array([1.0, 0.1]), jnp.array([0.0, 0.0]), jnp.array([2.0, 1.0])
    # the first value moved by 1 and counts as 0.2: max(1, 1.8²); the second stays inside: 0.9²
    assert value_loss(value, old, target, 0.2) == pytest.approx(0.5 * (1.8**2 + 0.9**2) / 2)
    assert value_loss(value, old, target, 0.0) == pytest.approx(0.5 * (1.0 + 0.9**2) / 2)


def test_discounted_returns_start_anew_with_each_episode() -> None:
    rewards, done = jnp.ones((4, 1)), jnp.array([[False], [True], [False], [False]])
    totals, left = discounted_returns(rewards, done, jnp.array([10.0]), 0.5)
    np.testing.assert_allclose(totals[:, 0], [6.0, 4.0, 1.0, 1.5])
    np.testing.assert_allclose(left, [1.5])


def test_minibatches_are_a_partition() -> None:
    rows = minibatches(jax.random.key(0), 12, 3)
    assert rows.shape == (3, 4)
    assert sorted(rows.reshape(-1).tolist()) == list(range(12))
    assert rows.reshape(-1).tolist() != list(range(12))


def test_linear_decay_and_explained_variance() -> None:
    assert linear_decay(0.1, jnp.array(25.0), 100) == pytest.approx(0.075)
    assert linear_decay(0.1, jnp.array(200.0), 100) == 0.0
    assert linear_decay(0.1, jnp.array(200.0), 0) == pytest.approx(0.1)
    target = jnp.array([1.0, 2.0, 3.0])
    assert explained_variance(target, target) == 1.0
    assert explained_variance(jnp.full(3, 2.0), target) == pytest.approx(0.0)
