"""Settled pairs: a stage that adds pairs to those of the stage before leaves these nearly as they are."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.inner.pairs import CloningGenome, PairsLearner, StartPairs
from hades.inner.region import NearStates
from hades.inner.ridge_cloning import RidgeCloning
from hades.policies.mlp import MLP
from hades.types import Dataset
from tests.support import POINT

KEY = jax.random.key(0)
NET = MLP(width=8, depth=1)
SIZE = POINT.spec.obs_size
START = StartPairs(num_pairs=2, observations=tuple(np.linspace(-1.0, 1.0, 2 * SIZE)), targets=(0.5, -0.25))
LEARNERS = [
    BehaviourCloning(NET, RandomInit(1), MSE(), num_pairs=4, settled=2, start_pairs=START, target_scale=2.0),
    RidgeCloning(NET, RandomInit(1), num_pairs=4, settled=2, start_pairs=START),
]


def first_genome(learner: PairsLearner) -> CloningGenome:
    return learner.init_genome(KEY, POINT, lambda obs: obs)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: type(learner).__name__)
def test_a_step_moves_settled_pairs_by_a_hundredth(learner: Any) -> None:
    genome = first_genome(learner)

    def pairs(genome: CloningGenome) -> Dataset:
        found: Dataset = learner.dataset(genome, POINT.spec)
        return found

    stepped = jax.tree.map(lambda x: x + 1.0, genome)
    for after, before in zip(jax.tree.leaves(pairs(stepped)), jax.tree.leaves(pairs(genome)), strict=True):
        moved = after - before
        np.testing.assert_allclose(moved[:2], 0.01 * moved[2:], rtol=1e-3)
        assert (moved[2:] >= 1.0).all()
    assert learner.constant(genome).settled == 0  # what a dataset file trains from


@pytest.mark.parametrize("settled", [0, 2])
def test_pairs_to_start_from_are_repeated_for_a_multiple_of_them(settled: int) -> None:
    learner = dataclasses.replace(LEARNERS[0], settled=settled)
    pairs = learner.dataset(first_genome(learner), POINT.spec)
    np.testing.assert_allclose(pairs.observations.reshape(-1), START.observations * 2, atol=1e-6)
    np.testing.assert_allclose(pairs.targets.reshape(-1), START.targets * 2, atol=1e-6)


def test_settled_pairs_start_inside_their_region() -> None:
    learner = dataclasses.replace(LEARNERS[0], region=NearStates(1, (0.0,) * SIZE, (1.0,) * SIZE, (0.1,) * 4))
    pairs = learner.dataset(first_genome(learner), POINT.spec)
    assert jnp.sqrt(jnp.square(pairs.observations).mean(1)).max() <= 0.1 + 1e-5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"settled": 4}, r"settled is 4, but there are 4 pairs: none is left"),
        ({"settled": -1}, "-1"),
        ({"mirrored": True}, r"settled is 2, which is for evolved targets of pairs that are not mirrored"),
        ({"start_pairs": None, "targets": "hard"}, r"settled is 2, which is for evolved targets"),
    ],
)
def test_what_cannot_settle_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(LEARNERS[0], **fields)
