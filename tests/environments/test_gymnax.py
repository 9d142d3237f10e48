"""The gymnax adapter: nothing resets itself, endings are told apart, actions are mapped, specs tell the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Literal

from hades.environments.gymnax import EXCLUDED, TIME_LIMIT_ONLY, Gymnax, env_ids
from hades.environments.rollout import record_episode
from hades.errors import ConfigError
from tests.support import random_actions, run_python

SHORT = Gymnax("CartPole-v1", params={"max_steps_in_episode": 20})


def balance(key, obs):
    """Keeps CartPole's pole up for a whole episode."""
    return (obs[2] + 0.5 * obs[3] > 0).astype(jnp.int32)


def fall(key, obs):
    return jnp.zeros((), jnp.int32)


def test_a_balanced_pole_is_truncated_by_the_time_limit(key):
    steps, _, _ = jax.jit(lambda k: record_episode(k, SHORT, balance))(key)
    assert not steps.terminated.any()
    np.testing.assert_array_equal(steps.truncated, np.arange(1, 21) >= 20)
    np.testing.assert_array_equal(steps.reward, 1.0)


def test_a_fallen_pole_is_terminated_and_its_last_observation_is_the_true_one(key):
    steps, _, observations = jax.jit(lambda k: record_episode(k, SHORT, fall))(key)
    end = int(np.argmax(steps.terminated))
    assert 5 < end < 15
    assert not steps.truncated[:end].any()
    fallen, before = np.asarray(steps.obs[end]), np.asarray(observations[end])
    assert abs(fallen[2]) > 12 * np.pi / 180 > abs(before[2])
    np.testing.assert_allclose(fallen[2], before[2] + 0.02 * before[3], rtol=1e-5)  # one Euler step on, not a reset


def test_the_time_limit_and_params_are_the_environments_own():
    assert Gymnax("CartPole-v1").spec.max_episode_steps == 500
    assert SHORT.spec.max_episode_steps == 20
    assert Gymnax("Freeway-MinAtar").spec.max_episode_steps == 2500
    assert Gymnax("CartPole-v1", params=(("max_steps_in_episode", 20),)) == SHORT


def test_unit_actions_are_mapped_to_the_environments_bounds(key):
    env = Gymnax("Pendulum-v1")
    state, _ = env.reset(key)
    native = env._env
    for unit, torque in ((-1.0, -2.0), (0.0, 0.0), (0.5, 1.0), (1.0, 2.0), (7.0, 2.0)):
        mine = env.step(key, state, jnp.array([unit]))[1]
        obs, _, reward, *_ = native.step_env(key, state, jnp.array([torque]), env._params)
        np.testing.assert_allclose(mine.obs, obs, atol=1e-6)
        np.testing.assert_allclose(mine.reward, reward, rtol=1e-6)


@pytest.mark.parametrize("env_id", [e for e in env_ids() if not Gymnax(e).spec.is_discrete])
def test_native_bounds_are_finite(env_id):
    low, high = Gymnax(env_id)._bounds
    assert np.isfinite([low, high]).all()
    assert (low < high).all()


def test_images_keep_their_shape_and_all_else_is_flat():
    assert Gymnax("Breakout-MinAtar").spec.is_image
    assert Gymnax("Catch-bsuite").spec.obs_shape == (50,)
    assert Gymnax("FrozenLake-misc").spec.obs_shape == (1,)


@pytest.mark.parametrize("env_id", env_ids())
def test_can_terminate_says_whether_anything_but_the_time_limit_ends_an_episode(env_id, key):
    """Sound: `terminated` never holds if, once traced, it is the constant False whatever the state and action are."""
    env = Gymnax(env_id)
    state, _ = env.reset(key)
    traced = jax.make_jaxpr(lambda s, a: env.step(key, s, a)[1].terminated)(state, random_actions(key, env, 1)[0]).jaxpr
    end = traced.outvars[0]
    while not isinstance(end, Literal):
        source = next((e for e in traced.eqns if end in e.outvars), None)
        if source is None or source.primitive.name not in (
            "convert_element_type",
            "reshape",
            "squeeze",
            "stop_gradient",
        ):
            break
        end = source.invars[0]
    never = isinstance(end, Literal) and not end.val
    assert env.spec.can_terminate != never
    assert (env_id in TIME_LIMIT_ONLY) == never


