"""Every inner learner, loss and init scheme keeps the shapes that the interface promises."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.inner.init_scheme import FixedInit
from hades.policies.distributions import Categorical, DiagonalGaussian
from hades.types import Dataset
from tests.support import (
    CLASSIFYING,
    CLONING,
    POINT,
    POINT_DISCRETE,
    SMALL,
    assert_rows_agree,
    example,
)

LEARNERS = {name: (example("InnerLearner", name), POINT) for name in registry.names("InnerLearner")} | {
    "mini-batch": (dataclasses.replace(CLONING, batch_size=2), POINT),
    "evolved recipe": (dataclasses.replace(CLONING, evolve=("learning_rate",)), POINT),
    "span": (dataclasses.replace(CLONING, optimizer="sgd", span_first_layer=True), POINT),
    "fixed labels": (CLASSIFYING, POINT_DISCRETE),
    "hard labels": (dataclasses.replace(CLASSIFYING, targets="hard"), POINT_DISCRETE),
    "soft labels": (dataclasses.replace(CLASSIFYING, targets="evolved"), POINT_DISCRETE),
}


def learn(learner, env, key):
    """(genome, trained params, metrics, an action)"""
    k_genome, k_params, k_learn, k_act = jax.random.split(key, 4)
    genome = learner.init_genome(k_genome, env, lambda obs: obs)
    params = learner.init_params(k_params, env.spec)
    trained, metrics = learner.learn(k_learn, genome, params, env.spec)
    params = learner.assemble(params, trained)
    return genome, params, metrics, learner.policy.act(k_act, params, jnp.zeros(env.spec.obs_shape), env.spec)


@pytest.mark.parametrize("name", LEARNERS)
def test_learning_leads_from_a_genome_to_a_policy_that_acts(name, key):
    learner, env = LEARNERS[name]
    learner.check(env.spec)
    genome, params, metrics, action = jax.eval_shape(lambda k: learn(learner, env, k), key)
    if name != "span":  # whose first layer stays factored
        chex.assert_trees_all_equal_shapes_and_dtypes(
            params, jax.eval_shape(lambda k: learner.policy.init(k, env.spec), key)
        )
    assert action.shape == (() if env.spec.is_discrete else (env.spec.action_space.size,))
    assert {leaf.dtype for leaf in jax.tree.leaves(genome)} == {jnp.dtype(jnp.float32)}
    assert all(value.shape == () for value in metrics.values())
    dataset = jax.eval_shape(lambda g: learner.dataset(g, env.spec), genome)
    assert (dataset is None) == (name == "Identity")
    if dataset is not None:
        assert isinstance(dataset, Dataset)
        count = dataset.observations.shape[0]
        assert dataset.observations.shape == (count, *env.spec.obs_shape)
        assert dataset.targets.shape == (count, env.spec.action_space.size)
        assert isinstance(learner.sized(count + 1), type(learner))
        assert isinstance(learner.randomized(), type(learner))
        assert not learner.randomized().is_fixed


def test_a_genome_trains_what_its_dataset_trains_by_the_constant_learner(key):
    learner, env = LEARNERS["evolved recipe"]
    genome = dataclasses.replace(learner.init_genome(key, env, lambda obs: obs), recipe={"learning_rate": jnp.ones(())})
    params = learner.init_params(key, env.spec)
    by_genome = learner.learn(key, genome, params, env.spec)[0]
    constant = learner.constant(genome)
    by_dataset = constant.clone(key, learner.dataset(genome, env.spec), params, env.spec)[0]
    assert constant.learning_rate == pytest.approx(learner.learning_rate * jnp.e, rel=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), by_genome, by_dataset)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_memory_plan_sees_what_training_holds(name, key):
    learner, env = LEARNERS[name]
    trained = jax.eval_shape(lambda k: learner.learn(k, *_start(learner, env, k), env.spec)[0], key)
    working = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(learner.working_arrays, trained)))
    assert (working == 0) == (learner.num_updates == 0)


def _start(learner, env, key):
    return learner.init_genome(key, env, lambda obs: obs), learner.init_params(key, env.spec)


@pytest.mark.parametrize("name", registry.names("InnerLearner"))
def test_compiled_learning_is_finite_and_follows_the_key(name, key):
    learner, env = LEARNERS[name]
    run = jax.jit(lambda keys: jax.lax.map(lambda k: learn(learner, env, k), keys))
    keys = jax.random.split(key, 3)[jnp.array([0, 1, 0])]
    result = run(keys)
    chex.assert_tree_all_finite(result)
    assert_rows_agree(result, 0, 2)


@pytest.mark.parametrize("name", registry.names("InitScheme"))
def test_init_schemes_give_the_policys_own_params(name, key):
    scheme = example("InitScheme", name)
    params = jax.eval_shape(lambda k: scheme.init(k, SMALL, POINT.spec), key)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, jax.eval_shape(lambda k: SMALL.init(k, POINT.spec), key))
    assert scheme.num_inits >= 1
    assert scheme.is_fixed == isinstance(scheme, FixedInit)


@pytest.mark.parametrize("name", registry.names("Loss"))
def test_losses_are_finite_scalars_that_a_gradient_step_lowers(name, key):
    loss = example("Loss", name)
    spec = POINT_DISCRETE.spec if loss.discrete else POINT.spec
    loss.check(spec)
    outputs = jax.random.normal(key, (5, spec.action_space.size))
    targets = jax.nn.one_hot(jnp.arange(5) % 3, 3) if loss.discrete else jnp.ones((5, 1))

    def value(outputs):
        distribution = Categorical(outputs) if loss.discrete else DiagonalGaussian(outputs, jnp.zeros(1))
        return loss(distribution, targets)

    before, gradient = jax.jit(jax.value_and_grad(value))(outputs)
    assert (before.shape, before.dtype) == ((), jnp.float32)
    assert jnp.isfinite(gradient).all()
    assert value(outputs - 0.1 * gradient) < before
