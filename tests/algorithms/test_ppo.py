"""PPO: it learns, treats the ends of episodes as what they are, and refuses what does not fit."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hades.algorithms.ppo import PPO
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import RestartingNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.policies.mlp import MLP
from tests.support import LEARNING, run_python

STEPPING = dataclasses.replace(LEARNING, num_envs=8, num_steps=6, num_epochs=1, num_minibatches=1, learning_rate=1e-6)


def trained(algorithm: PPO, iterations: int, mesh: Any, seed: int = 0) -> tuple[Any, dict[str, jax.Array]]:
    @jax.jit
    def search(key: jax.Array) -> Any:
        return lax.scan(lambda s, _: algorithm.step(s, mesh), algorithm.init(key), None, length=iterations)

    return search(jax.random.key(seed))


@pytest.mark.parametrize("discrete", [False, True])
def test_it_approaches_the_optimum_of_point(discrete: bool, mesh: Any) -> None:
    env = Point(discrete=discrete, max_episode_steps=10)
    algorithm = PPO(
        environment=env,
        actor=MLP(width=32, depth=1, log_std=-0.5),
        normalizer=RunningNormalizer(episodes=4),
        num_envs=32,
        num_steps=20,
        num_minibatches=4,
        learning_rate=5e-3,
        entropy_weight=0.0,
        normalize_rewards=True,
    )
    state, metrics = trained(algorithm, 60, mesh)
    solution = algorithm.solution(state)
    returns = jax.jit(lambda k: algorithm.evaluate(k, solution, 4, 64).returns)(jax.random.key(1))
    first, optimum = float(metrics["fitness/mean"][0]), env.optimal_return()
    assert float(returns.mean()) > optimum + 0.25 * (first - optimum)  # at least three quarters of the way
    assert metrics["env_steps"].tolist() == [640] * 60
    assert metrics["episodes"].tolist() == [64] * 60
    assert metrics["ppo/explained_variance"][-1] > 0.3


def test_what_an_iteration_collects_is_what_the_environment_does(mesh: Any) -> None:
    """Rewards, ends and log-probabilities of the steps, replayed from their observations and actions."""
    env = Point(max_episode_steps=4)
    algorithm = dataclasses.replace(STEPPING, environment=env)
    state = algorithm.init(jax.random.key(0))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    after, steps, episodes = jax.jit(lambda s: algorithm.collect(jax.random.key(1), s, sharding))(state)
    position, goal = np.asarray(steps.obs[..., 0]), np.asarray(steps.obs[..., 1])
    moved = position + 0.25 * np.clip(np.asarray(steps.action[..., 0]), -1, 1)
    np.testing.assert_allclose(steps.reward, -np.abs(goal - moved), atol=1e-6)
    assert np.asarray(steps.done).all(1).tolist() == [False, False, False, True, False, False]
    assert not np.asarray(steps.done)[[0, 1, 2, 4, 5]].any()
    assert int(episodes) == 8
    np.testing.assert_allclose(moved[:3], position[1:4], atol=1e-6)  # an episode goes on …
    assert np.abs(moved[3] - position[4]).min() > 1e-4  # … and begins anew
    np.testing.assert_allclose(after.last_returns, np.asarray(steps.reward)[:4].sum(0), rtol=1e-5)
    distribution = algorithm.actor.distribution(state.networks.actor, steps.obs, env.spec)
    np.testing.assert_allclose(steps.log_prob, distribution.log_prob(steps.action), rtol=1e-4)


def test_a_time_limit_is_bootstrapped_from_the_true_last_observation(mesh: Any) -> None:
    algorithm = dataclasses.replace(STEPPING, environment=Point(max_episode_steps=4))
    state = algorithm.init(jax.random.key(0))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    played, steps, _ = jax.jit(lambda s: algorithm.collect(jax.random.key(1), s, sharding))(state)
    moved = steps.obs[3, :, 0] + 0.25 * jnp.clip(steps.action[3, :, 0], -1, 1)
    last = jnp.stack([moved, steps.obs[3, :, 1]], axis=-1)
    np.testing.assert_allclose(steps.beyond[3], algorithm._value(state, last), rtol=1e-5)
    assert np.abs(steps.beyond[3]).min() > 0
    assert not np.asarray(steps.beyond)[[0, 1, 2, 4, 5]].any()
    _, batch, _ = algorithm.prepare(played, steps)
    expected = (
        steps.reward[3] + algorithm.discount * steps.beyond[3] - algorithm._value(state, steps.obs[3])
    )  # nothing else follows an end
    np.testing.assert_allclose(batch.advantage.reshape(6, 8)[3], expected, rtol=1e-5)
    without = dataclasses.replace(algorithm, bootstrap_truncated=False)
    assert not np.asarray(without.collect(jax.random.key(1), state, sharding)[1].beyond).any()


def test_an_end_of_the_task_is_not_bootstrapped(mesh: Any) -> None:
    env = Point(max_episode_steps=50, radius=10.0)  # every step terminates
    algorithm = dataclasses.replace(STEPPING, environment=env)
    state = algorithm.init(jax.random.key(0))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    _, steps, _ = algorithm.collect(jax.random.key(1), state, sharding)
    assert np.asarray(steps.done).all()
    assert not np.asarray(steps.beyond).any()


def test_normalised_rewards_are_divided_by_the_deviation_of_discounted_ones(mesh: Any) -> None:
    algorithm = dataclasses.replace(STEPPING, normalize_rewards=True, discount=0.9)
    state = algorithm.init(jax.random.key(0))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    played, steps, _ = algorithm.collect(jax.random.key(1), state, sharding)
    prepared, batch, _ = algorithm.prepare(played, steps)
    total, sums = np.zeros(8), []
    for reward, done in zip(np.asarray(steps.reward), np.asarray(steps.done), strict=True):
        total = 0.9 * total + reward
        sums.append(total)
        total = np.where(done, 0.0, total)
    np.testing.assert_allclose(prepared.reward_moments.variance, np.var(sums), rtol=1e-4)
    np.testing.assert_allclose(prepared.discounted, total, rtol=1e-4)
    scaled = np.asarray(steps.reward) / np.std(sums)
    last = np.asarray(algorithm._value(played, played.envs.obs))
    values = np.asarray(algorithm._value(state, steps.obs))
    one_step = scaled[-1] + 0.9 * last - values[-1]  # the last step of the batch ends no episode
    np.testing.assert_allclose(batch.advantage.reshape(6, 8)[-1], one_step, rtol=1e-3, atol=1e-5)


def test_the_rate_falls_and_ends_at_zero(mesh: Any) -> None:
    algorithm = dataclasses.replace(STEPPING, learning_rate=0.1, anneal_steps=96)  # two iterations
    step = jax.jit(lambda s: algorithm.step(s, mesh))
    states, rates = [jax.jit(algorithm.init)(jax.random.key(0))], []
    for _ in range(3):
        state, metrics = step(states[-1])
        states.append(state)
        rates.append(metrics["ppo/learning_rate"])
    np.testing.assert_allclose(rates, [0.1, 0.05, 0.0], rtol=1e-6)
    chex.assert_trees_all_equal(states[3].networks, states[2].networks)


def test_an_update_that_is_not_finite_is_dropped_and_counted(mesh: Any) -> None:
    algorithm = dataclasses.replace(
        LEARNING, optimizer="sgd", optimizer_options=(), learning_rate=1e38, max_grad_norm=1e38
    )
    start = algorithm.init(jax.random.key(0))
    state, _ = trained(algorithm, 2, mesh)
    assert int(state.failures) == 2
    assert int(state.generation) == 2
    same = jax.tree.map(lambda a, b: bool((a == b).all()), start.networks, state.networks)
    assert all(jax.tree.leaves(same))


@dataclasses.dataclass(frozen=True)
class Overflowing(Point):
    """Where the goal is right of the middle, one entry of a transition has a square that float32 does not hold."""

    what: str = "obs"

    def step(self, key: Any, state: Any, action: Any) -> Any:
        state, step = super().step(key, state, action)
        huge = jnp.where(state[1] > 0, 3e19, 1.0)
        return state, step.replace(**{self.what: getattr(step, self.what) * huge})


def test_observations_that_would_spoil_the_statistics_are_refused_and_shown(mesh: Any) -> None:
    algorithm = dataclasses.replace(LEARNING, normalizer=RunningNormalizer(episodes=2))
    start = jax.jit(algorithm.init)(jax.random.key(0))
    broken = dataclasses.replace(algorithm, environment=Overflowing(max_episode_steps=4))
    state, metrics = jax.jit(lambda s: broken.step(s, mesh))(start)
    assert metrics["normalizer/refused"] == 1
    chex.assert_trees_all_equal(state.normalizer, start.normalizer)
    assert state.failures == 0  # observations are clipped, so learning goes on
    state, metrics = jax.jit(lambda s: algorithm.step(s, mesh))(start)
    assert metrics["normalizer/refused"] == 0
    assert state.normalizer.moments.count == start.normalizer.moments.count + 24
    assert "normalizer/refused" not in jax.eval_shape(lambda s: LEARNING.step(s, mesh), start)[1]


@pytest.mark.slow
def test_rewards_that_would_spoil_their_scale_are_refused_and_shown(mesh: Any) -> None:
    algorithm = dataclasses.replace(LEARNING, normalize_rewards=True)
    step = jax.jit(lambda s: algorithm.step(s, mesh))
    start, _ = step(jax.jit(algorithm.init)(jax.random.key(0)))
    broken = dataclasses.replace(algorithm, environment=Overflowing(max_episode_steps=4, what="reward"))
    state, metrics = jax.jit(lambda s: broken.step(s, mesh))(start)
    assert metrics["ppo/rewards_refused"] == 1
    np.testing.assert_array_equal(state.reward_moments.variance, start.reward_moments.variance)
    assert step(start)[1]["ppo/rewards_refused"] == 0


@pytest.mark.system
def test_eight_devices_learn_as_one(mesh: Any) -> None:
    code = """
