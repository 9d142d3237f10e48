"""Play whole episodes with a stack of policies: the one evaluation behind selection, reports and dataset files."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from hades.algorithms.base import Evaluation
from hades.algorithms.keys import indexed_keys
from hades.environments.base import Environment
from hades.environments.rollout import Episodes, rollout
from hades.types import ActFn, EnvSpec, Key, Metrics, Params, PyTree, all_finite


def map_chunks(function: Callable[[PyTree], PyTree], xs: PyTree, at_once: int) -> PyTree:
    """`vmap(function)(xs)`, at most `at_once` rows at a time (0: all)."""
    if at_once == 1:
        return lax.map(function, xs)
    return apply_in_chunks(jax.vmap(function), xs, at_once)


def apply_in_chunks(function: Callable[[PyTree], PyTree], xs: PyTree, at_once: int) -> PyTree:
    """`function(xs)` of a function that treats each row by itself, at most `at_once` rows at a time (0: all).

    The function may return several entries for each row, such as the two candidates of an antithetic pair. Unlike
    `lax.map(batch_size=at_once)` it gets several rows at once, in chunks that are as equal as possible: it is compiled
    a second time only where the last chunk is smaller than the others.
    """
    size = jax.tree.leaves(xs)[0].shape[0]
    chunk = chunk_size(size, at_once)
    if chunk == size:
        return function(xs)
    equal = size - size % chunk
    chunks = jax.tree.map(lambda x: x[:equal].reshape(-1, chunk, *x.shape[1:]), xs)
    ys = jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), lax.map(function, chunks))
    if equal == size:
        return ys
    rest = function(jax.tree.map(lambda x: x[equal:], xs))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), ys, rest)


def chunk_size(size: int, at_most: int) -> int:
    """The size of the largest chunk of `size` rows in as few and as equal chunks as `at_most` allows (0: one chunk)."""
    if not 0 < at_most < size:
        return size
    count = -(-size // at_most)
    return -(-size // count)


def map_policies(function: Callable[[Key, Params], PyTree], key: Key, params: Params, at_once: int = 64) -> PyTree:
    """`function(key, params)` of each of I stacked policies; policy i uses `fold_in(key, i)`."""
    keys = indexed_keys(key, jax.tree.leaves(params)[0].shape[0])
    return map_chunks(lambda pair: function(*pair), (keys, params), at_once)


def play(
    key: Key, env: Environment, act_for: Callable[[Params], ActFn], params: Params, num_episodes: int, at_once: int = 64
) -> Episodes:
    """E whole episodes with each of I policies.

    Args:
        key: init i uses `fold_in(key, i)`.
        act_for: a policy's params to its ActFn on raw observations.
        params: stacked over I.

    Returns:
        Episodes with leading axes [I, E].
    """
    return map_policies(lambda k, p: rollout(k, env, act_for(p), num_episodes), key, params, at_once)


def play_tasks(
    key: Key,
    env: Environment,
    act_for: Callable[[EnvSpec], Callable[[Params], ActFn]],
    params: Params,
    num_episodes: int,
    metrics: Metrics | None = None,
) -> Evaluation:
    """E whole episodes of every task of an environment with each of I policies.

    A policy whose weights or final loss are not finite earns NaN.

    Args:
        key: as in `play`, the same for all tasks.
        act_for: from a task's spec to what `play` takes.
        params: stacked over I.
        metrics: of the training of each policy, f32[I] each.

    Returns:
        Returns as the environment combines those of its tasks, lengths summed over the tasks.
    """
    metrics = metrics or {}
    usable = jax.vmap(is_usable)(params, metrics)[:, None]
    tasks = {}
    for member in env.members:
        played = play(key, member, act_for(member.spec), params, num_episodes)
        tasks[member.spec.name] = Evaluation(
            returns=jnp.where(usable, played.returns, jnp.nan),
            lengths=played.lengths,
            metrics=metrics,
            info_max=played.info_max,
        )
    if len(tasks) == 1:
        return tasks.popitem()[1]
    each = list(tasks.values())
    returns = env.combine([task.returns for task in each])
    lengths = jnp.stack([task.lengths for task in each]).sum(0)
    return Evaluation(returns=returns, lengths=lengths, metrics=metrics, info_max={}, tasks=tasks)


def is_usable(params: Params, metrics: Metrics) -> Array:
    """Return bool[]: True if the weights of a trained policy, and the final loss where there is one, are finite."""
    return all_finite((params, metrics.get("loss/final", ())))


def sequential(function: Callable[[Key], Params], keys: Key) -> Params:
    """Fresh policies one after another: a vmapped orthogonal initialisation can hang for ever on CPU (batched QR)."""
    return lax.map(function, keys)
