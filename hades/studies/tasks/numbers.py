"""Value of merged datasets: one policy cloned from the union of several, in each of their tasks.

Definitions. *Retention* of a task in a merger: the mean return of the merged policies in it, as a share of that of
single-task policies of the same size, cloned from its dataset alone by its own recipe and measured in the same call on
the same report keys. No environment step is taken to train either.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError
from hades.policies.base import Policy
from hades.policy.merge import merge, shared_recipe
from hades.policy.statistics import ReturnSummary
from hades.policy.trained_policy import evaluate_dataset
from hades.policy.versions import library_versions
from hades.studies.retention import Reference, reference

Progress = Callable[[int, int], None]
"""Groups of policies measured so far, and of how many."""


@dataclasses.dataclass(frozen=True)
class Merger:
    """One merged dataset and what its policies earn.

    Attributes:
        names: of the datasets.
        dataset: their union.
        returns: of its policies in each task, by dataset.
    """

    names: tuple[str, ...]
    dataset: DistilledDataset
    returns: Mapping[str, ReturnSummary]


@dataclasses.dataclass(frozen=True)
class Multitask:
    """T datasets, their mergers and what each task keeps.

    Attributes:
        names: of the datasets, T.
        singles: returns of single-task policies.
        references: what 100 % and 0 % are.
        mergers: every pair, then the union of all where that was asked for.
        protocol: what decides the numbers.
        seconds: wall time, compilation included.
    """

    names: tuple[str, ...]
    singles: Mapping[str, ReturnSummary]
    references: Mapping[str, Reference]
    mergers: tuple[Merger, ...]
    protocol: Mapping[str, Any]
    seconds: float

    @property
    def pairs(self) -> tuple[Merger, ...]:
        return tuple(merger for merger in self.mergers if len(merger.names) == 2)

    @property
    def union(self) -> Merger | None:
        """The merger of all T datasets, where there are more than two."""
        return next((merger for merger in self.mergers if len(merger.names) > 2), None)

    def retention(self, merger: Merger, name: str) -> float:
        return float(self.references[name].retention(merger.returns[name].mean))

    @property
    def matrix(self) -> np.ndarray:
        """f64[T, T]: what the task of a row keeps when it is merged with that of a column; NaN on the diagonal."""
        matrix = np.full((len(self.names), len(self.names)), np.nan)
        for merger in self.pairs:
            for one, other in itertools.permutations(merger.names):
                matrix[self.names.index(one), self.names.index(other)] = self.retention(merger, one)
        return matrix

    @property
    def median(self) -> float:
        """Over every task in every pair."""
        return float(np.nanmedian(self.matrix))

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "names": list(self.names),
            "median_pair_retention": self.median,
            "env_steps_of_training": 0,
            "protocol": dict(self.protocol),
            "references": {name: dataclasses.asdict(self.references[name]) for name in self.names},
            "singles": {name: self.singles[name].describe() for name in self.names},
            "mergers": [
                {
                    "names": list(merger.names),
                    "num_pairs": len(merger.dataset),
                    "learner": merger.dataset.metadata["learner"],
                    "returns": {name: merger.returns[name].describe() for name in merger.names},
                    "retention": {name: self.retention(merger, name) for name in merger.names},
                }
                for merger in self.mergers
            ],
            "seconds": self.seconds,
        }


def multitask(
    datasets: Mapping[str, DistilledDataset],
    num_inits: int = 16,
    num_episodes: int = 4,
    seed: int = 1,
    *,
    policy: Policy | None = None,
    union: bool = True,
    layout: str = "blocks",
    task_token: bool = False,
    progress: Progress | None = None,
) -> Multitask:
    """Merge every pair of datasets, and all of them, and measure one kind of policy in each task.

    Args:
        datasets: by name, at least two.
        num_inits: policies to train from each dataset and each merger.
        num_episodes: whole episodes of each in every task.
        seed: of the initial policies and the episodes.
        policy: the network of all policies; None: that of each recipe where they are of one size, else that of the
            recipe which all of them would share.
        union: also merge all of them, where there are more than two.
        layout, task_token: how tasks share observations and actions; see Tasks.
        progress: called after each group of policies.

    Raises:
        ConfigError: for fewer than two datasets.
        DatasetError: for datasets that cannot be merged, before any is measured.
    """
    began, names = time.monotonic(), tuple(datasets)
    options: dict[str, Any] = {"layout": layout, "task_token": task_token}
    policy = policy or _common_policy(datasets)
    measured = {name: float(dataset.returns.get("mean", 0.0)) for name, dataset in datasets.items()}
    floors = {name: reference(dataset.environment, measured[name]).floor for name, dataset in datasets.items()}
    merged = merge_all(datasets, floors, policy=policy, union=union, **options)
    singles, references, mergers = {}, {}, []
    tell = progress or (lambda done, total: None)
    tell(0, len(names) + len(merged))
    for i, (name, dataset) in enumerate(datasets.items()):
        changes: dict[str, Any] = {} if policy is None else {"policy": policy}
        singles[name] = evaluate_dataset(dataset, num_inits, num_episodes, seed, **changes)
        references[name] = Reference(singles[name].mean, floors[name])
        tell(i + 1, len(names) + len(merged))
    for i, (group, dataset) in enumerate(merged.items()):
        summary = evaluate_dataset(dataset, num_inits, num_episodes, seed)
        returns = {name: summary.tasks[datasets[name].environment.spec.name] for name in group}
        mergers.append(Merger(names=group, dataset=dataset, returns=returns))
        tell(len(names) + i + 1, len(names) + len(merged))
    versions = {k: v for d in datasets.values() for k, v in d.environment.versions.items()}
    protocol = {
        **{"num_inits": num_inits, "num_episodes": num_episodes, "seed": seed, **options},
        **{"policy": "as in the recipes" if policy is None else repr(policy), "versions": library_versions(versions)},
    }
    seconds = round(time.monotonic() - began, 1)
    return Multitask(names, singles, references, tuple(mergers), protocol, seconds)


def merge_all(
    datasets: Mapping[str, DistilledDataset],
    floors: Mapping[str, float],
    *,
    policy: Policy | None = None,
    union: bool = True,
    **options: Any,
) -> dict[tuple[str, ...], DistilledDataset]:
    """Every pair of datasets merged and, where there are more than two, all of them; by the names of their parts.

    Args:
        datasets: by name, at least two.
        floors: by name, returns that count as 0.
        policy, union: as in `multitask`.
        **options: of `merge`.

    Raises:
        ConfigError, DatasetError: as `multitask`.
    """
    names = tuple(datasets)
    if len(names) < 2:
        raise ConfigError(f"Merging takes at least two datasets, but there are {len(names)}.")
    groups = [*itertools.combinations(names, 2), *([names] if union and len(names) > 2 else [])]
    return {group: _merge(datasets, group, floors, policy, options) for group in groups}


def _merge(
    datasets: Mapping[str, DistilledDataset],
    group: tuple[str, ...],
    floors: Mapping[str, float],
    policy: Policy | None,
    options: dict[str, Any],
) -> DistilledDataset:
    chosen = [datasets[name] for name in group]
    recipe = shared_recipe(chosen)
    recipe = recipe if policy is None else recipe.changed(policy=policy)
    return merge(chosen, recipe, floors=[floors[name] for name in group], **options)


def _common_policy(datasets: Mapping[str, DistilledDataset]) -> Policy | None:
    """Single-task and merged policies must be of one size, or the comparison would be of sizes.

    None where the recipes' networks are: then every dataset keeps its own.
    """
    if len({_size(dataset.learner.policy) for dataset in datasets.values()}) == 1:
        return None
    return shared_recipe(list(datasets.values())).policy


def _size(policy: Policy) -> str:
    shape = {name: getattr(policy, name) for name in ("features", "width", "depth") if hasattr(policy, name)}
    return f"{type(policy).__name__}({', '.join(f'{name}={value}' for name, value in shape.items())})"
