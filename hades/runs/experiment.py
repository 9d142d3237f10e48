"""Everything that decides a run, as one component."""

import dataclasses

from hades.algorithms.base import Algorithm
from hades.devices import check_devices
from hades.errors import ConfigError
from hades.registry import register

FREE_FIELDS = ("generations", "checkpoint_every", "target_return", "max_seconds", "max_env_steps")
"""Fields that may change when a run continues: they decide how far it goes, not where."""


@register("Experiment", "Experiment")
@dataclasses.dataclass(frozen=True)
class Experiment:
    """A run.

    Attributes:
        algorithm: what a generation is.
        generations: how many to do.
        seed: the root of every random key.
        eval_every: generations between evaluations of the solution on selection keys, which choose the best so far.
        eval_inits, eval_episodes: policies and episodes of such an evaluation.
        report_inits, report_episodes: of the one report at the end, on report keys.
        checkpoint_every: generations between checkpoints.
        target_return: stop once the solution earns this much on selection keys; None: never.
        max_seconds: stop after so many seconds of search and selection, compilation excluded; None: never.
        max_env_steps: stop with the generation in which the search has taken so many environment steps; None: never.
    """

    algorithm: Algorithm
    generations: int
    seed: int = 0
    eval_every: int = 10
    eval_inits: int = 16
    eval_episodes: int = 4
    report_inits: int = 64
    report_episodes: int = 4
    checkpoint_every: int = 50
    target_return: float | None = None
    max_seconds: float | None = None
    max_env_steps: int | None = None

    def __post_init__(self) -> None:
        for name in (
            *("generations", "eval_every", "eval_inits", "eval_episodes"),
            *("report_inits", "report_episodes", "checkpoint_every"),
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"Experiment.{name} is {getattr(self, name)}; it must be at least 1.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"Experiment.seed is {self.seed}; it must lie in [0, 2³²).")
        check_devices()  # what an algorithm says of itself, it finds out by JAX
        if not isinstance(self.algorithm, Algorithm):
            raise ConfigError(
                f"Experiment.algorithm is {self.algorithm!r}, which is no Algorithm: give an instance, such as "
                f"@Evolution()."
            )
