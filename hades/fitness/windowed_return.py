"""The published protocol: a fixed number of steps, completed episodes only.

Short episodes weigh more and a window may see none end; then the value is NaN, never 0. The released code read 0 for
Freeway, whose episodes last 2500 steps, in windows of 1024. Use EpisodicReturn unless you replicate.
"""

import dataclasses

import jax.numpy as jnp

from hades.environments.base import Environment
from hades.environments.rollout import rollout_window
from hades.errors import ConfigError
from hades.fields import Count
from hades.fitness.base import Fitness
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Score


@register("Fitness", "WindowedReturn")
@dataclasses.dataclass(frozen=True)
class WindowedReturn(Fitness):
    """Mean return of the episodes completed within a window of steps.

    Attributes:
        num_envs: environments that are stepped together (published: 4 for Brax, 8 for MinAtar).
        num_steps: steps of each (published: 1024).
    """

    num_envs: Count = 8
    num_steps: Count = 1024

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        del candidate
        if with_moments:
            raise ConfigError(
                "WindowedReturn gathers no observation moments: use ConstantNormalizer or EpisodicReturn."
            )
        window = rollout_window(key, env, act, self.num_envs, self.num_steps)
        count = window.episodes
        value, length = (
            jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan) for total in (window.returns, window.steps)
        )
        return Score(
            value=value,
            episodes=count,
            env_steps=jnp.full((), self.num_envs * self.num_steps, jnp.int32),
            moments=None,
            metrics={"return": value, "episode_length": length},
        )

    def check(self, spec: EnvSpec) -> None:
        if not spec.can_terminate and self.num_steps < spec.max_episode_steps:
            raise ConfigError(
                f"WindowedReturn.num_steps is {self.num_steps}, but an episode of {spec.name} always lasts "
                f"{spec.max_episode_steps} steps, so none could complete and nothing would be measured. "
                f"Use num_steps >= {spec.max_episode_steps}, or EpisodicReturn."
            )

    @property
    def plays_windows(self) -> bool:
        return True

    def max_env_steps(self, spec: EnvSpec) -> int:
        del spec
        return self.num_envs * self.num_steps

    def parallel_episodes(self, spec: EnvSpec) -> int:
        del spec
        return self.num_envs
