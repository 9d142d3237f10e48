"""Sources of a search's perturbations, and the part of them that stays in memory for a generation.

A row stands for one standard normal direction z f32[n]. It makes one candidate, or with antithetic pairs the two
neighbours mean ± σz, so that a pair is stored once and never torn apart by a shard or a chunk.
A `Noise` deals in rows, `Perturbations` in the candidates that they stand for.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import PartitionSpec

from hades.fields import Count
from hades.registry import register
from hades.types import POPULATION_AXIS, Genome, Key, PyTree

Shapes: TypeAlias = tuple[tuple[int, ...], ...]
"""Shapes of a genome's arrays, in their order in a flat vector."""
Rows: TypeAlias = PyTree
"""Stored form of R directions; every leaf has the leading axis R."""


BLOCK = 2**22
"""Numbers drawn or built at a time: 16 MiB, of which a draw needs up to six (threefry on CPU is a loop over two words
of each number, double-buffered)."""

LEAST_ROWS = 8
"""Minimum rows per chunk. Below this the sum stops being one matrix product. Smaller values were not benchmarked."""


class Noise(abc.ABC):
    """A frozen dataclass. `draw` and `directions` are enough; override a sum that needs no directions."""

    independent: ClassVar[bool] = True
    """True if the n entries of a direction are independent, as an adaptation of every step size (SNES) assumes."""

    @abc.abstractmethod
    def draw(self, key: Key, count: int, shapes: Shapes) -> Rows:
        """`count` rows; none of their numbers depends on the chunks or devices that they are used in."""

    @abc.abstractmethod
    def directions(self, rows: Rows, shapes: Shapes) -> Array:
        """z f32[R, n]: every entry has mean 0 and variance 1."""

    def weighted_sum(self, weights: Array, rows: Rows, shapes: Shapes) -> Array:
        """Σ weights[r] · z[r] with weights f32[R]: f32[n]."""
        return _sum_over_rows(lambda w, r: w @ self.directions(r, shapes), weights, rows, num_entries(shapes))

    def weighted_squares(self, weights: Array, rows: Rows, shapes: Shapes) -> Array:
        """Σ weights[r] · (z[r]² - 1) with weights f32[R]: f32[n]."""

        def weighted(w: Array, r: Rows) -> Array:
            return w @ (jnp.square(self.directions(r, shapes)) - 1.0)

        return _sum_over_rows(weighted, weights, rows, num_entries(shapes))


