"""The large network of IMPALA (Espeholt et al., 2018, Figure 3) without its LSTM, for pictures."""

import dataclasses
import itertools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from hades.errors import require
from hades.fields import Count
from hades.policies.base import activation, check_size
from hades.policies.cnn import Convolutional, patches, require_picture
from hades.registry import register
from hades.types import EnvSpec


@register("Policy", "ImpalaCNN")
@dataclasses.dataclass(frozen=True)
class ImpalaCNN(Convolutional):
    """Stages of a 3 × 3 convolution, a pooling that halves the picture, and residual blocks; then one dense layer.

    Attributes:
        features: channels of each stage.
        blocks: residual blocks of a stage, of two 3 × 3 convolutions each.
        width: units of the dense layer.
        activation: "tanh", "relu", "gelu", "silu", "elu" or "leaky_relu".
    """

    features: tuple[Count, ...] = (16, 32, 32)
    blocks: Count = 2
    width: Count = 256
    activation: str = "relu"

    def __post_init__(self) -> None:
        super().__post_init__()
        activation(self.activation)
        require(self.features, "ImpalaCNN.features is (); it has at least one stage, such as (16, 32, 32).")
        channels = (*self.features, self.width)
        within = sum(18 * self.blocks * wide * wide for wide in self.features)
        check_size("ImpalaCNN", within + sum(9 * wide * next_ for wide, next_ in itertools.pairwise(channels)))

    @property
    def last_layer(self) -> str:
        return f"Dense_{(1 + 2 * self.blocks) * len(self.features) + 1}"

    @property
    def brief(self) -> str:
        return f"IMPALA CNN {'-'.join(map(str, self.features))} + {self.width} {self.activation}"

    def network(self, spec: EnvSpec) -> nn.Module:
        require_picture("ImpalaCNN", spec, 2 ** len(self.features))
        return _ImpalaCNN(
            features=self.features,
            blocks=self.blocks,
            width=self.width,
            outputs=spec.action_space.size,
            activation=self.activation,
            scales=(self.hidden_scale, self.output_scale),
        )


class _ImpalaCNN(nn.Module):
    features: tuple[int, ...]
    blocks: int
    width: int
    outputs: int
    activation: str
    scales: tuple[float, float]

    @nn.compact
    def __call__(self, obs: Array, features: bool = False) -> Array:
        x, act = obs, activation(self.activation)
        hidden, output = (nn.initializers.orthogonal(scale) for scale in self.scales)

        def convolved(x: Array, channels: int) -> Array:
            around = [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)]
            return nn.Dense(channels, kernel_init=hidden)(patches(jnp.pad(x, around), 3))

        for channels in self.features:
            x = nn.max_pool(convolved(x, channels), (3, 3), (2, 2), "SAME")
            for _ in range(self.blocks):
                x = x + convolved(act(convolved(act(x), channels)), channels)
        x = act(x).reshape(*x.shape[:-3], -1)
        x = act(nn.Dense(self.width, kernel_init=hidden)(x))
        return x if features else nn.Dense(self.outputs, kernel_init=output)(x)
