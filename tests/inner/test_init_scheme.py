"""HaDES-F always starts from the same weights, HaDES-R from the key's."""

import chex
import jax
import numpy as np

from hades.inner.init_scheme import FixedInit, RandomInit
from tests.support import POINT, SMALL

KEYS = jax.random.key(1), jax.random.key(2)


def test_a_fixed_init_ignores_the_key():
    first, second = (FixedInit().init(key, SMALL, POINT.spec) for key in KEYS)
    chex.assert_trees_all_equal(first, second)
    chex.assert_trees_all_equal(first, SMALL.init(jax.random.key(420, impl="threefry2x32"), POINT.spec))


def test_a_fixed_init_follows_its_seed_and_key_implementation():
    kernels = [
        FixedInit(seed, impl).init(KEYS[0], SMALL, POINT.spec)["layers_0"]["kernel"]
        for seed, impl in ((420, "threefry2x32"), (421, "threefry2x32"), (420, "rbg"))
    ]
    assert not np.allclose(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


def test_a_random_init_follows_the_key():
    first, second, again = (RandomInit().init(key, SMALL, POINT.spec) for key in (*KEYS, KEYS[0]))
    assert not np.allclose(first["layers_0"]["kernel"], second["layers_0"]["kernel"])
    chex.assert_trees_all_equal(first, again)
