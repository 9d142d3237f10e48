"""A distilled dataset and its file: safetensors with a JSON header, no pickle, readable with numpy alone.

The file stands alone: observations, targets, normaliser, inner recipe, environment, versions and measured returns. A
HaDES-F file also carries a fingerprint of its initial weights, and the weights themselves where they were embedded.
It holds no clock time, so that equal runs write equal bytes. The format is described in docs/dataset_format.md.
"""

import dataclasses
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hades import registry
from hades.data.files import user_path, write_bytes
from hades.environments.base import Environment
from hades.errors import DatasetError
from hades.fitness.base import Fitness
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer
from hades.types import EnvSpec

FORMAT_VERSION = 1
HEADER = "hades"
_REQUIRED = ("environment", "spec", "learner", "normalizer", "init", "versions")


@dataclasses.dataclass(frozen=True, eq=False)
class DistilledDataset:
    """N observation-target pairs with everything needed to train on them.

    Two datasets are equal where `save` writes the same bytes for both.

    Attributes:
        observations: f32[N, *obs_shape], normalised.
        targets: f32[N, A], class probabilities (discrete) or actions in [-1, 1] coordinates (Box).
        obs_mean, obs_std: f32[*obs_shape], statistics that turn raw observations into the dataset's.
        metadata: the JSON header: environment, spec, learner, normalizer, init, returns, evaluation, training and
            versions.
        init: flat `{"layer/kernel": array}` of embedded initial weights, or empty.
    """

    observations: np.ndarray
    targets: np.ndarray
    obs_mean: np.ndarray
    obs_std: np.ndarray
    metadata: Mapping[str, Any]
    init: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [name for name in _REQUIRED if name not in self.metadata]
        if missing:
            raise DatasetError(
                f"The dataset's metadata lacks {', '.join(missing)}; it must hold {', '.join(_REQUIRED)}."
            )
        self.check(self.environment.spec)

    def __eq__(self, other: object) -> bool:
        return self._file() == other._file() if isinstance(other, DistilledDataset) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._file())

    def __len__(self) -> int:
        return len(self.observations)

    @cached_property
    def environment(self) -> Environment:
        return registry.build(self.metadata["environment"])

    @cached_property
    def learner(self) -> InnerLearner:
        """The recipe that the dataset was evolved for."""
        return registry.build(self.metadata["learner"])

    @cached_property
    def normalizer(self) -> Normalizer:
        return registry.build(self.metadata["normalizer"])

    @cached_property
    def protocol(self) -> Fitness | None:
        """The protocol that `returns` were measured under; None: whole episodes."""
        description = self.metadata.get("evaluation")
        return None if description is None else registry.build(description)

    @property
    def returns(self) -> Mapping[str, Any]:
        """Returns measured on report keys when the dataset was made; empty where nothing was measured."""
        return self.metadata.get("returns", {})

    def check(self, spec: EnvSpec) -> None:
        """Raise DatasetError where the arrays do not fit an environment."""
        n, size = len(self.observations), spec.action_space.size
        if n == 0 or self.observations.shape != (n, *spec.obs_shape):
            raise DatasetError(
                f"observations have shape {self.observations.shape}, but {spec.name} needs (N, "
                f"{', '.join(map(str, spec.obs_shape))}) with N >= 1."
            )
        if self.targets.shape != (n, size):
            raise DatasetError(
                f"targets have shape {self.targets.shape}, but {n} pairs with {spec.action_space} need ({n}, {size})."
            )
        for name, array in (("obs_mean", self.obs_mean), ("obs_std", self.obs_std)):
            if array.shape != spec.obs_shape:
                raise DatasetError(
                    f"{name} has shape {array.shape}, but an observation of {spec.name} has {spec.obs_shape}."
                )
        kind = self.metadata["spec"]["action_kind"]
        if kind != action_kind(spec):
            raise DatasetError(
                f"The dataset's targets are for {kind} actions, but {spec.name} has {spec.action_space}: "
                f"it was distilled for {self.metadata['spec']['name']}."
            )
        for name in ("observations", "targets", "obs_mean", "obs_std"):
            finite = np.isfinite(getattr(self, name))
            if not finite.all():
                raise DatasetError(f"{name} hold {int((~finite).sum())} non-finite numbers.")
        if not (self.obs_std > 0).all():
            raise DatasetError(f"obs_std is {self.obs_std.min()} somewhere; a standard deviation must be above 0.")

    def save(self, path: str | Path) -> Path:
        """Write the file atomically: an existing one is replaced only by a complete one."""
        return write_bytes(path, self._file())

    def _file(self) -> bytes:
        """The content of the dataset's file."""
        tensors = {
            "observations": self.observations,
            "targets": self.targets,
            "normalizer/mean": self.obs_mean,
            "normalizer/std": self.obs_std,
            **{f"init/{name}": array for name, array in self.init.items()},
        }
        header = json.dumps({"format_version": FORMAT_VERSION, **self.metadata}, sort_keys=True)
        arrays = {k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}
        return safetensors.numpy.save(arrays, metadata={HEADER: header})


def load_dataset(path: str | Path) -> DistilledDataset:
    """Read a dataset file.

    Raises:
        DatasetError: when the file is missing, damaged, of a newer format, or does not fit its environment.
    """
    path = user_path(path)
    if not path.is_file():
        raise DatasetError(f"There is no dataset file at {path}.")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            metadata = dict(json.loads((file.metadata() or {})[HEADER]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        version = int(metadata.pop("format_version"))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise _damaged(path, error) from error
    if version > FORMAT_VERSION:
        raise DatasetError(
            f"{path} has dataset format {version}, but this hades reads up to {FORMAT_VERSION}: pip install -U "
            f"hades-rl."
        )
    if version < 1:
        raise DatasetError(f"{path} has dataset format {version}; formats begin at 1. Export the file again.")
    missing = [t for t in ("observations", "targets", "normalizer/mean", "normalizer/std") if t not in tensors]
    if missing:
        raise DatasetError(f"{path} lacks {', '.join(missing)}.")
    init = {name.removeprefix("init/"): tensor for name, tensor in tensors.items() if name.startswith("init/")}
    try:
        return DistilledDataset(
            observations=tensors["observations"],
            targets=tensors["targets"],
            obs_mean=tensors["normalizer/mean"],
            obs_std=tensors["normalizer/std"],
            metadata=metadata,
            init=init,
        )
    except (KeyError, TypeError, AttributeError) as error:  # a header of another form
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DatasetError:
    return DatasetError(
        f"{path} is not a complete hades dataset file ({type(error).__name__}: {error}). It may be truncated or "
        "written by another program: copy or export it again."
    )


def action_kind(spec: EnvSpec) -> str:
    return "discrete" if spec.is_discrete else "box"


def describe_spec(spec: EnvSpec) -> dict[str, Any]:
    """A spec as JSON-ready values, for readers without hades."""
    return {
        "name": spec.name,
        "obs_shape": list(spec.obs_shape),
        "action_kind": action_kind(spec),
        "action_size": spec.action_space.size,
        "max_episode_steps": spec.max_episode_steps,
        "observation_names": list(spec.observation_names),
        "action_names": list(spec.action_names),
    }
