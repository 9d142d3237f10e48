"""Mean undiscounted return over whole episodes of the environment's own length."""

import dataclasses

import jax.numpy as jnp

from hades.environments.base import Environment
from hades.environments.rollout import rollout
from hades.errors import ConfigError
from hades.fitness.base import Fitness
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Metrics, Score


@register("Fitness", "EpisodicReturn")
@dataclasses.dataclass(frozen=True)
class EpisodicReturn(Fitness):
    """Play `num_episodes` episodes to their end; stops as soon as all of them have ended."""

    num_episodes: int = 4

    def __post_init__(self) -> None:
        if self.num_episodes < 1:
            raise ConfigError(f"EpisodicReturn.num_episodes is {self.num_episodes}; it must be at least 1.")

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del candidate
        episodes = rollout(key, env, act, self.num_episodes, with_moments=with_moments)
        lengths = episodes.lengths
        metrics: Metrics = {
            "return": episodes.returns.mean(),
            "episode_length": lengths.mean(),
            "terminated": episodes.terminated.mean(),
            **{f"info/{name}_max": value.mean() for name, value in episodes.info_max.items()},
        }
        return Score(
            value=episodes.returns.mean(),
            episodes=jnp.full((), self.num_episodes, jnp.int32),
            env_steps=lengths.sum(),
            moments=episodes.moments,
            metrics=metrics,
        )

    def max_env_steps(self, spec: EnvSpec) -> int:
        return self.num_episodes * spec.max_episode_steps
