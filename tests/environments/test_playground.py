"""The Playground adapter: the suite's own task, stepped as Playground steps it, with honest endings and errors."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from hades import registry
from hades.environments import playground
from hades.environments.playground import NOT_OVERRIDDEN, TIME_LIMIT_ONLY, Playground, env_names, excluded
from hades.environments.rollout import record_episode
from hades.errors import ConfigError, MissingPackageError
from tests.support import HAS_PLAYGROUND, random_actions, run_python

installed = pytest.mark.skipif(not HAS_PLAYGROUND, reason="the optional package playground is not installed")
CARTPOLE = Playground("CartpoleBalance")
SHORT = Playground("CartpoleBalance", episode_length=5)
ALL = sorted(TIME_LIMIT_ONLY)
QUICK = ("CartpoleBalance", "PendulumSwingup")
SLOW = sorted(TIME_LIMIT_ONLY - set(QUICK))


@pytest.fixture(scope="module")
def short_start():
    """A state and an observation."""
    return jax.jit(SHORT.reset)(jax.random.key(0))


@pytest.fixture(scope="module")
def short_step():
    return jax.jit(SHORT.step)


# without the package


def test_without_the_package_its_name_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'hades-rl\[playground\]'"):
        _ = Playground("AnyTask").spec


@pytest.mark.parametrize("name", sorted(NOT_OVERRIDDEN))
def test_overrides_that_would_do_nothing_or_harm_are_refused_with_the_reason(name):
    with pytest.raises(ConfigError) as caught:
        Playground("CartpoleBalance", config_overrides={name: 1})
    assert str(caught.value) == f"Playground.config_overrides cannot set {name!r}: {NOT_OVERRIDDEN[name]}."


@pytest.mark.parametrize("length", [0, -1, 2.5, True, "10"])
def test_a_wrong_episode_length_is_refused(length):
    with pytest.raises(ConfigError, match=r"Playground\.episode_length is .*; it must be .*at least 1.*, or None"):
        Playground("CartpoleBalance", episode_length=length)


def test_overrides_are_pairs_or_a_mapping_and_survive_a_description():
    env = Playground("CartpoleBalance", config_overrides={"sim_dt": 0.005, "ctrl_dt": 0.02})
    assert env == Playground("CartpoleBalance", config_overrides=(("ctrl_dt", 0.02), ("sim_dt", 0.005)))
    assert registry.build(registry.describe(env)) == env


def test_a_dictionary_of_observations_is_refused_by_its_entries():
    class TwoViews:
        observation_size = {"state": (3,), "privileged_state": (9,)}  # noqa: RUF012

    with pytest.raises(ConfigError, match=r'"Mine".*privileged_state, state'):
        playground._observation_shape(TwoViews(), "Mine")


# with it


@installed
def test_every_registered_environment_is_offered_or_excluded_with_a_reason():
    import mujoco_playground

    assert set(env_names()) | set(excluded()) == set(mujoco_playground.registry.ALL_ENVS)
    assert set(env_names()) == TIME_LIMIT_ONLY
    with pytest.raises(ConfigError, match=r'"Go1Handstand".*mujoco_menagerie'):
        _ = Playground("Go1Handstand").spec


@installed
@pytest.mark.parametrize("env_name", ALL)
def test_every_task_takes_actions_between_minus_one_and_one_and_repeats_none(env_name):
    native = Playground(env_name).native
    np.testing.assert_array_equal(native.mj_model.actuator_ctrlrange, [[-1.0, 1.0]] * native.action_size)
    assert native._config.action_repeat == 1
    assert native.mjx_model.impl.value == "jax"
    assert Playground(env_name).spec.max_episode_steps == native._config.episode_length == 1000


@installed
def test_nothing_resets_itself_and_the_time_limit_truncates(key):
    steps, _, observations = jax.jit(lambda k: record_episode(k, SHORT, lambda key, obs: jnp.ones(1)))(key)
    assert not steps.terminated.any()
    np.testing.assert_array_equal(steps.truncated, [False] * 4 + [True])
    assert (np.diff(steps.obs[:, 3]) > 0).all(), "the cart, pushed to the right, becomes faster, past the end as well"
    np.testing.assert_array_equal(observations[1:], steps.obs[:-1])


@installed
def test_a_step_is_playgrounds_own(key, short_start, short_step):
    native = SHORT.native
    state, obs = short_start
    theirs = jax.jit(native.reset)(key)
    np.testing.assert_array_equal(obs, theirs.obs)
    step_theirs = jax.jit(native.step)
    for action in ([0.3], [-1.0], [0.7]):
        state, step = short_step(key, state, jnp.array(action))
        theirs = step_theirs(theirs, jnp.array(action))
        np.testing.assert_allclose(step.obs, theirs.obs, atol=1e-6)
        np.testing.assert_allclose(step.reward, theirs.reward, atol=1e-6)
        assert {name: float(step.info[name]) for name in theirs.metrics} == pytest.approx(
            {name: float(value) for name, value in theirs.metrics.items()}, abs=1e-6
        )
    assert set(step.info) == {"height", "speed", "nonfinite", *theirs.metrics}


@installed
def test_actions_are_clipped_in_the_reward_as_well(key, short_start, short_step):
    """The suite's own rewards see the action before MuJoCo limits it."""
    state, _ = short_start
    at_bound, beyond = (short_step(key, state, jnp.array([a]))[1] for a in (1.0, 7.0))
    np.testing.assert_array_equal(at_bound.reward, beyond.reward)
    np.testing.assert_array_equal(at_bound.obs, beyond.obs)


