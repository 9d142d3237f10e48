"""The affine policy nearest to another one, and where it prefers no action."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

CHUNK = 64
"""States whose derivatives f32[A, O] are taken at once."""
LEAST_GAIN = 0.05
"""Least singular value of an affine policy, as a share of the largest, in whose direction its centre is sought."""


def affine_fit(policy: Callable[[Array], Array], states: Array) -> tuple[Array, Array]:
    """x ↦ x A + b with the mean derivative and the mean output of a policy over states.

    For states that are normally distributed that is the least squares fit (Stein's lemma); unlike a regression it
    needs no more states than the observation has entries.

    Args:
        policy: from an observation f32[*obs_shape] to its outputs f32[A].
        states: f32[M, *obs_shape].

    Returns:
        A f32[O, A] and b f32[A].
    """
    outputs, derivatives = jax.lax.map(lambda x: (policy(x), jax.jacrev(policy)(x)), states, batch_size=CHUNK)
    count, size = outputs.shape
    weights = derivatives.reshape(count, size, -1).mean(0).T
    return weights, outputs.mean(0) - states.reshape(count, -1).mean(0) @ weights


def indifferent_at(weights: Array, bias: Array) -> tuple[Array, Array]:
    """The observation f32[O] nearest to 0 at which x A + b is 0, and the outputs f32[A] that are left there.

    They are not 0 where b has a part that A does not reach, or hardly.
    """
    centre = -bias @ jnp.linalg.pinv(weights, rtol=LEAST_GAIN)
    return centre, centre @ weights + bias
