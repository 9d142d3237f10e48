"""Cloning recovers what the data say, and a genome stands for the dataset and recipe that it should."""

import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hades import registry
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE, CrossEntropy, GaussianNLL
from hades.inner.pairs import CloningGenome
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from hades.types import Dataset, Discrete
from tests.support import BOX_SPEC, CLASSIFYING, CLONING, POINT, POINT_DISCRETE, SMALL

RNG = np.random.default_rng(0)
LINEAR = BehaviourCloning(
    policy=MLP(depth=0, output_scale=1.0), init_scheme=RandomInit(1), loss=MSE(), num_pairs=16, num_updates=1000,
    learning_rate=0.05,
)  # fmt: skip
BINARY = dataclasses.replace(BOX_SPEC, obs_shape=(2,), action_space=Discrete(2))


@functools.cache
def compiled(learner, spec):
    return jax.jit(lambda key, dataset, start: learner.clone(key, dataset, start, spec))


def clone(learner, dataset, spec, key=None):
    key = jax.random.key(0) if key is None else key
    return compiled(learner, spec)(key, dataset, learner.policy.init(jax.random.key(7), spec))


def test_cloning_recovers_a_linear_policy():
    observations = RNG.normal(size=(16, 3)).astype(np.float32)
    kernel, bias = np.array([[1.0, -2.0], [0.5, 0.0], [-1.0, 3.0]]), np.array([0.3, -0.7])
    dataset = Dataset(jnp.asarray(observations), jnp.asarray(observations @ kernel + bias, jnp.float32))
    params, metrics = clone(LINEAR, dataset, BOX_SPEC)
    np.testing.assert_allclose(params["layers_0"]["kernel"], kernel, atol=1e-3)
    np.testing.assert_allclose(params["layers_0"]["bias"], bias, atol=1e-3)
    assert metrics["loss/final"] < 1e-5 < 1.0 < metrics["loss/first"]
    np.testing.assert_array_equal(params["log_std"], 0.0)  # MSE leaves it alone


@pytest.mark.parametrize("batch_size", [0, 4])
def test_cloning_separates_what_is_separable(batch_size):
    observations = RNG.normal(size=(16, 2)).astype(np.float32)
    labels = (observations @ np.array([1.0, -2.0]) > 0).astype(int)
    learner = dataclasses.replace(LINEAR, loss=CrossEntropy(), batch_size=batch_size)
    params, metrics = clone(learner, Dataset(jnp.asarray(observations), jax.nn.one_hot(labels, 2)), BINARY)
    predicted = learner.policy.distribution(params, jnp.asarray(observations), BINARY).mode()
    np.testing.assert_array_equal(predicted, labels)
    assert metrics["loss/final"] < 0.1 < 0.3 < metrics["loss/first"]


def test_no_update_is_the_initial_policy():
    learner = dataclasses.replace(CLONING, num_updates=0)
    dataset = Dataset(jnp.ones((3, 2)), jnp.ones((3, 1)))
    params, metrics = clone(learner, dataset, POINT.spec)
    np.testing.assert_array_equal(
        params["layers_0"]["kernel"], SMALL.init(jax.random.key(7), POINT.spec)["layers_0"]["kernel"]
    )
    assert metrics["loss/first"] == metrics["loss/final"]


def test_full_batch_cloning_is_the_optax_loop_written_out():
    learner = dataclasses.replace(CLONING, max_grad_norm=0.05, optimizer_options={"eps": 1e-5}, num_updates=3)
    dataset = Dataset(jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), jnp.ones((3, 1)))
    params = SMALL.init(jax.random.key(7), POINT.spec)
    optimizer = optax.chain(optax.clip_by_global_norm(0.05), optax.adam(5e-3, eps=1e-5))
    state = optimizer.init(params)

    @jax.jit
    def update(params, state):
        loss = lambda p: jnp.square(SMALL.distribution(p, dataset.observations, POINT.spec).mean - 1.0).mean()  # noqa: E731
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(3):
        params, state = update(params, state)
    cloned, _ = clone(learner, dataset, POINT.spec)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), cloned, params)


