"""SNES solves a sphere, equals a NumPy twin, and equals evosax."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evosax.algorithms import algorithms
from evosax.algorithms.distribution_based.discovered_es import get_weights

from hades.outer.shaping import rank_utilities
from hades.outer.snes import SNES
from tests.outer.search import asked_candidates, evosax_means, fitness_of, trajectory

P, N, G = 16, 6, 50
MEAN = jnp.zeros(N)
KEYS = jax.random.split(jax.random.key(3), G)
PUBLISHED = SNES(population_size=P, sigma=0.5, temperature=20.0)
PAPER = SNES(population_size=P, sigma=0.5)


@pytest.fixture(scope="module")
def paper():
    return trajectory(PAPER, MEAN, KEYS)


def utilities_of_the_paper(size: int) -> np.ndarray:
    raw = [max(0.0, math.log(size / 2 + 1) - math.log(rank)) for rank in range(1, size + 1)]
    return np.array([u / sum(raw) - 1 / size for u in raw])


def test_snes_solves_a_sphere(paper):
    assert fitness_of(MEAN) == -1.5
    assert fitness_of(paper.mean[-1]) > -1e-2
    assert paper.std[-1].mean() < 0.1


def test_snes_equals_its_numpy_twin(paper):
    mean, std = np.zeros(N), np.full(N, 0.5)
    rate = (3 + math.log(N)) / (5 * math.sqrt(N))
    for generation, key in enumerate(KEYS):
        noise = np.asarray(jax.random.normal(key, (P, N)), np.float64)
        fitness = -np.square(mean + std * noise - 0.5).sum(1)
        best_first = noise[np.argsort(-fitness)]
        utilities = utilities_of_the_paper(P)
        gradient_mean, gradient_std = utilities @ best_first, utilities @ (best_first**2 - 1)
        mean, std = mean + std * gradient_mean, std * np.exp(0.5 * rate * gradient_std)
        np.testing.assert_allclose(paper.mean[generation + 1], mean, atol=1e-5)
        np.testing.assert_allclose(paper.std[generation + 1], std, atol=1e-5)


def test_snes_at_temperature_20_equals_evosax():
    strategy = algorithms["SNES"](population_size=P, solution=MEAN)
    params = strategy.default_params.replace(std_init=0.5, weights=get_weights(P, 20.0))
    means = evosax_means(strategy, params, MEAN, KEYS)
    np.testing.assert_allclose(trajectory(PUBLISHED, MEAN, KEYS).mean, means, atol=1e-5)
    assert np.abs(means[-1] - means[0]).max() > 0.1


def test_utilities_sum_to_zero_in_the_paper_and_to_one_in_discovered_es():
    paper, discovered = rank_utilities(P, 0.0), rank_utilities(P, 20.0)
    np.testing.assert_allclose(paper, utilities_of_the_paper(P), atol=1e-6)
    assert abs(paper.sum()) < 1e-6
    np.testing.assert_allclose(discovered, get_weights(P, 20.0), atol=1e-6)
    np.testing.assert_allclose(discovered.sum(), 1.0, rtol=1e-5)


def test_antithetic_pairs_mirror_each_other(key):
    outer = SNES(population_size=P, antithetic=True)
    population = asked_candidates(outer, key, outer.init(key, MEAN + 2.0, lambda x: x))
    np.testing.assert_allclose(population[::2] + population[1::2], 4.0, rtol=1e-6)


def test_pull_leads_a_fraction_of_the_way_back_to_the_start(key):
    outer = SNES(population_size=P, pull=0.25)
    state = dataclasses.replace(outer.init(key, MEAN, lambda x: x), mean=MEAN + 4.0)
    population, _ = outer.ask(key, state)
    told, _ = outer.tell(key, state, population, jnp.zeros(P))  # nothing to learn where all are equal
    np.testing.assert_allclose(told.mean, 3.0, rtol=1e-5)
    np.testing.assert_allclose(told.std, state.std, rtol=1e-5)


def test_step_size_rates_are_chosen_or_the_papers(key):
    state = PAPER.init(key, MEAN, lambda x: x)
    population, _ = PAPER.ask(key, state)
    fitness = fitness_of(PAPER.candidates(state, population))
    logs = {}
    for rate in (0.0, (3 + math.log(N)) / (5 * math.sqrt(N)), 0.1):
        outer = dataclasses.replace(PAPER, sigma_learning_rate=rate)
        logs[rate] = np.log(outer.tell(key, state, population, fitness)[0].std / 0.5)
    default, same, small = logs.values()
    np.testing.assert_allclose(default, same, atol=1e-6)
    np.testing.assert_allclose(small, default * 0.1 / list(logs)[1], atol=1e-6)
