"""Weighted sums and terms on the dataset."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.environments.gymnax import Gymnax
from hades.environments.rollout import random_policy, rollout
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.regularizers import CloningLoss, DatasetL2, VisitedDistance
from hades.fitness.weighted_sum import WeightedSum
from hades.fitness.windowed_return import WindowedReturn
from hades.normalizers.constant import ConstantNormalizer
from hades.outer.snes import SNES
from hades.types import Candidate
from tests.support import CLONING, EVOLUTION, POINT, one_device_mesh

KEY = jax.random.key(2)
ACT = random_policy(POINT.spec)
GENOME = {"observations": jnp.array([[3.0, 0.0]]), "targets": jnp.array([4.0])}
CANDIDATE = Candidate(genome=GENOME, params=(), metrics={"loss/final": jnp.asarray(0.25)})


def test_dataset_l2_is_minus_the_mean_square_of_the_genome():
    score = DatasetL2()(KEY, POINT, ACT, CANDIDATE)
    np.testing.assert_allclose(score.value, -25.0 / 3.0)
    assert (score.episodes, score.env_steps) == (0, 0)
    np.testing.assert_allclose(score.metrics["dataset_l2"], score.value)


def test_cloning_loss_is_minus_the_final_loss():
    assert CloningLoss()(KEY, POINT, ACT, CANDIDATE).value == -0.25
    with pytest.raises(ConfigError, match=r"CloningLoss.*loss"):
        CloningLoss()(KEY, POINT, ACT, CANDIDATE.replace(metrics={}))


def test_visited_distance_is_that_to_the_nearest_state_of_the_policy():
    """Of pairs on a visited state nothing is subtracted; of one that is k standard deviations off, k."""
    played = rollout(KEY, POINT, ACT, 2, keep=64)
    met = np.asarray(played.kept.steps).ravel() >= 0
    states = np.asarray(played.kept.observations).reshape(-1, 2)[met]
    std, term = states.std(0), VisitedDistance(2, 64)
    on = CANDIDATE.replace(observations=jnp.asarray(states[:2]))
    np.testing.assert_allclose(term(KEY, POINT, ACT, on).value, 0.0, atol=2e-3)
    corner = states.max(0) + 3.0 * std
    nearest = np.sqrt(np.square((corner - states) / std).mean(1)).min()
    off = CANDIDATE.replace(observations=jnp.asarray(corner)[None])
    score = term(KEY, POINT, ACT, off)
    np.testing.assert_allclose(score.value, -nearest, rtol=1e-4)
    deviation = np.abs((corner - states.mean(0)) / std).mean()
    sparse = VisitedDistance(2, 64, sparsity=0.5)(KEY, POINT, ACT, off)
    np.testing.assert_allclose(sparse.value, -nearest - 0.5 * deviation, rtol=1e-4)
    free = VisitedDistance(2, 64, radius=0.5)(KEY, POINT, ACT, off)
    np.testing.assert_allclose(free.value, 0.5 - nearest, rtol=1e-4)
    assert (score.episodes, score.env_steps) == (2, played.lengths.sum())
    with pytest.raises(ConfigError, match="VisitedDistance needs a learner whose genome is a dataset"):
        term(KEY, POINT, ACT, CANDIDATE)


def test_a_search_states_its_pairs_in_raw_coordinates():
    """The mean of the search starts at 0 in normalised coordinates, which is the mean of the statistics."""
    normalizer = ConstantNormalizer(mean=(3.0, -2.0), std=(0.5, 0.25), floor=0.1)
    learner = dataclasses.replace(CLONING, num_updates=1)
    fitness = WeightedSum((EpisodicReturn(1), VisitedDistance(1, 4)), (1.0, 0.5))
    outer = SNES(population_size=2, sigma=1e-6)
    evolution = dataclasses.replace(EVOLUTION, learner=learner, fitness=fitness, normalizer=normalizer, outer=outer)
    metrics = jax.jit(lambda key: evolution.step(evolution.init(key), one_device_mesh())[1])(KEY)
    assert metrics["population/visited_distance"] > 8.0  # from (3, -2); a pair at (0, 0) would be 4 deviations off


def test_a_weighted_sum_adds_values_and_counts_and_keeps_all_metrics():
    terms = (EpisodicReturn(2), DatasetL2(), CloningLoss())
    total = WeightedSum(terms, (1.0, 0.1, 2.0))(KEY, POINT, ACT, CANDIDATE, with_moments=True)
    played = EpisodicReturn(2)(jax.random.fold_in(KEY, 0), POINT, ACT, CANDIDATE, with_moments=True)
    np.testing.assert_allclose(total.value, played.value - 2.5 / 3.0 - 0.5, rtol=1e-5)
    assert (total.episodes, total.env_steps) == (2, played.env_steps)
    np.testing.assert_allclose(total.moments.mean, played.moments.mean)
    assert set(total.metrics) == {*played.metrics, "dataset_l2", "cloning_loss"}
    assert WeightedSum(terms, (1.0, 0.1, 2.0)).max_env_steps(POINT.spec) == 8


def test_terms_of_a_sum_play_different_episodes_and_moments_of_both_count():
    one = EpisodicReturn(2)
    both = WeightedSum((one, one), (1.0, -1.0))(KEY, POINT, ACT, CANDIDATE, with_moments=True)
    assert both.value != 0.0
    np.testing.assert_allclose(both.moments.count, both.env_steps)
    first = one(jax.random.fold_in(KEY, 0), POINT, ACT, CANDIDATE)
    np.testing.assert_allclose(both.metrics["return"], first.value, rtol=1e-6)  # the first term of a name wins


def test_a_term_of_weight_zero_does_not_matter():
    broken = CANDIDATE.replace(metrics={"loss/final": jnp.asarray(jnp.nan)})
    total = WeightedSum((DatasetL2(), CloningLoss()), (1.0, 0.0))(KEY, POINT, ACT, broken)
    np.testing.assert_allclose(total.value, -25.0 / 3.0)
    assert jnp.isnan(WeightedSum((DatasetL2(), CloningLoss()), (1.0, 0.5))(KEY, POINT, ACT, broken).value)


def test_a_sum_plays_as_many_episodes_in_parallel_as_its_widest_term():
    terms = (EpisodicReturn(2), DatasetL2(), WindowedReturn(num_envs=8))
    assert WeightedSum(terms, (1.0, 1.0, 1.0)).parallel_episodes(POINT.spec) == 8
    assert WeightedSum((DatasetL2(), CloningLoss()), (1.0, 1.0)).parallel_episodes(POINT.spec) == 0


def test_a_sum_checks_its_terms():
    with pytest.raises(ConfigError, match=r"num_steps.*1024"):
        WeightedSum((EpisodicReturn(), WindowedReturn()), (1.0, 1.0)).check(Gymnax("Freeway-MinAtar").spec)
