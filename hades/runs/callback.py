"""The user's function that follows a run, and may end it: `hades.run(experiment, callback=follow)`."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeAlias

import jax
import numpy as np

from hades.algorithms.base import Algorithm, Solution
from hades.data.dataset import DistilledDataset
from hades.runs.result import Policy, distilled_dataset, policy_of

STOPPED = "callback"
"""Value of `stopped_by` in `result.json` where the callback ended the run."""


@dataclasses.dataclass(frozen=True, eq=False)
class LoggedGeneration:
    """The record that a callback is given after a generation.

    Attributes:
        stage: number of the run's stage, from 1.
        generation: generations done in this stage.
        env_steps: environment steps that its search has taken.
        seconds: of its search so far, without compilation and without the callback.
        metrics: of this generation, as in `metrics.jsonl`.
        best_return: the best return on selection keys so far; None before the first evaluation.
    """

    stage: int
    generation: int
    env_steps: int
    seconds: float
    metrics: Mapping[str, float]
    best_return: float | None
    _algorithm: Algorithm = dataclasses.field(repr=False)
    _best: Solution = dataclasses.field(repr=False)

    @cached_property
    def dataset(self) -> DistilledDataset | None:
        """The best dataset so far, made when it is first read; None where the search is for a policy."""
        return distilled_dataset(self._algorithm, jax.device_get(self._best))

    @cached_property
    def policy(self) -> Policy:
        """The best policy so far; where the search is for a dataset, it is trained from that with seed 0."""
        return policy_of(self._algorithm, jax.device_get(self._best), self.dataset)


Callback: TypeAlias = Callable[[LoggedGeneration], bool | None]
"""Called on process 0 after every generation; the run ends where it returns True."""


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Python's numbers of a generation's metrics."""
    return {name: np.asarray(value).item() for name, value in row.items()}
