"""Pictures show what the drawn environment observes, in jit, and are refused where there is nothing to see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.drawings import CLASSIC, drawing_of
from hades.environments.gymnax import Gymnax
from hades.environments.point import Point
from hades.environments.rendered import Rendered
from hades.environments.rollout import random_policy
from hades.environments.tasks import Tasks
from hades.errors import ConfigError

CARTPOLE = Rendered(Gymnax("CartPole-v1"), size=30, frames=2, stride=3)
BREAKOUT = Rendered(Gymnax("Breakout-MinAtar"), size=34)
DRAW = jax.jit(CARTPOLE.picture)
STATES = {
    "CartPole-v1": ([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.1, 0.0]),
    "Acrobot-v1": ([1.0, 0.0, 1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.9, 0.43, 0.0, 0.0]),
    "Pendulum-v1": ([1.0, 0.0, 0.0], [0.98, 0.2, 0.0]),
    "MountainCar-v0": ([-0.5, 0.0], [-0.45, 0.0]),
    "MountainCarContinuous-v0": ([-0.5, 0.0], [-0.45, 0.0]),
}


def centre(image: np.ndarray) -> np.ndarray:
    """Row and column of the middle of what is lit."""
    return np.array([(image.sum(1 - axis) * np.arange(30)).sum() for axis in (0, 1)]) / image.sum()


@pytest.fixture(scope="module")
def played():
    """Twelve random steps of two episodes: stacks f32[2, 12, 30, 30, 2], and what was drawn f32[2, 12, 4]."""

    def episode(key):
        def advance(carry, key):
            state, obs = carry
            state, step = CARTPOLE.step(key, state, random_policy(CARTPOLE.spec)(key, obs))
            return (state, step.obs), (step.obs, state.seen[0])

        return jax.lax.scan(advance, CARTPOLE.reset(key), jax.random.split(key, 12))[1]

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 2)))


def test_a_cart_moves_in_the_picture_as_far_as_in_the_game():
    here, there = (np.asarray(DRAW(jnp.array([x, 0.0, 0.0, 0.0]))[..., 0]) for x in (-1.0, 1.0))
    ground = np.minimum(here, there)
    moved = centre(there - ground) - centre(here - ground)
    np.testing.assert_allclose(moved, [0.0, 2.0 * 30 / 5.8], atol=0.1)


def test_a_pole_leans_to_the_side_of_its_angle():
    left, right = (np.asarray(DRAW(jnp.array([0.0, 0.0, a, 0.0]))[..., 0]) for a in (-0.2, 0.2))
    assert centre(left)[1] < 14.4
    assert centre(right)[1] > 14.6
    np.testing.assert_allclose(left, right[:, ::-1], atol=1e-5)


def test_a_ball_is_drawn_in_its_cell():
    for row, column in ((0, 9), (7, 2)):
        grid = jnp.zeros((10, 10, 4)).at[row, column, 1].set(1.0)
        image = np.asarray(BREAKOUT.picture(grid)).sum(-1)
        lit = np.argwhere(image > 0.5)
        np.testing.assert_array_equal((lit - 2) // 3, np.broadcast_to([row, column], lit.shape))  # a border of 2


def test_half_a_ball_is_half_as_bright_and_numbers_beyond_one_are_drawn_as_one():
    grid = jnp.zeros((10, 10, 4)).at[4, 4, 1].set(1.0)
    whole, half, double, none = (np.asarray(BREAKOUT.picture(x * grid)) for x in (1.0, 0.5, 2.0, -1.0))
    np.testing.assert_allclose(half, 0.5 * whole, atol=1e-6)
    np.testing.assert_array_equal(double, whole)
    assert not none.any()
    slope = jax.jit(jax.grad(lambda x: BREAKOUT.picture(x * grid).sum()))
    assert min(slope(-1.0), slope(2.0)) > 0.0  # straight through: what is clipped can come back


@pytest.mark.parametrize("name", CLASSIC)
def test_pictures_differ_by_state_and_have_a_derivative(name):
    env = Rendered(Gymnax(name), size=drawing_of(Gymnax(name).spec).least_size, frames=2)
    one, other = (jnp.array(state) for state in STATES[name])
    draw_with_slopes = jax.jit(lambda obs: (env.picture(obs), jax.jacfwd(env.picture)(obs)))
    image, _ = draw_with_slopes(one)
    assert image.shape == env.spec.obs_shape
    assert ((image >= 0.0) & (image <= 1.0)).all()
    moved, slopes = draw_with_slopes(other)
    assert np.abs(image - moved).max() > 0.1
    assert np.abs(slopes).max() > 0.1
    assert np.isfinite(draw_with_slopes(jnp.zeros_like(one))[1]).all()


def test_earlier_frames_are_those_of_earlier_steps(played):
    stacks, _ = played
    assert stacks.shape == (2, 12, *CARTPOLE.spec.obs_shape)
    np.testing.assert_array_equal(stacks[:, 3:, ..., 1], stacks[:, :-3, ..., 0])
    np.testing.assert_array_equal(stacks[:, 0, ..., 1], stacks[:, 1, ..., 1])  # what the first one shows


def test_a_drawn_state_looks_like_the_stack_that_leads_to_it(played):
    stacks, states = played
    drawn = np.asarray(jax.jit(jax.vmap(CARTPOLE.picture))(states[0, 3:]))
    np.testing.assert_allclose(drawn[..., 0], stacks[0, 3:, ..., 0], atol=1e-5)
    moved = np.abs(stacks[0, 3:, ..., 0] - stacks[0, 3:, ..., 1]).sum()
    assert np.abs(drawn[..., 1] - stacks[0, 3:, ..., 1]).sum() < 0.6 * moved  # velocities change within three steps


def test_a_spec_names_its_channels():
    assert CARTPOLE.spec.name == "CartPole-v1 30px"
    assert CARTPOLE.spec.observation_names == ("grey", "grey, 3 earlier")
    assert BREAKOUT.spec.observation_names == ("red", "green", "blue")
    assert BREAKOUT.spec.action_names == Gymnax("Breakout-MinAtar").spec.action_names
    assert BREAKOUT.versions == Gymnax("Breakout-MinAtar").versions


@pytest.mark.parametrize(("env_id", "least"), [("CartPole-v1", 29), ("Breakout-MinAtar", 30), ("MountainCar-v0", 34)])
def test_a_size_that_shows_nothing_is_refused(env_id, least):
    Rendered(Gymnax(env_id), size=least)
    with pytest.raises(ConfigError, match=f"size is {least - 1}.*{env_id}: use at least {least}"):
        Rendered(Gymnax(env_id), size=least - 1)


@pytest.mark.parametrize(
    "env", [Point(), Tasks((Gymnax("Breakout-MinAtar"), Gymnax("Freeway-MinAtar")), references=(1.0, 1.0))]
)
def test_an_environment_that_cannot_be_drawn_is_refused(env):
    with pytest.raises(ConfigError, match="cannot be drawn: there are drawings of CartPole-v1"):
        Rendered(env)


def test_an_environment_that_draws_nothing_says_so():
    assert Point().drawn is None
    with pytest.raises(NotImplementedError, match="Point draws nothing"):
        Point().picture(jnp.zeros(2))
