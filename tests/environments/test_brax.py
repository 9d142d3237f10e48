"""The Brax adapter: nothing resets itself, endings are told apart, broken physics are caught, nothing is printed."""

import dataclasses
import importlib.util
import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.environments.brax import TIME_LIMIT_ONLY, Brax, env_names
from hades.environments.rollout import rollout
from hades.errors import ConfigError, MissingPackageError
from hades.native.machine import UnavailableError
from hades.native.primitives import UnsupportedError
from tests.conformance.test_environments import check_compiled
from tests.support import ROOT, random_actions

CHEAP = Brax("inverted_pendulum", episode_length=12)
HOPPER = Brax("hopper", episode_length=200)


@pytest.fixture(scope="module")
def play():
    """A compiled rollout of two hoppers that stretch with all their might."""

    def act(key, obs):
        return jnp.ones(3)

    return jax.jit(lambda key: rollout(key, HOPPER, act, 2))


@pytest.mark.slow
def test_a_hopper_that_stretches_falls_before_the_time_limit(play, key):
    episodes = play(key)
    assert episodes.terminated.all()
    assert (episodes.lengths < 200).all()
    assert (episodes.info_max["height"] > 1.2).all()  # it starts upright
    np.testing.assert_allclose(episodes.info_sum["reward_healthy"], episodes.lengths, rtol=1e-5)
    terms = ("reward_forward", "reward_healthy", "reward_ctrl")
    np.testing.assert_allclose(episodes.returns, sum(episodes.info_sum[name] for name in terms), rtol=1e-4)
    np.testing.assert_array_equal(episodes.info_max["nonfinite"], 0.0)


@pytest.fixture(scope="module")
def cheap_step():
    return jax.jit(CHEAP.step)


def test_the_time_limit_truncates_and_nothing_resets_itself(cheap_step, key):
    state, obs = CHEAP.reset(key)
    cart = [float(obs[0])]
    for _ in range(14):
        state, step = cheap_step(key, state, jnp.full(1, 0.02))
        cart.append(float(step.obs[0]))
    assert state.time == 14
    assert step.truncated  # and stays so: the caller decides what follows
    assert not step.terminated
    assert (np.diff(cart)[2:] > 0).all()  # no jump back to the start


def test_broken_physics_end_the_episode_earn_nothing_and_are_counted(cheap_step, key):
    state, _ = CHEAP.reset(key)
    pipeline = state.native.pipeline_state
    broken = pipeline.replace(q=jnp.full_like(pipeline.q, jnp.nan), qd=jnp.full_like(pipeline.qd, jnp.nan))
    broken = broken.replace(x_i=jax.tree.map(lambda x: x * jnp.nan, broken.x_i))
    _, step = cheap_step(
        key, dataclasses.replace(state, native=state.native.replace(pipeline_state=broken)), jnp.zeros(1)
    )
    assert step.terminated
    assert step.info["nonfinite"] == 1.0
    assert step.reward == 0.0
    assert jnp.isfinite(step.obs).all()
    assert all(jnp.isfinite(value) for value in step.info.values())


def test_the_native_engine_steps_as_xla_does(key):
    """Also states that have exploded: what is not finite ends the same episodes, and is counted in them."""
    by_xla = dataclasses.replace(CHEAP, engine="xla")
    assert (CHEAP.spec.engine, by_xla.spec.engine) == ("native", "xla")
    states, _ = jax.vmap(CHEAP.reset)(jax.random.split(key, 40))
    pipeline = states.native.pipeline_state
    scale = jnp.ones(40).at[:8].set(jnp.array([jnp.nan, jnp.inf, -jnp.inf, 1e38, -1e38, 1e30, 1e-38, 0.0]))[:, None]
    qd, x_i = pipeline.qd * scale, jax.tree.map(lambda x: x * scale[..., None], pipeline.x_i)
    pipeline = pipeline.replace(qd=qd, x_i=x_i)
    states = dataclasses.replace(states, native=states.native.replace(pipeline_state=pipeline))
    actions = random_actions(key, CHEAP, 40)
    (after, step), (expected, expected_step) = (
        jax.jit(jax.vmap(env.step, (None, 0, 0)))(key, states, actions) for env in (CHEAP, by_xla)
    )
    chex.assert_trees_all_equal_shapes_and_dtypes((after, step), (expected, expected_step))
    np.testing.assert_array_equal(step.info["nonfinite"], expected_step.info["nonfinite"])
    np.testing.assert_array_equal(step.terminated, expected_step.terminated)
    assert 2 <= step.info["nonfinite"].sum() < 10
    calm = slice(8, None)
    for ours, theirs in zip(jax.tree.leaves((after, step)), jax.tree.leaves((expected, expected_step)), strict=True):
        np.testing.assert_allclose(ours[calm], theirs[calm], rtol=1e-4, atol=1e-5)


