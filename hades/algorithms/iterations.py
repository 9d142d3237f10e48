"""Iterations: T steps of E environments, then several epochs of minibatch updates on them.

The loop calls an iteration a generation. The E environments fall into k groups of equal size, each with a policy of its
own.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hades.algorithms.advantages import linear_decay, minibatches
from hades.algorithms.keys import Purpose, indexed_keys, purpose_key
from hades.environments.base import Environment
from hades.environments.rollout import AutoReset
from hades.errors import ConfigError
from hades.fields import Count, Positive, Total
from hades.normalizers.base import Normalizer, NormalizerState
from hades.optimizers import check_optimizer
from hades.types import POPULATION_AXIS, EnvSpec, Key, Metrics, Moments, PyTree, finite_or

StepKeys: TypeAlias = tuple[Key, Key, Key]
"""Keys of one step: one key to act, E to step and E to begin anew."""
Carry = TypeVar("Carry")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Iterating(abc.ABC):
    """The base of algorithms that learn from the steps of an iteration.

    Attributes:
        environment: where it learns.
        normalizer: of the observations.
        num_envs: E, environments of an iteration.
        num_steps: T, steps of each.
        num_epochs: passes over the E·T steps of an iteration.
        num_minibatches: updates in a pass.
        learning_rate: of the optimiser.
        anneal_steps: environment steps over which the learning rate falls linearly to 0; 0 keeps it constant.
        optimizer: name of any optax optimiser.
        optimizer_options: further arguments of that optimiser.
        max_grad_norm: clip by the global norm over what one optimiser moves.

    Raises:
        ConfigError: where the numbers do not fit each other.
    """

    environment: Environment
    normalizer: Normalizer
    num_envs: Count = 64
    num_steps: Count = 128
    num_epochs: Count = 4
    num_minibatches: Count = 8
    learning_rate: Positive = 2.5e-4
    anneal_steps: Total = 0
    optimizer: str = "adam"
    optimizer_options: tuple[tuple[str, Any], ...] = (("eps", 1e-5),)
    max_grad_norm: Positive = 0.5

    num_groups: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """The class's name, for messages."""
        return type(self).__name__

    def __post_init__(self) -> None:
        check_optimizer(self.name, self.optimizer, self.optimizer_options)
        self.normalizer.check(self.spec)
        if self.normalizer.has_memory:
            raise ConfigError(
                f"{self.name}.normalizer is {type(self.normalizer).__name__}, whose statistics restart with every "
                f"evaluation: {self.name} learns from observations in fixed coordinates. Use RunningNormalizer."
            )
        if self.steps_per_iteration >= 2**31:
            raise ConfigError(
                f"{self.name}.num_envs is {self.num_envs} and .num_steps {self.num_steps}; their product, the steps of "
                "an iteration, must be below 2³¹."
            )
        if self.steps_per_iteration % self.num_minibatches:
            raise ConfigError(
                f"{self.name}.num_minibatches is {self.num_minibatches}, which does not divide the {self.num_envs} × "
                f"{self.num_steps} = {self.steps_per_iteration} steps of an iteration: use a divisor."
            )

    @property
    def environments(self) -> tuple[Environment, ...]:
        return (self.environment,)

    @property
    def spec(self) -> EnvSpec:
        return self.environment.spec

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps

    def check_devices(self, count: int) -> None:
        if self.num_envs % count:
            raise ConfigError(
                f"{self.name}.num_envs {self.num_envs} is not divisible by {count} devices: "
                f"use {-(-self.num_envs // count) * count}, or fewer devices."
            )

    def first_episodes(self, start: Key) -> dict[str, Any]:
        """Fields of a state for E environments before their first step: `envs` and `last_returns`."""
        keys = indexed_keys(purpose_key(start, Purpose.EPISODES), self.num_envs)
        last_returns = jnp.full(self.num_envs, -jnp.inf, jnp.float32)
        return {"envs": AutoReset.start(keys, self.environment), "last_returns": last_returns}

    def placements(self, mesh: Mesh) -> tuple[NamedSharding, NamedSharding]:
        """The devices on which environments step, and on which groups learn.

        Groups learn where their environments stepped. Where the devices cannot share them, each learns from all.
        """
        apart = NamedSharding(mesh, PartitionSpec(POPULATION_AXIS))
        return apart, apart if self.num_groups % mesh.size == 0 else NamedSharding(mesh, PartitionSpec())

    def rate(self, generation: Array) -> Array:
        """The learning rate of an iteration: f32[]."""
        return linear_decay(self.learning_rate, generation * float(self.steps_per_iteration), self.anneal_steps)

    def step_keys(self, key: Key) -> StepKeys:
        """Keys of T steps, stacked."""

        def one(key: Key) -> StepKeys:
            k_act, k_step, k_reset = jax.random.split(key, 3)
            return k_act, indexed_keys(k_step, self.num_envs), indexed_keys(k_reset, self.num_envs)

        return jax.vmap(one)(indexed_keys(key, self.num_steps))

    def grouped(self, x: Array) -> Array:
        """[T, E, ...] -> [k, T·E/k, ...]"""
        k = self.num_groups
        return jnp.moveaxis(x.reshape(len(x), k, -1, *x.shape[2:]), 1, 0).reshape(k, -1, *x.shape[2:])

    def seen(self, state: NormalizerState, obs: Array) -> tuple[NormalizerState, Metrics]:
        """Statistics that know raw observations [T, E, ...], or as they were where they would not be finite."""
        if not self.normalizer.wants_moments:
            return state, {}
        raw = obs.reshape(-1, *self.spec.obs_shape)
        moments = Moments.of(raw, jnp.ones(len(raw), bool))
        updated, accepted = finite_or(self.normalizer.update(state, moments), state)
        return updated, {"normalizer/refused": (~accepted).astype(jnp.int32)}

    def epochs(
        self, key: Key, update: Callable[[Carry, PyTree], tuple[Carry, Metrics]], start: Carry, batch: PyTree
    ) -> tuple[Carry, Metrics]:
        """Updates of all epochs on minibatches of steps [k, T·E/k, ...], and their metrics [epochs, minibatches]."""

        def epoch(carry: Carry, key: Key) -> tuple[Carry, Metrics]:
            rows = minibatches(key, self.steps_per_iteration // self.num_groups, self.num_minibatches)
            # One gather, not one an update.
            return lax.scan(update, carry, jax.tree.map(lambda x: jnp.moveaxis(x[:, rows], 1, 0), batch))

        return lax.scan(epoch, start, indexed_keys(key, self.num_epochs))


def summary(last_returns: Array, episodes: Array, env_steps: int) -> Metrics:
    """Summary of each environment's last finished episode: the training returns that the host loop shows.

    An environment whose first episode still goes on has none. With none at all each number is −∞, because NaN would
    stop a program under `jax_debug_nans`.
    """
    known = ~jnp.isneginf(last_returns)
    count = jnp.maximum(known.sum(), 1)
    mean = jnp.where(known, last_returns, 0.0).sum() / count
    variance = jnp.where(known, jnp.square(last_returns - mean), 0.0).sum() / count
    return {
        "fitness/mean": jnp.where(known.any(), mean, -jnp.inf),
        "fitness/max": last_returns.max(),
        "fitness/min": jnp.where(known, last_returns, last_returns.max()).min(),
        "fitness/std": jnp.where(known.any(), jnp.sqrt(variance), -jnp.inf),
        "env_steps": jnp.asarray(env_steps, jnp.int32),
        "episodes": episodes,
    }
