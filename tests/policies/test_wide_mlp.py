"""WideMLP is the limit of MLP: its kernel is that of wide networks, and training one leads where the formula says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from hades.errors import ConfigError
from hades.inner.init_scheme import RandomInit
from hades.inner.ridge_cloning import RidgeCloning
from hades.policies.base import Policy
from hades.policies.mlp import MLP
from hades.policies.wide_mlp import WideMLP, _supplement
from hades.types import Dataset, Key
from tests.support import BOX_SPEC

X, ELSEWHERE = (jax.random.normal(jax.random.key(seed), (count, 3)) for seed, count in ((0, 6), (1, 40)))
WIDTH = 4096


@pytest.mark.parametrize(("depth", "activation", "within"), [(1, "relu", 0.03), (2, "relu", 0.05), (1, "tanh", 0.03)])
def test_its_kernel_is_that_of_wide_networks(depth: int, activation: str, within: float) -> None:
    fields = {"depth": depth, "activation": activation, "hidden_scale": 4.0, "width": 1024}
    wide = WideMLP(**fields, output_scale=0.0).kernel({}, X, BOX_SPEC)
    network = MLP(**fields)
    params = [network.init(key, BOX_SPEC) for key in jax.random.split(jax.random.key(2), 4)]
    drawn = jnp.stack([network.kernel(p, X, BOX_SPEC) for p in params]).mean(0)
    np.testing.assert_allclose(wide, drawn, atol=within * float(wide.max()))
    np.testing.assert_allclose(wide, wide.T, rtol=1e-5)
    assert np.linalg.eigvalsh(np.asarray(wide, np.float64)).min() > 0


def test_lower_layers_take_part_in_proportion_to_the_output_scale() -> None:
    """The gradients of all weights of a finite network have these inner products."""
    network = MLP(width=WIDTH, depth=1, activation="relu", output_scale=1.0)
    spec = BOX_SPEC
    params = {k: v for k, v in network.init(jax.random.key(3), spec).items() if k != "log_std"}

    def output(weights: Any, x: jax.Array) -> jax.Array:
        return network.distribution(weights | {"log_std": jnp.zeros(2)}, x, spec).mode()[0]

    gradients = jax.vmap(lambda x: jax.flatten_util.ravel_pytree(jax.grad(output)(params, x))[0])(X)
    wide = WideMLP(activation="relu", output_scale=1.0).kernel({}, X, spec)
    np.testing.assert_allclose(gradients @ gradients.T, wide, atol=0.05 * float(wide.max()))


def test_a_wide_network_trained_in_the_lazy_regime_gives_the_outputs_of_the_formula() -> None:
    """Small targets keep it there: its last layer stays small, so that the lower ones hardly move."""
    targets = 0.01 * jnp.sin(3.0 * X[:, :2])
    network = MLP(width=WIDTH, depth=1, activation="relu", output_scale=1e-6)
    start = network.init(jax.random.key(4), BOX_SPEC)

    def loss(params: Any) -> jax.Array:
        return jnp.square(network.distribution(params, X, BOX_SPEC).mode() - targets).mean()

    optimizer = optax.sgd(0.05, momentum=0.95)

    def update(carry: tuple[Any, optax.OptState], _: None) -> tuple[tuple[Any, optax.OptState], None]:
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    train = jax.jit(lambda p: lax.scan(update, (p, optimizer.init(p)), None, length=1500)[0][0])
    trained = network.distribution(train(start), ELSEWHERE, BOX_SPEC).mode()

    def formula(policy: Policy, key: Key) -> jax.Array:
        learner = RidgeCloning(policy=policy, init_scheme=RandomInit(1), num_pairs=6, ridge=1e-5)
        fitted, _ = learner.clone(key, Dataset(X, targets), policy.init(key, BOX_SPEC), BOX_SPEC)
        return policy.distribution(fitted, ELSEWHERE, BOX_SPEC).mode()

    def error(outputs: jax.Array, of: jax.Array) -> float:
        return float(jnp.linalg.norm(outputs - of) / jnp.linalg.norm(of))

    assert error(trained, formula(network, jax.random.key(4))) < 0.02
    drawn = jnp.stack([formula(network, jax.random.key(i)) for i in range(8)]).mean(0)
    assert error(drawn, formula(WideMLP(width=WIDTH, activation="relu", output_scale=1e-6), jax.random.key(0))) < 0.02


def test_the_angle_is_that_of_numpy_and_so_is_its_derivative() -> None:
    cosine = np.linspace(-0.99999, 0.99999, 501).astype(np.float32)
    np.testing.assert_allclose(_supplement(cosine), np.pi - np.arccos(cosine.astype(np.float64)), atol=2e-6)
    slopes = jax.vmap(jax.grad(_supplement))(jnp.asarray(cosine[50:-50]))
    np.testing.assert_allclose(slopes, 1 / np.sqrt(1 - cosine[50:-50].astype(np.float64) ** 2), rtol=1e-4)


def test_an_untrained_one_acts_with_zeros_and_an_unknown_activation_is_named() -> None:
    policy = WideMLP(log_std=-1.0)
    params = policy.init(jax.random.key(0), BOX_SPEC)
    np.testing.assert_array_equal(policy.distribution(params, X, BOX_SPEC).mode(), jnp.zeros((6, 2)))
    with pytest.raises(ConfigError, match=r'WideMLP\.activation is "gelu"'):
        WideMLP(activation="gelu")