def test_the_engine_is_recorded():
    assert CHEAP.versions["brax engine"] == "native"
    assert registry.describe(dataclasses.replace(CHEAP, engine="xla"))["engine"] == "xla"


def test_without_a_compiler_xla_steps_and_a_line_says_why(monkeypatch, capsys):
    def check_machine():
        raise UnavailableError("llvmlite is not installed (pip install llvmlite)")

    monkeypatch.setattr("hades.environments.brax.check_machine", check_machine)
    assert Brax("inverted_pendulum", episode_length=13).spec.engine == "xla"
    assert Brax("inverted_pendulum", episode_length=13).versions["brax engine"] == "xla"
    assert capsys.readouterr().err.count("pip install llvmlite") == 1
    with pytest.raises(ConfigError, match=r'engine is "native".*pip install llvmlite.*"auto"'):
        _ = Brax("inverted_pendulum", engine="native").spec


def test_physics_that_cannot_be_compiled_is_stepped_by_xla(monkeypatch, capsys):
    def compile_function(function, *arguments, key):
        raise UnsupportedError('the primitive "sort" of JAX')

    monkeypatch.setattr("hades.environments.brax.compile_function", compile_function)
    env = Brax("inverted_pendulum", episode_length=14)
    assert env.spec.engine == "native"  # as far as one knows before compiling
    assert env.versions["brax engine"] == env.spec.engine == "xla"
    assert '"sort"' in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r'native.*"sort".*"xla"'):
        _ = dataclasses.replace(env, engine="native").versions


def test_actions_beyond_one_are_clipped(cheap_step, key):
    state, _ = CHEAP.reset(key)
    at_bound, beyond = (cheap_step(key, state, jnp.array([scale]))[1] for scale in (1.0, 3.0))
    np.testing.assert_array_equal(at_bound.obs, beyond.obs)


def test_observations_have_their_names():
    names = dict(zip(HOPPER.spec.observation_names, HOPPER.reset(jax.random.key(0))[1], strict=True))
    assert names["height"] == pytest.approx(1.25, abs=0.01)
    assert list(names)[:5] == ["height", "torso angle", "thigh", "leg", "foot"]
    assert HOPPER.spec.action_names == ("thigh torque", "leg torque", "foot torque")


@pytest.mark.parametrize("name", ["inverted_pendulum", "hopper"])
def test_shapes_are_kept(name, key):
    check_shapes(Brax(name), key)


@pytest.mark.slow
@pytest.mark.parametrize("name", env_names())
def test_every_environment_keeps_its_shapes_and_compiles(name, key):
    env = Brax(name)
    check_shapes(env, key)
    check_compiled(env, key)


def check_shapes(env: Brax, key: jax.Array) -> None:
    state, obs = jax.eval_shape(env.reset, key)
    after, step = jax.eval_shape(env.step, key, state, random_actions(key, env, 1)[0])
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert obs.shape == step.obs.shape == env.spec.obs_shape
    assert len(env.spec.observation_names) == env.spec.obs_size
    assert len(env.spec.action_names) == env.spec.action_space.size
    assert all((value.shape, value.dtype) == ((), jnp.float32) for value in step.info.values())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["generalized", "spring", "mjx"])
def test_every_backend_steps(backend, key):
    check_compiled(Brax("inverted_pendulum", backend=backend), key)


