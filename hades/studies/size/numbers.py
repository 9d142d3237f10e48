"""Return over the size of the dataset: the same search for D = 1, 2, 4, … pairs, several seeds each.

Definitions as in comparison.py: the return of a run is the mean of its report on report keys; over seeds it is the
interquartile mean with its bootstrap interval.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hades.errors import ConfigError
from hades.registry import build
from hades.runs.record import RunRecord
from hades.runs.result import all_stages
from hades.studies.aggregate import Estimate, estimate
from hades.studies.comparable import budget, check_agreement, environment_of, grouped, protocol
from hades.studies.retention import random_return


@dataclasses.dataclass(frozen=True)
class SizePoint:
    """The runs of one size.

    Attributes:
        size: D, pairs.
        genome_size: numbers evolved.
        finals: f64[n], the return of each seed.
        env_steps, seconds: means over seeds, of the search.
    """

    size: int
    genome_size: int
    finals: np.ndarray
    env_steps: float
    seconds: float

    @property
    def estimate(self) -> Estimate:
        return estimate([self.finals])


@dataclasses.dataclass(frozen=True)
class SizeSweep:
    """All sizes of one method on one environment, by rising size; `random` is what uniformly random actions earn."""

    environment: str
    method: str
    points: tuple[SizePoint, ...]
    random: float
    budget: Mapping[str, Any]
    protocol: Mapping[str, Any]
    versions: Mapping[str, str]
    device: str


def size_sweep(records: Sequence[RunRecord]) -> SizeSweep:
    """Put the finished runs of one method on one environment in order of their size.

    Raises:
        ConfigError: when runs differ in anything but seed and size, naming it, or have no dataset.
    """
    for record in records:
        if record.dataset is None:
            raise ConfigError(f"{record.workdir} has no dataset, so it has no size: sweep HaDES-R or HaDES-F.")
    check_agreement([_without_size(record, i) for i, record in enumerate(records)])
    sizes = grouped(records, lambda record: int(record.result["num_pairs"]))
    first = records[0]
    return SizeSweep(
        environment=first.environment,
        method=first.method,
        points=tuple(_point(size, sizes[size]) for size in sorted(sizes)),
        random=random_return(build(environment_of(first))),
        budget=budget(first),
        protocol=protocol(first),
        versions=first.result["versions"],
        device=first.device,
    )


def _point(size: int, records: Sequence[RunRecord]) -> SizePoint:
    results = [record.result for record in records]
    return SizePoint(
        size=size,
        genome_size=results[0]["genome_size"],
        finals=np.array([result["report"]["mean"] for result in results], np.float64),
        env_steps=float(np.mean([all_stages(result, "env_steps", "search") for result in results])),
        seconds=float(np.mean([all_stages(result, "seconds", "search") for result in results])),
    )


def _without_size(record: RunRecord, index: int) -> RunRecord:
    """A record whose recipe says no size and whose seed is its own, so that all sizes can be asked to agree."""

    def sizeless(experiment: Mapping[str, Any]) -> Mapping[str, Any]:
        algorithm = dict(experiment["algorithm"])
        algorithm["learner"] = {**algorithm["learner"], "num_pairs": 0}
        first = {"first": sizeless(experiment["first"])} if experiment.get("first") else {}
        return {**experiment, "algorithm": algorithm, **first}

    return dataclasses.replace(record, experiment=sizeless(record.experiment), result={**record.result, "seed": index})
