"""A search that starts from a teacher begins at states that it visits, with what it does there."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.environments.base import Environment
from hades.environments.point import Point
from hades.errors import ConfigError
from hades.inner.pairs import StartPairs
from hades.inner.teacher_states import TeacherStates, medoids
from tests.support import EVOLUTION, POINT, POINT_DISCRETE, RIDGE, to_the_goal


def test_medoids_are_rows_to_which_the_usable_ones_are_near() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2)) + 6.0 * (np.arange(20) % 3)[:, None]
    usable = np.arange(20) < 18

    def distance_to(rows: tuple[int, ...]) -> float:
        each = np.linalg.norm(x[usable][:, None] - x[list(rows)], axis=-1)
        return float(each.min(1).sum())

    chosen = medoids(jnp.asarray(x), jnp.asarray(usable), 3)
    assert sorted(chosen.tolist()) == sorted({*chosen.tolist()}), "each row once"
    assert usable[np.asarray(chosen)].all()
    assert distance_to(tuple(chosen.tolist())) <= 1.1 * min(map(distance_to, itertools.combinations(range(18), 3)))
    np.testing.assert_array_equal(medoids(jnp.asarray(x), jnp.asarray(usable), 3), chosen)
    assert sorted(medoids(jnp.asarray(x), jnp.asarray(usable), 18).tolist()) == list(range(18))


@pytest.mark.parametrize("env", [POINT, POINT_DISCRETE], ids=["box", "discrete"])
def test_pairs_are_visited_states_with_the_teachers_actions(env: Environment) -> None:
    teacher = to_the_goal(env)
    learner = dataclasses.replace(RIDGE, start_pairs=TeacherStates(teacher, num_episodes=4, states_each=4))
    learner.check(env.spec)
    start = lambda key: learner.init_genome(key, env, lambda obs: 2.0 * obs)  # noqa: E731
    genome, again = (jax.jit(start)(jax.random.key(0)) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, genome, again)
    raw = genome.observations / 2.0
    assert len({tuple(row) for row in raw.tolist()}) == 3
    assert np.abs(raw).max() <= 2.0
    expected = teacher.targets(raw, env.spec)
    targets = learner.dataset(genome, env.spec).targets
    np.testing.assert_allclose(targets, jnp.exp(expected) if env.spec.is_discrete else expected, atol=1e-5)
    assert float(jnp.ptp(targets)) > 0.5


@pytest.mark.parametrize("env", [POINT, POINT_DISCRETE], ids=["box", "discrete"])
def test_before_there_is_a_teacher_the_states_are_those_of_random_actions(env: Environment) -> None:
    """So that a stage can be planned and measured by itself."""
    learner = dataclasses.replace(RIDGE, start_pairs=TeacherStates())
    dataset = learner.dataset(learner.init_genome(jax.random.key(0), env, lambda obs: obs), env.spec)
    assert len({tuple(row) for row in dataset.observations.tolist()}) == 3
    np.testing.assert_allclose(dataset.targets, 1 / 3 if env.spec.is_discrete else 0.0, rtol=1e-6)


def test_a_search_from_a_teacher_says_so_in_its_label() -> None:
    taught = dataclasses.replace(RIDGE, start_pairs=TeacherStates(to_the_goal(POINT)))
    algorithm = dataclasses.replace(EVOLUTION, learner=taught)
    assert (EVOLUTION.label, algorithm.label) == ("HaDES-R", "HaDES-R from a teacher")
    assert [record.env_steps for record in algorithm.teachers] == [640]
    assert EVOLUTION.teachers == ()
    handed_on = StartPairs(3, (0.0,) * 6, (0.0,) * 3, "a file", teachers=algorithm.teachers)
    assert dataclasses.replace(EVOLUTION, learner=RIDGE.changed(start_pairs=handed_on)).label == algorithm.label


def test_a_teacher_is_the_same_after_it_was_written_and_read() -> None:
    teacher = to_the_goal(POINT)
    rebuilt = registry.build(registry.describe(teacher))
    obs = jnp.array([[0.5, -0.5], [0.1, 0.15]])
    np.testing.assert_allclose(rebuilt.targets(obs, POINT.spec), [[-1.0], [0.2]], rtol=1e-6)
    assert rebuilt.act(jax.random.key(0), obs, POINT.spec).shape == (2, 1)


def test_what_does_not_fit_is_refused_by_name() -> None:
    other = dataclasses.replace(RIDGE, start_pairs=TeacherStates(to_the_goal(POINT_DISCRETE)))
    with pytest.raises(
        ConfigError, match=r"environment of the teacher from a test is point-discrete, but .* point: take"
    ):
        dataclasses.replace(EVOLUTION, learner=other)
    acts_otherwise = dataclasses.replace(to_the_goal(POINT), actions="Box(size=2)")
    with pytest.raises(
        ConfigError, match=r"action space of the teacher from a test is Box\(size=2\), .* Box\(size=1\)"
    ):
        acts_otherwise.check(Point().spec)
    with pytest.raises(ConfigError, match=r"num_pairs is 3, but TeacherStates keeps at most 1 × 2 = 2 states: raise"):
        dataclasses.replace(RIDGE, start_pairs=TeacherStates(to_the_goal(POINT), num_episodes=1, states_each=2))