@register("Noise", "StoredNoise")
@dataclasses.dataclass(frozen=True)
class StoredNoise(Noise):
    """f32[R, n], drawn once and kept until the update: the fastest where it fits."""

    def draw(self, key: Key, count: int, shapes: Shapes) -> Array:
        n, width = num_entries(shapes), max(1, BLOCK // count)
        if n <= width:
            return jax.random.normal(key, (count, n))

        def draw_columns(block: Array, rows: Array) -> Array:
            drawn = jax.random.normal(jax.random.fold_in(key, block), (count, width))
            return lax.dynamic_update_slice(rows, drawn, (0, block * width))  # the last one is moved to end at n

        return lax.fori_loop(0, -(-n // width), draw_columns, jnp.zeros((count, n)))

    def directions(self, rows: Array, shapes: Shapes) -> Array:
        del shapes
        return rows

    def weighted_sum(self, weights: Array, rows: Array, shapes: Shapes) -> Array:
        del shapes
        return weights @ rows


@register("Noise", "SeededNoise")
@dataclasses.dataclass(frozen=True)
class SeededNoise(Noise):
    """A random key a row; directions are drawn where they are needed, and drawn again for the update."""

    def draw(self, key: Key, count: int, shapes: Shapes) -> Key:
        del shapes
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(count))

    def directions(self, rows: Key, shapes: Shapes) -> Array:
        return jax.vmap(lambda key: jax.random.normal(key, (num_entries(shapes),)))(rows)


@register("Noise", "LowRankNoise")
@dataclasses.dataclass(frozen=True)
class LowRankNoise(Noise):
    """E = A Bᵀ / √rank for every matrix, A and B standard normal (EGGROLL: Sarkar et al., 2025, arXiv 2511.16652).

    An array of more than two axes is the matrix of its last axis. Vectors, and matrices that hold no more numbers than
    their factors would, get full noise. A row holds factors; E exists for one chunk of candidates at a time,
    and the update Σ w A Bᵀ is one matrix product. The entries of E have unit variance but depend on each other.

    Attributes:
        rank: of every candidate's perturbation; an update over R rows has rank up to R · rank.
    """

    rank: Count = 1

    independent = False

    def draw(self, key: Key, count: int, shapes: Shapes) -> tuple[PyTree, ...]:
        def one(index: int, shape: tuple[int, ...]) -> PyTree:
            k_left, k_right = jax.random.split(jax.random.fold_in(key, index))
            if not self._is_factored(shape):
                return jax.random.normal(k_left, (count, math.prod(shape)))
            left, right = (count, math.prod(shape[:-1]), self.rank), (count, shape[-1], self.rank)
            return jax.random.normal(k_left, left), jax.random.normal(k_right, right)

        return tuple(one(index, shape) for index, shape in enumerate(shapes))

    def directions(self, rows: tuple[PyTree, ...], shapes: Shapes) -> Array:
        def one(row: PyTree, shape: tuple[int, ...]) -> Array:
            if not self._is_factored(shape):
                return row
            return (jnp.einsum("pmr,pkr->pmk", *row) / math.sqrt(self.rank)).reshape(-1, math.prod(shape))

        return jnp.concatenate([one(row, shape) for row, shape in zip(rows, shapes, strict=True)], axis=1)

    def weighted_sum(self, weights: Array, rows: tuple[PyTree, ...], shapes: Shapes) -> Array:
        def one(row: PyTree, shape: tuple[int, ...]) -> Array:
            if not self._is_factored(shape):
                return weights @ row
            left, right = row
            scaled = weights[:, None, None] / math.sqrt(self.rank) * left
            return jnp.einsum("pmr,pkr->mk", scaled, right).reshape(-1)

        return jnp.concatenate([one(row, shape) for row, shape in zip(rows, shapes, strict=True)])

    def _is_factored(self, shape: tuple[int, ...]) -> bool:
        return len(shape) > 1 and self.rank * (math.prod(shape[:-1]) + shape[-1]) < math.prod(shape)


@dataclasses.dataclass(frozen=True)
class Perturbations:
    """The directions z of the candidates mean + σz of one search.

    Attributes:
        noise: where z comes from.
        antithetic: whether a row makes two neighbours, z and -z.
        shapes: shapes of the genome's arrays.
    """

    noise: Noise
    antithetic: bool
    shapes: Shapes

    def draw(self, key: Key, population_size: int) -> Rows:
        """The rows of P candidates: R is P, or P / 2 in pairs."""
        return self.noise.draw(key, population_size // 2 if self.antithetic else population_size, self.shapes)

    def directions(self, rows: Rows) -> Array:
        """z f32[C, n] of the candidates of some rows."""
        z = self.noise.directions(rows, self.shapes)
        if not self.antithetic:
            return z
        signs = jnp.array([1.0, -1.0])
        return (signs[:, None] * z[:, None]).reshape(-1, z.shape[1])

    def mean_gradient(self, weights: Array, rows: Rows) -> Array:
        """Σ weights[p] · z[p] over the candidates, with weights f32[P]: f32[n]."""
        weights = weights[::2] - weights[1::2] if self.antithetic else weights
        return self.noise.weighted_sum(weights, rows, self.shapes)

    def std_gradient(self, weights: Array, rows: Rows) -> Array:
        """Σ weights[p] · (z[p]² - 1) over the candidates, with weights f32[P]: f32[n]."""
        weights = weights[::2] + weights[1::2] if self.antithetic else weights
        return self.noise.weighted_squares(weights, rows, self.shapes)


def array_shapes(mean: Array, unravel: Callable[[Array], Genome]) -> Shapes:
    """Shapes of the arrays that f32[n] unravels to."""
    return tuple(leaf.shape for leaf in jax.tree.leaves(jax.eval_shape(unravel, mean)))


def num_entries(shapes: Shapes) -> int:
    """n, the length of the flat vector."""
    return sum(math.prod(shape) for shape in shapes)


def _sum_over_rows(term: Callable[[Array, Rows], Array], weights: Array, rows: Rows, n: int) -> Array:
    """The sum of term(weights f32[R], R rows): f32[n]; each device sums its own rows, one reduction adds up."""
    by_chunks = functools.partial(_sum_by_chunks, term, n=n)
    if jax.sharding.get_abstract_mesh().shape.get(POPULATION_AXIS, 1) == 1:
        return by_chunks(weights, rows)

    def on_device(weights: Array, rows: Rows) -> Array:
        return lax.psum(by_chunks(weights, rows), POPULATION_AXIS)

    each, all_alike = PartitionSpec(POPULATION_AXIS), PartitionSpec()
    return jax.shard_map(on_device, in_specs=(each, each), out_specs=all_alike, check_vma=False)(weights, rows)


def _sum_by_chunks(term: Callable[[Array, Rows], Array], weights: Array, rows: Rows, n: int) -> Array:
    """The sum of term(weights f32[C], C rows): f32[n] over chunks of rows whose directions fill about a BLOCK.

    The terms are matrix products of built directions: a sum fused with what builds them, without the product, was many
    times slower on CPU.
    """
    count, most = weights.shape[0], max(LEAST_ROWS, BLOCK // n)
    if count <= most:
        return term(weights, rows)
    # Equal chunks where a divisor is large enough; a prime count has none and leaves a smaller chunk for the end.
    divisors = (c for c in range(most, max(LEAST_ROWS, most // 2) - 1, -1) if count % c == 0)
    chunk = next(divisors, most)

    def term_of(start: Array | int, size: int) -> Array:
        return term(*jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size), (weights, rows)))

    total = lax.fori_loop(0, count // chunk, lambda i, total: total + term_of(i * chunk, chunk), jnp.zeros(n))
    rest = count % chunk
    return total + term_of(count - rest, rest) if rest else total
