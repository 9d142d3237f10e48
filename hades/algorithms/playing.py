"""Play whole episodes with a stack of policies: the one evaluation behind selection, reports and dataset files."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from hades.algorithms.base import Evaluation
from hades.algorithms.keys import indexed_keys
from hades.environments.base import Environment
from hades.environments.rollout import Episodes, rollout
from hades.types import ActFn, EnvSpec, Key, Params, PyTree


def map_chunks(function: Callable[[PyTree], PyTree], xs: PyTree, at_once: int) -> PyTree:
    """`vmap(function)(xs)`, at most `at_once` rows at a time (0: all) and in equal chunks."""
    size = jax.tree.leaves(xs)[0].shape[0]
    chunk = largest_divisor(size, at_once)
    if chunk == size:
        return jax.vmap(function)(xs)
    if chunk == 1:
        return lax.map(function, xs)
    chunks = jax.tree.map(lambda x: x.reshape(size // chunk, chunk, *x.shape[1:]), xs)
    ys = lax.map(jax.vmap(function), chunks)
    return jax.tree.map(lambda y: y.reshape(size, *y.shape[2:]), ys)


def largest_divisor(size: int, at_most: int) -> int:
    """The largest divisor of `size` that does not exceed `at_most` (0: `size` itself)."""
    if at_most <= 0 or at_most >= size:
        return size
    return next(d for d in range(at_most, 0, -1) if size % d == 0)


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
    count = jax.tree.leaves(params)[0].shape[0]

    def one(pair: tuple[Key, Params]) -> Episodes:
        return rollout(pair[0], env, act_for(pair[1]), num_episodes)

    return map_chunks(one, (indexed_keys(key, count), params), at_once)


def play_tasks(
    key: Key,
    env: Environment,
    act_for: Callable[[EnvSpec], Callable[[Params], ActFn]],
    params: Params,
    num_episodes: int,
) -> Evaluation:
    """E whole episodes of every task of an environment with each of I policies.

    Args:
        key: as in `play`, the same for all tasks.
        act_for: from a task's spec to what `play` takes.
        params: stacked over I.

    Returns:
        Returns as the environment combines those of its tasks, lengths summed over the tasks.
    """
    tasks = {}
    for member in env.members:
        played = play(key, member, act_for(member.spec), params, num_episodes)
        tasks[member.spec.name] = Evaluation(
            returns=played.returns, lengths=played.lengths, metrics={}, info_max=played.info_max
        )
    if len(tasks) == 1:
        return tasks.popitem()[1]
    each = list(tasks.values())
    returns = env.combine([task.returns for task in each])
    lengths = jnp.stack([task.lengths for task in each]).sum(0)
    return Evaluation(returns=returns, lengths=lengths, metrics={}, info_max={}, tasks=tasks)


def sequential(function: Callable[[Key], Params], keys: Key) -> Params:
    """Fresh policies one after another: a vmapped orthogonal initialisation can hang for ever on CPU (batched QR)."""
    return lax.map(function, keys)
