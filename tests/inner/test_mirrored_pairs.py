"""Mirrored pairs: every second one is the mirror image of the one before, and networks become nearly affine."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.codes import Cosines
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.inner.pairs import CloningGenome, StartPairs
from hades.inner.region import NearStates
from hades.inner.ridge_cloning import RidgeCloning
from hades.policies.mlp import MLP
from hades.policies.wide_mlp import WideMLP
from hades.types import Dataset
from tests.support import BOX_SPEC, POINT, POINT_DISCRETE

KEY = jax.random.key(0)
WIDE = RidgeCloning(policy=WideMLP(), init_scheme=RandomInit(1), num_pairs=6, mirrored=True)
CLONING = BehaviourCloning(
    policy=MLP(width=32, depth=1, activation="relu", hidden_scale=0.2),
    init_scheme=RandomInit(1),
    loss=MSE(),
    num_pairs=6,
    start="gaussian",
    optimizer="sgd",
    optimizer_options=(("momentum", 0.9),),
    learning_rate=0.1,
    num_updates=1000,
    mirrored=True,
)


def genome(size: int, actions: int, num_pairs: int = 6) -> CloningGenome:
    x, y = jax.random.split(jax.random.key(3))
    targets = 0.5 * jax.random.normal(y, (num_pairs // 2 + 1, actions))
    return CloningGenome(jax.random.normal(x, (num_pairs // 2, size)), targets, {})


@pytest.mark.parametrize("num_pairs", [6, 7])
def test_every_second_pair_is_the_mirror_image_of_the_one_before(num_pairs: int) -> None:
    found = genome(3, 2, num_pairs)
    assert found.targets is not None
    pairs = dataclasses.replace(WIDE, num_pairs=num_pairs).dataset(found, BOX_SPEC)
    assert pairs.observations.shape == (num_pairs, 3)
    assert pairs.targets.shape == (num_pairs, 2)
    np.testing.assert_array_equal(pairs.observations[:6:2], found.observations)
    np.testing.assert_array_equal(pairs.observations[1:6:2], -found.observations)
    np.testing.assert_array_equal(pairs.observations[6:], 0.0)
    middle = found.targets[3]
    np.testing.assert_allclose(pairs.targets[:6:2] - middle, middle - pairs.targets[1:6:2], atol=1e-6)
    np.testing.assert_allclose(pairs.targets.mean(0), middle, atol=1e-6)


def test_class_probabilities_mirror_in_their_logits() -> None:
    spec = POINT_DISCRETE.spec
    found = genome(spec.obs_size, spec.action_space.size)
    logits = jnp.log(WIDE.dataset(found, spec).targets)
    middle = (logits[::2] + logits[1::2]) / 2.0
    assert found.targets is not None
    shift = middle - found.targets[3]
    np.testing.assert_allclose(shift, jnp.broadcast_to(shift[:, :1], shift.shape), atol=1e-5)


@pytest.mark.parametrize("num_pairs", [6, 7])
def test_a_search_goes_on_from_the_mirrored_pairs_of_another(num_pairs: int) -> None:
    found = genome(POINT.spec.obs_size, POINT.spec.action_space.size, num_pairs)
    learner = dataclasses.replace(WIDE, num_pairs=num_pairs)
    pairs = learner.dataset(found, POINT.spec)
    start = StartPairs(num_pairs, tuple(pairs.observations.reshape(-1)), tuple(pairs.targets.reshape(-1)))
    again = dataclasses.replace(learner, start_pairs=start).init_genome(KEY, POINT, lambda x: x)
    for name in ("observations", "targets"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-6)


def test_an_infinitely_wide_network_trained_on_them_is_affine() -> None:
    pairs = dataclasses.replace(WIDE, num_pairs=7).dataset(genome(3, 2, 7), BOX_SPEC)
    one_side = jax.tree.map(lambda x: x[::2], pairs)

    def bend(pairs: Dataset) -> float:
        """How far the outputs of sums of observations are from the sums of outputs, as a share of the outputs."""
        trained, _ = WIDE.clone(KEY, pairs, WIDE.policy.init(KEY, BOX_SPEC), BOX_SPEC)

        def output(x: jax.Array) -> jax.Array:
            return WIDE.policy.distribution(trained, x, BOX_SPEC).mode()

        u, v = jax.random.normal(KEY, (2, 50, 3))
        excess = output(u + v) + output(jnp.zeros((50, 3))) - output(u) - output(v)
        return float(jnp.abs(excess).mean() / jnp.abs(output(u)).mean())

    assert bend(pairs) < 0.05
    assert bend(one_side) > 0.1


def test_networks_of_different_activations_agree_after_it() -> None:
    pairs = CLONING.dataset(genome(3, 2), BOX_SPEC)
    states = jax.random.normal(jax.random.key(5), (50, 3))

    def outputs(pairs: Dataset, **network: Any) -> Array:
        policy = dataclasses.replace(CLONING.policy, **network)
        learner = dataclasses.replace(CLONING, policy=policy, mirrored=False)
        trained, _ = learner.clone(KEY, pairs, policy.init(KEY, BOX_SPEC), BOX_SPEC)
        return policy.distribution(trained, states, BOX_SPEC).mode()

    def difference(pairs: Dataset) -> float:
        relu, tanh = outputs(pairs), outputs(pairs, activation="tanh", width=64)
        return float(jnp.abs(relu - tanh).mean() / jnp.abs(relu).mean())

    one_side = jax.tree.map(lambda x: x[::2], pairs)
    assert difference(pairs) < 0.5 * difference(one_side)


def test_a_file_of_them_is_trained_from_as_it_is() -> None:
    learner = CLONING.constant(genome(3, 2))
    assert not learner.mirrored
    assert learner.num_pairs == 6


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"num_pairs": 1}, "num_pairs is 1"),
        ({"prefixes": (2, 3)}, r"\(2, 3\)"),
        ({"targets": "fixed"}, "fixed"),
        ({"region": NearStates(1, (0.0, 0.0), (1.0, 1.0), (1.0,) * 6)}, "region"),
        ({"code": Cosines(2)}, "code"),
    ],
)
def test_what_has_no_mirror_image_is_refused(fields, named) -> None:
    with pytest.raises(ConfigError, match=named):
        dataclasses.replace(WIDE, **fields)
