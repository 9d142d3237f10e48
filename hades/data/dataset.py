"""A distilled dataset and its file: safetensors with a JSON header, no pickle, read and written with numpy alone.

The file stands alone: observations, targets, normaliser, inner recipe, environment, versions and measured returns. A
HaDES-F file also carries a fingerprint of its initial weights, and the weights themselves where they were embedded.
It holds no clock time, so that equal runs write equal bytes. The format is described in docs/dataset_format.md.

A file may come from anywhere, so all of it is checked when it is opened (header.py): what has passed can be used. Only
the environment is built at its first use, because its library takes longer to import than the rest takes together; the
header states what training needs to know of it.
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import hades
from hades import registry
from hades.data.files import write_bytes
from hades.data.header import SPEC, check_header, check_recipe, component, named
from hades.data.tensor_file import parse_tensors, tensor_bytes
from hades.devices import check_devices
from hades.displayed import Displayed
from hades.environments.base import Environment
from hades.errors import DatasetError, HadesError, printable, require, shown
from hades.fitness.base import Fitness
from hades.inner.base import InnerLearner
from hades.normalizers.base import Normalizer
from hades.text import return_text
from hades.types import Box, Discrete, EnvSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TENSORS = ("observations", "targets", "normalizer/mean", "normalizer/std")


class Described:
    """The components that the header of a dataset or a policy describes, built at its first use.

    Attributes:
        content: what the file holds, "dataset" or "policy".
        metadata: the JSON header.
        source: where it was read from, for messages.
    """

    content: ClassVar[str]
    metadata: Mapping[str, Any]
    source: str

    @cached_property
    def spec(self) -> EnvSpec:
        """The environment as its header describes it, which is what training depends on.

        Bounds of plausibility, the engine and whether an episode can terminate are those of `environment.spec`. The
        whole is, where an older header lacks a field.
        """
        stated = self.metadata["spec"]
        if not stated.keys() >= SPEC.keys():
            return self._built.spec
        space = Discrete if stated["action_kind"] == "discrete" else Box
        return EnvSpec(
            name=stated["name"],
            obs_shape=tuple(stated["obs_shape"]),
            action_space=space(stated["action_size"]),
            max_episode_steps=stated["max_episode_steps"],
            observation_names=tuple(stated["observation_names"]),
            action_names=tuple(stated["action_names"]),
        )

    @cached_property
    def environment(self) -> Environment:
        """The environment, built at its first use.

        Raises:
            DatasetError: where it cannot be built, or is another one than the header states.
        """
        try:
            return self._built
        except DatasetError as error:
            place = f"{self.source}: " if self.source else ""
            raise DatasetError(f"{place}{printable(str(error), 2000)}") from error

    @cached_property
    def _built(self) -> Environment:
        check_devices()  # a missing device is not the fault of the file
        environment: Environment = self._component("environment", Environment)
        with named("environment", self.content):
            spec = environment.spec
        self._check_stated(spec)
        return environment

    @cached_property
    def learner(self) -> InnerLearner:
        """The recipe that the dataset was evolved for, or the policy trained by."""
        return self._component("learner", InnerLearner)

    @cached_property
    def normalizer(self) -> Normalizer:
        return self._component("normalizer", Normalizer)

    @cached_property
    def protocol(self) -> Fitness | None:
        """The protocol that `returns` were measured under; None: whole episodes."""
        return None if self.metadata.get("evaluation") is None else self._component("evaluation", Fitness)

    def _component(self, field: str, interface: type) -> Any:
        return component(self.metadata, field, interface, self.content)

    def _check_stated(self, spec: EnvSpec) -> None:
        """Raise DatasetError where the header or the protocol does not fit the environment."""
        found = describe_spec(spec)
        for name, value in self.metadata["spec"].items():
            if name in ("obs_shape", "action_kind", "action_size") and value != found[name]:
                raise DatasetError(f"spec.{name} is {shown(value)}, but {spec.name} has {found[name]}.")
        if self.protocol is not None:
            with named("evaluation", self.content):
                self.protocol.check(spec)


@dataclasses.dataclass(frozen=True, eq=False)
class DistilledDataset(Described, Displayed):
    """N observation-target pairs with everything needed to train on them.

    Two datasets are equal where `save` writes the same bytes for both.

    Attributes:
        observations: f32[N, *obs_shape], normalised.
        targets: f32[N, A], class probabilities (discrete) or actions in [-1, 1] coordinates (Box).
        obs_mean, obs_std: f32[*obs_shape], statistics that turn raw observations into the dataset's.
        metadata: the JSON header: environment, spec, learner, normalizer, init, returns, evaluation, training and
            versions.
        init: flat `{"layer/kernel": array}` of embedded initial weights, or empty.
        source: where it was read from, for messages.
        codes: f32[N, ...], what the observations were made from, such as the states that pictures show, or None. A
            search that moved them can start from them again.
    """

    content = "dataset"

    observations: np.ndarray
    targets: np.ndarray
    obs_mean: np.ndarray
    obs_std: np.ndarray
    metadata: Mapping[str, Any]
    init: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    source: str = dataclasses.field(default="", repr=False)
    codes: np.ndarray | None = None

    def __post_init__(self) -> None:
        check_header(self.metadata, self.content)
        self.check(self.spec)
        self._check_recipe()

    def __eq__(self, other: object) -> bool:
        return self._file() == other._file() if isinstance(other, DistilledDataset) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._file())

    def __len__(self) -> int:
        return len(self.observations)

    def __repr__(self) -> str:
        earned = f", return {return_text(self.returns['mean'])}" if self.returns else ""
        return f"<DistilledDataset of {self.metadata['spec']['name']}: {len(self)} pairs, {self.method}{earned}>"

    def plot(self) -> "Figure":
        """The pairs as a figure of matplotlib, which a notebook shows."""
        return hades.plot(self)

    def first(self, count: int) -> "DistilledDataset":
        """The dataset of the first `count` pairs, with no return measured.

        Raises:
            ConfigError: for a count that is not between 1 and the number of pairs.
        """
        require(1 <= count <= len(self), f"first({count}): the dataset has {len(self)} pairs; take 1 to {len(self)}.")
        shorter = self.learner.sized(count)
        return dataclasses.replace(
            self,
            observations=self.observations[:count],
            targets=self.targets[:count],
            codes=None if self.codes is None else self.codes[:count],
            metadata={**self.metadata, "learner": registry.describe(shorter), "returns": {}},
        )

    @property
    def method(self) -> str:
        """Name of the method that made it; that of its initial policies where the header states none."""
        return (self.metadata.get("training") or {}).get("method") or self.learner.label

    @property
    def returns(self) -> Mapping[str, Any]:
        """Returns measured on report keys when the dataset was made; empty where no mean was measured."""
        returns = self.metadata.get("returns") or {}
        return returns if returns.get("mean") is not None else {}

    def _check_recipe(self) -> None:
        """Raise DatasetError where the recipe, the normaliser or the protocol cannot be used with these pairs."""
        with named("learner", self.content):
            shapes = check_recipe(self.learner.sized(len(self)), self.spec, len(self))
        lacking = sorted(set(shapes) - set(self.init))
        if self.init and self.learner.is_fixed and lacking:
            raise DatasetError(f"The embedded initial weights lack {', '.join(lacking)}.")
        for name, array in self.init.items():
            if array.shape != shapes.get(name):
                raise DatasetError(f"init/{name} has shape {array.shape}, but the policy's has {shapes.get(name)}.")
            if not np.isfinite(array).all():
                raise DatasetError(f"init/{name} holds {int((~np.isfinite(array)).sum())} non-finite numbers.")
        assert isinstance(self.normalizer, Normalizer)  # built now, not when a policy acts
        if self.protocol is not None:
            with named("evaluation", self.content):
                if not self.protocol.parallel_episodes(self.spec):
                    raise DatasetError(f"{type(self.protocol).__name__} plays no episodes.")

    def check(self, spec: EnvSpec) -> None:
        """Raise DatasetError where the arrays do not fit an environment."""
        n, size = self.observations.shape[0] if self.observations.ndim else 0, spec.action_space.size
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
        if self.codes is not None and (len(self.codes.shape) < 2 or len(self.codes) != n):
            raise DatasetError(f"codes have shape {self.codes.shape}, but there are {n} pairs.")
        kind = self.metadata["spec"]["action_kind"]
        if kind != action_kind(spec):
            raise DatasetError(
                f"The dataset's targets are for {kind} actions, but {spec.name} has {spec.action_space}: "
                f"it was distilled for {self.metadata['spec']['name']}."
            )
        for name in ("observations", "targets", "obs_mean", "obs_std", "codes"):
            finite = np.isfinite(0.0 if (array := getattr(self, name)) is None else array)
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
            **({} if self.codes is None else {"codes": self.codes}),
        }
        return tensor_bytes(self.metadata, tensors)


def parse_dataset(content: bytes, source: str) -> DistilledDataset:
    """A dataset from the content of its file.

    Args:
        content: of the file.
        source: where it comes from, for messages.

    Raises:
        DatasetError: when the file is damaged, of a newer format, or contradicts itself.
    """
    file = parse_tensors(content, source, "dataset")
    metadata, tensors = file.metadata, file.tensors
    missing = [name for name in _TENSORS if name not in tensors]
    if missing:
        raise DatasetError(f"{source} lacks {', '.join(missing)}.")
    init = {name.removeprefix("init/"): tensor for name, tensor in tensors.items() if name.startswith("init/")}
    try:
        observations, targets, mean, std = (tensors[name] for name in _TENSORS)
        dataset = DistilledDataset(observations, targets, mean, std, metadata, init, source, tensors.get("codes"))
    except HadesError as error:
        raise DatasetError(f"{source}: {printable(str(error), 2000)}") from error
    file.check_intact()  # after the checks that name a field
    return dataset


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