@installed
def test_broken_physics_ends_the_episode_and_is_counted(key, short_start, short_step):
    state, _ = short_start
    native = state.native.replace(data=state.native.data.replace(qvel=jnp.array([jnp.nan, 0.0])))
    _, step = short_step(key, state.replace(native=native), jnp.zeros(1))
    assert bool(step.terminated)
    assert (float(step.reward), float(step.info["nonfinite"])) == (0.0, 1.0)
    assert np.isfinite(step.obs).all()


@installed
def test_height_and_speed_are_those_of_the_bodies(key):
    """Against MuJoCo's own kinematics."""
    import mujoco
    from mujoco import mjx

    env = Playground("ReacherEasy")
    model = env.native.mj_model

    @jax.jit
    def spun(key):
        data = env.reset(key)[0].native.data.replace(qvel=jnp.array([2.0, -5.0]))
        data = mjx.forward(env.native.mjx_model, data)
        return data.qpos, data.qvel, playground._bodies(model, data)

    qpos, qvel, info = spun(key)
    twin = mujoco.MjData(model)
    twin.qpos, twin.qvel = np.asarray(qpos), np.asarray(qvel)
    mujoco.mj_forward(model, twin)
    velocity = np.zeros(6)
    speeds, heights = [], []
    for name in ("arm", "hand", "finger"):
        body = model.body(name).id
        mujoco.mj_objectVelocity(model, twin, mujoco.mjtObj.mjOBJ_XBODY, body, velocity, 0)
        speeds.append(np.linalg.norm(velocity[3:]))
        heights.append(twin.xpos[body, 2])
    np.testing.assert_allclose(info["speed"], max(speeds), rtol=1e-4)
    np.testing.assert_allclose(info["height"], max(heights), rtol=1e-4)


@installed
def test_overrides_reach_playground():
    env = Playground("CartpoleBalance", config_overrides={"ctrl_dt": 0.02})
    assert env.native.n_substeps == 2
    assert Playground("CartpoleBalance").native.n_substeps == 1


