"""Cloning losses: from an action distribution and targets to one number to minimise."""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hades.errors import ConfigError
from hades.fields import Positive
from hades.policies.distributions import Categorical, DiagonalGaussian, Distribution
from hades.registry import register
from hades.types import EnvSpec

LEAST_PROBABILITY = 1e-30
"""Smallest class probability whose logarithm is taken."""


def centred_log(probabilities: Array) -> Array:
    """Logits of class probabilities f32[..., A], whose mean over the classes is 0."""
    return centred_logits(jnp.log(jnp.maximum(probabilities, LEAST_PROBABILITY)))


def centred_logits(logits: Array) -> Array:
    """Logits f32[..., A] of the same probabilities, whose mean over the classes is 0."""
    return logits - logits.mean(-1, keepdims=True)


def weighted_mean(
    loss: Callable[[Array, Array], Array], inputs: Array, targets: Array, pair_weights: Array | None
) -> Array:
    """Mean loss over N pairs, each times its weight.

    Args:
        loss: from M inputs and their targets to the mean loss f32[] over them; called once a pair where there are
            weights, so that it needs no form of its own for them.
        inputs: f32[N, ...].
        targets: f32[N, A].
        pair_weights: f32[N]; None: all 1.

    Returns:
        f32[].
    """
    if pair_weights is None:
        return loss(inputs, targets)
    each = jax.vmap(lambda x, y: loss(x[None], y[None]))(inputs, targets)
    return jnp.mean(pair_weights * each)


class Loss(abc.ABC):
    """A frozen dataclass; `discrete` says which kind of action space it serves."""

    discrete: bool

    @abc.abstractmethod
    def __call__(self, distribution: Distribution, targets: Array) -> Array:
        """Mean loss f32[] over N pairs; targets f32[N, A] are class probabilities or actions."""

    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where the loss does not fit the action space."""
        if self.discrete != spec.is_discrete:
            fitting = "CrossEntropy or LogitMSE" if spec.is_discrete else "GaussianNLL, MSE or Huber"
            raise ConfigError(
                f"{type(self).__name__} is a loss for {'discrete' if self.discrete else 'Box'} actions, but "
                f"{spec.name} has {spec.action_space}. Use {fitting}."
            )


@register("Loss", "CrossEntropy")
@dataclasses.dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy with hard (one-hot) or soft targets.

    Attributes:
        mean_over_entries: divide by the number of actions too, as the published MinAtar runs do.
    """

    mean_over_entries: bool = False

    discrete = True

    def __call__(self, distribution: Distribution, targets: Array) -> Array:
        assert isinstance(distribution, Categorical)
        loss = optax.softmax_cross_entropy(distribution.logits, targets).mean()
        return loss / targets.shape[-1] if self.mean_over_entries else loss


@register("Loss", "LogitMSE")
@dataclasses.dataclass(frozen=True)
class LogitMSE(Loss):
    """Mean squared error of the logits, each less their mean, from the logarithms of the target probabilities.

    It ends where cross-entropy ends, and is quadratic on the way there: a network in the lazy regime follows it to the
    solution of kernel regression.
    """

    discrete = True

    def __call__(self, distribution: Distribution, targets: Array) -> Array:
        assert isinstance(distribution, Categorical)
        return jnp.mean(optax.squared_error(centred_logits(distribution.logits), centred_log(targets)))


@register("Loss", "GaussianNLL")
@dataclasses.dataclass(frozen=True)
class GaussianNLL(Loss):
    """Mean negative log-likelihood of the target actions, summed over action entries (the published Brax loss)."""

    discrete = False

    def __call__(self, distribution: Distribution, targets: Array) -> Array:
        assert isinstance(distribution, DiagonalGaussian)
        return -distribution.log_prob(targets).mean()


@register("Loss", "MSE")
@dataclasses.dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error of the mean action; leaves the log-std alone."""

    discrete = False

    def __call__(self, distribution: Distribution, targets: Array) -> Array:
        return jnp.mean(optax.squared_error(distribution.mode(), targets))


@register("Loss", "Huber")
@dataclasses.dataclass(frozen=True)
class Huber(Loss):
    """Huber loss of the mean action.

    Attributes:
        delta: the error up to which it is quadratic; it is linear beyond.
    """

    delta: Positive = 1.0

    discrete = False

    def __call__(self, distribution: Distribution, targets: Array) -> Array:
        return jnp.mean(optax.huber_loss(distribution.mode(), targets, delta=self.delta))
