"""Convolutional policies: for grids of objects, after the MinAtar network (Young & Tian, 2019), and for pictures.

A convolution is written as patches times a matrix. A population of policies has a kernel each, and XLA turns a
vmapped convolution into a grouped one, which is slow on every backend; a vmapped matrix product is not.
"""

import abc
import dataclasses
import itertools
from typing import cast

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from hades.errors import ConfigError, require
from hades.fields import Count
from hades.policies.base import Policy, activation, check_size, dense
from hades.policies.layers import Layer
from hades.registry import register
from hades.types import EnvSpec, Params


class Convolutional(Policy):
    """The part that networks of convolutions share: the features that their last layer weighs."""

    @property
    @abc.abstractmethod
    def last_layer(self) -> str:
        """Name in the params of the dense layer that gives the output."""

    def kernel(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        features = self._features(params, obs, spec)
        return features @ features.T

    def fitted(self, params: Params, obs: Array, coefficients: Array, spec: EnvSpec) -> Params:
        weights = self._features(params, obs, spec).T @ coefficients
        return {**params, self.last_layer: {"kernel": weights[:-1], "bias": weights[-1]}}

    def _features(self, params: Params, obs: Array, spec: EnvSpec) -> Array:
        """Features that the last layer weighs, its bias as a last column of ones: f32[N, H + 1]."""
        weights = {k: v for k, v in params.items() if k != "log_std"}
        hidden = cast(Array, self.network(spec).apply({"params": weights}, obs, features=True))
        return jnp.concatenate([hidden, jnp.ones((*hidden.shape[:-1], 1))], axis=-1)


@register("Policy", "CNN")
@dataclasses.dataclass(frozen=True)
class CNN(Convolutional):
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
    def last_layer(self) -> str:
        return f"Dense_{len(self.features) + 1}"

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
            convolutions=tuple((features, 3, 1) for features in self.features),
            width=self.width,
            outputs=spec.action_space.size,
            activation=self.activation,
            scales=(self.hidden_scale, self.output_scale),
        )


@register("Policy", "NatureCNN")
@dataclasses.dataclass(frozen=True)
class NatureCNN(Convolutional):
    """The network of DQN (Mnih et al., 2015) for pictures: three strided convolutions, then one dense layer.

    Attributes:
        features: channels of the three convolutions: 8 × 8 with stride 4, 4 × 4 with stride 2, and 3 × 3.
        width: units of the dense layer.
        activation: "tanh", "relu", "gelu", "silu", "elu" or "leaky_relu".
    """

    features: tuple[Count, Count, Count] = (32, 64, 64)
    width: Count = 512
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)
        first, second, third = self.features
        check_size("NatureCNN", 16 * first * second + 9 * second * third + third * self.width)

    @property
    def last_layer(self) -> str:
        return "Dense_4"

    @property
    def brief(self) -> str:
        return f"Nature CNN {'-'.join(map(str, self.features))} + {self.width} {self.activation}"

    def network(self, spec: EnvSpec) -> nn.Module:
        require_picture("NatureCNN", spec, 36)
        windows = zip(self.features, (8, 4, 3), (4, 2, 1), strict=True)
        return _CNN(
            convolutions=tuple(windows),
            width=self.width,
            outputs=spec.action_space.size,
            activation=self.activation,
            scales=(self.hidden_scale, self.output_scale),
        )


def require_picture(name: str, spec: EnvSpec, least: int) -> None:
    """Raise ConfigError where a network for pictures of at least so many pixels cannot see an environment."""
    require(
        spec.is_image and min(spec.obs_shape[:2]) >= least,
        f"{name} needs pictures of at least {least} × {least} pixels; observations of {spec.name} have shape "
        f"{spec.obs_shape}. Draw the environment with Rendered, or use CNN for a small grid and MLP for a vector.",
    )


class _CNN(nn.Module):
    convolutions: tuple[tuple[int, int, int], ...]  # channels, side of the window and stride of each
    width: int
    outputs: int
    activation: str
    scales: tuple[float, float]

    @nn.compact
    def __call__(self, obs: Array, features: bool = False) -> Array:
        x, act = obs, activation(self.activation)
        hidden, output = (nn.initializers.orthogonal(scale) for scale in self.scales)
        for channels, window, stride in self.convolutions:
            x = act(nn.Dense(channels, kernel_init=hidden)(patches(x, window, stride)))
        x = act(nn.Dense(self.width, kernel_init=hidden)(x.reshape(*x.shape[:-3], -1)))
        return x if features else nn.Dense(self.outputs, kernel_init=output)(x)


def patches(x: Array, window: int, stride: int = 1) -> Array:
    """Windows of an image, side by side, for windows whose side is a multiple of the stride.

    The image is cut into blocks of a stride's side, so that a window is a few whole blocks; what remains at the lower
    and right borders is dropped.

    Returns:
        f32[..., H, W, C] -> f32[..., (H - window) // stride + 1, (W - window) // stride + 1, window² · C]
    """
    *batch, height, width, channels = x.shape
    rows, columns, reach = height // stride, width // stride, window // stride
    if stride > 1:
        x = x[..., : rows * stride, : columns * stride, :]
        x = x.reshape(*batch, rows, stride, columns, stride, channels)
        x = jnp.moveaxis(x, -3, -4).reshape(*batch, rows, columns, stride * stride * channels)
    rows, columns = rows - reach + 1, columns - reach + 1
    shifts = [x[..., i : i + rows, j : j + columns, :] for i in range(reach) for j in range(reach)]
    return jnp.concatenate(shifts, axis=-1)
