"""A search objective other than the return: sums of the environment's own terms, over the first steps of an episode.

Selection and reports still measure the whole undiscounted return, whatever is searched for.
"""

import dataclasses
import math

import jax.numpy as jnp

from hades.environments.base import Environment
from hades.environments.rollout import rollout
from hades.errors import ConfigError, offer
from hades.fitness.base import Fitness
from hades.registry import options, register
from hades.types import ActFn, Candidate, EnvSpec, Key, Metrics, Score


@register("Fitness", "ShapedReturn")
@dataclasses.dataclass(frozen=True)
class ShapedReturn(Fitness):
    """return_weight · return + Σ weight · (sum of an `info` entry over the episode), a mean over episodes.

    Attributes:
        num_episodes: episodes to play.
        return_weight: of the environment's own return.
        terms: (name, weight) pairs or a mapping; a name is an entry of the environment's `info`, such as Brax's
            "reward_forward", or "length" for the steps survived.
        horizon: steps after which an episode is broken off; 0: never.
    """

    num_episodes: int = 4
    return_weight: float = 1.0
    terms: tuple[tuple[str, float], ...] = ()
    horizon: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", options(self.terms))
        if self.num_episodes < 1 or self.horizon < 0:
            raise ConfigError(
                f"ShapedReturn.num_episodes is {self.num_episodes} and .horizon {self.horizon}; "
                "they must be at least 1 and 0."
            )
        weights = (self.return_weight, *(weight for _, weight in self.terms))
        if not any(weights) or not all(math.isfinite(weight) for weight in weights):
            raise ConfigError(
                f"ShapedReturn.return_weight is {self.return_weight} and .terms {self.terms}: weights must be finite "
                "and one of them not 0, else there is nothing to search for."
            )

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del candidate
        episodes = rollout(key, env, act, self.num_episodes, with_moments=with_moments, max_steps=self.horizon)
        sums = episodes.info_sum | {"length": episodes.lengths.astype(jnp.float32)}
        for name, _ in self.terms:
            if name not in sums:
                raise ConfigError(f'ShapedReturn.terms names "{name}". {offer(name, sorted(sums))}')
        value = self.return_weight * episodes.returns
        for name, weight in self.terms:
            value += weight * sums[name]
        metrics: Metrics = {
            "episode_length": episodes.lengths.mean(),
            "live_share": episodes.lengths.sum() / episodes.executed,
            "return" if not self.horizon else "return_within_horizon": episodes.returns.mean(),
            **{f"info/{name}_sum": total.mean() for name, total in episodes.info_sum.items()},
        }
        return Score(
            value=value.mean(),
            episodes=jnp.full((), self.num_episodes, jnp.int32),
            env_steps=episodes.lengths.sum(),
            moments=episodes.moments,
            metrics=metrics,
        )

    def max_env_steps(self, spec: EnvSpec) -> int:
        steps = min(self.horizon, spec.max_episode_steps) if self.horizon else spec.max_episode_steps
        return self.num_episodes * steps
