"""Every algorithm satisfies the protocol that the host loop drives."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest

from hades import registry
from hades.algorithms.base import Algorithm, Evaluation, Solution
from hades.inner.identity import Identity
from tests.support import SMALL, example, weak_types

ALGORITHMS = {name: example("Algorithm", name) for name in registry.names("Algorithm")}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_generation_keeps_the_states_structure(name, key, mesh):
    algorithm = ALGORITHMS[name]
    assert isinstance(algorithm, Algorithm)
    state = jax.eval_shape(algorithm.init, key)
    next_state, metrics = jax.eval_shape(lambda s: algorithm.step(s, mesh), state)
    chex.assert_trees_all_equal_shapes_and_dtypes(next_state, state)
    assert weak_types(next_state) == weak_types(state)
    assert (state.generation.dtype, state.failures.dtype) == (jnp.int32, jnp.int32)
    assert metrics["env_steps"].dtype == jnp.int32
    assert all(value.shape == () for value in metrics.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_solution_is_evaluated_and_acts(name, key):
    algorithm = ALGORITHMS[name]
    env = algorithm.environments[0]
    solution = jax.eval_shape(lambda k: algorithm.solution(algorithm.init(k)), key)
    assert isinstance(solution, Solution)
    evaluation = jax.eval_shape(lambda k, s: algorithm.evaluate(k, s, 3, 5), key, solution)
    assert isinstance(evaluation, Evaluation)
    assert (evaluation.returns.shape, evaluation.lengths.shape) == ((3, 5), (3, 5))
    assert all(value.shape == (3,) for value in evaluation.metrics.values())
    action = jax.eval_shape(lambda k, s: algorithm.policy(k, s)(k, jnp.zeros(env.spec.obs_shape)), key, solution)
    assert action.shape == (() if env.spec.is_discrete else (env.spec.action_space.size,))


LABELS = [
    ("Evolution", "HaDES-R"),
    ("GradientDistillation", "HaDES-R by gradient"),
    ("PPO", "PPO"),
    ("TeacherMatching", "HaDES-R matching a teacher"),
]


@pytest.mark.parametrize(("name", "label"), LABELS)
def test_an_algorithm_knows_its_label_and_what_a_solution_stands_for(name, label, key):
    algorithm = ALGORITHMS[name]
    assert algorithm.label == label
    solution = jax.jit(lambda k: algorithm.solution(algorithm.init(k)))(key)
    distilled = algorithm.distilled(solution)
    assert algorithm.evolves_dataset == (distilled is not None) == (name != "PPO")
    if distilled is not None:
        assert (distilled.learner, distilled.normalizer) == (algorithm.learner, algorithm.normalizer)
        assert distilled.pairs.observations.shape == (3, 2)


def test_direct_es_evolves_a_policy(key):
    direct = dataclasses.replace(ALGORITHMS["Evolution"], learner=Identity(policy=SMALL))
    assert (direct.label, direct.evolves_dataset) == ("ES", False)
    assert direct.distilled(jax.jit(lambda k: direct.solution(direct.init(k)))(key)) is None
