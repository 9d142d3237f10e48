"""Convolutional policy for image-like observations, after the MinAtar network (Young & Tian, 2019): 3 × 3 then dense.

The convolution is written as patches times a matrix. A population of policies has a kernel each, and XLA turns a
vmapped convolution into a grouped one, which is slow on every backend; a vmapped matrix product is not.
"""

import dataclasses
import itertools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from hades.errors import ConfigError, require
from hades.fields import Count
from hades.policies.base import Policy, activation, check_size, dense
from hades.policies.layers import Layer
from hades.registry import register
from hades.types import EnvSpec, Params


@register("Policy", "CNN")
@dataclasses.dataclass(frozen=True)
class CNN(Policy):
    """`features` valid 3 × 3 convolutions in turn, then one dense layer of `width` units.

    Attributes:
        features: channels of each convolution.
        width: units of the dense layer.
        activation: "tanh", "relu", "gelu", "silu", "elu" or "leaky_relu".
    """

    features: tuple[Count, ...] = (16,)
    width: Count = 128
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)
        require(self.features, "CNN.features is (); a CNN has at least one convolution, such as (16,).")
        channels = (*self.features, self.width)
        check_size("CNN", sum(9 * wide * next_ for wide, next_ in itertools.pairwise(channels)))

    @property
    def brief(self) -> str:
        return f"CNN {'-'.join(map(str, self.features))} + {self.width} {self.activation}"

    def layers(self, params: Params, spec: EnvSpec) -> tuple[Layer, ...]:
        *convolutions, hidden, output = (dense(params[f"Dense_{i}"]) for i in range(len(self.features) + 2))
        act = Layer(self.activation)
        convolved = (layer for each in convolutions for layer in (Layer("patches"), each, act))
        return (*convolved, Layer("flatten"), hidden, act, output)

    def network(self, spec: EnvSpec) -> nn.Module:
        shrink = 2 * len(self.features)
        if not spec.is_image or min(spec.obs_shape[:2]) <= shrink:
            raise ConfigError(
                f"CNN with {len(self.features)} layers needs image observations larger than {shrink} × {shrink}; "
                f"those of "
                f"{spec.name} have shape {spec.obs_shape}. Use MLP instead."
            )
        return _CNN(
            features=self.features,
            width=self.width,
            outputs=spec.action_space.size,
            activation=self.activation,
            scales=(self.hidden_scale, self.output_scale),
        )


class _CNN(nn.Module):
    features: tuple[int, ...]
    width: int
    outputs: int
    activation: str
    scales: tuple[float, float]

    @nn.compact
    def __call__(self, obs: Array) -> Array:
        x, act = obs, activation(self.activation)
        hidden, output = (nn.initializers.orthogonal(scale) for scale in self.scales)
        for features in self.features:
            x = act(nn.Dense(features, kernel_init=hidden)(patches_3x3(x)))
        x = act(nn.Dense(self.width, kernel_init=hidden)(x.reshape(*x.shape[:-3], -1)))
        return nn.Dense(self.outputs, kernel_init=output)(x)


def patches_3x3(x: Array) -> Array:
    """f32[..., H, W, C] -> f32[..., H-2, W-2, 9·C]"""
    height, width = x.shape[-3] - 2, x.shape[-2] - 2
    shifts = [x[..., i : i + height, j : j + width, :] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifts, axis=-1)
