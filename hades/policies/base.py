"""The Policy interface, and the head that every policy shares."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Annotated, ClassVar, cast

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades.contracts import expect_shape
from hades.errors import ConfigError, offer, require
from hades.fields import NonNegative, Range
from hades.policies.distributions import Categorical, DiagonalGaussian, Distribution
from hades.policies.layers import Layer
from hades.types import Discrete, EnvSpec, Key, Params

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    name: getattr(nn, name) for name in ("tanh", "relu", "gelu", "silu", "elu", "leaky_relu")
}


@dataclasses.dataclass(frozen=True)
class Policy(abc.ABC):
    """A network and how it acts.

    Attributes:
        acting: "sample" from the distribution or take its mode ("greedy").
        log_std: initial state-independent log standard deviation of a Gaussian head, whose variance fits float32.
        learn_log_std: whether cloning trains it.
        hidden_scale: gain of the orthogonal initialisation of hidden layers (published: √2).
        output_scale: gain of that of the last layer (published: 0.01).
    """

    acting: str = dataclasses.field(default="sample", kw_only=True)
    log_std: Annotated[float, Range(least=-40, most=40)] = dataclasses.field(default=0.0, kw_only=True)
    learn_log_std: bool = dataclasses.field(default=True, kw_only=True)
    hidden_scale: NonNegative = dataclasses.field(default=2.0**0.5, kw_only=True)
    output_scale: NonNegative = dataclasses.field(default=0.01, kw_only=True)

    first_layer: ClassVar[str | None] = None
    """Name in the params of a dense first layer on the flattened observation, where the network has one.

    Such a layer holds `kernel` f32[O, H] and `bias` f32[H], and may hold `basis` f32[N, O] and `coefficients` f32[N, H]
    too: then it acts with kernel + basisᵀ · coefficients, without ever forming that sum.
    """

    def __post_init__(self) -> None:
        if self.acting not in ("sample", "greedy"):
            raise ConfigError(f'{type(self).__name__}.acting is "{self.acting}"; it must be "sample" or "greedy".')

    @property
    def brief(self) -> str:
        """A few words for the user's screen."""
        return type(self).__name__

    @property
    def draws_weights(self) -> bool:
        """False where `init` gives the same weights whatever the key."""
        return True

    @property
    def same_init(self) -> "Policy":
        """One policy for all whose `init` gives equal weights; by default this one."""
        return self

    @property
    def networks(self) -> "tuple[Policy, ...]":
        """The networks that `init` draws from; by default this one alone."""
        return (self,)

    @abc.abstractmethod
    def network(self, spec: EnvSpec) -> nn.Module:
        """A module from f32[..., *obs_shape] to f32[..., A]."""

    def init(self, key: Key, spec: EnvSpec) -> Params:
        """Fresh weights. Do not `vmap` this on CPU: batched QR can hang there; `lax.map` it."""
        params = dict(self.network(spec).init(key, jnp.zeros(spec.obs_shape))["params"])
        if not spec.is_discrete:
            params["log_std"] = jnp.full(spec.action_space.size, self.log_std, jnp.float32)
        return params

    def distribution(self, params: Params, obs: Array, spec: EnvSpec) -> Distribution:
        """For normalised observations f32[..., *obs_shape]."""
        weights = {k: v for k, v in params.items() if k != "log_std"}
        output = cast(Array, self.network(spec).apply({"params": weights}, obs))  # flax says: or a tuple
        return self.head(params, output, spec)

    def after_first_layer(self, params: Params, x: Array, spec: EnvSpec) -> Distribution:
        """The distribution from the pre-activations f32[..., H] of `first_layer`."""
        raise NotImplementedError(f"{type(self).__name__} has no dense first layer.")

    def kernel(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        """Inner products f32[N, N] of the features that the last layer weighs, for observations f32[N, *obs_shape]."""
        raise NotImplementedError(f"{type(self).__name__} names no features of its last layer.")

    def fitted(self, params: Params, obs: Array, coefficients: Array, spec: EnvSpec) -> Params:
        """The weights whose output at x is Σᵢ k(x, obs[i]) · coefficients[i], with coefficients f32[N, A]."""
        raise NotImplementedError(f"{type(self).__name__} names no features of its last layer.")

    def layers(self, params: Params, spec: EnvSpec) -> tuple[Layer, ...]:
        """The network with its weights, for programs that have neither flax nor JAX.

        Raises:
            ConfigError: where it is no list of layers.
        """
        raise ConfigError(
            f"{self.brief} is no list of layers, so that it cannot leave JAX: MLP, CNN and NetworkPool can."
        )

    def head(self, params: Params, output: Array, spec: EnvSpec) -> Distribution:
        """The distribution over actions that the network's output f32[..., A] stands for."""
        expect_shape(output, (..., spec.action_space.size), self, "the network's output")
        if isinstance(space := spec.action_space, Discrete):
            return Categorical(logits=output[..., space.first : space.first + space.n])
        log_std = params["log_std"] if self.learn_log_std else jnp.full_like(params["log_std"], self.log_std)
        return DiagonalGaussian(mean=output, log_std=log_std)

    def act(self, key: Key, params: Params, obs: Array, spec: EnvSpec) -> Array:
        """An action for normalised observations f32[..., *obs_shape]."""
        distribution = self.distribution(params, obs, spec)
        return distribution.mode() if self.acting == "greedy" else distribution.sample(key)


def dense(weights: Params) -> Layer:
    """A dense layer from its weights."""
    return Layer("dense", np.asarray(weights["kernel"]), np.asarray(weights["bias"]))


def activation(name: str) -> Callable[[Array], Array]:
    """An activation function by name."""
    if name not in ACTIVATIONS:
        raise ConfigError(f'Unknown activation "{name}". {offer(name, ACTIVATIONS)}')
    return ACTIVATIONS[name]


def check_size(name: str, num_weights: int) -> None:
    """Raise ConfigError for a network whose hidden layers no device holds."""
    require(
        num_weights < 2**31,
        f"{name} would have {num_weights:,} weights or more in its hidden layers; it must have fewer than 2³¹: "
        "take fewer units or layers.",
    )
