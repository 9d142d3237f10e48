"""Several tasks for one policy: where their numbers lie, what they act on, how their returns become one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rollout import random_policy, rollout
from hades.environments.tasks import Tasks
from hades.errors import ConfigError
from hades.policies.mlp import MLP
from hades.types import Box, Discrete
from tests.support import POINT, POINT_DISCRETE

CARTPOLE = Gymnax("CartPole-v1")
PENDULUM = Gymnax("Pendulum-v1")


def two(**changes) -> Tasks:
    return Tasks((CARTPOLE, POINT_DISCRETE), references=(500.0, 0.0), floors=(0.0, -8.0), **changes)


def test_blocks_give_every_task_its_own_entries(key):
    tasks = two()
    assert (tasks.spec.obs_shape, tasks.spec.action_space) == ((6,), Discrete(5))
    cartpole, point = tasks.members
    assert (cartpole.spec.action_space, point.spec.action_space) == (Discrete(2, 5, 0), Discrete(3, 5, 2))
    np.testing.assert_array_equal(cartpole.reset(key)[1][4:], 0.0)
    np.testing.assert_array_equal(point.reset(key)[1][:4], 0.0)
    np.testing.assert_array_equal(point.reset(key)[1][4:], POINT_DISCRETE.reset(key)[1])


def test_overlap_needs_as_much_as_the_largest_and_a_token_tells_the_tasks_apart(key):
    tasks = two(layout="overlap", task_token=True)
    assert (tasks.spec.obs_shape, tasks.spec.action_space) == ((6,), Discrete(3))
    own = POINT_DISCRETE.reset(key)[1]
    np.testing.assert_array_equal(tasks.members[1].reset(key)[1], jnp.array([*own, 0.0, 0.0, 0.0, 1.0]))


def test_images_stay_images(key):
    tasks = Tasks((Gymnax("Breakout-MinAtar"), Gymnax("Asterix-MinAtar")), references=(10.0, 10.0), task_token=True)
    assert tasks.spec.obs_shape == (10, 10, 4 + 4 + 2)
    image = tasks.members[1].reset(key)[1]
    assert (image[..., :4] == 0.0).all()
    np.testing.assert_array_equal(image[..., 8:], jnp.broadcast_to(jnp.array([0.0, 1.0]), (10, 10, 2)))


def test_unlike_shapes_are_flattened():
    tasks = Tasks((Gymnax("Breakout-MinAtar"), CARTPOLE), references=(10.0, 500.0))
    assert tasks.spec.obs_shape == (404,)


def test_a_task_acts_on_its_own_logits_only(key):
    tasks, policy = two(), MLP(width=4, depth=1)
    params = policy.init(key, tasks.spec)
    params["layers_1"]["bias"] = jnp.array([0.0, 9.0, 20.0, 0.0, 30.0])  # its largest logit belongs to the other task
    obs = jnp.zeros(6)
    logits = [policy.distribution(params, obs, member.spec).logits for member in tasks.members]
    np.testing.assert_allclose(logits[0], [0.0, 9.0], atol=1e-5)
    np.testing.assert_allclose(logits[1], [20.0, 0.0, 30.0], atol=1e-5)
    greedy = MLP(width=4, depth=1, acting="greedy")
    assert [int(greedy.act(key, params, obs, member.spec)) for member in tasks.members] == [1, 2]


def test_a_box_task_takes_its_own_entries(key):
    tasks = Tasks((POINT, PENDULUM), references=(0.0, -150.0), floors=(-4.0, -1200.0))
    assert tasks.spec.action_space == Box(2)
    point = tasks.members[0]
    state, _ = point.reset(key)
    moved, _ = point.step(key, state, jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(moved[0], state[0] + POINT.stride)


def test_normalisation_is_each_tasks_own(key):
    tasks = two(means=((0.0,) * 4, (1.0, 2.0)), stds=((1.0,) * 4, (0.5, 0.01)), clips=(0.0, 5.0))
    raw = POINT_DISCRETE.reset(key)[1]
    expected = np.clip((raw - np.array([1.0, 2.0])) / np.array([0.5, 0.01]), -5.0, 5.0)
    np.testing.assert_allclose(tasks.members[1].reset(key)[1][4:], expected, rtol=1e-5)


def test_returns_are_scaled_by_each_tasks_own_reference():
    np.testing.assert_allclose(two().combine([jnp.array([500.0, 250.0]), jnp.array([0.0, -8.0])]), [1.0, 0.25])


def test_a_member_plays_as_the_task_itself(key):
    member = two().members[1]
    padded, own = (rollout(key, env, random_policy(POINT_DISCRETE.spec), 3) for env in (member, POINT_DISCRETE))
    np.testing.assert_array_equal(padded.returns, own.returns)


def test_as_an_environment_it_plays_every_task(key):
    tasks = Tasks((POINT_DISCRETE, CARTPOLE), references=(0.0, 500.0), floors=(-8.0, 0.0))
    play = jax.jit(lambda k: rollout(k, tasks, random_policy(tasks.spec), 32))
    episodes = play(key)
    short = np.asarray(episodes.lengths == POINT_DISCRETE.max_episode_steps)
    returns = np.asarray(episodes.returns)
    assert 4 < short.sum() < 28
    assert (returns[short] < 0).all()
    np.testing.assert_allclose(returns[~short], np.asarray(episodes.lengths)[~short] / 500.0, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"environments": (CARTPOLE,), "references": (1,)}, "environments has 1 entries; it must have at least two"),
        ({"environments": (CARTPOLE, PENDULUM)}, r"CartPole-v1 with discrete.*Pendulum-v1 with continuous"),
        ({"environments": (POINT, Point(radius=1.0))}, "point is among the tasks more than once"),
        ({"references": (1, 2, 3)}, "references has 3 entries for 2 environments"),
        ({"references": (1, -1)}, r"references is -1 for Pendulum-v1, which is not above its floor 0"),
        ({"layout": "block"}, r'layout is "block". Did you mean "blocks"'),
        (
            {"means": ((0.0,), (0.0,) * 3), "stds": ((1.0,) * 2, (1.0,) * 3)},
            "means has 1 numbers for point, whose observations have 2",
        ),
    ],
)
def test_what_cannot_be_one_policy_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Tasks(**{"environments": (POINT, PENDULUM), "references": (1, 1), **arguments})
