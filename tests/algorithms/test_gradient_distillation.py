"""The gradient through cloning is right, the search follows it, and what cannot work is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.flatten_util import ravel_pytree

from hades.algorithms.actor_critic import Batch
from hades.algorithms.gradient_distillation import GradientDistillation
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.fitness.regularizers import visited_distance
from hades.inner.base import InnerLearner
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.identity import Identity
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE, LogitMSE
from hades.inner.ridge_cloning import RidgeCloning
from hades.policies.mlp import MLP
from hades.policies.wide_mlp import WideMLP
from hades.runs.experiment import Experiment
from hades.runs.loop import run
from tests.runs.tiny import assert_same_run, tiny_experiment
from tests.support import BY_GRADIENT, run_python
from tests.support import RIDGE as A_RIDGE

NETWORK = MLP(width=8, depth=1, acting="greedy", log_std=-0.5)
RIDGE = dataclasses.replace(A_RIDGE, policy=NETWORK)
SEARCH = dataclasses.replace(BY_GRADIENT, learner=RIDGE, num_steps=4, learning_rate=1e-2)


def unrolled(optimizer: str, **options: float) -> BehaviourCloning:
    return BehaviourCloning(
        policy=NETWORK,
        init_scheme=RandomInit(2),
        loss=MSE(),
        num_pairs=3,
        start="gaussian",
        start_logit=1.0,
        optimizer=optimizer,
        optimizer_options=tuple(options.items()),
        learning_rate=0.05,
        num_updates=4,
    )


LEARNERS: dict[str, InnerLearner] = {
    "ridge": RIDGE,
    "wide": dataclasses.replace(RIDGE, policy=WideMLP(log_std=-0.5), init_scheme=RandomInit(1)),
    "wide tanh": dataclasses.replace(RIDGE, policy=WideMLP(activation="tanh", output_scale=1.0, log_std=-0.5)),
    "sgd": unrolled("sgd", momentum=0.9),
    "adam": unrolled("adam", eps_root=1e-8),
}


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("name", [*LEARNERS, "near visited states"])
def test_the_gradient_is_that_of_finite_differences(name: str, discrete: bool) -> None:
    learner = LEARNERS.get(name, RIDGE)
    if discrete and hasattr(learner, "loss"):
        learner = dataclasses.replace(learner, loss=LogitMSE())
    algorithm = dataclasses.replace(
        SEARCH, environment=Point(discrete=discrete, max_episode_steps=4), learner=learner, entropy_weight=0.01
    )
    if name not in LEARNERS:
        algorithm = dataclasses.replace(algorithm, visited_weight=1.0, sparsity_weight=0.5)
    with jax.enable_x64(True):
        key = jax.random.key(0)
        to_double = lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x  # noqa: E731
        networks, draws = jax.tree.map(to_double, (algorithm.init(key).networks, algorithm.draw(key)))
        k, rows = algorithm.num_groups, 6
        obs = jax.random.normal(jax.random.key(1), (k, rows, 2), jnp.float64)
        distribution = algorithm.distribution(algorithm.acting_policies(networks.actor, draws), obs)
        action = distribution.sample(jax.random.key(2))
        noise = jax.random.normal(jax.random.key(3), (4, k, rows), jnp.float64)
        batch = Batch(obs, action, distribution.log_prob(action) + 0.05 * noise[0], noise[1], noise[2], noise[3])
        flat, unravel = ravel_pytree(networks.actor)

        @jax.jit
        def loss(x: jax.Array) -> jax.Array:
            return algorithm.loss(dataclasses.replace(networks, actor=unravel(x)), batch, draws)[0]

        gradient = jax.grad(loss)(flat)
        step = 1e-6
        differences = jnp.stack(
            [(loss(flat + step * e) - loss(flat - step * e)) / (2 * step) for e in jnp.eye(flat.size)]
        )
    assert np.linalg.norm(gradient) > 1e-4
    np.testing.assert_allclose(gradient, differences, atol=1e-3 * np.linalg.norm(differences))


def searched(algorithm: GradientDistillation, iterations: int, mesh: Any) -> tuple[Any, dict[str, jax.Array]]:
    @jax.jit
    def search(key: jax.Array) -> Any:
        return lax.scan(lambda s, _: algorithm.step(s, mesh), algorithm.init(key), None, length=iterations)

    return search(jax.random.key(0))


@pytest.mark.parametrize("discrete", [False, True])
def test_it_approaches_the_optimum_of_point_with_fresh_networks(discrete: bool, mesh: Any) -> None:
    env = Point(discrete=discrete, max_episode_steps=10)
    policy = MLP(width=32, depth=1, activation="relu", log_std=-0.5, acting="greedy")
    learner = RidgeCloning(policy=policy, init_scheme=RandomInit(4), num_pairs=4, start_scale=1.0)
    algorithm = dataclasses.replace(
        SEARCH,
        environment=env,
        learner=learner,
        num_envs=32,
        num_steps=20,
        num_epochs=4,
        num_minibatches=4,
        learning_rate=2e-2,
        critic_learning_rate=5e-3,
        entropy_weight=0.0,
        normalize_rewards=True,
    )
    state, metrics = searched(algorithm, 60, mesh)
    evaluate = jax.jit(lambda key, solution: algorithm.evaluate(key, solution, 8, 16).returns.mean())
    first, last = (
        evaluate(jax.random.key(1), algorithm.solution(s)) for s in (algorithm.init(jax.random.key(0)), state)
    )
    assert float(last) > env.optimal_return() + 0.25 * (float(first) - env.optimal_return())
    assert metrics["env_steps"].tolist() == [640] * 60


def test_updates_that_are_not_finite_are_dropped_and_counted(mesh: Any) -> None:
    step = jax.jit(lambda state: SEARCH.step(state, mesh))
    start = SEARCH.init(jax.random.key(0))
    critic = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), start.networks.critic)
    state = dataclasses.replace(start, networks=dataclasses.replace(start.networks, critic=critic))
    for failures in (1, 2):
        state, metrics = step(state)
        assert (int(state.failures), float(metrics["ppo/dropped"])) == (failures, 1.0)
    jax.tree.map(np.testing.assert_array_equal, state.networks.actor, start.networks.actor)


BEYOND = dataclasses.replace(SEARCH, optimizer="sgd", optimizer_options=(), learning_rate=1e38, max_grad_norm=1e38)
"""Every update leads to a dataset whose cloning diverges."""


def test_a_search_goes_back_where_cloning_diverges(mesh: Any) -> None:
    state, metrics = searched(BEYOND, 3, mesh)
    assert metrics["ppo/dropped"].tolist() == [0.5] * 3  # every other update is one from the start, to the same end
    np.testing.assert_allclose(metrics["ppo/rate_scale"], 1.2 ** -np.array([2.0, 4.0, 6.0]), rtol=1e-5)
    assert int(state.failures) == 0
    start = BEYOND.init(jax.random.key(0)).networks.actor
    jax.tree.map(np.testing.assert_array_equal, state.networks.actor, start)


def test_an_iteration_without_an_update_ends_at_the_last_sound_dataset(mesh: Any) -> None:
    step = jax.jit(lambda state: SEARCH.step(state, mesh))
    sound = SEARCH.init(jax.random.key(0))
    beyond = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), sound.networks.actor)
    lost = dataclasses.replace(sound, networks=dataclasses.replace(sound.networks, actor=beyond))
    state, _ = step(lost)
    assert int(state.failures) == 1
    jax.tree.map(np.testing.assert_array_equal, state.networks.actor, sound.networks.actor)
    assert float(state.optimizer["rate_scale"]) == pytest.approx(1 / 1.2)
    state, metrics = step(state)
    assert (int(state.failures), float(metrics["ppo/dropped"])) == (0, 0.0)


def test_updates_behind_the_limit_of_divergence_are_dropped(mesh: Any) -> None:
    algorithm = dataclasses.replace(
        SEARCH, optimizer="sgd", optimizer_options=(), learning_rate=1.0, max_grad_norm=1e6, num_epochs=4
    )
    free, limited = (searched(dataclasses.replace(algorithm, kl_limit=limit), 1, mesh) for limit in (0.0, 1e-6))
    assert free[1]["ppo/dropped"].tolist() == [0.0]
    assert 0.0 < float(limited[1]["ppo/dropped"][0]) < 1.0
    start = ravel_pytree(algorithm.init(jax.random.key(0)).networks.actor)[0]
    moved = [float(jnp.linalg.norm(ravel_pytree(s.networks.actor)[0] - start)) for s, _ in (limited, free)]
    assert 0.0 < moved[0] < moved[1]


def test_the_rate_follows_the_divergence_within_bounds(mesh: Any) -> None:
    too_far, too_little = (
        searched(dataclasses.replace(SEARCH, kl_target=target), 12, mesh)[1]["ppo/rate_scale"]
        for target in (1e-9, 10.0)
    )
    np.testing.assert_allclose(too_far[:2], [1 / 1.2, 1 / 1.2**2], rtol=1e-5)
    np.testing.assert_allclose(too_little[:2], [1.2, 1.2**2], rtol=1e-5)
    assert float(too_little[-1]) == 4.0


def test_a_weight_pulls_the_pairs_to_states_that_their_policies_visit(mesh: Any) -> None:
    far = dataclasses.replace(SEARCH, learner=dataclasses.replace(RIDGE, start_scale=4.0), learning_rate=0.1)
    near = dataclasses.replace(far, visited_weight=1.0)
    distance = searched(near, 40, mesh)[1]["dataset/visited_distance"]
    assert float(distance[-1]) < 0.5 * float(distance[0])
    assert "dataset/visited_distance" not in searched(far, 1, mesh)[1]


def test_a_pair_on_a_visited_state_has_a_finite_gradient() -> None:
    states = jax.random.normal(jax.random.key(0), (8, 2))
    gradient = jax.grad(lambda pairs: visited_distance(pairs, states, jnp.ones(8, bool))[0])(states[:2])
    assert np.isfinite(gradient).all()


def experiment(generations: int = 6) -> Experiment:
    return tiny_experiment(algorithm=SEARCH, generations=generations, eval_every=2, checkpoint_every=3)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    run(experiment(), tmp_path / "whole", progress=False)
    run(experiment(4), tmp_path / "parts", progress=False)
    result = run(experiment(), tmp_path / "parts", progress=False)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert json.loads((tmp_path / "parts" / "result.json").read_text())["method"] == "HaDES-R by gradient"
    assert result.dataset is not None
    assert result.dataset.learner == RIDGE


@pytest.mark.system
def test_eight_devices_learn_as_one(mesh: Any) -> None:
    code = """
