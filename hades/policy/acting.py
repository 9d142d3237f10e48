"""The shared part of policies of runs and datasets: acting on raw observations, in the environment's own actions."""

import abc
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from hades.contracts import single_precision
from hades.data.files import write_bytes
from hades.environments.base import Environment
from hades.errors import ConfigError, require, shown
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policies.base import Policy
from hades.policy.numpy_policy import NumpyPolicy
from hades.policy.onnx_graph import onnx_bytes
from hades.types import Discrete, Params


class Network(NamedTuple):
    """A policy with its weights, and the statistics through which it sees an environment."""

    policy: Policy
    params: Params
    normalizer: Normalizer
    normalizer_state: NormalizerState
    environment: Environment


class Acting(abc.ABC):
    """Greedy actions of a network."""

    @property
    @abc.abstractmethod
    def network(self) -> Network:
        """The network that acts, with its weights and statistics."""

    @single_precision
    def to_numpy(self) -> NumpyPolicy:
        """The same policy without JAX: a small callable of plain arrays, which can be pickled.

        Raises:
            ConfigError: for a network that is no list of layers, and a normaliser that gathers statistics.
        """
        policy, params, normalizer, state, env = self.network
        mean, std, clip = normalizer.affine(state)
        layers, space = policy.layers(params, env.spec), env.spec.action_space
        bound = jnp.zeros(0) if isinstance(space, Discrete) else jnp.ones(space.size)
        return NumpyPolicy(
            environment=env.spec.name,
            mean=np.asarray(mean),
            std=np.asarray(std),
            clip=clip,
            layers=layers,
            actions=(space.first, space.first + space.n) if isinstance(space, Discrete) else None,
            low=np.asarray(env.native_action(-bound)),
            high=np.asarray(env.native_action(bound)),
        )

    def export_onnx(self, path: str | Path) -> Path:
        """Write the same policy as an ONNX model, normalisation and bounds of actions included.

        It maps `observations` f32[N, *obs_shape] to `actions` i64[N] or f32[N, A].

        Raises:
            ConfigError: as to_numpy.
            MissingPackageError: where onnx is not installed.
        """
        return write_bytes(path, onnx_bytes(self.to_numpy()))

    @single_precision
    def predict(self, observations: ArrayLike) -> Any:
        """The most likely actions, by one compiled program for each shape.

        Args:
            observations: raw, f32[*obs_shape] or f32[N, *obs_shape], of NumPy or JAX.

        Returns:
            Actions as the environment's own library takes them, such as Gymnasium: integers i32[] or i32[N] for
            discrete actions, else numbers f32[A] or f32[N, A] within the environment's own bounds. A JAX array where
            the observations are one, else NumPy's. -1 stands for an undefined action, such as of NaN.

        Raises:
            ConfigError: for observations of another shape, and where the normaliser gathers statistics while it plays.
        """
        policy, params, normalizer, state, env = self.network
        require(
            not normalizer.has_memory,
            f"{type(normalizer).__name__} gathers statistics while it plays, so that this policy has no action for one "
            "observation: freeze them first (hades.policy.trained_policy.freeze_statistics).",
        )
        x = observations if isinstance(observations, jax.Array) else _numbers(observations)
        shape = env.spec.obs_shape
        require(
            x.shape in (shape, (*x.shape[:1], *shape)),
            f"The observations have shape {x.shape}; those of {env.spec.name} have {shape}, or (N, "
            f"{', '.join(map(str, shape))}) for N of them.",
        )
        actions = _greedy(policy, normalizer, env, params, state, x)
        return actions if isinstance(observations, jax.Array) else np.asarray(actions)[()]


def _numbers(observations: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(observations, np.float32)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"The observations are {shown(observations)}; they must be an array of numbers.") from error


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _greedy(
    policy: Policy, normalizer: Normalizer, env: Environment, params: Params, state: NormalizerState, obs: Array
) -> Array:
    return env.native_action(policy.distribution(params, normalizer.apply(state, obs), env.spec).mode())
