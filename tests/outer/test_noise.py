"""Each noise against NumPy and against its own directions; what is kept of a population; and searches that use it."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from hades.errors import ConfigError
from hades.inner.identity import Identity
from hades.outer import noise as noise_module
from hades.outer.noise import LowRankNoise, Perturbations, SeededNoise, StoredNoise, num_entries
from hades.outer.open_es import OpenES
from hades.outer.shaping import rank_utilities
from hades.outer.snes import SNES
from hades.policies.mlp import MLP
from hades.runs.checkpoint import Checkpoints
from hades.runs.loop import run
from tests.outer.search import asked_candidates, fitness_of, trajectory
from tests.runs.tiny import tiny_experiment

P, R = 16, 8
KEYS = jax.random.split(jax.random.key(3), 50)
GENOME = {"bias": jnp.zeros(4), "conv": jnp.zeros((2, 3, 5)), "head": jnp.zeros((6, 1)), "kernel": jnp.zeros((6, 5))}
MEAN, UNRAVEL = ravel_pytree(GENOME)
SHAPES = ((4,), (2, 3, 5), (6, 1), (6, 5))  # in the order of a flat vector
N = num_entries(SHAPES)
EVERY = {"stored": StoredNoise(), "seeded": SeededNoise(), "rank 1": LowRankNoise(), "rank 2": LowRankNoise(rank=2)}
NAMES = [*EVERY]


def drawn(noise, key, count=R):
    """The rows, and z as float64."""
    rows = noise.draw(key, count, SHAPES)
    return rows, np.asarray(noise.directions(rows, SHAPES), np.float64)


@pytest.mark.parametrize("count", [R, 7])
@pytest.mark.parametrize("name", NAMES)
def test_sums_are_those_of_the_directions(name, count, key, monkeypatch):
    noise = EVERY[name]
    rows, z = drawn(noise, key, count)
    weights = np.linspace(-1.0, 2.0, count)
    monkeypatch.setattr(noise_module, "LEAST_ROWS", 1)
    for block in (1, 3 * N, 10**6):  # one row at a time, two (the divisor of 8 below 3) or three and a last one, all
        monkeypatch.setattr(noise_module, "BLOCK", block)
        np.testing.assert_allclose(noise.weighted_sum(jnp.asarray(weights), rows, SHAPES), weights @ z, atol=1e-5)
        squares = noise.weighted_squares(jnp.asarray(weights), rows, SHAPES)
        np.testing.assert_allclose(squares, weights @ (z**2 - 1), atol=2e-5)


@pytest.mark.parametrize(
    ("count", "most", "chunks"),
    [(67, 16, {16, 3}), (64, 24, {16}), (60, 16, {15}), (62, 16, {16, 14}), (67, 1, {8, 3}), (16, 16, {16})],
    ids=["prime", "power of two", "divisor", "small divisors", "large genome", "all"],
)
def test_rows_are_summed_in_large_chunks_whatever_their_count(count, most, chunks, key, monkeypatch):
    seen = set()

    class Recorded(SeededNoise):
        def directions(self, rows, shapes):
            seen.add(rows.shape[0])
            return super().directions(rows, shapes)

    monkeypatch.setattr(noise_module, "BLOCK", most * N)
    noise = Recorded()
    rows = jax.eval_shape(lambda k: noise.draw(k, count, SHAPES), key)
    jax.eval_shape(lambda w, r: noise.weighted_squares(w, r, SHAPES), jnp.zeros(count), rows)
    assert seen == chunks


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_the_same_in_any_chunk(name, key):
    noise = EVERY[name]
    rows, z = drawn(noise, key)
    part = noise.directions(jax.tree.map(lambda x: x[2:5], rows), SHAPES)
    np.testing.assert_allclose(part, z[2:5], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_entries_have_mean_zero_and_variance_one_and_rows_differ(name, key):
    _, z = drawn(EVERY[name], key, 4096)
    np.testing.assert_allclose(z.mean(0), 0.0, atol=0.08)
    np.testing.assert_allclose(z.var(0), 1.0, atol=0.35)  # products of two normals have heavy tails
    np.testing.assert_allclose(z.var(), 1.0, atol=0.03)
    assert len(np.unique(z, axis=0)) == 4096


def test_stored_noise_is_the_keys_own_normal_numbers_and_large_noise_is_drawn_by_columns(key, monkeypatch):
    noise = StoredNoise()
    np.testing.assert_array_equal(noise.draw(key, R, SHAPES), jax.random.normal(key, (R, N)))
    monkeypatch.setattr(noise_module, "BLOCK", R * 15)
    z = noise.draw(key, R, SHAPES)
    blocks = [jax.random.normal(jax.random.fold_in(key, i), (R, 15)) for i in range(math.ceil(N / 15))]
    np.testing.assert_array_equal(z[:, :15], blocks[0])
    np.testing.assert_array_equal(z[:, -15:], blocks[-1])
    assert len(np.unique(z)) == R * N


def test_a_seeded_row_is_a_key_of_its_own(key):
    rows, z = drawn(SeededNoise(), key)
    assert rows.shape == (R,)
    np.testing.assert_allclose(z[3], jax.random.normal(jax.random.fold_in(key, 3), (N,)), rtol=1e-6)


@pytest.mark.parametrize("rank", [1, 2])
def test_matrices_get_the_rank_and_everything_else_full_noise(rank, key):
    noise = LowRankNoise(rank=rank)
    rows, z = drawn(noise, key)
    bias, conv, head, kernel = rows
    assert bias.shape == (R, 4)
    assert head.shape == (R, 6)  # its factors would hold more numbers than it does
    assert [f.shape for f in conv] == [(R, 6, rank), (R, 5, rank)]
    for i in range(R):
        genome = UNRAVEL(jnp.asarray(z[i], jnp.float32))
        left, right = (np.asarray(factor[i], np.float64) for factor in kernel)
        np.testing.assert_allclose(genome["kernel"], left @ right.T / math.sqrt(rank), atol=1e-5)
        for matrix in (genome["kernel"], genome["conv"].reshape(6, 5)):
            assert np.linalg.matrix_rank(matrix, tol=1e-4) == rank
        np.testing.assert_allclose(genome["bias"], bias[i], rtol=1e-6)


def test_factors_are_what_is_kept(key):
    shapes = ((512, 512), (512,))
    kept = {
        name: sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda k, n=n: n.draw(k, 4, shapes), key)))
        for name, n in EVERY.items()
        if name != "seeded"  # a typed key has no size of its own here
    }
    assert kept["stored"] == 4 * (512 * 512 + 512)
    assert kept["rank 1"] == 4 * (512 + 512 + 512)
    assert kept["rank 2"] == 4 * (2 * (512 + 512) + 512)


def test_antithetic_neighbours_are_mirrored_and_their_sums_are_those_over_candidates(key):
    rows, weights = jnp.arange(6.0).reshape(2, 3), jnp.array([5.0, 1.0, 2.0, 3.0])
    pairs, single = (Perturbations(StoredNoise(), antithetic, ((3,),)) for antithetic in (True, False))
    assert (pairs.draw(key, 4).shape, single.draw(key, 4).shape) == ((2, 3), (4, 3))
    z = pairs.directions(rows)
    np.testing.assert_array_equal(z, np.stack([rows[0], -rows[0], rows[1], -rows[1]]))
    np.testing.assert_array_equal(single.directions(rows), rows)
    np.testing.assert_array_equal(pairs.mean_gradient(weights, rows), weights @ z)
    np.testing.assert_array_equal(pairs.std_gradient(weights, rows), weights @ (z**2 - 1))
    np.testing.assert_array_equal(single.mean_gradient(weights[:2], rows), weights[:2] @ rows)
    np.testing.assert_array_equal(single.std_gradient(weights[:2], rows), weights[:2] @ (rows**2 - 1))


@pytest.mark.parametrize("antithetic", [True, False], ids=["pairs", "no pairs"])
@pytest.mark.parametrize("name", NAMES)
def test_the_update_of_open_es_is_the_sum_over_its_candidates(name, antithetic, key):
    outer = OpenES(
        P, sigma=0.1, optimizer="sgd", learning_rate=1.0, shaping="raw", antithetic=antithetic, noise=EVERY[name]
    )
    state = outer.init(key, MEAN + 1.0, UNRAVEL)
    rows, asked = outer.ask(key, state)
    candidates = np.asarray(outer.candidates(asked, rows), np.float64)
    fitness = np.linspace(0.0, 3.0, P) ** 2
    told, _ = outer.tell(key, asked, rows, jnp.asarray(fitness))
    z = (candidates - 1.0) / 0.1
    np.testing.assert_allclose(told.mean, 1.0 + fitness @ z / (P * 0.1), rtol=1e-3, atol=1e-3)
    assert np.allclose(candidates[::2] + candidates[1::2], 2.0, atol=1e-5) == antithetic


@pytest.mark.parametrize("antithetic", [True, False], ids=["pairs", "no pairs"])
def test_the_update_of_snes_is_the_sum_over_its_candidates(antithetic, key):
    outer = SNES(P, sigma=0.5, antithetic=antithetic, noise=SeededNoise())
    state = outer.init(key, MEAN, UNRAVEL)
    rows, _ = outer.ask(key, state)
    candidates = np.asarray(outer.candidates(state, rows), np.float64)
    fitness = -np.square(candidates - 0.5).sum(1)
    told, _ = outer.tell(key, state, rows, jnp.asarray(fitness))
    best_first = candidates[np.argsort(-fitness)] / 0.5
    utilities = np.asarray(rank_utilities(P, outer.temperature), np.float64)
    rate = (3 + math.log(N)) / (5 * math.sqrt(N))
    np.testing.assert_allclose(told.mean, 0.5 * utilities @ best_first, atol=1e-5)
    np.testing.assert_allclose(told.std, 0.5 * np.exp(0.5 * rate * (utilities @ (best_first**2 - 1))), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_with_it_solves_a_sphere(name):
    outer = OpenES(64, sigma=0.05, learning_rate=0.03, noise=EVERY[name])
    means = trajectory(outer, MEAN, KEYS, UNRAVEL).mean
    assert fitness_of(means[0]) < -17.0
    assert fitness_of(means[-1]) > -0.5


def test_snes_with_seeds_solves_a_sphere():
    outer = SNES(64, sigma=0.5, noise=SeededNoise())
    assert fitness_of(trajectory(outer, MEAN, KEYS, UNRAVEL).mean[-1]) > -0.5


def test_equal_keys_ask_for_equal_candidates(key):
    for noise in EVERY.values():
        outer = OpenES(P, noise=noise)
        state = outer.init(key, MEAN, UNRAVEL)
        chex.assert_trees_all_equal(asked_candidates(outer, key, state), asked_candidates(outer, key, state))
        assert not np.allclose(asked_candidates(outer, key, state), asked_candidates(outer, KEYS[0], state))


@pytest.mark.parametrize("name", NAMES)
def test_a_state_knows_its_shapes_again_after_a_checkpoint(name, key, tmp_path):
    outer = OpenES(P, noise=EVERY[name])
    state = outer.init(key, MEAN + 1.0, UNRAVEL)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"outer": state}, {})
    checkpoints.wait()
    like = jax.eval_shape(lambda k: outer.init(k, MEAN, UNRAVEL), key)
    restored = checkpoints.restore({"outer": like}, print)
    checkpoints.close()
    assert restored.tree["outer"].perturbations == Perturbations(EVERY[name], True, SHAPES)
    chex.assert_trees_all_equal(
        asked_candidates(outer, key, restored.tree["outer"]), asked_candidates(outer, key, state)
    )


@pytest.mark.slow
def test_a_low_rank_search_that_is_continued_is_the_uninterrupted_one(tmp_path):
    def search(generations, folder):
        experiment = tiny_experiment(generations=generations, eval_every=4)
        learner = Identity(policy=MLP(width=8, depth=1))
        outer = OpenES(8, sigma=0.1, noise=LowRankNoise())
        algorithm = dataclasses.replace(experiment.algorithm, learner=learner, outer=outer)
        run(dataclasses.replace(experiment, algorithm=algorithm), tmp_path / folder, progress=False)
        return (tmp_path / folder / "metrics.jsonl").read_bytes()

    assert len(search(4, "stopped").splitlines()) == 4
    assert search(8, "stopped") == search(8, "whole")


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigError, match=r"LowRankNoise\.rank.*0.*1"):
        LowRankNoise(rank=0)
    with pytest.raises(ConfigError, match=r"SNES.*LowRankNoise.*OpenES"):
        SNES(noise=LowRankNoise())
    dataclasses.replace(SNES(), noise=SeededNoise())