import dataclasses, jax, json
from hades.inner.init_scheme import RandomInit
from tests.algorithms.test_gradient_distillation import EIGHT, searched
mesh = jax.make_mesh((8,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
print(json.dumps([float(x) for x in searched(EIGHT, 4, mesh)[1]["ppo/value_loss"]]))
"""
    eight = run_python(code, JAX_NUM_CPU_DEVICES="8")
    _, metrics = searched(EIGHT, 4, mesh)
    np.testing.assert_allclose(eight, metrics["ppo/value_loss"], rtol=1e-3)


EIGHT = dataclasses.replace(SEARCH, learner=dataclasses.replace(RIDGE, init_scheme=RandomInit(8)), num_envs=16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_envs": 9, "num_steps": 4}, r"num_envs is 9, which the 2 initial policies .* cannot share equally"),
        (
            {"num_envs": 2, "num_steps": 3, "num_minibatches": 2},
            "num_minibatches is 2, which does not divide the 3 steps",
        ),
        ({"learner": Identity(policy=NETWORK)}, "Identity has no dataset to search for by gradient"),
        ({"learner": dataclasses.replace(RIDGE, start="zeros")}, 'start is "zeros"'),
    ],
)
def test_what_cannot_work_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SEARCH, **changes)


def test_devices_that_cannot_share_the_policies_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="The 2 initial policies of an iteration are not divisible by 4 devices: use 4"
    ):
        SEARCH.check_devices(4)
    with pytest.raises(ConfigError, match="num_envs 8 is not divisible by 3 devices"):
        SEARCH.check_devices(3)
