"""Mean undiscounted return over whole episodes of the environment's own length."""

import dataclasses

import jax.numpy as jnp

from hades.environments.base import Environment
from hades.environments.rollout import rollout
from hades.fields import Count
from hades.fitness.base import Fitness, check_implausible, episode_metrics, plausible_mean
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Score


@register("Fitness", "EpisodicReturn")
@dataclasses.dataclass(frozen=True)
class EpisodicReturn(Fitness):
    """Play `num_episodes` episodes to their end; stops as soon as all of them have ended.

    Attributes:
        num_episodes: E.
        implausible: an episode that raises the exploit alarm is counted as it is ("keep"), left out ("mask"; a
            candidate without any other episode is ranked last), or counted as `penalty` ("penalize").
        penalty: the return that a penalised episode counts as.
    """

    num_episodes: Count = 4
    implausible: str = "keep"
    penalty: float = 0.0

    def __post_init__(self) -> None:
        check_implausible("EpisodicReturn", self.implausible)

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del candidate
        episodes = rollout(key, env, act, self.num_episodes, with_moments=with_moments)
        return Score(
            value=plausible_mean(episodes.returns, episodes, env.spec, self.implausible, self.penalty),
            episodes=jnp.full((), self.num_episodes, jnp.int32),
            env_steps=episodes.lengths.sum(),
            moments=episodes.moments,
            metrics={"return": episodes.returns.mean(), **episode_metrics(episodes, env.spec)},
        )

    def check(self, spec: EnvSpec) -> None:
        check_implausible("EpisodicReturn", self.implausible, spec)

    @property
    def num_plain_episodes(self) -> int:
        return self.num_episodes if self.implausible == "keep" else 0

    def max_env_steps(self, spec: EnvSpec) -> int:
        return self.num_episodes * spec.max_episode_steps

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return self.num_episodes
