"""Moments equal numpy's on concatenated data, and scores reduce as the architecture says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.types import Box, Discrete, EnvSpec, Moments, Score, finite_mean, finite_or, size_of

DATA = np.random.default_rng(0).normal(3.0, 2.0, (30, 2)).astype(np.float32)
PARTS = np.split(DATA, [1, 4, 17])


def of(rows: np.ndarray) -> Moments:
    return Moments.of(jnp.asarray(rows), jnp.ones(len(rows), bool))


def assert_moments_of(moments: Moments, rows: np.ndarray) -> None:
    np.testing.assert_allclose(moments.count, len(rows))
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.variance, rows.var(0), rtol=1e-5)


def test_moments_of_unmasked_rows_equal_numpy():
    mask = np.arange(30) % 3 > 0
    assert_moments_of(Moments.of(jnp.asarray(DATA), jnp.asarray(mask)), DATA[mask])


@pytest.mark.parametrize("anything", [np.nan, np.inf, 3e19], ids=str)
def test_masked_rows_may_hold_anything(anything):
    mask = np.arange(30) % 3 > 0
    rows = np.where(mask[:, None], DATA, np.float32(anything))  # the square of 3e19 is more than float32 holds
    assert_moments_of(Moments.of(jnp.asarray(rows), jnp.asarray(mask)), DATA[mask])


def test_merged_moments_equal_numpy_on_concatenated_data():
    merged = Moments.zeros((2,))
    for part in PARTS:
        merged = merged.merge(of(part))
    assert_moments_of(merged, DATA)


def test_moments_merged_along_an_axis_equal_numpy_on_concatenated_data():
    stack = jax.tree.map(lambda *xs: jnp.stack(xs), *(of(part) for part in PARTS))
    assert_moments_of(stack.merge_axis(), DATA)


def test_a_batch_of_stacks_is_merged_stack_by_stack():
    rows = DATA.reshape(3, 5, 2, 2)  # three stacks of five pairs
    moments = jax.vmap(jax.vmap(of))(rows)
    merged = jax.tree.map(lambda x: x.swapaxes(0, 1), moments).merge_axis()
    for i in range(3):
        assert_moments_of(jax.tree.map(lambda x, i=i: x[i], merged), rows[i].reshape(10, 2))


def test_moments_of_images_keep_their_shape():
    images = DATA.reshape(5, 3, 2, 2)
    moments = Moments.of(jnp.asarray(images), jnp.ones(5, bool))
    assert_moments_of(moments, images)
    assert_moments_of(jax.tree.map(lambda x: x[None], moments).merge_axis(), images)


@pytest.mark.parametrize("empty", ["left", "right", "both"])
def test_merging_with_no_data_changes_nothing(empty):
    nothing, something = Moments.zeros((2,)), of(DATA)
    if empty == "both":
        merged = nothing.merge(nothing)
        assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(merged))
    else:
        assert_moments_of(nothing.merge(something) if empty == "left" else something.merge(nothing), DATA)


@pytest.mark.parametrize("anything", [np.nan, np.inf, 3e19], ids=str)
def test_moments_of_no_row_may_hold_anything(anything):
    nothing, something = Moments(jnp.zeros(()), jnp.full(2, anything), jnp.full(2, anything)), of(DATA)
    assert_moments_of(nothing.merge(something), DATA)
    assert_moments_of(something.merge(nothing), DATA)
    assert_moments_of(jax.tree.map(lambda *xs: jnp.stack(xs), nothing, something, nothing).merge_axis(), DATA)


def test_moments_keep_their_accuracy_far_from_zero():
    rows = DATA + 1000.0
    np.testing.assert_allclose(of(rows[:10]).merge(of(rows[10:])).variance, rows.var(0), rtol=1e-3)


def test_scores_average_values_sum_counts_and_skip_unmeasured_metrics():
    score = Score(
        value=jnp.array([1.0, 3.0]),
        episodes=jnp.array([2, 5]),
        env_steps=jnp.array([10, 20]),
        moments=jax.tree.map(lambda *xs: jnp.stack(xs), of(DATA[:10]), of(DATA[10:])),
        metrics={"return": jnp.array([4.0, jnp.nan])},
    ).reduce()
    assert (score.value, score.episodes, score.env_steps, score.metrics["return"]) == (2.0, 7, 30, 4.0)
    assert_moments_of(score.moments, DATA)


def test_a_value_that_one_init_could_not_measure_is_not_a_number():
    zeros = jnp.zeros(2, jnp.int32)
    assert jnp.isnan(Score(jnp.array([1.0, jnp.nan]), zeros, zeros, None, {}).reduce().value)


def test_finite_mean_skips_what_is_not_finite():
    x = jnp.array([[1.0, jnp.nan, jnp.inf], [3.0, jnp.nan, 5.0]])
    np.testing.assert_array_equal(finite_mean(x, axis=0), [2.0, np.nan, 5.0])
    assert finite_mean(x) == 3.0


def test_specs_know_sizes_and_kinds():
    image = EnvSpec("x", (4, 5, 6), Discrete(3), 10)
    assert (image.obs_size, image.is_image, image.is_discrete, image.action_space.size) == (120, True, True, 3)
    flat = EnvSpec("x", (4,), Box(2), 10)
    assert (flat.obs_size, flat.is_image, flat.is_discrete, flat.action_space.size) == (4, False, False, 2)
    assert size_of({"a": jnp.zeros((2, 3)), "b": jnp.zeros(())}) == 7


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pytree_with_one_number_that_is_not_finite_is_replaced_whole(bad):
    old = {"a": jnp.zeros(2), "b": jnp.zeros((), jnp.int32)}
    new = {"a": jnp.array([1.0, 2.0]), "b": jnp.ones((), jnp.int32)}
    kept, finite = finite_or(new, old)
    assert (bool(finite), kept["a"].tolist(), int(kept["b"])) == (True, [1.0, 2.0], 1)
    kept, finite = finite_or(new | {"a": jnp.array([1.0, bad])}, old)
    assert (bool(finite), kept["a"].tolist(), int(kept["b"])) == (False, [0.0, 0.0], 0)
