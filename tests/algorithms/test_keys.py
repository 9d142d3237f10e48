"""Every key comes from the root key by purpose, generation and index, and streams never meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, stream_key
from hades.algorithms.playing import apply_in_chunks, chunk_size, map_chunks, play
from hades.environments.rollout import rollout
from tests.support import POINT

ROOT = jax.random.key(0)


def bits(key):
    return tuple(np.asarray(jax.random.key_data(key)).reshape(-1).tolist())


def test_streams_generations_steps_and_indices_never_share_a_key():
    purposes = [
        purpose_key(stream_key(ROOT, stream, i), purpose) for stream in Stream for i in range(4) for purpose in Purpose
    ]
    keys = [bits(key) for purpose in purposes for key in (purpose, *indexed_keys(purpose, 3))]
    assert len(set(keys)) == len(keys) == len(Stream) * 4 * len(Purpose) * 4


def test_indexed_keys_do_not_depend_on_their_number():
    np.testing.assert_array_equal(
        jax.random.key_data(indexed_keys(ROOT, 2)), jax.random.key_data(indexed_keys(ROOT, 5))[:2]
    )


@pytest.mark.parametrize("at_once", [0, 1, 2, 3, 5, 6, 100])
def test_chunks_give_what_one_batch_gives(at_once):
    xs = {"a": np.arange(6.0), "b": np.arange(12.0).reshape(6, 2)}
    ys = map_chunks(lambda x: x["a"] + x["b"], xs, at_once)
    np.testing.assert_array_equal(ys, xs["a"][:, None] + xs["b"])


def test_chunks_are_few_and_nearly_equal():
    assert [chunk_size(12, n) for n in (0, 1, 5, 6, 7, 12, 50)] == [12, 1, 4, 6, 6, 12, 12]
    assert [chunk_size(67, n) for n in (0, 1, 8, 64, 66, 67)] == [67, 1, 8, 34, 34, 67]


@pytest.mark.parametrize(("at_once", "most"), [(64, 34), (8, 8), (1, 1), (0, 67)])
def test_a_prime_number_of_rows_is_not_played_one_at_a_time(at_once, most):
    xs = {"x": jnp.arange(67.0), "key": indexed_keys(ROOT, 67)}
    sizes = []

    def function(rows):
        sizes.append(len(rows["x"]))
        return {"y": rows["x"] + jax.vmap(jax.random.uniform)(rows["key"])}

    ys = apply_in_chunks(function, xs, at_once)
    assert max(sizes) == most
    np.testing.assert_array_equal(ys["y"], function(xs)["y"])


@pytest.mark.parametrize("at_once", [1, 3, 4, 8])
def test_a_row_may_stand_for_several_entries(at_once):
    pairs = lambda rows: jnp.stack([rows, -rows], 1).reshape(-1)  # noqa: E731
    rows = jnp.arange(1.0, 9.0)
    np.testing.assert_array_equal(apply_in_chunks(pairs, rows, at_once), pairs(rows))


def test_mapped_chunks_of_a_prime_number_of_rows_take_few_turns():
    jaxpr = jax.make_jaxpr(lambda xs: map_chunks(jnp.sin, xs, 64))(jnp.arange(67.0))
    assert [e.params["length"] for e in jaxpr.eqns if e.primitive.name == "scan"] == [1]


def test_each_policy_plays_the_episodes_of_its_own_key():
    params = np.array([-1.0, 0.5, 1.0], np.float32)
    act_for = lambda p: lambda key, obs: p[None]  # noqa: E731
    episodes = jax.jit(lambda p: play(ROOT, POINT, act_for, p, 2, at_once=2))(params)
    assert episodes.returns.shape == episodes.lengths.shape == (3, 2)
    for i, p in enumerate(params):
        alone = rollout(jax.random.fold_in(ROOT, i), POINT, act_for(p), 2)
        np.testing.assert_allclose(episodes.returns[i], alone.returns, rtol=1e-5)
