"""A network as a list of layers, for programs that have neither flax nor JAX. This module needs NumPy alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Layer(NamedTuple):
    """One step of a network on a batch f32[N, ...].

    Attributes:
        kind: "dense" (x @ kernel + bias on the last axis), "flatten" (all axes but the first become one), "patches"
            (f32[N, H, W, C] to the 3 × 3 neighbourhoods f32[N, H-2, W-2, 9·C]), or the name of an activation.
        kernel, bias: of a dense layer; None for the others.
    """

    kind: str
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The layer's output f32[N, ...]."""
        if self.kernel is not None:
            return x @ self.kernel + self.bias
        return _FUNCTIONS[self.kind](x)


def _patches(x: np.ndarray) -> np.ndarray:
    height, width = x.shape[1] - 2, x.shape[2] - 2
    return np.concatenate([x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flatten": lambda x: x.reshape(len(x), -1),
    "patches": _patches,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: 0.5 * x * (1.0 + np.tanh((2.0 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "silu": lambda x: x * _sigmoid(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
}
