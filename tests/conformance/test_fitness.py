"""Every fitness gives a Score of the promised form."""

import chex
import jax
import jax.numpy as jnp
import pytest

from hades import registry
from hades.environments.rollout import random_policy
from hades.types import Candidate
from tests.support import POINT, assert_rows_agree, example

ACT = random_policy(POINT.spec)
CANDIDATE = Candidate(
    genome=jnp.ones(3), params=(), metrics={"loss/final": jnp.ones(())}, observations=jnp.ones((2, 2))
)
FITNESSES = {name: example("Fitness", name) for name in registry.names("Fitness")}


@pytest.mark.parametrize("name", FITNESSES)
def test_scores_have_the_promised_form(name, key):
    fitness = FITNESSES[name]
    fitness.check(POINT.spec)
    score = jax.eval_shape(lambda k: fitness(k, POINT, ACT, CANDIDATE), key)
    assert (score.value.shape, score.value.dtype) == ((), jnp.float32)
    assert (score.episodes.shape, score.episodes.dtype) == ((), jnp.int32)
    assert (score.env_steps.shape, score.env_steps.dtype) == ((), jnp.int32)
    assert score.moments is None
    assert score.metrics
    assert all(value.shape == () for value in score.metrics.values())


@pytest.mark.parametrize("name", FITNESSES)
def test_a_fitness_that_takes_steps_plays_episodes(name):
    fitness = FITNESSES[name]
    assert (fitness.parallel_episodes(POINT.spec) > 0) == (fitness.max_env_steps(POINT.spec) > 0)


@pytest.mark.parametrize("name", FITNESSES)
def test_compiled_scores_are_finite_and_follow_the_key(name, key):
    fitness = FITNESSES[name]
    keys = jax.random.split(key, 3)[jnp.array([0, 1, 0])]
    scores = jax.jit(jax.vmap(lambda k: fitness(k, POINT, ACT, CANDIDATE)))(keys)
    chex.assert_tree_all_finite(scores)
    assert_rows_agree(scores, 0, 2)
    assert (scores.env_steps <= fitness.max_env_steps(POINT.spec)).all()
    reduced = scores.reduce()
    assert reduced.value.shape == ()
    assert reduced.env_steps == scores.env_steps.sum()