import jax, json
from tests.algorithms.test_ppo import trained
from tests.support import LEARNING
mesh = jax.make_mesh((8,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
print(json.dumps([float(x) for x in trained(LEARNING, 5, mesh)[1]["ppo/value_loss"]]))
"""
    eight = run_python(code, JAX_NUM_CPU_DEVICES="8")
    _, metrics = trained(LEARNING, 5, mesh)
    np.testing.assert_allclose(eight, metrics["ppo/value_loss"], rtol=1e-3)
    assert np.ptp(metrics["ppo/value_loss"]) > 1e-3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_minibatches": 5}, "does not divide the 8 × 3 = 24 steps"),
        ({"num_envs": 0}, "PPO.num_envs is 0; it must be at least 1"),
        ({"discount": 1.5}, r"PPO.discount is 1.5; it must be at least 0 and at most 1"),
        ({"clip": 0.0}, "PPO.clip is 0.0; it must be above 0"),
        ({"anneal_steps": -1}, "PPO.anneal_steps is -1"),
        ({"normalizer": RestartingNormalizer()}, "PPO.normalizer is RestartingNormalizer, whose statistics restart"),
        ({"optimizer": "adamm"}, 'PPO.optimizer is "adamm"'),
        ({"learning_rate": "fast"}, "PPO.learning_rate is 'fast'; it must be a number"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        dataclasses.replace(LEARNING, **changes)


def test_a_critic_of_its_own_and_no_normaliser() -> None:
    algorithm = dataclasses.replace(LEARNING, critic=MLP(width=4, depth=2), normalizer=NoNormalizer())
    critic = jax.eval_shape(algorithm.init, jax.random.key(0)).networks.critic
    assert critic["layers_0"]["kernel"].shape == (2, 4)
    assert critic["layers_2"]["kernel"].shape == (4, 1)


def test_without_a_finished_episode_there_is_no_return_and_no_nan(mesh: Any) -> None:
    algorithm = dataclasses.replace(LEARNING, environment=Point(max_episode_steps=1000))
    step = jax.jit(lambda s: algorithm.step(s, mesh))
    state, metrics = step(jax.jit(algorithm.init)(jax.random.key(0)))
    assert all(np.isneginf(metrics[f"fitness/{name}"]).all() for name in ("mean", "max", "min", "std"))
    chex.assert_tree_all_finite({k: v for k, v in metrics.items() if not k.startswith("fitness/")})
    partly = state.replace(last_returns=jnp.arange(1.0, 1.0 + algorithm.num_envs).at[0].set(-jnp.inf))
    summary = step(partly)[1]
    known = np.asarray(partly.last_returns)[np.isfinite(partly.last_returns)]
    for name, value in (("mean", known.mean()), ("max", known.max()), ("min", known.min()), ("std", known.std())):
        np.testing.assert_allclose(summary[f"fitness/{name}"], value, rtol=1e-5)