def test_mini_batches_visit_every_point_once_an_epoch_in_a_new_order(key):
    learner = dataclasses.replace(CLONING, num_pairs=6, batch_size=2)
    epochs = np.array([[learner._batch(key, t) for t in range(3 * e, 3 * e + 3)] for e in range(4)]).reshape(4, 6)
    np.testing.assert_array_equal(np.sort(epochs), [np.arange(6)] * 4)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_cloning_key_orders_the_mini_batches_and_nothing_else():
    dataset = Dataset(jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), jnp.asarray([[1.0], [-2.0], [0.0]]))
    for batch_size in (0, 1):
        learner = dataclasses.replace(CLONING, batch_size=batch_size)
        kernels = [clone(learner, dataset, POINT.spec, jax.random.key(i))[0]["layers_0"]["kernel"] for i in (0, 1)]
        assert np.allclose(*kernels, atol=0.0) == (batch_size == 0)


@pytest.mark.parametrize("num_pairs", [2, 3, 16])
def test_fixed_targets_use_every_row_and_every_action(num_pairs):
    learner = dataclasses.replace(CLASSIFYING, num_pairs=num_pairs)
    genome = learner.init_genome(jax.random.key(0), POINT_DISCRETE, lambda obs: obs)
    assert genome.targets is None
    targets = np.asarray(learner.dataset(genome, POINT_DISCRETE.spec).targets)
    np.testing.assert_array_equal(targets.sum(1), 1.0)
    assert set(np.unique(targets)) == {0.0, 1.0}
    per_action = targets.sum(0)
    assert per_action.sum() == num_pairs
    assert per_action.max() - per_action.min() <= 1.0


def test_hard_targets_are_one_hot_and_soft_targets_are_probabilities():
    logits = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    genome = CloningGenome(jnp.zeros((4, 2)), logits, {})
    hard, soft = (
        np.asarray(dataclasses.replace(CLASSIFYING, targets=t).dataset(genome, POINT_DISCRETE.spec).targets)
        for t in ("hard", "evolved")
    )
    np.testing.assert_array_equal(hard, np.eye(3)[np.argmax(logits, -1)])
    np.testing.assert_allclose(soft, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-5)


def test_box_targets_are_the_genomes_own():
    targets = jnp.asarray([[0.5], [-3.0], [2.0]])
    dataset = CLONING.dataset(CloningGenome(jnp.zeros((3, 2)), targets, {}), POINT.spec)
    np.testing.assert_array_equal(dataset.targets, targets)


RECIPE = dataclasses.replace(
    CLONING,
    learning_rate=0.02,
    max_grad_norm=0.5,
    optimizer_options={"b1": 0.9, "eps": 1e-5},
    evolve=("learning_rate", "max_grad_norm", "b1", "eps"),
)


def with_codes(**codes):
    return CloningGenome(jnp.zeros((3, 2)), jnp.zeros((3, 1)), {k: jnp.asarray(v) for k, v in codes.items()})


def test_evolved_scalars_start_at_code_zero_which_is_the_configured_recipe():
    genome = RECIPE.init_genome(jax.random.key(0), POINT, lambda obs: obs)
    assert all(code == 0.0 for code in genome.recipe.values())
    decoded = RECIPE.recipe(genome)
    assert {k: pytest.approx(float(v), rel=1e-5) for k, v in decoded.items()} == {
        "learning_rate": 0.02, "max_grad_norm": 0.5, "b1": 0.9, "eps": 1e-5,
    }  # fmt: skip


def test_a_code_multiplies_positive_scalars_and_shifts_those_of_the_unit_interval():
    decoded = RECIPE.recipe(with_codes(learning_rate=1.0, b1=-1.0))
    assert math.isclose(decoded["learning_rate"], 0.02 * math.e, rel_tol=1e-5)
    assert math.isclose(decoded["b1"], 1 / (1 + math.exp(1) / 9), rel_tol=1e-5)
    for code in (-10.0, -3.0, 3.0, 10.0):
        decoded = RECIPE.recipe(with_codes(learning_rate=code, b1=code))
        assert 0.0 < decoded["b1"] < 1.0
        assert decoded["learning_rate"] > 0.0


