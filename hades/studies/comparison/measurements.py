"""Baselines for a comparison: the random policy's return, and the time to train one policy from a dataset."""

import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence

from hades import registry
from hades.data.dataset import DistilledDataset
from hades.policy.trained_policy import train_policy
from hades.runs.record import RunRecord
from hades.studies.comparable import environment_of
from hades.studies.retention import random_return


@dataclasses.dataclass(frozen=True)
class Measurements:
    """Mean return of random actions by environment, and seconds to train a policy by environment and method."""

    random: Mapping[str, float] = dataclasses.field(default_factory=dict)
    training_seconds: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)


def measure(records: Sequence[RunRecord]) -> Measurements:
    """Random play once for each environment; training from the first dataset of each method on it, where one is."""
    environments = {record.environment: record for record in reversed(records)}
    datasets = {(r.environment, r.method): r.dataset for r in reversed(records) if r.dataset is not None}
    return Measurements(
        random={name: random_return(registry.build(environment_of(r))) for name, r in environments.items()},
        training_seconds={key: training_seconds(dataset) for key, dataset in datasets.items()},
    )


def training_seconds(dataset: DistilledDataset, repeats: int = 5) -> float:
    """Median wall time of `train_policy`, compilation excluded."""
    took = []
    for seed in range(repeats + 1):
        began = time.monotonic()
        train_policy(dataset, seed)  # it reads the final loss, so it has ended when it returns
        took.append(time.monotonic() - began)
    return statistics.median(took[1:])