@installed
def test_unknown_names_are_answered_with_known_ones():
    with pytest.raises(ConfigError, match=r'"CartpoleBalanse".*"CartpoleBalance".*AcrobotSwingup'):
        _ = Playground("CartpoleBalanse").spec
    with pytest.raises(ConfigError, match=r"'ctrl_d'.*ctrl_dt, sim_dt"):
        _ = Playground("CartpoleBalance", config_overrides={"ctrl_d": 1.0}).spec
    with pytest.raises(ConfigError, match=r"config_overrides.*{'ctrl_dt': 'long'}"):
        _ = Playground("CartpoleBalance", config_overrides={"ctrl_dt": "long"}).spec
    with pytest.raises(ConfigError, match=r"sim_dt 0\.05.*ctrl_dt 0\.01"):
        _ = Playground("CartpoleBalance", config_overrides={"sim_dt": 0.05}).spec


@installed
def test_versions_name_the_packages_and_the_implementation():
    assert set(CARTPOLE.versions) == {"playground", "mujoco", "mujoco-mjx", "mjx implementation"}
    assert CARTPOLE.versions["mjx implementation"] == "jax"


@installed
@pytest.mark.parametrize("env_name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_only_the_time_limit_ends_an_episode(env_name, key):
    """Sound: traced, Playground's own `done` is an or of `x != x`, which holds for NaN alone."""
    env = Playground(env_name)
    state, _ = jax.eval_shape(env.reset, key)
    action = jax.eval_shape(lambda k: random_actions(k, env, 1)[0], key)
    traced = jax.make_jaxpr(lambda s, a: env.native.step(_writable(s.native), a).done)(state, action)
    assert _holds_for_nan_only(traced.jaxpr)
    assert not env.spec.can_terminate


def test_the_tracing_notices_a_termination():
    def falls(x):
        return (jnp.isnan(x).any() | (x[0] < 0.2)).astype(float)

    assert not _holds_for_nan_only(jax.make_jaxpr(falls)(jnp.ones(2)).jaxpr)
    assert _holds_for_nan_only(jax.make_jaxpr(lambda x: (jnp.isnan(x).any()).astype(float))(jnp.ones(2)).jaxpr)


def _writable(native):
    return native.replace(metrics=dict(native.metrics), info=dict(native.info))


def _holds_for_nan_only(jaxpr: Jaxpr) -> bool:
    """Whether the one output is built from nothing but comparisons of something with itself and ors of them."""
    pending, sources = [jaxpr.outvars[0]], {out: e for e in jaxpr.eqns for out in e.outvars}
    while pending:
        value = pending.pop()
        if isinstance(value, Literal):
            if value.val:
                return False
            continue
        source = sources.get(value)
        if source is None:
            return False
        inner = source.params.get("jaxpr")
        if isinstance(inner, ClosedJaxpr):
            if not _holds_for_nan_only(inner.jaxpr):
                return False
        elif source.primitive.name == "ne":
            if source.invars[0] is not source.invars[1]:
                return False
        elif source.primitive.name in ("or", "reduce_or", "convert_element_type", "broadcast_in_dim", "reshape"):
            pending += source.invars
        else:
            return False
    return True


@pytest.mark.system
@installed
def test_an_environment_may_first_be_met_inside_a_trace_and_prints_nothing():
    code = """
import contextlib, io, json, os, sys, tempfile, jax, jax.numpy as jnp
os.chdir(tempfile.mkdtemp())
from hades.environments.playground import Playground
before = set(os.listdir())
key = jax.random.key(0)
with contextlib.redirect_stdout(io.StringIO()) as said:
    jax.eval_shape(lambda k: Playground("CheetahRun").reset(k)[1], key)
    env = Playground("CheetahRun")
    for _ in range(2):
        jax.eval_shape(lambda k, a: env.step(k, env.reset(k)[0], a), key, jax.ShapeDtypeStruct((6,), jnp.float32))
print(json.dumps([said.getvalue(), sorted(set(os.listdir()) - before)]))
"""
    assert run_python(code) == ["", []]