@pytest.mark.parametrize(
    ("optimizer", "option", "base", "at_one"),
    [
        ("adafactor", "decay_rate", 0.8, 1 / (1 + 0.25 * math.exp(-1))),
        ("rmsprop", "decay", 0.8, 1 / (1 + 0.25 * math.exp(-1))),
        ("adadelta", "rho", 0.8, 1 / (1 + 0.25 * math.exp(-1))),
        ("signum", "beta", 0.8, 1 / (1 + 0.25 * math.exp(-1))),
        ("optimistic_adam_v2", "beta", 0.8, 0.8 * math.e),
        ("adamw", "weight_decay", 0.8, 0.8 * math.e),
        ("rprop", "eta_plus", 1.2, 1 + 0.2 * math.e),
    ],
)
def test_a_code_keeps_an_option_where_its_optimizer_can_use_it(optimizer, option, base, at_one):
    learner = dataclasses.replace(
        CLONING, optimizer=optimizer, optimizer_options={option: base}, evolve=(option,), max_grad_norm=0.0
    )
    decoded = [float(learner.recipe(with_codes(**{option: code}))[option]) for code in (0.0, 1.0)]
    np.testing.assert_allclose(decoded, [base, at_one], rtol=1e-5)


def test_cloning_uses_the_evolved_scalars():
    dataset = Dataset(jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), jnp.ones((3, 1)))
    genome = CloningGenome(dataset.observations, dataset.targets, {k: jnp.asarray(0.7) for k in RECIPE.evolve})
    learn = jax.jit(lambda p: RECIPE.learn(jax.random.key(0), genome, p, POINT.spec))
    evolved, metrics = learn(SMALL.init(jax.random.key(7), POINT.spec))
    recipe = {name: float(metrics[f"recipe/{name}"]) for name in RECIPE.evolve}
    assert recipe["learning_rate"] == pytest.approx(0.02 * math.exp(0.7), rel=1e-5)
    plain = RECIPE.constant(genome)
    assert (plain.evolve, plain.learning_rate, dict(plain.optimizer_options)["b1"]) == (
        (), recipe["learning_rate"], recipe["b1"],
    )  # fmt: skip
    written_in, _ = clone(plain, dataset, POINT.spec)
    unchanged, _ = clone(dataclasses.replace(RECIPE, evolve=()), dataset, POINT.spec)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), evolved, written_in)
    assert not np.allclose(evolved["layers_0"]["kernel"], unchanged["layers_0"]["kernel"], atol=1e-3)


WEIGHTED = dataclasses.replace(CLONING, evolve=("pair_weights",), num_updates=4, learning_rate=0.02)
SCATTERED = Dataset(jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), jnp.asarray([[1.0], [-1.0], [0.5]]))


def test_evolved_pair_weights_start_equal_and_keep_their_mean():
    genome = WEIGHTED.init_genome(jax.random.key(0), POINT, lambda obs: obs)
    assert genome.recipe["pair_weights"].shape == (3,)
    np.testing.assert_allclose(WEIGHTED.recipe(genome)["pair_weights"], 1.0)
    moved = WEIGHTED.recipe(with_codes(pair_weights=[200.0, 200.0 + math.log(4.0), 0.0]))["pair_weights"]
    np.testing.assert_allclose(moved, [0.6, 2.4, 0.0], rtol=1e-5)


def test_evolved_pair_weights_are_written_into_the_recipe():
    genome = CloningGenome(SCATTERED.observations, SCATTERED.targets, {"pair_weights": jnp.asarray([0.0, 1.0, -1.0])})
    learn = jax.jit(lambda p: WEIGHTED.learn(jax.random.key(0), genome, p, POINT.spec))
    evolved, metrics = learn(SMALL.init(jax.random.key(7), POINT.spec))
    constant = registry.build(json.loads(json.dumps(registry.describe(WEIGHTED.constant(genome)))))
    assert (constant.evolve, len(constant.pair_weights)) == ((), 3)
    assert metrics["recipe/least_pair_weight"] == min(constant.pair_weights) < 1.0
    assert metrics["recipe/largest_pair_weight"] == max(constant.pair_weights) > 1.0
    written_in, _ = clone(constant, SCATTERED, POINT.spec)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), evolved, written_in)
    unweighted, _ = clone(dataclasses.replace(constant, pair_weights=()), SCATTERED, POINT.spec)
    assert not np.allclose(evolved["layers_0"]["kernel"], unweighted["layers_0"]["kernel"], atol=1e-3)


