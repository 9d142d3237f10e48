"""Every outer optimiser, and every evosax strategy, keeps its state's structure and searches from its mean."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.outer.base import OuterOptimizer
from hades.outer.evosax import Evosax, strategies
from hades.outer.open_es import OpenES
from hades.outer.snes import SNES
from tests.outer.search import asked_candidates
from tests.support import weak_types

P, N = 8, 6
EVERY: dict[str, OuterOptimizer] = {
    name: registry.get("OuterOptimizer", name)(population_size=P)
    for name in registry.names("OuterOptimizer")
    if name != "Evosax"
}
EVERY |= {f"evosax {name}": Evosax(name, population_size=P, sigma=0.1) for name in strategies()}
COMPILED = ["OpenES", "SNES", "evosax CMA_ES", "evosax SimpleGA", "evosax SV_Open_ES"]


def sphere(population):
    """Maximised at 1."""
    return -jnp.square(population - 1.0).sum(-1)


@pytest.mark.parametrize("name", EVERY)
def test_ask_and_tell_keep_their_shapes(name, key):
    outer = EVERY[name]
    state = jax.eval_shape(lambda k: outer.init(k, jnp.zeros(N), lambda x: x), key)
    population, asked = jax.eval_shape(outer.ask, key, state)
    candidates = jax.eval_shape(outer.candidates, asked, population)
    told, metrics = jax.eval_shape(outer.tell, key, asked, population, jnp.zeros(P))
    assert (candidates.shape, candidates.dtype) == ((P, N), jnp.float32)
    rows = {leaf.shape[0] for leaf in jax.tree.leaves(population)}
    assert len(rows) == 1
    assert P % rows.pop() == 0
    chex.assert_trees_all_equal_shapes_and_dtypes(asked, state)
    chex.assert_trees_all_equal_shapes_and_dtypes(told, state)
    assert weak_types(told) == weak_types(state)
    assert all(leaf.size for leaf in jax.tree.leaves(state))  # Orbax saves no empty arrays
    assert all(value.shape == () for value in metrics.values())
    solution = jax.eval_shape(outer.solution, told)
    assert (solution.shape, solution.dtype) == ((N,), jnp.float32)


def searcher(outer: OuterOptimizer, num_generations: int, n: int = N):
    """A compiled search: key -> (solution f32[n], mean fitness of every generation f32[G], metrics)."""

    def generation(state, key):
        population, state = outer.ask(key, state)
        fitness = sphere(outer.candidates(state, population))
        state, metrics = outer.tell(key, state, population, fitness)
        return state, (fitness.mean(), metrics)

    @jax.jit
    def run(key):
        state = outer.init(key, jnp.zeros(n), lambda x: x)
        state, (means, metrics) = jax.lax.scan(generation, state, jax.random.split(key, num_generations))
        return outer.solution(state), means, metrics

    return run


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_search_is_finite_and_follows_the_key(name, key):
    search = searcher(EVERY[name], 5)
    first = search(key)
    chex.assert_tree_all_finite(first)
    chex.assert_trees_all_equal(search(key), first)
    assert np.any(np.asarray(search(jax.random.key(1))[0]) != np.asarray(first[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_strategy_improves_on_a_sphere(name, key):
    outer = dataclasses.replace(EVERY[name], population_size=32)
    n = 40  # LM_MA_ES is for more coordinates than candidates
    solution, means, metrics = searcher(outer, 30, n)(key)
    chex.assert_tree_all_finite((solution, means, metrics))
    assert sphere(solution) > sphere(jnp.zeros(n))


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_strategy_draws_its_first_population_around_the_start(name, key):
    outer = EVERY[name]
    population = asked_candidates(outer, key, outer.init(key, jnp.full(N, 100.0), lambda x: x))
    assert np.abs(np.asarray(population) - 100.0).max() < 10.0


@pytest.mark.parametrize("outer", [SNES(population_size=P), OpenES(population_size=P)], ids=lambda o: type(o).__name__)
def test_the_solution_starts_at_the_given_mean(outer, key):
    mean = jnp.arange(N, dtype=jnp.float32)
    np.testing.assert_array_equal(outer.solution(outer.init(key, mean, lambda x: x)), mean)
