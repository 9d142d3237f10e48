"""Bounds of physical plausibility, from random and scripted play: what the exploit alarm compares episodes with.

Four kinds of play, none of which knows the task, push a body as hard as its actuators allow: uniformly random actions,
random actions held for a while, extreme actions held for a while, and sinusoids of random frequency. They play on
after a termination, so that fallen bodies are pushed too. The bounds leave a margin above the most extreme value met,
because a trained policy is better than these at using its actuators.

python -m hades.studies.plausible_bounds hopper ant
"""

import dataclasses
import math
import sys
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from hades.environments.base import Environment, EnvState
from hades.types import Box, Key

HEIGHT_MARGIN, SPEED_MARGIN, REWARD_MARGIN = 1.5, 2.0, 2.0
MIN_HEIGHT = 0.1
"""m"""
_HOLD = 15
_Carry: TypeAlias = tuple[EnvState, Array, Array, Array]


@dataclasses.dataclass(frozen=True)
class Extremes:
    """The largest values that scripted play met."""

    height: float
    speed: float
    reward: float

    def bounds(self) -> tuple[float, float, float]:
        """Height, speed and reward of a step that no honest episode exceeds, to two digits; 0: no bound.

        Where no body leaves the ground plane by more than MIN_HEIGHT, a height says nothing.
        """
        height = self.height if self.height > MIN_HEIGHT else 0.0
        pairs = ((height, HEIGHT_MARGIN), (self.speed, SPEED_MARGIN), (self.reward, REWARD_MARGIN))
        height, speed, reward = (_two_digits(value * margin) for value, margin in pairs)
        return height, speed, reward


def measure_extremes(key: Key, env: Environment, episodes: int = 64, steps: int = 300) -> Extremes:
    """Play `episodes` of each kind for `steps` steps and keep the largest values.

    Args:
        key: one key.
        env: with continuous actions, and `height` and `speed` in its `info`.
        episodes: of each kind of play.
        steps: of each episode, terminated or not.
    """
    assert isinstance(env.spec.action_space, Box)
    size = env.spec.action_space.size

    def one(key: Key, script: Array) -> tuple[Array, Array, Array]:
        k_reset, k_script, k_step = jax.random.split(key, 3)

        def advance(carry: _Carry, t: Array) -> tuple[_Carry, None]:
            state, height, speed, reward = carry
            action = lax.switch(script, [lambda f=f: f(k_script, t, size) for f in SCRIPTS])
            state, step = env.step(jax.random.fold_in(k_step, t), state, action)
            height, speed = jnp.maximum(height, step.info["height"]), jnp.maximum(speed, step.info["speed"])
            return (state, height, speed, jnp.maximum(reward, jnp.abs(step.reward))), None

        zero = jnp.zeros(())
        carry, _ = lax.scan(advance, (env.reset(k_reset)[0], zero, zero, zero), jnp.arange(steps))
        return carry[1:]

    count = len(SCRIPTS) * episodes
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))
    found = jax.jit(jax.vmap(one))(keys, jnp.arange(count) % len(SCRIPTS))
    return Extremes(*(float(value.max()) for value in found))


def _random(key: Key, t: Array, size: int) -> Array:
    return jax.random.uniform(jax.random.fold_in(key, t), (size,), minval=-1.0, maxval=1.0)


def _held(key: Key, t: Array, size: int) -> Array:
    return _random(key, t // _HOLD, size)


def _extreme(key: Key, t: Array, size: int) -> Array:
    return jnp.sign(_random(key, t // _HOLD, size))


def _wave(key: Key, t: Array, size: int) -> Array:
    k_frequency, k_phase = jax.random.split(key)
    frequency = jax.random.uniform(k_frequency, (size,), minval=0.02, maxval=0.5)
    phase = jax.random.uniform(k_phase, (size,), maxval=2.0 * jnp.pi)
    return jnp.sin(frequency * t + phase)


SCRIPTS = (_random, _held, _extreme, _wave)
"""(key, t, A) -> action f32[A] of one episode."""


def _two_digits(value: float) -> float:
    if value <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    return math.ceil(value * 10**digits) / 10**digits


def main(names: list[str]) -> None:
    """Print the lines of the table `PLAUSIBLE` in `hades/environments/brax.py`."""
    from hades.environments.brax import Brax, env_names

    for name in names or env_names():
        extremes = measure_extremes(jax.random.key(0), Brax(name))
        print(f'    ("{name}", "positional"): {extremes.bounds()},  # met: {extremes}', flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
