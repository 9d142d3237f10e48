"""A pool draws its members with their initial weights, and each behaves as the MLP that it is, trained or not."""

import collections
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax

from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.inner.ridge_cloning import RidgeCloning
from hades.policies.cnn import CNN
from hades.policies.mlp import MLP
from hades.policies.network_pool import NetworkPool
from hades.types import Dataset
from tests.support import BOX_SPEC

MEMBERS = (
    MLP(width=7, depth=1, activation="relu"),
    MLP(width=5, depth=3, activation="tanh", hidden_scale=1.0, output_scale=0.5),
    MLP(width=4, depth=1, activation="tanh"),
    MLP(width=6, depth=2, activation="gelu", output_scale=0.1),
)
POOL = NetworkPool(members=MEMBERS, log_std=-1.0)
X = jax.random.normal(jax.random.key(0), (6, 3))
PAIRS = Dataset(X, jnp.sin(3.0 * X[:, :2]))


def drawn(i: int) -> tuple[Any, Any]:
    """The pool's weights of member i, and the member's own."""
    for seed in range(100):
        params = INIT(jax.random.key(seed))
        if params["member"].argmax() == i:
            return params, MEMBERS[i].init(jax.random.split(jax.random.key(seed))[1], BOX_SPEC)
    raise AssertionError(f"member {i} is never drawn")


INIT = jax.jit(lambda key: POOL.init(key, BOX_SPEC))
EACH = pytest.mark.parametrize("i", range(len(MEMBERS)))


@EACH
def test_a_member_acts_as_the_network_that_it_is(i: int) -> None:
    pooled, own = drawn(i)
    mean = MEMBERS[i].distribution(own, X, BOX_SPEC).mode()
    assert np.abs(mean).max() > 1e-3
    np.testing.assert_allclose(POOL.distribution(pooled, X, BOX_SPEC).mode(), mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(pooled["log_std"], -1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@EACH
def test_a_member_learns_as_the_network_that_it_is(i: int, optimizer: str) -> None:
    pooled, own = drawn(i)

    def cloned(policy: Any, params: Any) -> Array:
        learner = BehaviourCloning(
            policy, RandomInit(1), num_pairs=6, num_updates=30, loss=MSE(), optimizer=optimizer, learning_rate=0.05
        )
        trained, _ = learner.clone(jax.random.key(1), PAIRS, params, BOX_SPEC)
        return policy.distribution(trained, X, BOX_SPEC).mode()

    mean = cloned(MEMBERS[i], own)
    assert np.abs(mean - MEMBERS[i].distribution(own, X, BOX_SPEC).mode()).max() > 1e-2
    np.testing.assert_allclose(cloned(POOL, pooled), mean, rtol=1e-3, atol=1e-5)


@EACH
def test_a_member_in_closed_form_is_the_network_that_it_is(i: int) -> None:
    pooled, own = drawn(i)

    def fitted(policy: Any, params: Any) -> Array:
        trained, _ = RidgeCloning(policy, RandomInit(1), num_pairs=6).clone(jax.random.key(1), PAIRS, params, BOX_SPEC)
        return policy.distribution(trained, X, BOX_SPEC).mode()

    np.testing.assert_allclose(fitted(POOL, pooled), fitted(MEMBERS[i], own), rtol=1e-3, atol=1e-5)


def test_it_draws_all_members_alike() -> None:
    pool = NetworkPool(members=MEMBERS[:3])
    inits = lax.map(lambda key: pool.init(key, BOX_SPEC), jax.random.split(jax.random.key(2), 300))
    counts = collections.Counter(np.asarray(inits["member"]).argmax(-1).tolist())
    assert set(counts) == {0, 1, 2}
    assert min(counts.values()) > 70


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ((), "a pool has members"),
        ((MLP(), CNN()), r"members\[1\] is CNN"),
        ((MLP(depth=0),), r"members\[0\] is MLP\(.*at least one hidden layer"),
        ((MLP(), MLP(width=8), MLP(acting="greedy")), r"members\[2\] is the network of members\[0\]"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(members: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        NetworkPool(members=members)
