"""The adapter to evosax: maximises, starts where it is told, and takes the strategies' own options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.outer.evosax import NUM_POPULATIONS, Evosax, _instance, strategies
from hades.outer.open_es import OpenES
from tests.outer.search import fitness_of, trajectory

N = 4
MEAN = jnp.zeros(N)
KEYS = jax.random.split(jax.random.key(3), 20)


def solutions(outer, states):
    return jax.vmap(outer.solution)(states)


def test_every_strategy_of_evosax_is_reachable():
    from evosax.algorithms import algorithms

    assert set(strategies()) == set(algorithms)
    assert len(strategies()) >= 37


def test_the_adapter_maximises_and_equals_our_open_es():
    theirs = Evosax("Open_ES", population_size=16, sigma=0.05, optimizer="adam", learning_rate=0.03)
    ours = OpenES(population_size=16, sigma=0.05, learning_rate=0.03)
    means = solutions(theirs, trajectory(theirs, MEAN + 0.1, KEYS))
    np.testing.assert_allclose(means, trajectory(ours, MEAN + 0.1, KEYS).mean, atol=1e-5)
    assert fitness_of(means[-1]) > fitness_of(means[0])


@pytest.mark.parametrize("strategy", ["SimpleGA", "SV_Open_ES"])
def test_where_there_is_no_single_mean_the_best_member_is_the_solution(strategy):
    outer = Evosax(strategy, population_size=16, sigma=0.3)
    mean = MEAN + 5.0
    found = solutions(outer, trajectory(outer, mean, KEYS[:5]))
    np.testing.assert_array_equal(found[0], mean)  # nothing evaluated yet
    fitness = np.asarray(fitness_of(found))
    assert (np.diff(fitness[1:]) >= -1e-4).all()
    assert fitness[-1] > fitness[0]


def test_population_based_strategies_evaluate_their_first_population(key):
    outer = Evosax("DifferentialEvolution", population_size=8, sigma=0.1)
    state = outer.init(key, MEAN + 3.0, lambda x: x)
    population, asked = outer.ask(key, state)
    np.testing.assert_allclose(population, state.first + 3.0, rtol=1e-6)
    told, _ = outer.tell(key, asked, population, fitness_of(population))
    np.testing.assert_allclose(told.strategy.fitness, -fitness_of(population), rtol=1e-6)
    np.testing.assert_allclose(outer.solution(told), population[jnp.argmax(fitness_of(population))], rtol=1e-5)


@pytest.mark.parametrize("strategy", NUM_POPULATIONS)
def test_strategies_of_several_populations_share_our_population_size(strategy, key):
    outer = Evosax(strategy, population_size=12, constructor={"num_populations": 3})
    state = jax.eval_shape(lambda k: outer.init(k, MEAN, lambda x: x), key)
    assert jax.eval_shape(outer.ask, key, state)[0].shape == (12, N)
    assert state.strategy.mean.shape == (3, N)


def test_options_reach_the_strategy(key):
    outer = Evosax("Open_ES", population_size=8, sigma=0.2, constructor={"use_antithetic_sampling": False})
    population, _ = outer.ask(key, outer.init(key, MEAN, lambda x: x))
    np.testing.assert_allclose(population, 0.2 * jax.random.normal(key, (8, N)), rtol=1e-5)
    outer = Evosax("CMA_ES", population_size=8, sigma=0.2, params={"std_min": 0.125})
    state = outer.init(key, MEAN, lambda x: x)
    np.testing.assert_allclose(state.strategy.std, 0.2)
    assert _instance(outer, N)[1].std_min == 0.125


def test_equal_components_share_one_compiled_instance():
    assert _instance(Evosax("SNES"), 5)[0] is _instance(Evosax("SNES"), 5)[0]
