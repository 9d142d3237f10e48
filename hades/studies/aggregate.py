"""Aggregates over runs with their uncertainty: the definitions of Agarwal et al. (2021, arXiv 2108.13264), `rliable`.

The interquartile mean is the mean of the middle half of all scores. Of n scores int(n / 4) fall away at either end, so
that with three runs nothing does and it is their mean. Its interval is the percentile bootstrap, stratified: runs are
drawn again within each task, tasks never. Unlike rliable's, ours is deterministic, and tasks may have different
numbers of runs.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

REPS = 20_000
"""Bootstrap samples; rliable's default is 50 000, the ends then differ by less than their digits in our tables."""
LEVEL = 0.95
_CUT = 0.25


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An interquartile mean and the interval of LEVEL around it."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Over the last axis of f64[..., n]: what `scipy.stats.trim_mean(scores, 0.25)` computes."""
    ordered = np.sort(np.asarray(scores, np.float64), axis=-1)
    count = ordered.shape[-1]
    cut = int(_CUT * count)
    return ordered[..., cut : count - cut].mean(-1)


def estimate(tasks: Sequence[np.ndarray], reps: int = REPS) -> Estimate:
    """Estimate over the runs f64[n_t] of every task together."""
    value, low, high = estimates([np.asarray(task, np.float64)[:, None] for task in tasks], reps)
    return Estimate(float(value[0]), float(low[0]), float(high[0]))


def estimates(tasks: Sequence[np.ndarray], reps: int = REPS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates of many scores for each run, such as a learning curve; the bootstrap resamples whole runs.

    Args:
        tasks: f64[n_t, G] each, G scores of n_t runs.
        reps: bootstrap samples.

    Returns:
        The interquartile mean and both ends of its interval, f64[G] each.
    """
    rng = np.random.default_rng(0)
    value = interquartile_mean(np.concatenate(tasks).T)
    drawn = [rng.integers(len(task), size=(reps, len(task))) for task in tasks]
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.empty_like(value), np.empty_like(value)
    for g in range(len(value)):  # one score at a time: a curve of all samples at once would not fit into memory
        samples = np.concatenate([task[:, g][chosen] for task, chosen in zip(tasks, drawn, strict=True)], axis=1)
        low[g], high[g] = np.quantile(interquartile_mean(samples), (tail, 1.0 - tail))
    return value, low, high
