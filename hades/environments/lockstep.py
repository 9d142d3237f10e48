"""A loop whose iterations are steps of E episodes, and what becomes of it where `vmap` puts many such loops together.

One loop goes on until its last episode has ended. Of many, each waits for the others: the condition is reduced over
the whole batch (`any_in_lockstep`), so the state needs no select a step, and all count the same steps, so that step
keys stay unbatched and common random numbers are drawn once for the whole population.

On a CPU, where a step of an episode that has ended costs as much as any other, the loops of a batch are packed. Every
SWEEP steps, those with a live episode are dealt out into chunks of about LANES episodes, and one chunk after another is
played SWEEP steps further. A loop's keys and arithmetic do not depend on the loops beside it. A chunk and its policies
also stay in cache, so that packing is faster even where no episode ends early. On an accelerator the batch is the
parallelism, and all loops step together.
"""

import functools
import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from hades.types import PyTree

LANES = 64
"""Episodes of a chunk. A simulator on a CPU is hardly faster with more, and more of them wait for a longer one."""
SWEEP = 16
"""Steps that a chunk is played at a time: its policies are copied once, and loops that end meanwhile are stepped on."""

Loop = TypeVar("Loop")


@jax.custom_batching.custom_vmap
def any_in_lockstep(x: Array) -> Array:
    """`x` itself for one rollout; any over every rollout that is vmapped together with it."""
    return x


@any_in_lockstep.def_vmap
def _any_in_lockstep_rule(axis_size: int, in_batched: list[bool], x: Array) -> tuple[Array, bool]:
    del axis_size
    return any_in_lockstep(jnp.any(x, axis=0) if in_batched[0] else x), False


def num_together(size: int, num_episodes: int) -> int:
    """The number of rollouts that step at the same time, of so many that are vmapped together."""
    return min(size, max(1, LANES // num_episodes)) if jax.default_backend() == "cpu" else size


def advance_until_ended(
    advance: Callable[[Array, Loop], Loop], alive: Callable[[Loop], Array], first: Loop
) -> tuple[Loop, Array]:
    """Advance until all episodes have ended, packed with the loops that are vmapped together with this one.

    Args:
        advance: step t, i32[] from 0, of a loop's state. It may close over traced arrays, such as a policy's weights.
        alive: a loop's state to bool[E]. A step changes nothing that is read of an episode that has ended.
        first: the state before step 0.

    Returns:
        The state behind the last step, and i32[], the episodes' steps that were computed, live or not; of loops that
        were vmapped together, each one's share of the sum.
    """
    num_episodes = jax.eval_shape(alive, first).size
    zero = jnp.zeros((), jnp.int32)
    closed = jax.make_jaxpr(advance)(zero, first)
    tree = jax.tree.structure(first)

    def step(closed_over: list[Array], t: Array, loop: Loop) -> Loop:
        """`advance` with all that it closes over as an argument, of which a chunk can take its own."""
        leaves = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, closed_over))(t, *jax.tree.leaves(loop))
        return jax.tree.unflatten(tree, leaves)

    def until(end: Array | float, step: Callable[[Array, Loop], Loop], t: Array, loop: Loop) -> tuple[Array, Loop]:
        return lax.while_loop(
            lambda carry: any_in_lockstep(alive(carry[1]).any()) & (carry[0] < end),
            lambda carry: (carry[0] + 1, step(*carry)),
            (t, loop),
        )

    @jax.custom_batching.custom_vmap
    def play(closed_over: list[Array], loop: Loop) -> tuple[Loop, Array]:
        steps, loop = until(math.inf, functools.partial(step, closed_over), zero, loop)
        return loop, steps * num_episodes

    @play.def_vmap
    def play_together(size: int, batched: list[PyTree], closed_over: list[Array], loop: Loop) -> tuple[PyTree, PyTree]:
        own, of_loop = batched
        loop = jax.tree.map(lambda x, b: x if b else jnp.broadcast_to(x, (size, *x.shape)), loop, of_loop)
        chunk = num_together(size, num_episodes)
        step_all = jax.vmap(step, ([0 if b else None for b in own], None, 0))

        def play_chunk(t: Array, order: Array, carry: tuple[Array, Array, Loop]) -> tuple[PyTree, ...]:
            """The next `chunk` loops from step t to the next sweep."""
            i, steps, loop = carry
            rows = lax.dynamic_slice(order, (i * chunk,), (chunk,))
            some_closed_over = [_take(x, rows) if b else x for x, b in zip(closed_over, own, strict=True)]
            some = jax.tree.map(lambda x: _take(x, rows), loop)
            end, some = until(t + SWEEP, functools.partial(step_all, some_closed_over), t, some)
            return i + 1, steps + (end - t), jax.tree.map(lambda x, y: x.at[rows].set(y), loop, some)

        def sweep(carry: tuple[Array, Array, Loop]) -> tuple[Array, Array, Loop]:
            t, steps, loop = carry
            live = jax.vmap(alive)(loop).any(1)
            # Live ones first. The last chunk is filled up with its last loop, which is played twice alike.
            order = jnp.pad(jnp.argsort(~live), (0, -size % chunk), mode="edge")
            _, steps, loop = lax.while_loop(
                lambda carry: any_in_lockstep(carry[0] * chunk < live.sum()),
                functools.partial(play_chunk, t, order),
                (zero, steps, loop),
            )
            return t + SWEEP, steps, loop

        if chunk == size:
            steps, loop = until(math.inf, functools.partial(step_all, closed_over), zero, loop)
        else:
            _, steps, loop = lax.while_loop(
                lambda carry: any_in_lockstep(jax.vmap(alive)(carry[-1]).any()), sweep, (zero, zero, loop)
            )
        share = -(-steps * chunk * num_episodes // size)
        return (loop, share), (jax.tree.map(lambda x: True, loop), False)

    return play(closed.consts, first)


def _take(x: Array, rows: Array) -> Array:
    return x.at[rows].get(mode="promise_in_bounds")  # without it, a gather is twice as slow
