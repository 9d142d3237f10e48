"""A point on a line that should go to its goal: tiny, with a known optimum, for tests and smoke runs.

In the spirit of brax's `fast` environment. The state is (position, goal); the observation shows both; an action in
[-1, 1] moves the position by `stride` times itself; the reward of a step is minus the distance left. The best policy
moves by clip((goal - position) / stride, -1, 1) and its return is computed in closed form by `optimal_return`.
"""

import dataclasses
import math
from functools import cached_property

import jax
import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment, NumSteps
from hades.fields import NonNegative, Positive
from hades.registry import register
from hades.types import Box, Discrete, EnvSpec, Key, TimeStep


@register("Environment", "Point")
@dataclasses.dataclass(frozen=True)
class Point(Environment):
    """Move to the goal.

    Attributes:
        discrete: three actions (left, stay, right) instead of one continuous one.
        max_episode_steps: length of every episode unless `radius` ends it.
        stride: distance covered by a full action.
        radius: an episode terminates when the distance falls below it; 0 never terminates.
    """

    discrete: bool = False
    max_episode_steps: NumSteps = 10
    stride: Positive = 0.25
    radius: NonNegative = 0.0

    @cached_property
    def spec(self) -> EnvSpec:
        return EnvSpec(
            name="point-discrete" if self.discrete else "point",
            obs_shape=(2,),
            action_space=Discrete(3) if self.discrete else Box(1),
            max_episode_steps=self.max_episode_steps,
            observation_names=("position", "goal"),
            action_names=("left", "stay", "right") if self.discrete else ("velocity",),
            can_terminate=self.radius > 0,
        )

    def reset(self, key: Key) -> tuple[Array, Array]:
        obs = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        return jnp.concatenate([obs, jnp.zeros(1)]), obs

    def step(self, key: Key, state: Array, action: Array) -> tuple[Array, TimeStep]:
        del key
        velocity = (action - 1.0) if self.discrete else jnp.clip(action[0], -1.0, 1.0)
        position = state[0] + self.stride * velocity
        state = jnp.stack([position, state[1], state[2] + 1.0])
        distance = jnp.abs(state[1] - position)
        step = TimeStep(
            obs=state[:2],
            reward=-distance,
            terminated=distance < self.radius,
            truncated=state[2] >= self.max_episode_steps,
            info={"distance": distance},
        )
        return state, step

    def optimal_return(self) -> float:
        """Expected return of the optimal continuous policy without termination (position and goal uniform in [-1, 1]).

        The distance d has density (2 - d) / 2 on [0, 2] and falls by `stride` a step: E[max(d - t·stride, 0)] summed
        over t.
        """
        rest = [min(t * self.stride, 2.0) for t in range(1, self.max_episode_steps + 1)]
        return -math.fsum((2.0 - r) ** 3 / 12.0 for r in rest)
