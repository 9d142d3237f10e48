"""A trained policy's file: safetensors as a dataset's, with its weights in the place of the pairs.

A file may come from anywhere, so all of it is checked when it is opened: what has passed can act. The environment is
built at its first use, as that of a dataset is.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from hades import registry
from hades.data.arrays import check_statistics, read_content
from hades.data.dataset import Described, describe_spec
from hades.data.files import user_path, write_bytes
from hades.data.header import check_header, initial_shapes, named
from hades.data.tensor_file import TensorFile, parse_tensors, tensor_bytes
from hades.devices import check_devices
from hades.errors import DatasetError, HadesError, printable, require
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policy.acting import Network
from hades.policy.fingerprint import flat_params, unflat_params
from hades.policy.versions import library_versions
from hades.types import Moments, Params

WEIGHTS, MEAN, STD = "params/", "normalizer/mean", "normalizer/std"
"""Names of tensors, or their prefix."""


@dataclasses.dataclass(frozen=True, eq=False)
class PolicyHeader(Described):
    """The header of a policy's file."""

    content = "policy"

    metadata: Mapping[str, Any]
    source: str

    def __post_init__(self) -> None:
        check_header(self.metadata, self.content)


def save_policy(path: str | Path, network: Network, learner: InnerLearner, loss: float) -> Path:
    """Write a policy atomically: an existing file is replaced only by a complete one.

    Raises:
        ConfigError: for a component that no file can hold, and weights that are not finite.
    """
    weights = flat_params(network.params)
    require(
        all(np.isfinite(array).all() for array in weights.values()),
        "This policy has weights that are not finite, so that no file of it would open: its training diverged.",
    )
    metadata = {
        "content": "policy",
        "environment": registry.describe(network.environment),
        "spec": describe_spec(network.environment.spec),
        "learner": registry.describe(learner),
        "normalizer": registry.describe(network.normalizer),
        "loss": loss,
        "versions": library_versions(network.environment.versions),
    }
    tensors = {f"{WEIGHTS}{name}": array for name, array in weights.items()}
    state = network.normalizer_state
    return write_bytes(
        path, tensor_bytes(metadata, {**tensors, MEAN: np.asarray(state.mean), STD: np.asarray(state.std)})
    )


def read_policy(
    path: str | Path,
) -> tuple[PolicyHeader, InnerLearner, Normalizer, NormalizerState, Params, float]:
    """The parts of a TrainedPolicy, from a policy file.

    Raises:
        DatasetError: where the file is missing, damaged, of a newer format, or contradicts itself.
    """
    check_devices()  # a missing device is not the fault of the file
    path = user_path(path)
    file = parse_tensors(read_content(path, "policy file"), str(path), "policy")
    try:
        header = PolicyHeader(file.metadata, file.source)
        params, state = _checked(header, file)
    except HadesError as error:
        raise DatasetError(f"{path}: {printable(str(error), 2000)}") from error
    file.check_intact()  # after the checks that name a field
    loss = header.metadata["loss"]
    return header, header.learner, header.normalizer, state, params, math.nan if loss is None else float(loss)


def statistics(mean: ArrayLike, std: ArrayLike) -> NormalizerState:
    """The state of a normaliser from what a file holds of it."""
    nothing = (np.zeros(size, np.float32) for size in ((), np.shape(mean), np.shape(mean)))
    used, moments = jax.device_put(((mean, std), tuple(nothing)))  # jnp.asarray and jnp.zeros compile programs
    return NormalizerState(mean=used[0], std=used[1], moments=Moments(*moments))


def _checked(header: PolicyHeader, file: TensorFile) -> tuple[Params, NormalizerState]:
    """The weights and statistics in a file that fits its header."""
    learner, spec = header.learner, header.spec
    assert isinstance(header.normalizer, Normalizer)  # built now, not when the policy acts
    with named("learner", "policy"):
        shapes = initial_shapes(learner, spec)
    weights = {name.removeprefix(WEIGHTS): x for name, x in file.tensors.items() if name.startswith(WEIGHTS)}
    lacking = sorted({MEAN, STD, *(f"{WEIGHTS}{name}" for name in shapes)} - set(file.tensors))
    if lacking:
        raise DatasetError(f"It lacks {', '.join(lacking)}.")
    if more := sorted(set(weights) - set(shapes)):
        raise DatasetError(f"The policy has no weights {', '.join(map(printable, more))}.")
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise DatasetError(f"{WEIGHTS}{name} holds {int((~np.isfinite(array)).sum())} non-finite numbers.")
    mean, std = file.tensors[MEAN], file.tensors[STD]
    check_statistics(MEAN, mean, std)
    if mean.shape != spec.obs_shape:
        raise DatasetError(f"{MEAN} has shape {mean.shape}, but an observation of {spec.name} has {spec.obs_shape}.")
    params = unflat_params(weights)
    with named("weights", "policy"):  # of WideMLP, whose shapes depend on the pairs too
        observation = jax.ShapeDtypeStruct(spec.obs_shape, jnp.float32)
        jax.eval_shape(lambda params, obs: learner.policy.distribution(params, obs, spec).mode(), params, observation)
    return params, statistics(mean, std)
