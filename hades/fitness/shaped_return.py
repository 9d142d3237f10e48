"""A search objective other than the return: sums of the environment's own terms, over the first steps of an episode.

Selection and reports still measure the whole undiscounted return, whatever is searched for.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment
from hades.environments.rollout import rollout
from hades.errors import ConfigError, offer, shown
from hades.fields import Count, Natural
from hades.fitness.base import Fitness, check_implausible, episode_metrics, plausible_mean, weighted
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Score


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
        implausible: what happens to implausible episodes; see EpisodicReturn.
        penalty: see EpisodicReturn.
    """

    num_episodes: Count = 4
    return_weight: float = 1.0
    terms: tuple[tuple[str, float], ...] = ()
    horizon: Natural = 0
    implausible: str = "keep"
    penalty: float = 0.0

    def __post_init__(self) -> None:
        check_implausible("ShapedReturn", self.implausible)
        if not any(self.weights.values()):
            raise ConfigError(
                f"ShapedReturn.return_weight is {self.return_weight} and .terms {shown(self.terms)}: one weight must "
                "not be 0, else there is nothing to search for."
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weights of "return" and of every term."""
        return {"return": self.return_weight, **dict(self.terms)}

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del candidate
        name = "return_within_horizon" if self.horizon else "return"
        return self.score(key, env, act, self.weights, self.horizon, name, with_moments=with_moments)

    def score(
        self,
        key: Key,
        env: Environment,
        act: ActFn,
        weights: Mapping[str, Array | float],
        horizon: Array | int,
        return_name: str,
        *,
        with_moments: bool,
    ) -> Score:
        """Score with other weights and another horizon, which may be traced."""
        episodes = rollout(key, env, act, self.num_episodes, with_moments=with_moments, max_steps=horizon)
        sums = {"return": episodes.returns, "length": episodes.lengths.astype(jnp.float32)} | episodes.info_sum
        for name in weights:
            if name not in sums:
                raise ConfigError(f'ShapedReturn.terms names "{name}". {offer(name, sorted(sums))}')
        value = jnp.stack([weighted(weight, sums[name]) for name, weight in weights.items()]).sum(0)
        return Score(
            value=plausible_mean(value, episodes, env.spec, self.implausible, self.penalty),
            episodes=jnp.full((), self.num_episodes, jnp.int32),
            env_steps=episodes.lengths.sum(),
            moments=episodes.moments,
            metrics={return_name: episodes.returns.mean(), **episode_metrics(episodes, env.spec)},
        )

    def check(self, spec: EnvSpec) -> None:
        check_implausible("ShapedReturn", self.implausible, spec)

    def max_env_steps(self, spec: EnvSpec) -> int:
        steps = min(self.horizon, spec.max_episode_steps) if self.horizon else spec.max_episode_steps
        return self.num_episodes * steps

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return self.num_episodes
