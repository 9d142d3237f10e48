"""Training the first layer in the span of the observations follows the very trajectory of plain SGD."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import CrossEntropy, GaussianNLL
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from hades.types import Dataset
from tests.support import BOX_SPEC, IMAGE_SPEC, POINT

RNG = np.random.default_rng(0)
PLAIN = BehaviourCloning(
    policy=MLP(width=8, output_scale=1.0), init_scheme=RandomInit(1), loss=CrossEntropy(), num_pairs=6, num_updates=20,
    optimizer="sgd", learning_rate=0.03,
)  # fmt: skip
MOMENTUM = {"momentum": 0.9, "nesterov": True}
WEIGHTS = (0.0, 0.25, 0.5, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("spec", "options", "batch_size", "weights"),
    [
        (IMAGE_SPEC, {}, 0, ()),
        (IMAGE_SPEC, MOMENTUM, 2, WEIGHTS),
        (BOX_SPEC, {}, 2, ()),
        (BOX_SPEC, MOMENTUM, 0, WEIGHTS),
    ],
    ids=["image", "image, momentum, mini-batch, weights", "box, mini-batch", "box, momentum, weights"],
)
def test_the_span_trajectory_equals_sgd(spec, options, batch_size, weights, key):
    loss = CrossEntropy() if spec.is_discrete else GaussianNLL()
    plain = dataclasses.replace(PLAIN, loss=loss, optimizer_options=options, batch_size=batch_size)
    plain = dataclasses.replace(plain, pair_weights=weights)
    targets = jnp.eye(3)[jnp.arange(6) % 3] if spec.is_discrete else jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32)
    dataset = Dataset(jnp.asarray(RNG.normal(size=(6, *spec.obs_shape)), jnp.float32), targets)
    start = plain.policy.init(key, spec)
    (expected, losses), (params, span_losses) = (
        jax.jit(lambda key, learner=learner: learner.clone(key, dataset, start, spec))(key)
        for learner in (plain, dataclasses.replace(plain, span_first_layer=True))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), params, expected)
    np.testing.assert_allclose(span_losses["loss/final"], losses["loss/final"], atol=1e-5)
    moved = np.abs(np.asarray(expected["layers_0"]["kernel"] - start["layers_0"]["kernel"])).max()
    assert moved > 0.01


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"optimizer": "adam"}, "optimizer adam"),
        ({"max_grad_norm": 0.5}, "max_grad_norm 0.5"),
        ({"policy": CNN()}, "the policy is CNN"),
    ],
)
def test_the_span_is_refused_where_it_is_not_exact(change, named):
    with pytest.raises(ConfigError, match=rf"span_first_layer .*{named}"):
        dataclasses.replace(PLAIN, span_first_layer=True, **change)


def test_a_depth_zero_policy_is_trained_in_the_span_too(key):
    env: Environment = POINT
    plain = dataclasses.replace(PLAIN, policy=MLP(depth=0), loss=GaussianNLL())
    dataset = Dataset(jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32), jnp.ones((6, 1)))
    start = plain.policy.init(key, env.spec)
    expected, params = (
        dataclasses.replace(plain, span_first_layer=s).clone(key, dataset, start, env.spec)[0] for s in (False, True)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), params, expected)
