"""Summaries of returns that leave the program."""

import dataclasses
from typing import Any

import numpy as np
import scipy.stats


@dataclasses.dataclass(frozen=True)
class ReturnSummary:
    """Mean return of I independent policies with E whole episodes each.

    `ci95` is Student's interval of the mean over policies, the independent units. All are plain floats.
    """

    mean: float
    ci95: tuple[float, float]
    std_over_inits: float
    worst_init: float
    best_init: float
    num_inits: int
    num_episodes: int
    mean_length: float
    per_init: tuple[float, ...]

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**dataclasses.asdict(self), "ci95": list(self.ci95), "per_init": list(self.per_init)}

    def __str__(self) -> str:
        low, high = self.ci95
        return (
            f"{self.mean:.1f} (95 % interval {low:.1f} to {high:.1f}; {self.num_inits} policies × "
            f"{self.num_episodes} episodes; worst policy {self.worst_init:.1f})"
        )


def summarize(returns: np.ndarray, lengths: np.ndarray) -> ReturnSummary:
    """Of returns f32[I, E] and episode lengths i32[I, E]."""
    returns = np.asarray(returns, np.float64)
    per_init = returns.mean(1)
    count = len(per_init)
    mean, std = float(per_init.mean()), float(per_init.std(ddof=1)) if count > 1 else 0.0
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * std / count**0.5 if count > 1 else float("nan")
    return ReturnSummary(
        mean=mean,
        ci95=(mean - half, mean + half),
        std_over_inits=std,
        worst_init=float(per_init.min()),
        best_init=float(per_init.max()),
        num_inits=count,
        num_episodes=returns.shape[1],
        mean_length=float(np.mean(lengths)),
        per_init=tuple(round(float(r), 4) for r in per_init),
    )
