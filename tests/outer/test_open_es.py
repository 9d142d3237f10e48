"""OpenES solves a sphere, equals a NumPy twin, and equals evosax."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from evosax.algorithms import algorithms
from evosax.core.fitness_shaping import identity_fitness_shaping_fn

from hades.outer.open_es import OpenES
from tests.outer.search import asked_candidates, evosax_means, fitness_of, trajectory

P, N, G = 16, 6, 50
MEAN = jnp.zeros(N)
KEYS = jax.random.split(jax.random.key(3), G)
PUBLISHED = OpenES(population_size=P, sigma=0.03, learning_rate=0.05, optimizer_options=(("b1", 0.99),), shaping="raw")


@pytest.fixture(scope="module")
def published():
    return trajectory(PUBLISHED, MEAN, KEYS)


@pytest.mark.parametrize("shaping", ["centered_rank", "standardized"])
def test_open_es_solves_a_sphere(shaping):
    outer = OpenES(population_size=P, sigma=0.05, learning_rate=0.03, shaping=shaping)
    assert fitness_of(trajectory(outer, MEAN, KEYS).mean[-1]) > -1e-2


def test_open_es_equals_its_numpy_twin(published):
    mean, first, second = np.zeros(N), np.zeros(N), np.zeros(N)
    for t, key in enumerate(KEYS, start=1):
        half = np.asarray(jax.random.normal(key, (P // 2, N)), np.float64)
        noise = np.concatenate([half, -half])
        fitness = -np.square(mean + 0.03 * noise - 0.5).sum(1)
        gradient = -(fitness[:, None] * noise).mean(0) / 0.03
        first, second = 0.99 * first + 0.01 * gradient, 0.999 * second + 0.001 * gradient**2
        mean = mean - 0.05 * (first / (1 - 0.99**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(published.mean[t], mean, atol=2e-5)


def test_published_open_es_equals_evosax(published):
    strategy = algorithms["Open_ES"](
        population_size=P,
        solution=MEAN,
        optimizer=optax.adam(0.05, b1=0.99),
        std_schedule=optax.constant_schedule(0.03),
        fitness_shaping_fn=identity_fitness_shaping_fn,
    )
    means = evosax_means(strategy, strategy.default_params, MEAN, KEYS)
    np.testing.assert_allclose(published.mean, means, atol=1e-5)
    assert np.abs(means[-1] - means[0]).max() > 0.1


@pytest.mark.parametrize("antithetic", [True, False])
def test_populations_are_mirrored_where_antithetic(antithetic, key):
    outer = dataclasses.replace(PUBLISHED, antithetic=antithetic)
    population = asked_candidates(outer, key, outer.init(key, MEAN + 2.0, lambda x: x))
    mirrored = np.allclose(population[::2] + population[1::2], 4.0, rtol=1e-6)
    assert mirrored == antithetic
    assert len(np.unique(population)) == P * N


def test_sigma_decays_to_its_floor_and_belongs_to_its_generation():
    outer = OpenES(population_size=P, sigma=0.4, sigma_decay=0.5, sigma_min=0.1)
    states = trajectory(outer, MEAN, KEYS[:4])
    np.testing.assert_allclose(states.sigma, [0.4, 0.2, 0.1, 0.1, 0.1])
    second = jax.tree.map(lambda x: x[1], states)
    population = asked_candidates(outer, KEYS[1], second)
    half = jax.random.normal(KEYS[1], (P // 2, N))
    np.testing.assert_allclose(population[::2], second.mean + 0.2 * half, rtol=1e-5)


def test_any_optax_optimiser_drives_it():
    outer = OpenES(population_size=P, sigma=0.1, optimizer="sgd", learning_rate=0.25, shaping="raw")
    states = trajectory(outer, MEAN, KEYS[:1])
    half = np.asarray(jax.random.normal(KEYS[0], (P // 2, N)))
    noise = np.concatenate([half, -half])
    fitness = -np.square(0.1 * noise - 0.5).sum(1)
    np.testing.assert_allclose(states.mean[1], 0.25 * (fitness[:, None] * noise).mean(0) / 0.1, rtol=1e-4)
