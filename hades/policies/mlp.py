"""Multi-layer perceptron policy; the published ones are 2 × 512 with tanh (Brax) or ReLU (MinAtar)."""

import dataclasses
import math
from typing import Annotated, cast

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from hades.fields import Count, Range
from hades.policies.base import Policy, activation, check_size, dense
from hades.policies.distributions import Distribution
from hades.policies.layers import Layer
from hades.registry import register
from hades.types import EnvSpec, Params


@register("Policy", "MLP")
@dataclasses.dataclass(frozen=True)
class MLP(Policy):
    """`depth` hidden layers of `width` units; image observations are flattened.

    Attributes:
        width: units of each hidden layer.
        depth: hidden layers; 0 is a linear policy.
        activation: "tanh", "relu", "gelu", "silu", "elu" or "leaky_relu".
    """

    width: Count = 64
    depth: Annotated[int, Range(least=0, most=1000)] = 2
    activation: str = "tanh"

    first_layer = "layers_0"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)
        check_size("MLP", self.width + self.width**2 * max(self.depth - 1, 0))

    @property
    def brief(self) -> str:
        return f"MLP {self.width}x{self.depth} {self.activation}"

    @property
    def same_init(self) -> Policy:
        return dataclasses.replace(self, activation="tanh")

    def network(self, spec: EnvSpec) -> nn.Module:
        return _MLP(
            obs_shape=spec.obs_shape,
            sizes=(self.width,) * self.depth + (spec.action_space.size,),
            activation=self.activation,
            scales=(self.hidden_scale, self.output_scale),
        )

    def distribution(self, params: Params, obs: Array, spec: EnvSpec) -> Distribution:
        first = params[self.first_layer]
        x = flatten(obs, spec.obs_shape)
        pre_activation = x @ first["kernel"] + first["bias"]
        if "basis" in first:  # a kernel shared by a whole population, plus each member's own few directions
            pre_activation += (x @ first["basis"].T) @ first["coefficients"]
        return self.after_first_layer(params, pre_activation, spec)

    def after_first_layer(self, params: Params, x: Array, spec: EnvSpec) -> Distribution:
        network = self.network(spec)
        weights = {k: v for k, v in params.items() if k != "log_std"}
        output = cast(Array, network.apply({"params": weights}, x, method="after_first_layer"))
        return self.head(params, output, spec)

    def kernel(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        features = self._features(params, obs, spec)
        return features @ features.T

    def fitted(self, params: Params, obs: Array, coefficients: Array, spec: EnvSpec) -> Params:
        weights = self._features(params, obs, spec).T @ coefficients
        last = {"kernel": weights[:-1], "bias": weights[-1]}
        return {**params, f"layers_{self.depth}": last}

    def layers(self, params: Params, spec: EnvSpec) -> tuple[Layer, ...]:
        first, *others = (dense(params[f"layers_{i}"]) for i in range(self.depth + 1))
        return (Layer("flatten"), first, *(layer for each in others for layer in (Layer(self.activation), each)))

    def _features(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        """Features that the last layer weighs, its bias as a last column of ones: f32[N, H + 1]."""
        weights = {k: v for k, v in params.items() if k != "log_std"}
        hidden = cast(Array, self.network(spec).apply({"params": weights}, obs, method="features"))
        return jnp.concatenate([hidden, jnp.ones((*hidden.shape[:-1], 1))], axis=-1)


class _MLP(nn.Module):
    obs_shape: tuple[int, ...]
    sizes: tuple[int, ...]
    activation: str
    scales: tuple[float, float]

    def setup(self) -> None:
        last = len(self.sizes) - 1
        self.layers = [
            nn.Dense(size, kernel_init=nn.initializers.orthogonal(self.scales[i == last]))
            for i, size in enumerate(self.sizes)
        ]

    def __call__(self, obs: Array) -> Array:
        return self.after_first_layer(self.layers[0](flatten(obs, self.obs_shape)))

    def after_first_layer(self, x: Array) -> Array:
        for layer in self.layers[1:]:
            x = layer(activation(self.activation)(x))
        return x

    def features(self, obs: Array) -> Array:
        x = flatten(obs, self.obs_shape)
        for layer in self.layers[:-1]:
            x = activation(self.activation)(layer(x))
        return x


def flatten(obs: Array, obs_shape: tuple[int, ...]) -> Array:
    """f32[..., *obs_shape] -> f32[..., O]"""
    return obs.reshape(*obs.shape[: obs.ndim - len(obs_shape)], math.prod(obs_shape))
