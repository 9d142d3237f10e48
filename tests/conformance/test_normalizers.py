"""Every normaliser keeps its state's structure and maps observations to observations."""

import chex
import jax
import jax.numpy as jnp
import pytest

from hades import registry
from hades.types import Moments
from tests.support import POINT, example

NORMALIZERS = {name: example("Normalizer", name) for name in registry.names("Normalizer")}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_state_and_observations_keep_their_shapes(name, key):
    normalizer = NORMALIZERS[name]
    state = jax.eval_shape(lambda k: normalizer.init(k, POINT), key)
    updated = jax.eval_shape(normalizer.update, state, Moments.zeros((2,)))
    chex.assert_trees_all_equal_shapes_and_dtypes(updated, state)
    assert state.mean.shape == state.std.shape == POINT.spec.obs_shape
    for shape in ((2,), (3, 2), (4, 3, 2)):
        assert jax.eval_shape(normalizer.apply, state, jnp.zeros(shape)).shape == shape


@pytest.mark.parametrize("name", NORMALIZERS)
def test_compiled_statistics_are_finite_and_follow_the_key(name, key):
    normalizer = NORMALIZERS[name]

    @jax.jit
    def run(key):
        def generation(state, obs):
            return normalizer.update(state, Moments.of(obs, jnp.ones(3, bool))), jax.vmap(normalizer.apply, (None, 0))(
                state, obs
            )

        return jax.lax.scan(generation, normalizer.init(key, POINT), jax.random.normal(key, (4, 3, 2)))

    chex.assert_tree_all_finite(run(key))
    chex.assert_trees_all_equal(run(key), run(key))
    assert (run(key)[0].std > 0).all()
