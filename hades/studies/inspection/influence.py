"""Influence of each pair: the return of policies trained on all pairs, less that of policies trained without it.

The policies with and without a pair begin at the same weights and play the same episodes, so that the difference is
taken policy by policy and its interval is a paired one. The N datasets without a pair have one shape: they share one
compiled training and one compiled evaluation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError
from hades.fitness.episodic_return import EpisodicReturn
from hades.policy.statistics import summarize
from hades.policy.trained_policy import changed_learner, evaluate_dataset


@dataclasses.dataclass(frozen=True)
class PairInfluence:
    """Effect of leaving out one pair.

    Attributes:
        without: mean return of policies trained on the other pairs.
        influence: mean return with all pairs less `without`; above 0 the pair helps.
        low, high: Student's 95 % interval of `influence` over policies; None where there is one policy only.
    """

    without: float
    influence: float
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class Influence:
    """Influence of every pair.

    Attributes:
        returns: mean return with all pairs.
        pairs: one for each pair; empty for a dataset of one pair, which leaves nothing to train on.
        num_inits, num_episodes: policies, and whole episodes of each.
        one_policy: whether all inits are one and the same policy (HaDES-F), so that the interval is over episodes.
        num_updates, batch_size: of the recipe, which stays the same; 0 is the full batch.
    """

    returns: float
    pairs: tuple[PairInfluence, ...]
    num_inits: int
    num_episodes: int
    one_policy: bool
    num_updates: int
    batch_size: int

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Influence":
        return Influence(**{**values, "pairs": tuple(PairInfluence(**pair) for pair in values["pairs"])})


def measure_influence(
    dataset: DistilledDataset,
    num_inits: int = 8,
    num_episodes: int = 4,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Influence:
    """Train without each pair in turn, on the same report keys.

    Args:
        dataset: of N pairs.
        num_inits: policies to train with all pairs, and again without each.
        num_episodes: whole episodes of each, whatever protocol the file names.
        seed: of the initial policies and the episodes.
        say: told before each training what it is.

    Raises:
        ConfigError: for mini-batches that are larger than what is left.
    """
    count, learner = len(dataset), changed_learner(dataset, {})
    if count > 1 and learner.batch_size > count - 1:
        raise ConfigError(
            f"The recipe has mini-batches of {learner.batch_size}, but only {count - 1} of {count} pairs are left "
            "without one. Their full batch would be another recipe, so influence is not measured; inspect the dataset "
            "with a batch_size of 0, or of fewer pairs."
        )

    def returns(pairs: DistilledDataset) -> np.ndarray:
        protocol = EpisodicReturn(num_episodes)
        return np.array(evaluate_dataset(pairs, num_inits, num_episodes, seed, protocol).per_init)

    say(f"{num_inits} policies from all {count} pairs")
    whole, found = returns(dataset), []
    for i in range(count if count > 1 else 0):
        say(f"{num_inits} policies without pair {i + 1} of {count}")
        found.append(_paired(whole, returns(without_pair(dataset, i))))
    return Influence(
        returns=float(whole.mean()),
        pairs=tuple(found),
        num_inits=num_inits,
        num_episodes=num_episodes,
        one_policy=learner.is_fixed,
        num_updates=learner.num_updates,
        batch_size=learner.batch_size,
    )


def without_pair(dataset: DistilledDataset, pair: int) -> DistilledDataset:
    """The other pairs, with everything else that the file holds."""
    rows = np.arange(len(dataset)) != pair
    return dataclasses.replace(dataset, observations=dataset.observations[rows], targets=dataset.targets[rows])


def _paired(whole: np.ndarray, left: np.ndarray) -> PairInfluence:
    """Influence from returns f64[I] with all pairs and without one."""
    difference = summarize((whole - left)[:, None], np.zeros((len(whole), 1)))
    low, high = difference.ci95 if len(whole) > 1 else (None, None)
    return PairInfluence(without=float(left.mean()), influence=difference.mean, low=low, high=high)
