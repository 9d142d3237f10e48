"""Direct evolution strategies: the genome is the weights."""

import chex
import jax
import jax.numpy as jnp

from hades.inner.identity import Identity
from tests.support import POINT, SMALL


def test_learning_returns_the_genome(key):
    learner = Identity(policy=SMALL)
    genome = learner.init_genome(key, POINT, lambda obs: obs)
    chex.assert_trees_all_equal(genome, SMALL.init(key, POINT.spec))
    changed = jax.tree.map(lambda x: x + 1.0, genome)
    params, metrics = learner.learn(key, changed, learner.init_params(key, POINT.spec), POINT.spec)
    chex.assert_trees_all_equal(params, changed)
    assert metrics == {}
    assert learner.num_inits == 1
    assert jnp.isfinite(SMALL.act(key, params, jnp.zeros(2), POINT.spec)).all()
