"""Fitness shaping, tie-safe: equal fitness gets equal weight, so that the weights of a method keep their sum.

Ties are the rule where returns saturate (half a population at CartPole's 500).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import rankdata


def average_over_ties(fitness: Array, weights: Array) -> Array:
    """`weights` f32[P], best first, handed out by rank; tied candidates share the mean of theirs: f32[P]."""
    cumulative = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weights)])
    first = rankdata(-fitness, method="min").astype(jnp.int32)  # 1 is best
    last = rankdata(-fitness, method="max").astype(jnp.int32)
    return (cumulative[last] - cumulative[first - 1]) / (last - first + 1)


def tied_share(fitness: Array) -> Array:
    """Share of candidates whose fitness is another one's, too: f32[]. NaN equals nothing."""
    ordered = jnp.sort(fitness)
    equal = jnp.concatenate([jnp.zeros(1, bool), ordered[1:] == ordered[:-1], jnp.zeros(1, bool)])
    return (equal[1:] | equal[:-1]).mean()


def rank_utilities(size: int, temperature: float) -> Array:
    """Weights of natural evolution strategies by rank: f32[P], best first.

    At temperature 0 log ranks of the better half, minus 1/P (Wierstra et al., 2014). Above 0 those of Discovered ES,
    softmax(-20 sigmoid(temperature · centred rank)) (Lange et al., 2023).
    """
    if temperature:
        centered = jnp.arange(size) / (size - 1) - 0.5
        return jax.nn.softmax(-20.0 * jax.nn.sigmoid(temperature * centered))
    weights = jnp.maximum(0.0, math.log(size / 2 + 1) - jnp.log(jnp.arange(1, size + 1)))
    return weights / weights.sum() - 1.0 / size


def centered_rank(fitness: Array) -> Array:
    """Ranks from -0.5 (worst) to 0.5 (best) (Salimans et al., 2017)."""
    return (rankdata(fitness, method="average") - 1.0) / (fitness.size - 1) - 0.5


def standardized(fitness: Array) -> Array:
    """Zero mean, unit standard deviation; zeros where all are equal."""
    return (fitness - fitness.mean()) / jnp.maximum(fitness.std(), 1e-8)


def raw(fitness: Array) -> Array:
    """The fitness unchanged (the published Brax runs)."""
    return fitness


SHAPINGS: dict[str, Callable[[Array], Array]] = {
    "centered_rank": centered_rank,
    "standardized": standardized,
    "raw": raw,
}
