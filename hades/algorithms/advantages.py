"""Generalised advantage estimation and the clipped objective: what PPO computes from a batch of steps.

Letters: T steps of E environments in the order they were taken, B steps of a minibatch in any order.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from hades.policies.distributions import Distribution, Stacked
from hades.types import Metrics


def generalized_advantages(
    rewards: Array, values: Array, last_value: Array, done: Array, discount: float, gae_lambda: float
) -> Array:
    """GAE(λ) (Schulman et al., 2016, eq. 16).

    Args:
        rewards: f32[T, E]; where a time limit ended the episode, with the discounted value of what would have followed.
        values: f32[T, E], of the observations acted on.
        last_value: f32[E], of the observation behind the last step.
        done: bool[T, E], whether the step ended its episode.
        discount, gae_lambda: γ and λ.

    Returns:
        f32[T, E]; added to `values` they are the targets of the critic.
    """
    following = jnp.concatenate([values[1:], last_value[None]])
    errors = rewards + jnp.where(done, 0.0, discount * following) - values

    def back(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        error, done = step
        advantage = error + jnp.where(done, 0.0, gae_lambda * discount * later)
        return advantage, advantage

    return lax.scan(back, jnp.zeros_like(last_value), (errors, done), reverse=True)[1]


def policy_loss(
    distribution: Distribution | Stacked, action: Array, old_log_prob: Array, advantage: Array, clip: float
) -> tuple[Array, Metrics]:
    """The clipped surrogate (Schulman et al., 2017, eq. 7), negated.

    Args:
        distribution: of the current policy, for B observations.
        action: i32[B] or f32[B, A], taken by an older policy.
        old_log_prob: f32[B], of that policy.
        advantage: f32[B]; standardised here, over the minibatch.
        clip: ε.

    Returns:
        f32[], and "kl" (Schulman's k3 estimate of the divergence from the older policy) and "clip_share".
    """
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    log_ratio = distribution.log_prob(action) - old_log_prob
    ratio = jnp.exp(log_ratio)
    surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)
    metrics = {"kl": (ratio - 1.0 - log_ratio).mean(), "clip_share": (jnp.abs(ratio - 1.0) > clip).mean()}
    return -surrogate.mean(), lax.stop_gradient(metrics)


def value_loss(value: Array, old_value: Array, target: Array, clip: float) -> Array:
    """Half the mean squared error of the critic: f32[].

    Args:
        value, old_value, target: f32[B].
        clip: how far a value may move from the old one before its error stops to fall; 0 for no limit. As in the
            authors' implementation (OpenAI Baselines); no equation of the paper has it.
    """
    error = jnp.square(value - target)
    if clip:
        clipped = old_value + jnp.clip(value - old_value, -clip, clip)
        error = jnp.maximum(error, jnp.square(clipped - target))
    return 0.5 * error.mean()


def explained_variance(value: Array, target: Array) -> Array:
    """1 - Var(target - value) / Var(target): f32[]; 1 for a perfect critic, 0 for one that knows only the mean."""
    return 1.0 - jnp.var(target - value) / jnp.maximum(jnp.var(target), 1e-8)


def discounted_returns(rewards: Array, done: Array, start: Array, discount: float) -> tuple[Array, Array]:
    """Rewards discounted forwards, from the beginning of each episode, whose deviation scales rewards.

    Args:
        rewards: f32[T, E].
        done: bool[T, E].
        start: f32[E], what the earlier steps of the episodes left.
        discount: γ.

    Returns:
        f32[T, E], and f32[E] for the next batch.
    """

    def forward(before: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, done = step
        total = discount * before + reward
        return jnp.where(done, 0.0, total), total

    left, totals = lax.scan(forward, start, (rewards, done))
    return totals, left


def linear_decay(rate: float, steps: Array, over: int) -> Array:
    """`rate` falling to 0 over so many steps; constant where `over` is 0: f32[]."""
    return jnp.asarray(rate) * (jnp.maximum(0.0, 1.0 - steps / float(over)) if over else jnp.ones(()))


def minibatches(key: Array, size: int, count: int) -> Array:
    """A random partition of `size` steps: i32[count, size / count]."""
    return jax.random.permutation(key, size).reshape(count, size // count)
