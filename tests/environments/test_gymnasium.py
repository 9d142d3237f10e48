"""Environments of Gymnasium as pure functions: what they pay, and that a state stands for an environment."""

import dataclasses
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments import gymnasium as adapter
from hades.environments.gymnasium import Gymnasium
from hades.environments.rollout import rollout
from hades.errors import ConfigError

CARTPOLE = Gymnasium("CartPole-v1", max_episode_steps=20)


def balance(key: jax.Array, obs: jax.Array) -> jax.Array:
    del key
    return (obs @ jnp.array([0.0, 0.1, 1.0, 1.0]) > 0).astype(jnp.int32)


def own_return(seed: int, act: Any, env: Any, limit: int) -> float:
    """Return of an episode by a loop over Gymnasium itself."""
    observation, _ = env.reset(seed=seed)
    total = 0.0
    for _ in range(limit):
        observation, reward, terminated, truncated, _ = env.step(act(observation))
        total += float(reward)
        if terminated or truncated:
            break
    return total


def test_two_policies_in_the_same_episodes_do_not_meet(key: jax.Array) -> None:
    """The episodes have one seed, which `vmap` does not batch, and the policies part ways in the first step."""

    @jax.jit
    @jax.vmap
    def play(push: jax.Array) -> Any:
        return rollout(key, CARTPOLE, lambda k, obs: jnp.where(push < 2, push, balance(k, obs)), 2)

    played = play(jnp.array([0, 1, 2, 2]))
    assert (played.returns[2] == 20).all()
    np.testing.assert_array_equal(played.returns[2], played.returns[3])
    assert not played.terminated[2].any()
    assert (played.returns[:2] < 15).all()
    assert played.terminated[:2].all()
    np.testing.assert_array_equal(play(jnp.array([0, 1, 2, 2])).returns, played.returns)


def test_an_episode_is_gymnasiums_own(key: jax.Array) -> None:
    state, first = CARTPOLE.reset(key)
    own = gymnasium.make("CartPole-v1")
    np.testing.assert_allclose(first, own.reset(seed=int(state.seed))[0])
    total, obs = 0.0, first
    for _ in range(25):  # beyond the end
        state, step = CARTPOLE.step(key, state, jnp.int32(1))
        total, obs = total + float(step.reward), step.obs
    assert total == own_return(int(state.seed), lambda _: 1, own, 20) < 20
    np.testing.assert_array_equal(state.obs, obs)


def test_a_state_is_worth_the_same_however_often_it_is_stepped(key: jax.Array) -> None:
    state, _ = CARTPOLE.reset(key)
    state, _ = CARTPOLE.step(key, state, jnp.int32(0))
    one, again, other = (CARTPOLE.step(key, state, jnp.int32(action))[1] for action in (1, 1, 0))
    np.testing.assert_array_equal(one.obs, again.obs)
    assert (one.obs != other.obs).any()


def test_few_objects_are_kept(key: jax.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "MOST_OBJECTS", 2)
    small = dataclasses.replace(CARTPOLE, max_episode_steps=6)
    episodes = jax.jit(lambda: rollout(key, small, balance, 5))()
    assert (episodes.returns == 6).all()
    assert small._host._count <= 2


def test_continuous_actions_reach_the_bounds(key: jax.Array) -> None:
    pendulum = Gymnasium("Pendulum-v1", max_episode_steps=3)
    assert pendulum.spec.action_space.size == 1
    np.testing.assert_array_equal(pendulum.native_action(jnp.array([[0.25], [9.0]])), [[0.5], [2.0]])
    state, _ = pendulum.reset(key)
    for _ in range(3):
        state, step = pendulum.step(key, state, jnp.array([-3.0]))
    assert step.truncated
    assert not step.terminated
    own = gymnasium.make("Pendulum-v1")
    own.reset(seed=int(state.seed))
    for _ in range(3):
        observation, *_ = own.step(np.array([-2.0], np.float32))
    np.testing.assert_allclose(state.obs, observation, rtol=1e-5)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Gymnasium("CartPol-v1"), r"gymnasium.make\('CartPol-v1'\) fails"),
        (Gymnasium("FrozenLake-v1"), r"observations of Gymnasium's \"FrozenLake-v1\" are Discrete.*must be a Box"),
        (Gymnasium("CartPole-v1", {"rendering": 1}), "gymnasium.make.* fails: .*rendering"),
    ],
    ids=str,
)
def test_what_cannot_be_played_is_refused(env: Gymnasium, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        env.spec  # noqa: B018  # it is made at its first use


def test_an_environment_without_a_time_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "made", lambda *_: gymnasium.make("CartPole-v1", max_episode_steps=-1).unwrapped)
    env = Gymnasium("CartPole-v1", (("sutton_barto_reward", True),))
    with pytest.raises(ConfigError, match=r"has no time limit: set Gymnasium\.max_episode_steps"):
        env.spec  # noqa: B018  # as above
