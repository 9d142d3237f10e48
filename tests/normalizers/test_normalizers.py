"""Normalisers: given, estimated and running statistics, with a floor on the deviation and a clip."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rollout import random_policy, record_episode
from hades.errors import ConfigError
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.none import NoNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.types import Moments
from tests.support import POINT

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def estimated():
    return jax.jit(lambda k: ConstantNormalizer(episodes=5, floor=1e-3).init(k, POINT))(KEY)


def test_given_statistics_are_used_floored_and_clipped():
    normalizer = ConstantNormalizer(mean=(1.0, 2.0), std=(4.0, 1e-6), floor=0.5, clip=3.0)
    state = normalizer.init(KEY, POINT)
    np.testing.assert_allclose(state.std, [4.0, 0.5])
    obs = jnp.array([[3.0, 2.5], [1e4, -1e4]])
    np.testing.assert_allclose(normalizer.apply(state, obs), [[0.5, 1.0], [3.0, -3.0]])


def test_clip_zero_is_no_clip():
    normalizer = ConstantNormalizer(mean=(0.0, 0.0), std=(1.0, 1.0), clip=0.0)
    np.testing.assert_array_equal(normalizer.apply(normalizer.init(KEY, POINT), jnp.array([1e4, -1e4])), [1e4, -1e4])


def test_estimated_statistics_are_those_of_a_random_policys_episodes(estimated):
    keys = [jax.random.fold_in(KEY, e) for e in range(5)]
    record = jax.jit(lambda k: record_episode(k, POINT, random_policy(POINT.spec))[2])
    observations = np.concatenate([record(k) for k in keys])
    assert observations.shape == (5 * POINT.max_episode_steps, 2)
    np.testing.assert_allclose(estimated.moments.count, len(observations))
    np.testing.assert_allclose(estimated.mean, observations.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(estimated.std, observations.std(0), rtol=1e-4)


def test_observations_after_an_episodes_end_do_not_count():
    env = Point(max_episode_steps=6, radius=0.9)
    state = jax.jit(lambda k: ConstantNormalizer(episodes=8).init(k, env))(KEY)
    assert 8 <= float(state.moments.count) < 48


def test_given_statistics_must_fit_the_observation():
    with pytest.raises(ConfigError, match=r"mean.*3.*point.*2"):
        ConstantNormalizer(mean=(0.0,) * 3, std=(1.0,) * 3).init(KEY, POINT)


def test_image_statistics_are_given_flat():
    env = Gymnax("Breakout-MinAtar")
    state = ConstantNormalizer(mean=tuple(range(400)), std=(1.0,) * 400).init(KEY, env)
    np.testing.assert_array_equal(state.mean, np.arange(400.0).reshape(10, 10, 4))


def test_no_normaliser_changes_nothing():
    normalizer = NoNormalizer()
    state = normalizer.init(KEY, POINT)
    obs = jnp.array([3e5, -7.0])
    np.testing.assert_array_equal(normalizer.apply(state, obs), obs)
    np.testing.assert_array_equal(state.std, 1.0)


def test_running_statistics_merge_what_each_generation_saw(estimated):
    normalizer = RunningNormalizer(episodes=5, floor=1e-3)
    assert normalizer.wants_moments
    assert not ConstantNormalizer().wants_moments
    first = jax.jit(lambda k: normalizer.init(k, POINT))(KEY)
    np.testing.assert_allclose(first.mean, estimated.mean, rtol=1e-6)
    seen = np.random.default_rng(0).normal(5.0, 3.0, (60, 2)).astype(np.float32)
    second = normalizer.update(first, Moments.of(jnp.asarray(seen), jnp.ones(60, bool)))
    np.testing.assert_allclose(second.mean, (20 * np.asarray(first.mean) + seen.sum(0)) / 80, rtol=1e-4)
    np.testing.assert_allclose(second.moments.count, 80)
    assert (np.asarray(second.std) > np.asarray(first.std)).all()
    np.testing.assert_allclose(normalizer.apply(second, second.mean + second.std), [1.0, 1.0], rtol=1e-4)


def test_running_statistics_remember_no_more_than_max_count():
    normalizer = RunningNormalizer(max_count=10.0)
    state = jax.jit(lambda k: normalizer.init(k, POINT))(KEY)
    rows = jnp.asarray(np.random.default_rng(0).normal(2.0, 1.0, (100, 2)), jnp.float32)
    update = jax.jit(lambda s: normalizer.update(s, Moments.of(rows, jnp.ones(100, bool))))
    for _ in range(30):
        state = update(state)
    np.testing.assert_allclose(state.moments.count, 10.0, rtol=1e-5)
    np.testing.assert_allclose(state.mean, rows.mean(0), rtol=1e-3)
    np.testing.assert_allclose(state.std, rows.std(0), rtol=1e-3)