@pytest.mark.slow
@pytest.mark.parametrize("name", env_names())
def test_can_terminate_tells_the_truth(name, key):
    """`done` of an environment that only the time limit ends does not depend on the state."""
    env = Brax(name).native
    state = jax.eval_shape(env.reset, key)
    done = jax.make_jaxpr(lambda s, a: env.step(s, a).done)(state, jnp.zeros(env.action_size))
    depends = any(str(v) in {str(x) for e in done.jaxpr.eqns for x in e.outvars} for v in done.jaxpr.outvars)
    assert depends == (name not in TIME_LIMIT_ONLY)


def test_artefacts_name_the_backend():
    assert registry.describe(Brax("hopper", backend="spring"))["backend"] == "spring"
    assert Brax("hopper", backend="spring").versions["brax backend"] == "spring"
    assert registry.build(registry.describe(HOPPER)) == HOPPER


def test_bounds_of_plausibility_scale_with_the_episode_and_can_be_given():
    assert (
        dict(HOPPER.spec.plausible)["return"] * 2 == dict(Brax("hopper", episode_length=400).spec.plausible)["return"]
    )
    assert Brax("hopper", plausible={"height": 3.0}).spec.plausible == (("height", 3.0),)
    assert Brax("hopper", backend="mjx").spec.plausible == ()


def test_an_episode_ends_without_reward_where_a_bound_is_exceeded(key):
    state, _ = HOPPER.reset(key)
    action = jnp.ones(3)
    _, free = HOPPER.step(key, state, action)
    assert free.reward != 0
    assert not free.terminated
    height, speed = float(free.info["height"]), float(free.info["speed"])
    for bounds in ({"height": height - 0.01}, {"speed": speed - 0.01}, {"height": height - 0.01, "speed": 1e6}):
        _, ended = dataclasses.replace(HOPPER, plausible=bounds, implausible="end").step(key, state, action)
        assert ended.terminated
        assert ended.reward == 0
    punished = dataclasses.replace(HOPPER, plausible=bounds, implausible="end", implausible_reward=-5.0)
    assert punished.step(key, state, action)[1].reward == -5
    bounds = {"height": height + 0.01, "speed": speed + 0.01, "return": 0.0}
    _, kept = dataclasses.replace(HOPPER, plausible=bounds, implausible="end").step(key, state, action)
    assert (kept.reward, kept.terminated) == (free.reward, free.terminated)
    assert Brax("reacher", implausible="end").spec.can_terminate
    assert not Brax("reacher").spec.can_terminate
    with pytest.raises(ConfigError, match=r'implausible is "mask".*keep, end'):
        Brax("hopper", implausible="mask")
    with pytest.raises(ConfigError, match="which no step earns"):
        Brax("hopper", implausible_reward=-1.0)
    with pytest.raises(ConfigError, match=r"no height or speed of hopper \(mjx\)"):
        Brax("hopper", backend="mjx", implausible="end")


def test_an_unknown_environment_or_backend_names_the_known_ones():
    with pytest.raises(ConfigError, match=r'no environment "hoper".*hopper'):
        _ = Brax("hoper").spec
    with pytest.raises(ConfigError, match=r'engine is "nativ".*"native"'):
        Brax("hopper", engine="nativ")
    with pytest.raises(ConfigError, match=r'backend is "positonal".*"?positional'):
        Brax("hopper", backend="positonal")
    with pytest.raises(ConfigError, match="test double"):
        Brax("fast")
    with pytest.raises(ConfigError, match="JAX no longer has"):
        Brax("swimmer")
    with pytest.raises(ConfigError, match="env_options"):
        _ = Brax("hopper", env_options={"gravity": 0}).spec


def test_mjx_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install mujoco-mjx"):
        Brax("hopper", backend="mjx")


@pytest.mark.system
def test_nothing_is_printed_and_no_log_file_is_left(tmp_path):
    code = "from hades.environments.brax import Brax; Brax('halfcheetah').spec"
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout + done.stderr == ""
    assert not list(tmp_path.iterdir())
