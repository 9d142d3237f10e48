"""The point's optimum is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.point import Point
from hades.environments.rollout import rollout


def towards_goal(env: Point):
    """The best policy."""
    return lambda key, obs: jnp.clip((obs[1] - obs[0]) / env.stride, -1.0, 1.0)[None]


@pytest.mark.parametrize("env", [Point(), Point(max_episode_steps=3, stride=0.5)], ids=["ten steps", "three steps"])
def test_the_best_policy_earns_the_optimal_return(env):
    returns = np.asarray(jax.jit(lambda k: rollout(k, env, towards_goal(env), 4000).returns)(jax.random.key(0)))
    error = returns.std() / np.sqrt(len(returns))
    assert abs(returns.mean() - env.optimal_return()) < 4 * error
    assert error < 0.03 * abs(env.optimal_return())
    standing = jax.jit(lambda k: rollout(k, env, lambda key, obs: jnp.zeros(1), 500).returns)(jax.random.key(0))
    assert standing.mean() < 1.5 * env.optimal_return()


def test_one_step_moves_by_the_stride_and_costs_the_distance_left(key):
    env = Point(stride=0.5, max_episode_steps=2)
    state = jnp.array([0.0, 1.0, 0.0])
    state, step = env.step(key, state, jnp.array([0.5]))
    np.testing.assert_allclose(step.obs, [0.25, 1.0])
    assert (step.reward, step.info["distance"]) == (-0.75, 0.75)
    assert (bool(step.terminated), bool(step.truncated)) == (False, False)
    _, step = env.step(key, state, jnp.array([1.0]))
    assert (bool(step.terminated), bool(step.truncated)) == (False, True)


def test_discrete_actions_are_left_stay_and_right(key):
    env = Point(discrete=True, stride=0.5)
    state = jnp.array([0.0, 1.0, 0.0])
    positions = [float(env.step(key, state, jnp.asarray(a))[1].obs[0]) for a in range(3)]
    assert positions == [-0.5, 0.0, 0.5]


def test_a_radius_terminates_at_the_goal(key):
    env = Point(radius=0.3, stride=1.0)
    assert env.spec.can_terminate
    assert not Point().spec.can_terminate
    _, step = env.step(key, jnp.array([0.0, 1.0, 0.0]), jnp.array([0.8]))
    assert (bool(step.terminated), bool(step.truncated)) == (True, False)
