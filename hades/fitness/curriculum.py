"""One search objective after another, such as a short horizon with shaped terms before whole episodes.

All stages share one compiled rollout: only numbers change from one to the next. Selection and reports measure the whole
undiscounted return from the first generation on.
"""

import dataclasses

import jax.numpy as jnp

from hades.environments.base import Environment
from hades.errors import ConfigError, shown
from hades.fields import Count
from hades.fitness.base import Fitness
from hades.fitness.shaped_return import ShapedReturn
from hades.registry import register
from hades.types import ActFn, Candidate, EnvSpec, Key, Score


@register("Fitness", "Curriculum")
@dataclasses.dataclass(frozen=True)
class Curriculum(Fitness):
    """Stages of ShapedReturn, changed at fixed generations.

    Attributes:
        stages: in their order; they may differ in weights and horizon only.
        generations: of every stage but the last, which lasts to the end.
    """

    stages: tuple[ShapedReturn, ...]
    generations: tuple[Count, ...]

    def __post_init__(self) -> None:
        if not self.stages or len(self.generations) != len(self.stages) - 1 or sum(self.generations) >= 2**31:
            raise ConfigError(
                f"Curriculum has {len(self.stages)} stages and .generations {shown(self.generations)}: give every "
                "stage but the last a number of generations, with a sum below 2³¹."
            )
        shared = {(s.num_episodes, s.implausible, s.penalty) for s in self.stages}
        if len(shared) > 1:
            raise ConfigError(
                "The stages of a Curriculum share one rollout, so they must agree in (num_episodes, implausible, "
                f"penalty), but these are {sorted(shared)}."
            )

    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        ends = jnp.cumsum(jnp.asarray(self.generations, jnp.int32))
        stage = (candidate.generation >= ends).sum()
        names = dict.fromkeys(name for s in self.stages for name in s.weights)
        weights = {name: jnp.asarray([s.weights.get(name, 0.0) for s in self.stages])[stage] for name in names}
        horizon = jnp.asarray([s.horizon for s in self.stages])[stage]
        first = self.stages[0]
        return first.score(key, env, act, weights, horizon, "return_within_horizon", with_moments=with_moments)

    def check(self, spec: EnvSpec) -> None:
        self.stages[0].check(spec)

    def max_env_steps(self, spec: EnvSpec) -> int:
        return max(stage.max_env_steps(spec) for stage in self.stages)

    def parallel_episodes(self, spec: EnvSpec) -> int:
        return self.stages[0].parallel_episodes(spec)
