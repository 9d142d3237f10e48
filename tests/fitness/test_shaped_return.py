"""Shaped objectives: sums of terms over the first steps of an episode, and one objective after another."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.point import Point
from hades.environments.rollout import random_policy, rollout
from hades.errors import ConfigError
from hades.fitness.curriculum import Curriculum
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.shaped_return import ShapedReturn
from hades.types import Candidate
from tests.support import EVOLUTION, POINT, one_device_mesh

KEY = jax.random.key(2)
ACT = random_policy(POINT.spec)
CANDIDATE = Candidate(genome=(), params=(), metrics={})
SHORT = ShapedReturn(3, return_weight=0.0, terms={"distance": -2.0, "length": 0.5}, horizon=2)
WHOLE = ShapedReturn(3)
CURRICULUM = Curriculum(stages=(SHORT, WHOLE), generations=(2,))


@pytest.fixture(scope="module")
def scores():
    """Compiled once: the curriculum's score at a generation."""
    return jax.jit(lambda g: CURRICULUM(KEY, POINT, ACT, dataclasses.replace(CANDIDATE, generation=g)))


def test_terms_are_summed_over_the_horizon():
    score = jax.jit(lambda k: SHORT(k, POINT, ACT, CANDIDATE))(KEY)
    episodes = rollout(KEY, POINT, ACT, 3, max_steps=2)
    np.testing.assert_array_equal(episodes.lengths, 2)
    # A step of point earns minus its distance, so both sums are the same number.
    np.testing.assert_allclose(episodes.info_sum["distance"], -episodes.returns, rtol=1e-5)
    np.testing.assert_allclose(score.value, 2.0 * episodes.returns.mean() + 0.5 * 2, rtol=1e-5)
    assert score.env_steps == SHORT.max_env_steps(POINT.spec) == 6
    np.testing.assert_allclose(score.metrics["return_within_horizon"], episodes.returns.mean(), rtol=1e-5)
    assert "return" not in score.metrics


def test_without_terms_and_horizon_it_is_the_return():
    mine, plain = (jax.jit(lambda k, f=f: f(k, POINT, ACT, CANDIDATE))(KEY) for f in (WHOLE, EpisodicReturn(3)))
    np.testing.assert_allclose(mine.value, plain.value, rtol=1e-6)
    assert set(mine.metrics) == set(plain.metrics)


def test_a_curriculum_changes_its_objective_at_the_generation_it_names(scores):
    short, whole = (jax.jit(lambda k, f=f: f(k, POINT, ACT, CANDIDATE))(KEY) for f in (SHORT, WHOLE))
    assert abs(float(short.value - whole.value)) > 0.1
    for generation in (0, 1):
        np.testing.assert_allclose(scores(generation).value, short.value, rtol=1e-5)
        assert scores(generation).env_steps == short.env_steps
    for generation in (2, 5):
        np.testing.assert_allclose(scores(generation).value, whole.value, rtol=1e-5)
        assert scores(generation).env_steps == whole.env_steps
    assert CURRICULUM.max_env_steps(POINT.spec) == WHOLE.max_env_steps(POINT.spec) == 12


@dataclasses.dataclass(frozen=True)
class WithoutDistance(Point):
    """The distance is not a number."""

    def step(self, key, state, action):
        state, step = super().step(key, state, action)
        return state, step.replace(info={"distance": jnp.asarray(jnp.nan)})


def test_a_term_that_a_stage_does_not_weigh_does_not_matter():
    env = WithoutDistance(max_episode_steps=4)
    at = lambda g: CURRICULUM(KEY, env, ACT, dataclasses.replace(CANDIDATE, generation=g)).value  # noqa: E731
    assert jnp.isnan(at(0))  # the first stage weighs it
    np.testing.assert_allclose(at(2), WHOLE(KEY, POINT, ACT, CANDIDATE).value, rtol=1e-5)


def test_a_search_hands_its_generation_to_the_fitness():
    algorithm = dataclasses.replace(EVOLUTION, fitness=CURRICULUM)
    step = jax.jit(lambda s: algorithm.step(s, one_device_mesh()))
    state, steps = algorithm.init(KEY), []
    for _ in range(3):
        state, metrics = step(state)
        steps.append(int(metrics["env_steps"]))
    candidates = EVOLUTION.outer.population_size * EVOLUTION.num_inits
    assert steps == [6 * candidates, 6 * candidates, 12 * candidates]


def test_what_can_never_work_is_refused():
    with pytest.raises(ConfigError, match="nothing to search for"):
        ShapedReturn(return_weight=0.0)
    with pytest.raises(ConfigError, match=r"terms\['distance'\] is nan; .*finite"):
        ShapedReturn(terms={"distance": float("nan")})
    with pytest.raises(ConfigError, match="horizon is -1"):
        ShapedReturn(horizon=-1)
    with pytest.raises(ConfigError, match=r'terms.*"distnce".*distance'):
        jax.eval_shape(lambda k: ShapedReturn(terms={"distnce": 1.0})(k, POINT, ACT, CANDIDATE), KEY)
    with pytest.raises(ConfigError, match=r"2 stages and .generations \(\)"):
        Curriculum(stages=(SHORT, WHOLE), generations=())
    with pytest.raises(ConfigError, match="must agree in"):
        Curriculum(stages=(SHORT, ShapedReturn(4)), generations=(1,))
    with pytest.raises(ConfigError, match=r"Curriculum.stages\[1\] is EpisodicReturn.*; it must be a ShapedReturn"):
        Curriculum(stages=(SHORT, EpisodicReturn()), generations=(1,))


def test_a_shaped_search_is_finite_under_vmap():
    values = jax.jit(jax.vmap(lambda k: SHORT(k, POINT, ACT, CANDIDATE).value))(jax.random.split(KEY, 3))
    assert jnp.isfinite(values).all()


def test_an_episode_without_a_return_has_no_terms_either():
    fitness = ShapedReturn(num_episodes=2, return_weight=0.0, terms=(("length", 1.0),))
    undefined = lambda key, obs: jnp.full(1, jnp.nan)  # noqa: E731
    candidate = Candidate(genome=(), params=(), metrics={})
    assert np.isnan(fitness(jax.random.key(0), Point(max_episode_steps=4), undefined, candidate).value)
