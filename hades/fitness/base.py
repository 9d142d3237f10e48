"""The Fitness interface."""

import abc

import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment
from hades.environments.plausibility import implausible
from hades.environments.rollout import Episodes
from hades.errors import ConfigError, one_of
from hades.types import ActFn, Candidate, EnvSpec, Key, Metrics, Score


class Fitness(abc.ABC):
    """A frozen dataclass that scores one policy; a higher value is better.

    `candidate` holds the genome and the inner metrics too, so a regulariser is an ordinary Fitness.
    """

    @abc.abstractmethod
    def __call__(
        self, key: Key, env: Environment, act: ActFn, candidate: Candidate, *, with_moments: bool = False
    ) -> Score:
        """Score of one policy; `with_moments` asks for the moments of the raw observations it met."""

    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where nothing could be measured in the environment."""
        del spec

    @property
    def num_plain_episodes(self) -> int:
        """E where the score is the plain mean return of E whole episodes; 0 where it measures anything else."""
        return 0

    def max_env_steps(self, spec: EnvSpec) -> int:
        """Most live environment steps that one call can take."""
        del spec
        return 0

    @abc.abstractmethod
    def parallel_episodes(self, spec: EnvSpec) -> int:
        """Most episodes, or environments, that one policy plays in lockstep; 0 where it plays none.

        One call holds their states, observations and activations at the same time.
        """

    @property
    def plays_windows(self) -> bool:
        """True if it plays a fixed number of steps, in which all policies step together, and not whole episodes."""
        return False


IMPLAUSIBLE = ("keep", "mask", "penalize")
"""Ways to treat an episode that raises the exploit alarm."""


def check_implausible(name: str, choice: str, spec: EnvSpec | None = None) -> None:
    """Raise ConfigError for an unknown choice, or one that could do nothing in the environment."""
    one_of(f"{name}.implausible", choice, IMPLAUSIBLE)
    if spec is not None and choice != "keep" and not spec.plausible:
        raise ConfigError(
            f'{name}.implausible is "{choice}", but {spec.name} states no bounds of plausibility: give the environment '
            'some (such as Brax.plausible = (("height", 3.0),)), or use "keep".'
        )


def plausible_mean(values: Array, episodes: Episodes, spec: EnvSpec, choice: str, penalty: float) -> Array:
    """Mean of f32[E] over episodes, where implausible ones count as they are, not at all, or `penalty`.

    NaN where all of them are masked, or where an episode's return is NaN, so that such a candidate is ranked last.
    """
    values = jnp.where(jnp.isnan(episodes.returns), jnp.nan, values)
    if choice == "keep":
        return values.mean()
    flags = implausible(episodes, spec)
    if choice == "penalize":
        return jnp.where(flags, penalty, values).mean()
    left = (~flags).sum()
    return jnp.where(left > 0, jnp.where(flags, 0.0, values).sum() / jnp.maximum(left, 1), jnp.nan)


def weighted(weight: Array | float, value: Array) -> Array:
    """weight · value; 0 where the weight is 0, even where the value is not finite."""
    return jnp.where(jnp.equal(weight, 0.0), 0.0, weight * value)


def episode_metrics(episodes: Episodes, spec: EnvSpec) -> Metrics:
    """Metrics that every fitness reports of the episodes it plays."""
    metrics: Metrics = {
        "episode_length": episodes.lengths.mean(),
        "terminated": episodes.terminated.mean(),
        "live_share": episodes.lengths.sum() / episodes.executed,
        **{f"info/{name}_max": value.mean() for name, value in episodes.info_max.items()},
        **{f"info/{name}_sum": value.mean() for name, value in episodes.info_sum.items()},
    }
    return metrics | ({"implausible": implausible(episodes, spec).mean()} if spec.plausible else {})