@pytest.mark.parametrize("batch_size", [0, 1])
def test_a_pair_of_weight_0_does_not_count_and_equal_weights_change_nothing(batch_size):
    sgd = dataclasses.replace(CLONING, optimizer="sgd", loss=GaussianNLL(), num_updates=2, batch_size=batch_size)
    others = SCATTERED.replace(targets=SCATTERED.targets.at[2].set(9.0))
    without = dataclasses.replace(sgd, pair_weights=(1.0, 2.0, 0.0))
    one, two = (clone(without, dataset, POINT.spec)[0] for dataset in (SCATTERED, others))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    plain, equal = (
        clone(x, SCATTERED, POINT.spec)[0] for x in (sgd, dataclasses.replace(sgd, pair_weights=(1.0,) * 3))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), plain, equal)


def test_a_training_over_prefixes_sees_the_pairs_of_one_of_them():
    nested = dataclasses.replace(CLONING, loss=MSE(), num_updates=4, learning_rate=0.02, prefixes=(1, 3))
    genome = CloningGenome(SCATTERED.observations, SCATTERED.targets, {})
    start = SMALL.init(jax.random.key(7), POINT.spec)
    learn = jax.jit(lambda key: nested.learn(key, genome, start, POINT.spec)[0])
    drawn = [learn(jax.random.key(seed)) for seed in range(8)]
    sizes = set()
    for trained in drawn:
        for n in (1, 3):
            few = Dataset(SCATTERED.observations[:n], SCATTERED.targets[:n])
            alone = clone(nested.for_report.sized(n), few, POINT.spec)[0]
            close = jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-6), alone, trained)
            sizes |= {n} if all(jax.tree.leaves(close)) else set()
    assert sizes == {1, 3}
    assert nested.for_report == nested.constant(genome) == dataclasses.replace(nested, prefixes=())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prefixes": (2, 9)}, "9"),
        ({"prefixes": (2,), "batch_size": 1}, "batch_size"),
        ({"prefixes": (2,), "pair_weights": (1.0, 2.0, 0.0)}, "pair_weights"),
    ],
)
def test_prefixes_that_cannot_be_drawn_are_refused(fields, named):
    with pytest.raises(ConfigError, match=named):
        dataclasses.replace(CLONING, **fields)


def test_genomes_start_at_zeros_or_gaussian(key):
    zeros = CLONING.init_genome(key, POINT, lambda obs: obs)
    np.testing.assert_array_equal(zeros.observations, 0.0)
    np.testing.assert_array_equal(zeros.targets, 0.0)
    gaussian = dataclasses.replace(CLONING, start="gaussian", start_scale=3.0).init_genome(key, POINT, lambda obs: obs)
    np.testing.assert_allclose(gaussian.observations, 3.0 * jax.random.normal(key, (3, 2)), rtol=1e-6)


def test_genomes_start_at_normalised_states_that_a_random_policy_meets(key):
    learner = dataclasses.replace(CLONING, start="random_policy", num_pairs=20)
    env = Point(max_episode_steps=6)
    observations = learner.init_genome(key, env, lambda obs: 10.0 * obs).observations / 10.0
    assert len(np.unique(observations[:, 1])) == 20  # an episode each: the goal differs
    assert (np.abs(observations[:, 1]) <= 1.0).all()
    assert (np.abs(observations[:, 0]) <= 1.0 + 6 * env.stride).all()


@pytest.mark.parametrize("targets", ["hard", "fixed"])
def test_class_targets_are_refused_for_box_actions(targets):
    with pytest.raises(ConfigError, match=rf'targets.*"{targets}".*discrete'):
        dataclasses.replace(CLONING, targets=targets).check(POINT.spec)


def test_a_learner_refuses_a_policy_that_cannot_see_the_observations():
    with pytest.raises(ConfigError, match="MLP"):
        dataclasses.replace(CLASSIFYING, policy=CNN()).check(Gymnax("CartPole-v1").spec)
