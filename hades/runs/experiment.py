"""Everything that decides a run, as one component."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from hades.algorithms.base import Algorithm
from hades.errors import require
from hades.fields import Count, Natural, Positive, Range, Seed
from hades.registry import register

LIMITS = ("target_return", "max_seconds", "max_env_steps", "patience", "generations")
"""Fields that end a run."""
FREE_FIELDS = (*LIMITS, "checkpoint_every", "plateau_notice")
"""Fields that may change when a run continues: they decide how far it goes, not where."""
HANDED_OVER = {"learner": ("start_pairs",), "normalizer": ("mean", "std")}
"""Fields of an algorithm's components that a stage takes over from the one before: not in its configuration."""


@register("Experiment", "Experiment")
@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run.

    Attributes:
        algorithm: what a generation is.
        generations: how many to do. 0 only where `first` is given: then its dataset is trained by this algorithm's
            learner, and reported.
        first: a stage that runs before, in the folder `first` of the work directory, and hands over its dataset and
            statistics. Its dataset is this stage's first solution, and its result where this stage improves nothing.
        seed: the root of every random key.
        eval_every: generations between evaluations of the solution on selection keys, which choose the best so far.
        eval_inits: policies of such an evaluation.
        eval_episodes: whole episodes of each.
        report_inits: policies of the one report at the end, on report keys.
        report_episodes: whole episodes of each.
        checkpoint_every: generations between checkpoints.
        target_return: stop once the solution earns this much on selection keys; None: never.
        max_seconds: stop after so many seconds of search and selection, compilation excluded; None: never.
        max_env_steps: stop with the generation in which the search has taken so many environment steps; None: never.
            Seconds and steps of the stages before count in both.
        plateau_notice: print a line after so many evaluations in a row that improve nothing; None: never.
        patience: stop after so many; None: never.
    """

    algorithm: Algorithm
    generations: Natural
    first: "Experiment | None" = None
    seed: Seed = 0
    eval_every: Count = 10
    eval_inits: Count = 16
    eval_episodes: Count = 4
    report_inits: Count = 64
    report_episodes: Count = 4
    checkpoint_every: Count = 50
    target_return: float | None = None
    max_seconds: Positive | None = None
    max_env_steps: Annotated[int, Range(least=1, below=2**63)] | None = None
    plateau_notice: Count | None = None
    patience: Count | None = None

    def __post_init__(self) -> None:
        require(
            self.generations > 0 or self.first is not None,
            "Experiment.generations is 0, but no stage runs first: use at least 1.",
        )


def limit_reached(limits: Mapping[str, Any], reached: Mapping[str, float | None]) -> str:
    """Name of the first limit that ends a run; empty if none does.

    Args:
        limits: fields of an experiment.
        reached: how far the run is, by field of LIMITS.
    """
    ends = (n for n in LIMITS if limits.get(n) is not None and (at := reached[n]) is not None and at >= limits[n])
    return next(ends, "")
