"""Every environment keeps the structure, shapes and dtypes that the interface promises."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.environments.base import Environment
from hades.environments.gymnax import Gymnax, env_ids
from hades.environments.point import Point
from hades.types import Discrete
from tests.support import (
    HAS_PLAYGROUND,
    POINT,
    POINT_DISCRETE,
    assert_rows_agree,
    example,
    random_actions,
)

NAMES = [name for name in registry.names("Environment") if name != "Gymnax"]  # all of its ids are tested below
if not HAS_PLAYGROUND:  # tests/environments/test_playground.py reports the skip
    NAMES.remove("Playground")
EVERY = [*(example("Environment", name) for name in NAMES), POINT_DISCRETE, *(Gymnax(env_id) for env_id in env_ids())]
COMPILED = [POINT, POINT_DISCRETE, Point(max_episode_steps=4, radius=0.5), Gymnax("CartPole-v1"), Gymnax("Pendulum-v1")]
if HAS_PLAYGROUND:
    COMPILED.append(example("Environment", "Playground"))


def name_of(env: Environment) -> str:
    return env.spec.name


@pytest.mark.parametrize("env", EVERY, ids=name_of)
def test_reset_and_step_keep_their_shapes(env, key):
    spec = env.spec
    action = random_actions(key, env, 1)[0]
    state, obs = jax.eval_shape(env.reset, key)
    next_state, step = jax.eval_shape(env.step, key, state, action)
    chex.assert_trees_all_equal_shapes_and_dtypes(next_state, state)
    assert (obs.shape, obs.dtype) == (spec.obs_shape, jnp.float32)
    chex.assert_trees_all_equal_shapes_and_dtypes(step.obs, obs)
    assert (step.reward.shape, step.reward.dtype) == ((), jnp.float32)
    assert (step.terminated.shape, step.terminated.dtype) == ((), bool)
    assert (step.truncated.shape, step.truncated.dtype) == ((), bool)
    assert all((value.shape, value.dtype) == ((), jnp.float32) for value in step.info.values())


@pytest.mark.parametrize("env", EVERY, ids=name_of)
def test_spec_is_complete(env):
    spec = env.spec
    assert spec.action_space.size >= 1
    assert spec.obs_size >= 1
    assert spec.max_episode_steps >= 1
    assert all(isinstance(size, int) for size in (*spec.obs_shape, spec.action_space.size, spec.max_episode_steps))
    assert isinstance(hash(env), int)
    assert env == type(env)(**{f.name: getattr(env, f.name) for f in dataclasses.fields(env)})


@pytest.mark.parametrize("env", EVERY, ids=name_of)
def test_names_are_as_many_as_what_they_name(env):
    spec = env.spec
    if spec.observation_names:
        assert len(spec.observation_names) == (spec.obs_shape[-1] if spec.is_image else spec.obs_size)
    if spec.action_names:
        assert len(spec.action_names) == spec.action_space.size


def check_compiled(env: Environment, key: jax.Array, num_steps: int = 8) -> None:
    """Under jit, vmap and scan: finite, and the same for the same key."""

    def play(key):
        k_reset, k_actions, k_steps = jax.random.split(key, 3)
        xs = (jax.random.split(k_steps, num_steps), random_actions(k_actions, env, num_steps))
        return jax.lax.scan(lambda state, x: env.step(x[0], state, x[1]), env.reset(k_reset)[0], xs)[1]

    keys = jax.random.split(key, 3)[jnp.array([0, 1, 0])]
    steps = jax.jit(jax.vmap(play))(keys)
    assert steps.obs.shape == (3, num_steps, *env.spec.obs_shape)
    chex.assert_tree_all_finite(steps)
    assert_rows_agree(steps, 0, 2)


@pytest.mark.parametrize("env", COMPILED, ids=name_of)
def test_compiled_steps_are_finite_and_follow_the_key(env, key):
    check_compiled(env, key)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", env_ids())
def test_every_gymnax_id_compiles(env_id, key):
    check_compiled(Gymnax(env_id), key)


BOX = [env for env in EVERY if not isinstance(env.spec.action_space, Discrete)]
OTHERS_OF_GYMNAX = [env for env in BOX if isinstance(env, Gymnax) and env not in COMPILED]


@pytest.mark.parametrize(
    "env", [pytest.param(env, marks=[pytest.mark.slow] if env in OTHERS_OF_GYMNAX else []) for env in BOX], ids=name_of
)
def test_box_actions_beyond_one_are_clipped(env, key):
    step, (state, _) = jax.jit(env.step), jax.jit(env.reset)(key)
    ones = np.ones(env.spec.action_space.size, np.float32)
    at_bound, beyond = (step(key, state, jnp.asarray(scale * ones))[1] for scale in (1.0, 3.0))
    np.testing.assert_array_equal(at_bound.obs, beyond.obs)
    np.testing.assert_array_equal(at_bound.reward, beyond.reward)
