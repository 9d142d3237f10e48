"""Every noise builds directions of the right size from its rows, in any chunk, inside a compiled function."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades import registry
from hades.outer.noise import num_entries
from tests.support import example

SHAPES = ((3,), (4, 5), (2, 3, 4), ())
N = num_entries(SHAPES)
ROWS = 6
NOISES = {name: example("Noise", name) for name in registry.names("Noise")}


@pytest.mark.parametrize("name", NOISES)
def test_directions_and_sums_have_the_shapes_of_a_flat_vector(name, key):
    noise = NOISES[name]
    rows = jax.eval_shape(lambda k: noise.draw(k, ROWS, SHAPES), key)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(rows)} == {ROWS}
    directions = jax.eval_shape(lambda r: noise.directions(r, SHAPES), rows)
    assert (directions.shape, directions.dtype) == ((ROWS, N), jnp.float32)
    for sums in (noise.weighted_sum, noise.weighted_squares):
        total = jax.eval_shape(lambda w, r, f=sums: f(w, r, SHAPES), jnp.zeros(ROWS), rows)
        assert (total.shape, total.dtype) == ((N,), jnp.float32)


@pytest.mark.parametrize("name", NOISES)
def test_compiled_noise_is_finite_and_follows_the_key(name, key):
    noise = NOISES[name]

    @jax.jit
    def run(key):
        rows = noise.draw(key, ROWS, SHAPES)
        z = noise.directions(rows, SHAPES)
        by_row = jax.lax.map(lambda r: noise.directions(jax.tree.map(lambda x: x[None], r), SHAPES)[0], rows)
        return z, by_row, noise.weighted_sum(jnp.arange(ROWS, dtype=jnp.float32), rows, SHAPES)

    z, by_row, total = run(key)
    chex.assert_tree_all_finite((z, total))
    chex.assert_trees_all_equal(run(key), (z, by_row, total))
    np.testing.assert_allclose(by_row, z, atol=1e-6)
    np.testing.assert_allclose(total, np.arange(ROWS) @ np.asarray(z), atol=1e-4)
    assert not np.allclose(run(jax.random.key(1))[0], z)
