"""Returns: whole episodes, or the completed ones of a window; what could not be measured is NaN, never 0."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rollout import random_policy, rollout
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.windowed_return import WindowedReturn
from hades.types import Candidate
from tests.support import POINT

KEY = jax.random.key(2)
CANDIDATE = Candidate(genome=(), params=(), metrics={})


def stay(key, obs):
    return jnp.zeros(1)


def test_episodic_return_is_the_mean_over_whole_episodes():
    env = Point(max_episode_steps=6, radius=0.4)
    act = random_policy(env.spec)
    episodes = rollout(KEY, env, act, 4)
    score = EpisodicReturn(4)(KEY, env, act, CANDIDATE, with_moments=True)
    np.testing.assert_allclose(score.value, episodes.returns.mean(), rtol=1e-5)
    assert (score.episodes, score.env_steps) == (4, episodes.lengths.sum())
    assert score.env_steps < EpisodicReturn(4).max_env_steps(env.spec) == 24
    np.testing.assert_allclose(score.moments.count, score.env_steps)
    np.testing.assert_allclose(score.metrics["return"], score.value)
    np.testing.assert_allclose(score.metrics["episode_length"], episodes.lengths.mean())
    np.testing.assert_allclose(score.metrics["terminated"], episodes.terminated.mean())
    np.testing.assert_allclose(score.metrics["info/distance_max"], episodes.info_max["distance"].mean(), rtol=1e-5)


def test_windowed_return_is_the_mean_over_completed_episodes():
    score = jax.jit(lambda k: WindowedReturn(num_envs=2, num_steps=10)(k, POINT, stay, CANDIDATE))(KEY)
    distances = []
    for e in range(2):  # episodes of 4 steps begin at steps 0 and 4; the third is cut off by the window
        k_env = jax.random.fold_in(KEY, e)
        for k_reset in (jax.random.fold_in(k_env, 0), jax.random.split(jax.random.fold_in(k_env, 4), 3)[2]):
            position, goal = POINT.reset(k_reset)[1]
            distances.append(abs(float(goal - position)))
    np.testing.assert_allclose(score.value, -4 * np.mean(distances), rtol=1e-5)
    assert (score.episodes, score.env_steps) == (4, 20)
    assert WindowedReturn(num_envs=2, num_steps=10).max_env_steps(POINT.spec) == 20


def test_a_window_without_a_completed_episode_measures_nothing():
    score = WindowedReturn(num_envs=2, num_steps=3)(KEY, POINT, stay, CANDIDATE)
    assert np.isnan(score.value)
    assert score.episodes == 0


def test_a_window_that_no_episode_can_complete_is_refused():
    freeway = Gymnax("Freeway-MinAtar").spec
    with pytest.raises(ConfigError, match=r"num_steps.*1024.*Freeway-MinAtar.*>= 2500"):
        WindowedReturn(num_steps=1024).check(freeway)
    WindowedReturn(num_steps=2500).check(freeway)
    WindowedReturn(num_steps=1024).check(Gymnax("Breakout-MinAtar").spec)
    EpisodicReturn().check(freeway)


def test_an_episode_that_may_end_early_can_complete_in_a_short_window():
    WindowedReturn(num_steps=3).check(dataclasses.replace(POINT, radius=0.1).spec)


def test_a_window_gathers_no_moments():
    with pytest.raises(ConfigError, match=r"ConstantNormalizer.*EpisodicReturn"):
        WindowedReturn()(KEY, POINT, stay, CANDIDATE, with_moments=True)
