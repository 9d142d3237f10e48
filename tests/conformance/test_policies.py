"""Every policy serves every kind of action space, and its weights have the promised form."""

import chex
import jax
import jax.numpy as jnp
import pytest

from hades import registry
from hades.policies.distributions import Categorical, DiagonalGaussian
from tests.support import BOX_SPEC, IMAGE_SPEC, PICTURE_SPEC, POINT_DISCRETE, example

POLICIES = {name: example("Policy", name) for name in registry.names("Policy")}
SPECS = {spec.name: spec for spec in (BOX_SPEC, POINT_DISCRETE.spec, IMAGE_SPEC, PICTURE_SPEC)}
SEES = {"CNN": ("image", "picture"), "NatureCNN": ("picture",), "ImpalaCNN": ("image", "picture")}
PAIRS = [(p, s) for p in POLICIES for s in SEES.get(p, SPECS)]


@pytest.mark.parametrize(("policy", "spec"), PAIRS)
def test_acting_and_distribution_keep_their_shapes(policy, spec, key):
    policy, spec = POLICIES[policy], SPECS[spec]
    params = jax.eval_shape(lambda k: policy.init(k, spec), key)
    obs = jnp.zeros((5, *spec.obs_shape))
    distribution = jax.eval_shape(lambda p: policy.distribution(p, obs, spec), params)
    action = jax.eval_shape(lambda p: policy.act(key, p, obs, spec), params)
    log_prob = jax.eval_shape(lambda p, a: policy.distribution(p, obs, spec).log_prob(a), params, action)
    assert isinstance(distribution, Categorical if spec.is_discrete else DiagonalGaussian)
    assert action.shape == (5,) if spec.is_discrete else (5, spec.action_space.size)
    assert action.dtype == (jnp.int32 if spec.is_discrete else jnp.float32)
    assert log_prob.shape == (5,)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
    assert ("log_std" in params) == (not spec.is_discrete)


@pytest.mark.parametrize(
    ("policy", "spec"), [("MLP", "box"), ("MLP", "point-discrete"), ("CNN", "image"), ("ImpalaCNN", "image")]
)
def test_compiled_policies_are_finite_and_follow_the_key(policy, spec, key):
    policy, spec = POLICIES[policy], SPECS[spec]
    obs = jax.random.normal(key, (5, *spec.obs_shape))

    @jax.jit
    def run(key):
        params = jax.lax.map(lambda k: policy.init(k, spec), jax.random.split(key, 2))
        return params, jax.vmap(lambda p: policy.act(key, p, obs, spec))(params)

    params, actions = run(key)
    chex.assert_tree_all_finite((params, actions))
    chex.assert_trees_all_equal(run(key), (params, actions))
    first, second = (jax.tree.map(lambda x, i=i: x[i], params) for i in (0, 1))
    chex.assert_trees_all_equal_shapes_and_dtypes(first, second)
    assert any(jnp.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))
