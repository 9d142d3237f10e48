"""A policy in NumPy alone: this module imports neither flax nor JAX, so that it opens where they are not installed."""

import dataclasses
from typing import Any

import numpy as np

from hades.policies.layers import Layer


@dataclasses.dataclass(frozen=True, eq=False)
class NumpyPolicy:
    """`policy(observations)` are the greedy actions for raw observations f32[*obs_shape] or f32[N, *obs_shape].

    Actions are as the environment's own library takes them: integers, or numbers f32[A] within its bounds. It equals
    itself alone.

    Attributes:
        environment: the name of what it acts in.
        mean, std: f32[*obs_shape]; the network is given (observation - mean) / std.
        clip: bound on the absolute value of that; 0: none.
        layers: of the network, in order.
        actions: (first, last + 1) of the logits of discrete actions; None for continuous ones.
        low, high: f32[A], the actions that outputs of -1 and 1 stand for; empty for discrete ones.
    """

    environment: str
    mean: np.ndarray
    std: np.ndarray
    clip: float
    layers: tuple[Layer, ...]
    actions: tuple[int, int] | None
    low: np.ndarray
    high: np.ndarray

    def output(self, observations: np.ndarray) -> np.ndarray:
        """Logits, or mean actions with 1 as their bound, f32[N, A] for raw observations f32[N, *obs_shape]."""
        x = (np.asarray(observations, np.float32) - self.mean) / self.std
        x = np.clip(x, -self.clip, self.clip) if self.clip else x
        for layer in self.layers:
            x = layer(x)
        return x if self.actions is None else x[:, slice(*self.actions)]

    def __call__(self, observations: Any) -> Any:
        observations = np.asarray(observations, np.float32)
        is_single = observations.ndim == self.mean.ndim
        output = self.output(observations[None] if is_single else observations)
        if self.actions is not None:
            actions = np.where(np.isfinite(output).all(-1), output.argmax(-1), -1)
        else:
            actions = self.low + (np.clip(output, -1.0, 1.0) + np.float32(1)) * np.float32(0.5) * (self.high - self.low)
        return actions[0] if is_single else actions
