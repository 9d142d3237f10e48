"""Retention: the return of another network, recipe or merger, as a share of the original recipe's.

A share of a negative return says nothing: half as bad would be 50 %. Where the original return is not positive the
share counts from the return of a uniformly random policy instead of from 0. Every table says which floor it has.
"""

import dataclasses

import jax
import numpy as np

from hades.environments.base import Environment
from hades.environments.rollout import random_policy, rollout
from hades.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class Reference:
    """The returns that count as 100 % and as 0 %.

    Raises:
        DatasetError: where the original return is not above the floor, so that there is nothing to retain.
    """

    original: float
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not self.original > self.floor:
            raise DatasetError(
                f"The original recipe earns {self.original:.1f}, which is not above {self.floor:.1f}, the return that "
                "counts as 0 %: there is nothing to retain. Measure a dataset that its own recipe learns from."
            )

    def retention(self, returns: np.ndarray | float) -> np.ndarray:
        """Retention of returns of any shape; 1 is the original return."""
        return (np.asarray(returns, np.float64) - self.floor) / (self.original - self.floor)

    def describe(self) -> str:
        """One sentence for the reader of a table."""
        what = "0" if self.floor == 0 else f"{self.floor:.1f}, what random actions earn"
        return f"100 % is {self.original:.1f}, 0 % is {what}."


def reference(env: Environment, original: float) -> Reference:
    """The reference whose floor suits the sign of the original return; may play a random policy."""
    return Reference(original, 0.0 if original > 0 else random_return(env))


def random_return(env: Environment, num_episodes: int = 64) -> float:
    """Mean return of uniformly random actions over whole episodes."""
    episodes = jax.jit(lambda key: rollout(key, env.for_report, random_policy(env.spec), num_episodes).returns)
    return float(np.mean(np.asarray(episodes(jax.random.key(0)), np.float64)))
