"""Many policies in one program, each of them the one that its seed trains alone, and what they do with observations."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hades
from hades.data.dataset import DistilledDataset
from hades.environments.gymnax import Gymnax
from hades.environments.tasks import Tasks
from hades.errors import ConfigError
from hades.inner.init_scheme import FixedInit, RandomInit
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import RestartingNormalizer
from hades.policies.cnn import CNN
from hades.policies.wide_mlp import WideMLP
from hades.policy.run_policy import RunPolicy
from hades.policy.trained_policy import TrainedPolicies, TrainedPolicy, evaluate, train_policies, train_policy
from tests.support import CLONING, LEARNING, POINT, POINT_DISCRETE, SMALL

SEEDS = (3, 0, 2**32 - 1)


@pytest.fixture(scope="module")
def dataset(finished: Path) -> DistilledDataset:
    return hades.load_dataset(finished / "dataset.safetensors")


@pytest.fixture(scope="module")
def policies(dataset: DistilledDataset) -> TrainedPolicies:
    return train_policies(dataset, SEEDS)


def same(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def test_each_policy_is_that_of_its_seed_bit_for_bit(
    dataset: DistilledDataset, policies: hades.TrainedPolicies
) -> None:
    for policy, seed in zip(policies, SEEDS, strict=True):
        alone = train_policy(dataset, seed=seed)
        assert same(policy.params, alone.params)
        assert policy.loss == alone.loss
    assert not same(policies[0].params, policies[1].params)


def test_they_train_inside_jit_vmap_and_scan(dataset: DistilledDataset, policies: TrainedPolicies) -> None:
    seeds = jnp.asarray(np.array(SEEDS, np.uint32))

    @jax.jit
    def program(seeds: jax.Array) -> Any:
        mapped = jax.vmap(lambda seed: train_policies(dataset, seed[None]).params)(seeds)
        _, losses = jax.lax.scan(lambda _, seed: (None, train_policies(dataset, seed[None]).losses[0]), None, seeds)
        trained = train_policies(dataset, seeds)
        return trained, mapped, losses, trained.play(jax.random.key(0), 2).returns, trained[1].loss

    trained, mapped, losses, returns, loss = program(seeds)
    assert same(trained, policies)
    for one, other in zip(jax.tree.leaves(mapped), jax.tree.leaves(policies.params), strict=True):
        np.testing.assert_allclose(one[:, 0], other, atol=1e-5)
    np.testing.assert_allclose(losses, policies.losses, rtol=1e-5)
    assert returns.shape == (3, 2)
    assert loss == policies.losses[1]


def test_policies_side_by_side_differ_in_rounding_only(dataset: DistilledDataset, policies: TrainedPolicies) -> None:
    together = train_policies(dataset, SEEDS, at_once=2)
    for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(policies), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_some_of_the_policies_are_policies_too(policies: TrainedPolicies) -> None:
    assert len(policies) == 3
    best = policies[jnp.argsort(policies.losses)[:2]]
    assert (len(best), len(policies[1:])) == (2, 2)
    assert best[0].loss == policies.losses.min()
    assert same(policies[-1].params, policies[2].params)
    with pytest.raises(IndexError):
        policies[3]


def test_an_evaluation_of_many_has_a_unit_for_each(dataset: DistilledDataset, policies: TrainedPolicies) -> None:
    summary = evaluate(policies, num_episodes=2)
    assert (summary.num_inits, summary.num_episodes, summary.one_policy) == (3, 2, False)
    assert summary.ci95[0] < summary.mean < summary.ci95[1]
    diverged = evaluate(train_policies(dataset, SEEDS, learning_rate=1e38), num_episodes=2)
    assert "3 of 3 returns are NaN" in str(diverged)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ((), "seeds is empty; give at least one"),
        (0, "seeds is 0; it must be at least 1"),
        (-5, "seeds is -5; it must be at least 1"),
        ((1, -2), r"seeds\[1\] is -2; it must be at least 0"),
        (np.array([2**32]), r"seeds\[0\] is 4294967296; it must be at least 0 and below"),
        (np.array([0.5]), r"seeds\[0\] is 0.5; it must be an integer"),
        (np.zeros((2, 2), int), r"seeds\[0\] is \[0, 0\]; it must be an integer"),
        ("abc", "seeds is 'abc'; it must be a tuple, each entry an integer"),
        (True, "seeds is True; it must be an integer"),
    ],
)
def test_what_is_no_seed_is_refused(dataset: DistilledDataset, seeds: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train_policies(dataset, seeds)


@pytest.mark.parametrize("seeds", [jnp.zeros(3), jnp.zeros((1, 2), int), jnp.zeros(0, int)])
def test_what_is_no_seed_is_refused_while_it_is_traced(dataset: DistilledDataset, seeds: jax.Array) -> None:
    with pytest.raises(ConfigError, match=r"seeds is (float|int)32\[.*it must be i32\[n\]"):
        jax.eval_shape(lambda seeds: train_policies(dataset, seeds), seeds)


@pytest.mark.parametrize("changes", [{"init_scheme": FixedInit()}, {"policy": WideMLP()}], ids=str)
def test_seeds_that_mean_nothing_are_refused(dataset: DistilledDataset, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"2 seeds would train one and the same policy: .*init_scheme=RandomInit"):
        train_policies(dataset, 2, **changes)


def test_one_seed_of_fixed_weights_and_seeds_of_mini_batches_are_taken(dataset: DistilledDataset) -> None:
    assert len(train_policies(dataset, 1, init_scheme=FixedInit(), num_updates=2)) == 1
    policies = train_policies(dataset, 2, init_scheme=FixedInit(), num_updates=2, batch_size=1)
    assert not same(policies[0].params, policies[1].params)


def test_policies_have_short_names(policies: TrainedPolicies) -> None:
    low, high = f"{policies.losses.min():.3g}", f"{policies.losses.max():.3g}"
    assert repr(policies) == f"TrainedPolicies(3 x point, MLP 8x1 tanh, HaDES-R, loss {low} to {high})"
    assert repr(policies[0]) == f"TrainedPolicy(point, MLP 8x1 tanh, HaDES-R, loss {policies.losses[0]:.3g})"
    assert CNN().brief == "CNN 16 + 128 relu"
    assert repr(RunPolicy(LEARNING, None)) == "RunPolicy(point, PPO)"  # type: ignore[arg-type]  # it is not looked at


def untrained(environment: Any, **changes: Any) -> TrainedPolicy:
    """A policy whose output is its first two inputs, in any environment of two or more observed numbers."""
    learner = CLONING.changed(policy=SMALL.__class__(depth=0), init_scheme=RandomInit(1))
    size = environment.spec.action_space.size
    kernel = np.eye(environment.spec.obs_size, size, dtype=np.float32)
    params = {"layers_0": {"kernel": kernel, "bias": np.zeros(size, np.float32)}, "log_std": np.zeros(size, np.float32)}
    normalizer = changes.get("normalizer", NoNormalizer())
    state = normalizer.init(jax.random.key(0), environment)
    return TrainedPolicy(environment, learner, normalizer, state, params, 0.0)


def test_predictions_are_greedy_in_the_environments_own_actions() -> None:
    pendulum = untrained(Gymnax("Pendulum-v1"))
    assert pendulum.predict([0.25, 0.0, 0.0]) == np.float32(0.5)  # torque within ±2
    np.testing.assert_array_equal(pendulum.predict(np.array([[0.25, 0, 0], [9, 0, 0]])), [[0.5], [2.0]])
    discrete = untrained(POINT_DISCRETE)
    action = discrete.predict(np.array([0.1, 0.7]))
    assert action == 1
    assert isinstance(action, np.integer)
    assert discrete.predict(np.array([[0.1, 0.7], [np.nan, 0]])).tolist() == [1, -1]
    task = Tasks((Gymnax("Pendulum-v1"), POINT), references=(0.0, 1.0), floors=(-1.0, 0.0)).members[0]
    np.testing.assert_array_equal(task.native_action(jnp.array([[0.25, 1.0]])), [[0.5]])


def test_predictions_in_jax_stay_in_jax() -> None:
    policy = untrained(POINT)
    assert isinstance(policy.predict(jnp.ones(2)), jax.Array)
    _, actions = jax.lax.scan(lambda _, obs: (None, policy.predict(obs)), None, jnp.array([[0.5, 0.0], [-3.0, 0.0]]))
    np.testing.assert_array_equal(actions, [[0.5], [-1.0]])


@pytest.mark.parametrize(
    ("observations", "message"),
    [
        (np.zeros(3), r"have shape \(3,\); those of point have \(2,\), or \(N, 2\)"),
        (0.0, r"have shape \(\)"),
        (np.zeros((1, 1, 2)), r"have shape \(1, 1, 2\)"),
        ("left", "observations are 'left'; they must be an array of numbers"),
    ],
)
def test_observations_of_another_shape_are_refused(observations: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        untrained(POINT).predict(observations)


def test_a_policy_that_gathers_statistics_has_no_single_predictions() -> None:
    with pytest.raises(ConfigError, match=r"RestartingNormalizer gathers statistics.*freeze_statistics"):
        untrained(POINT, normalizer=RestartingNormalizer()).predict(np.zeros(2))


def test_the_policy_of_a_seed_is_the_first_that_an_evaluation_with_this_seed_trains() -> None:
    """So the keys behind `train_policy` stay what they were in every release."""
    dataset = hades.zoo.load("pendulum-hades-r-d8")
    one = hades.evaluate(hades.train_policy(dataset, seed=3), num_episodes=2, seed=3)
    assert hades.evaluate_dataset(dataset, num_inits=1, num_episodes=2, seed=3).mean == pytest.approx(one.mean)
    other = hades.evaluate(hades.train_policy(dataset, seed=4), num_episodes=2, seed=3)
    assert other.mean != pytest.approx(one.mean)
