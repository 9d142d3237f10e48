"""The pairs of a dataset in the form that pictures need: raw observations, names, and the label of each pair."""

import dataclasses
from functools import cached_property

import numpy as np

from hades.data.dataset import DistilledDataset
from hades.text import signed
from hades.types import EnvSpec


@dataclasses.dataclass(frozen=True)
class Pairs:
    """N observation-target pairs.

    Attributes:
        spec: of the environment, for names and kinds.
        observations: f32[N, *obs_shape], normalised.
        raw: f32[N, *obs_shape], as the environment would show them.
        targets: f32[N, A], class probabilities or actions.
    """

    spec: EnvSpec
    observations: np.ndarray
    raw: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.observations)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """A name for each entry of a vector observation."""
        return names_or_numbers(self.spec.observation_names, self.spec.obs_size, "obs")

    @cached_property
    def actions(self) -> tuple[str, ...]:
        """A name for each entry of a target."""
        return action_names(self.spec)

    @cached_property
    def is_normalized(self) -> bool:
        """True if `observations` are in other coordinates than the environment's own."""
        return not np.array_equal(self.observations, self.raw)

    @property
    def unit(self) -> str:
        """Unit of `observations` in words."""
        return "standard deviations" if self.is_normalized else "the environment’s own units"

    def label(self, row: int) -> str:
        """The target in words: the likeliest action, with its probability where it is not certain, or the numbers."""
        target = self.targets[row]
        if self.spec.is_discrete:
            best = int(target.argmax())
            return self.actions[best] if target[best] > 0.995 else f"{self.actions[best]} ({target[best]:.2f})"
        return describe_action(self.spec, target)


def pairs_of(dataset: DistilledDataset) -> Pairs:
    """The pairs of a dataset, raw = normalised · std + mean."""
    return Pairs(
        spec=dataset.environment.spec,
        observations=dataset.observations,
        raw=dataset.observations * dataset.obs_std + dataset.obs_mean,
        targets=dataset.targets,
    )


def names_or_numbers(names: tuple[str, ...], count: int, prefix: str) -> tuple[str, ...]:
    """The names where there is one for each, else "obs 0", "obs 1", …"""
    return names if len(names) == count else tuple(f"{prefix} {i}" for i in range(count))


def action_names(spec: EnvSpec) -> tuple[str, ...]:
    """A name for each action (Discrete) or entry of an action (Box)."""
    return names_or_numbers(spec.action_names, spec.action_space.size, "action")


def describe_action(spec: EnvSpec, action: np.ndarray) -> str:
    """An action in words: its name, or the name and value of its (first three) entries."""
    if spec.is_discrete:
        return action_names(spec)[int(action)]
    values = np.atleast_1d(action)
    if len(values) == 1:
        return f"{action_names(spec)[0]} {signed(float(values[0]))}"
    return " ".join(signed(float(v)) for v in values[:3]) + (" …" if len(values) > 3 else "")
