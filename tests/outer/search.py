"""A search on a sphere, kept generation by generation, to compare strategies with their twins."""

import jax
import jax.numpy as jnp
import numpy as np

from hades.outer.base import OuterOptimizer

OPTIMUM = 0.5


def fitness_of(population):
    return -jnp.square(population - OPTIMUM).sum(-1)


def asked_candidates(outer: OuterOptimizer, key: jax.Array, state) -> jax.Array:
    """f32[P, n] of the population that `outer` asks for."""
    rows, asked = outer.ask(key, state)
    return outer.candidates(asked, rows)


def trajectory(outer: OuterOptimizer, mean: jax.Array, keys: jax.Array, unravel=lambda x: x):
    """States stacked over generations, the first one included; asked and told with the same key in each generation."""

    def generation(state, key):
        population, asked = outer.ask(key, state)
        told, _ = outer.tell(key, asked, population, fitness_of(outer.candidates(asked, population)))
        return told, told

    @jax.jit
    def run(keys):
        first = outer.init(keys[0], mean, unravel)
        rest = jax.lax.scan(generation, first, keys)[1]
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    return run(keys)


def evosax_means(strategy, params, mean: jax.Array, keys: jax.Array) -> np.ndarray:
    """Means f32[G + 1, n] of an evosax strategy on the same fitness, which it minimises."""

    @jax.jit
    def run(keys):
        def generation(state, key):
            population, state = strategy.ask(key, state, params)
            state, _ = strategy.tell(key, population, -fitness_of(population), state, params)
            return state, state.mean

        state = strategy.init(keys[0], mean, params)
        return jnp.concatenate([mean[None], jax.lax.scan(generation, state, keys)[1]])

    return np.asarray(run(keys))