@pytest.mark.parametrize(
    ("env_id", "expected"),
    [
        ("Breakout-MinAtar", {"paddle": 1, "ball": 1, "brick": 30}),
        ("Freeway-MinAtar", {"chicken": 1, "car": 8}),
        ("Asterix-MinAtar", {"player": 1, "enemy": 0, "gold": 0}),
        ("SpaceInvaders-MinAtar", {"cannon": 1, "alien": 24, "friendly bullet": 0}),
        ("Seaquest-MinAtar", {"submarine front": 1, "friendly bullet": 0, "enemy fish": 0}),
    ],
)
def test_observation_names_fit_what_is_drawn_at_the_start(env_id, expected):
    env = Gymnax(env_id)
    drawn = np.asarray(env.reset(jax.random.key(0))[1].sum((0, 1)))
    lit = dict(zip(env.spec.observation_names, drawn, strict=True))
    assert {name: lit[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("env_id", "options", "names"),
    [
        ("Breakout-MinAtar", {}, ("stay", "left", "right")),
        ("Freeway-MinAtar", {}, ("stay", "up", "down")),
        ("SpaceInvaders-MinAtar", {}, ("stay", "left", "right", "fire")),
        ("Breakout-MinAtar", {"use_minimal_action_set": False}, ("stay", "left", "up", "right", "down", "fire")),
    ],
)
def test_action_names_follow_the_action_set(env_id, options, names):
    spec = Gymnax(env_id, make_options=options).spec
    assert spec.action_names == names
    assert spec.action_space.size == len(names)


def test_mnist_is_excluded_with_the_reason():
    import gymnax

    assert set(env_ids()) | set(EXCLUDED) == set(gymnax.registered_envs)
    with pytest.raises(ConfigError, match="MNIST"):
        Gymnax("MNISTBandit-bsuite")


def test_unknown_names_are_answered_with_known_ones():
    with pytest.raises(ConfigError, match=r'"Cartpole-v1".*"CartPole-v1".*Acrobot-v1'):
        _ = Gymnax("Cartpole-v1").spec
    with pytest.raises(ConfigError, match=r"'max_step'.*max_steps_in_episode"):
        _ = Gymnax("CartPole-v1", params={"max_step": 3}).spec
    with pytest.raises(ConfigError, match=r"make_options.*{'sizes': 4}"):
        _ = Gymnax("DeepSea-bsuite", make_options={"sizes": 4}).spec


def test_make_options_reach_gymnax():
    env = Gymnax("DeepSea-bsuite", make_options={"size": 4})
    assert env.spec.obs_shape == (16,)


def test_versions_name_the_package():
    assert set(Gymnax("CartPole-v1").versions) == {"gymnax"}


@pytest.mark.system
def test_an_environment_may_first_be_met_inside_a_trace():
    """gymnax computes constants and spaces with jax: made in a trace and kept, they would leak out of it."""
    code = """
import jax, json, jax.numpy as jnp
from hades.environments.gymnax import Gymnax
key = jax.random.key(0)
for env_id in %r:
    jax.eval_shape(lambda k: Gymnax(env_id).reset(k)[1], key)
    env = Gymnax(env_id)
    size = () if env.spec.is_discrete else (env.spec.action_space.size,)
    action = jax.ShapeDtypeStruct(size, jnp.float32 if size else jnp.int32)
    for _ in range(2):
        jax.eval_shape(lambda k, a: env.step(k, env.reset(k)[0], a), key, action)
print(json.dumps(True))
"""
    ids = (
        "FourRooms-misc",
        "MetaMaze-misc",
        "PointRobot-misc",
        "DiscountingChain-bsuite",
        "DeepSea-bsuite",
        "Pendulum-v1",
    )
    assert run_python(code % (ids,)) is True
