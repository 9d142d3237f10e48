"""RidgeCloning is ridge regression on the features of the last layer, and its result an ordinary policy."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hades
from hades.algorithms.base import Solution
from hades.algorithms.evolution import Evolution
from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE, centred_log, centred_logits
from hades.inner.pairs import CloningGenome, StartPairs
from hades.inner.ridge_cloning import RidgeCloning
from hades.normalizers.base import identity_state
from hades.policies.base import Policy
from hades.policies.distributions import Categorical, DiagonalGaussian
from hades.policies.mlp import MLP
from hades.policies.wide_mlp import WideMLP
from hades.runs.result import distilled_dataset
from hades.runs.stages import pairs_of
from hades.types import Dataset, EnvSpec
from tests.support import BOX_SPEC, EVOLUTION, POINT, POINT_DISCRETE

KEY = jax.random.key(0)
MLP_16 = MLP(width=16, depth=2, activation="tanh")
RIDGE = RidgeCloning(policy=MLP_16, init_scheme=RandomInit(2), num_pairs=4)


def test_its_outputs_are_those_of_ridge_regression_by_numpy() -> None:
    x, y, elsewhere = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(4, 3), (4, 2), (9, 3)]))
    start = MLP_16.init(KEY, BOX_SPEC)
    trained, metrics = RIDGE.clone(KEY, Dataset(x, y), start, BOX_SPEC)

    def features(obs: jax.Array) -> np.ndarray:
        hidden = np.asarray(obs, np.float64)
        for name in ("layers_0", "layers_1"):
            hidden = np.tanh(hidden @ np.asarray(start[name]["kernel"]) + np.asarray(start[name]["bias"]))
        return np.concatenate([hidden, np.ones((len(hidden), 1))], 1)

    gram = features(x) @ features(x).T
    penalty = 0.01 * np.trace(gram) / 4
    coefficients = np.linalg.solve(gram + penalty * np.eye(4), np.asarray(y, np.float64))
    outputs = MLP_16.distribution(trained, elsewhere, BOX_SPEC).mode()
    np.testing.assert_allclose(outputs, features(elsewhere) @ features(x).T @ coefficients, rtol=1e-3, atol=1e-4)
    error = np.asarray(MLP_16.distribution(trained, x, BOX_SPEC).mode() - y)
    np.testing.assert_allclose(metrics["loss/final"], np.square(error).mean(), rtol=1e-2)
    np.testing.assert_allclose(metrics["loss/first"], np.square(y).mean(), rtol=1e-5)
    assert jax.tree.structure(trained) == jax.tree.structure(start)
    np.testing.assert_array_equal(trained["layers_0"]["kernel"], start["layers_0"]["kernel"])


def test_targets_are_handed_over_as_they_are() -> None:
    pairs = Dataset(jax.random.normal(KEY, (4, 2)), jax.random.normal(KEY, (4, 2)))
    assert RIDGE.handed_over(pairs, POINT.spec, _no_visits) == (pairs, None)


def _no_visits() -> jax.Array:
    raise AssertionError("nothing asked for visited states")


@pytest.mark.parametrize("spec", [POINT.spec, POINT_DISCRETE.spec])
def test_an_affine_policy_is_handed_over_about_the_observation_at_which_it_prefers_no_action(spec: EnvSpec) -> None:
    """Another network that is trained on its pairs acts, about that observation, as the policy before."""
    wide = RidgeCloning(WideMLP(), RandomInit(1), num_pairs=4, ridge=0.1, mirrored=True, hand_over="affine")
    y = jnp.asarray([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [0.5, 0.0, -0.5]])[:, : spec.action_space.size]
    genome = CloningGenome(1.5 * jnp.eye(2), y, {})
    states = jax.random.normal(jax.random.key(2), (64, spec.obs_size))

    def outputs(learner: RidgeCloning, pairs: Dataset, states: jax.Array) -> np.ndarray:
        trained, _ = learner.clone(KEY, pairs, learner.policy.init(KEY, spec), spec)
        found = learner.policy.distribution(trained, states, spec)
        assert isinstance(found, (Categorical, DiagonalGaussian))
        return np.asarray(centred_logits(found.logits) if isinstance(found, Categorical) else found.mode())

    before = wide.dataset(genome, spec)
    handed, centre = wide.handed_over(before, spec, lambda: states)
    assert centre is not None
    answers = np.asarray(centred_log(handed.targets) if spec.is_discrete else handed.targets)
    np.testing.assert_allclose(answers[0::2], -answers[1::2], atol=1e-5)
    expected = outputs(wide, before, states)
    after = outputs(dataclasses.replace(wide, ridge=1e-4), handed, states - centre)
    spread = expected.std()
    assert np.sqrt(np.square(after - expected).mean()) < 0.2 * spread
    unmoved = outputs(dataclasses.replace(wide, ridge=1e-4), handed, states)
    assert np.sqrt(np.square(unmoved - expected).mean()) > 0.4 * spread


def test_networks_that_draw_weights_hand_over_no_affine_policy() -> None:
    with pytest.raises(ConfigError, match=r"RidgeCloning\.hand_over"):
        dataclasses.replace(RIDGE, hand_over="affine")
    with pytest.raises(ConfigError, match="affine"):
        dataclasses.replace(RIDGE, hand_over="affin")


def test_a_training_over_prefixes_is_that_of_one_of_them_alone() -> None:
    genome = CloningGenome(jax.random.normal(KEY, (4, 2)), 0.3 * jax.random.normal(KEY, (4, 2)), {})
    start = MLP_16.init(KEY, POINT.spec)
    nested = dataclasses.replace(RIDGE, prefixes=(1, 3))
    alone = [
        dataclasses.replace(RIDGE, num_pairs=n).clone(
            KEY, Dataset(genome.observations[:n], genome.targets[:n]), start, POINT.spec
        )
        for n in (1, 3)
    ]
    sizes = set()
    for seed in range(8):
        trained, metrics = nested.learn(jax.random.key(seed), genome, start, POINT.spec)
        for n, (expected, losses) in zip((1, 3), alone, strict=True):
            close = jax.tree.map(lambda a, b: np.allclose(a, b, atol=1e-5), (expected, losses), (trained, metrics))
            sizes |= {n} if all(jax.tree.leaves(close)) else set()
    assert sizes == {1, 3}
    assert nested.for_report == nested.constant(genome) == RIDGE
    with pytest.raises(ConfigError, match=r"RidgeCloning\.prefixes is \(2, 9\), but there are 4 pairs"):
        dataclasses.replace(RIDGE, prefixes=(2, 9))


def test_discrete_targets_are_the_logits_of_their_probabilities() -> None:
    logits = 10.0 * jax.random.normal(KEY, (4, POINT_DISCRETE.spec.action_space.size))
    learner = dataclasses.replace(RIDGE, ridge=1e-6, policy=WideMLP())
    genome = CloningGenome(jax.random.normal(KEY, (4, 2)), logits, {})
    trained, _ = learner.learn(KEY, genome, learner.init_params(KEY, POINT_DISCRETE.spec), POINT_DISCRETE.spec)
    outputs = learner.policy.distribution(trained, genome.observations, POINT_DISCRETE.spec).logits  # type: ignore[union-attr]
    np.testing.assert_allclose(outputs, logits - logits.mean(-1, keepdims=True), rtol=0.02, atol=0.1)


def test_scalars_that_are_searched_for_are_decoded_and_become_constants() -> None:
    learner = dataclasses.replace(
        RIDGE, policy=WideMLP(log_std=-1.0), evolve=("target_scale", "log_std"), target_scale=2.0
    )
    codes = {"target_scale": jnp.log(3.0), "log_std": jnp.asarray(0.5)}
    genome = CloningGenome(jax.random.normal(KEY, (4, 2)), jnp.ones((4, 1)), codes)
    np.testing.assert_allclose(learner.dataset(genome, POINT.spec).targets, 6.0, rtol=1e-6)
    trained, metrics = learner.learn(KEY, genome, learner.init_params(KEY, POINT.spec), POINT.spec)
    np.testing.assert_allclose(trained["log_std"], -0.5)
    np.testing.assert_allclose([metrics["recipe/target_scale"], metrics["recipe/log_std"]], [6.0, -0.5], rtol=1e-6)
    constant = learner.constant(genome)
    assert (constant.policy.log_std, constant.evolve, constant.target_scale) == (-0.5, (), 1.0)


@pytest.mark.parametrize("env", [POINT, POINT_DISCRETE])
def test_a_dataset_of_the_closed_form_is_an_ordinary_file_that_a_search_starts_from(
    env: Environment, tmp_path: Path
) -> None:
    learner = RidgeCloning(policy=WideMLP(acting="greedy"), init_scheme=RandomInit(1), num_pairs=3)
    algorithm = dataclasses.replace(EVOLUTION, environment=env, learner=learner)
    genome = learner.init_genome(KEY, env, lambda obs: obs)
    dataset = distilled_dataset(algorithm, Solution(genome, identity_state(env.spec.obs_shape)))
    assert dataset is not None
    loaded = hades.load_dataset(dataset.save(tmp_path / "wide.safetensors"))
    assert loaded == dataset
    assert loaded.learner == learner
    policy = hades.train_policy(loaded, seed=1)
    assert np.isfinite(hades.evaluate(policy, num_episodes=4).mean)
    again = dataclasses.replace(learner, start_pairs=pairs_of(loaded, "a file")).init_genome(KEY, env, lambda obs: obs)
    np.testing.assert_allclose(again.observations, genome.observations, atol=1e-6)
    pairs = [learner.dataset(g, env.spec).targets for g in (genome, again)]
    np.testing.assert_allclose(*pairs, atol=1e-6)


def test_evolution_searches_with_it(mesh: jax.sharding.Mesh) -> None:
    algorithm: Evolution = dataclasses.replace(EVOLUTION, learner=dataclasses.replace(RIDGE, num_pairs=3))
    _, metrics = jax.jit(lambda s: algorithm.step(s, mesh))(jax.jit(algorithm.init)(KEY))
    assert np.isfinite(metrics["fitness/mean"])


class Unnamed(MLP):
    """A policy without features of its last layer."""

    kernel = Policy.kernel


def test_what_cannot_work_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"RidgeCloning\.policy is Unnamed, which names no features"):
        dataclasses.replace(RIDGE, policy=Unnamed()).check(BOX_SPEC)
    with pytest.raises(ConfigError, match=r'"log_std", but the actions of .* are discrete'):
        dataclasses.replace(RIDGE, evolve=("log_std",)).check(POINT_DISCRETE.spec)
    with pytest.raises(ConfigError, match=r'"log_std", which learn_log_std = False'):
        dataclasses.replace(RIDGE, policy=MLP(learn_log_std=False), evolve=("log_std",))
    with pytest.raises(ConfigError, match=r'RidgeCloning\.evolve names "learning_rate", not a scalar'):
        dataclasses.replace(RIDGE, evolve=("learning_rate",))
    three = StartPairs(num_pairs=3, observations=(0.0,) * 6, targets=(0.0,) * 3, source="x.safetensors")
    with pytest.raises(ConfigError, match=r"num_pairs is 4, but the pairs to start from \(x.safetensors\) are 3"):
        dataclasses.replace(RIDGE, start_pairs=three)
    with pytest.raises(ConfigError, match="have 2 observed numbers and 1 targets each, but box has 3 and 2"):
        dataclasses.replace(RIDGE, num_pairs=3, start_pairs=three).check(BOX_SPEC)
    with pytest.raises(ConfigError, match='is "fixed", but a search that starts from pairs'):
        dataclasses.replace(RIDGE, num_pairs=3, start_pairs=three, targets="fixed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "zeros"}, 'BehaviourCloning.start is "zeros"'),
        ({"start": "gaussian", "targets": "hard"}, 'BehaviourCloning.targets is "hard"'),
        ({"start": "gaussian", "optimizer": "adam"}, r"optimizer_options = \(\('eps_root', 1e-8\),\)"),
    ],
)
def test_learners_without_a_useful_gradient_are_refused(changes: dict[str, str], message: str) -> None:
    fields = {"policy": MLP_16, "init_scheme": RandomInit(1), "loss": MSE(), "num_pairs": 3, "optimizer": "sgd"}
    with pytest.raises(ConfigError, match=message):
        BehaviourCloning(**(fields | changes)).check_differentiable()  # type: ignore[arg-type]  # a mapping of fields
