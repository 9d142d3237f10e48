"""A component from outside that breaks the promise of its interface is named, with what it should have returned."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from hades.environments.point import Point
from hades.environments.rollout import random_policy, rollout
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.outer.snes import SNES
from hades.policies.mlp import MLP
from hades.types import Discrete
from tests.support import EVOLUTION, POINT, POINT_DISCRETE

KEY = jax.random.key(0)


class TooShort(SNES):
    """Forgets the last number of every candidate."""

    def candidates(self, state, rows):
        return super().candidates(state, rows)[:, :-1]


class Halved(SNES):
    """Keeps its mean in fewer bits once it has been told something."""

    def tell(self, key, state, population, fitness):
        state, metrics = super().tell(key, state, population, fitness)
        return dataclasses.replace(state, mean=state.mean.astype(jnp.bfloat16)), metrics


class AllReturns(EpisodicReturn):
    """Does not average over episodes."""

    def __call__(self, key, env, act, candidate, *, with_moments=False):
        score = super().__call__(key, env, act, candidate, with_moments=with_moments)
        return dataclasses.replace(score, value=jnp.stack([score.value] * 3))


class OneLogitTooMany(MLP):
    def network(self, spec):
        return super().network(dataclasses.replace(spec, action_space=Discrete(spec.action_space.n + 1)))


class Wide(Point):
    """Shows one number more than its spec promises."""

    def reset(self, key):
        state, obs = super().reset(key)
        return state, jnp.append(obs, 0.0)


def trace_a_generation(mesh, **changes):
    evolution = dataclasses.replace(EVOLUTION, **changes)
    state = jax.eval_shape(evolution.init, KEY)
    return jax.eval_shape(lambda s: evolution.step(s, mesh), state)


def test_candidates_of_a_wrong_size_are_refused_before_anything_is_compiled(mesh):
    evolution = dataclasses.replace(EVOLUTION, outer=TooShort(population_size=8))
    with pytest.raises(ConfigError, match=r"TooShort.*\(8, 9\).*\(8, 8\)"):
        evolution.check_devices(1)


def test_a_state_that_changes_its_dtype_is_refused(mesh):
    with pytest.raises(ConfigError, match=r"(?s)Halved.*mean.*bfloat16"):
        trace_a_generation(mesh, outer=Halved(population_size=8))


def test_a_fitness_of_several_numbers_is_refused(mesh):
    with pytest.raises(ConfigError, match=r"AllReturns.*\(\).*\(3,\)"):
        trace_a_generation(mesh, fitness=AllReturns(num_episodes=2))


def test_a_network_with_too_many_logits_is_refused():
    policy = OneLogitTooMany(width=4, depth=1)
    spec = POINT_DISCRETE.spec
    params = policy.init(KEY, spec)
    with pytest.raises(ConfigError, match=r"OneLogitTooMany.*3.*\(5, 4\)"):
        policy.distribution(params, jnp.zeros((5, *spec.obs_shape)), spec)


def test_an_environment_that_shows_more_than_its_spec_is_refused():
    with pytest.raises(ConfigError, match=r"Wide.*\(2, 2\).*\(2, 3\)"):
        rollout(KEY, Wide(max_episode_steps=4), random_policy(POINT.spec), 2)
