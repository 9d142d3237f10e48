"""The glossary in code: the few types that every room of the package shares.

Shapes are written with the letters of the glossary: N points of a dataset, O observation and A action sizes,
P candidates of a population, n genome size, k inits, E episodes.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

Key: TypeAlias = Array
PyTree: TypeAlias = Any
Params: TypeAlias = PyTree
"""Weights of one policy network."""
Genome: TypeAlias = PyTree
"""Pytree that the outer loop evolves: a dataset and recipe scalars, or weights."""
Metrics: TypeAlias = dict[str, Array]
"""Flat scalars, named like `"fitness/mean"`."""
ActFn: TypeAlias = Callable[[Key, Array], Array]
"""`act(key, observation) -> action` for one raw observation."""
POPULATION_AXIS = "population"
"""The one mesh axis."""


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0 … n-1. `size` is the length of a logit or target vector.

    Where a policy is shared with other tasks it has `padded_to` logits, of which this task acts on n, from `first` on.
    """

    n: int
    padded_to: int = dataclasses.field(default=0, repr=False)
    first: int = dataclasses.field(default=0, repr=False)

    @property
    def size(self) -> int:
        return max(self.n, self.padded_to)


@dataclasses.dataclass(frozen=True)
class Box:
    """Continuous actions in [-1, 1]^size; adapters map them to the environment's own bounds."""

    size: int


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """Description of an environment for the rest of the package.

    `can_terminate` is False where only the time limit ends an episode, so that a shorter window never sees one end.
    `plausible` holds bounds that no honest episode exceeds: on the largest value of an `info` entry, or on the absolute
    "return". `engine` is what steps the environment where there is a choice: "xla" or "native".
    """

    name: str
    obs_shape: tuple[int, ...]
    action_space: Discrete | Box
    max_episode_steps: int
    observation_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    can_terminate: bool = True
    plausible: tuple[tuple[str, float], ...] = ()
    engine: str = "xla"

    @property
    def obs_size(self) -> int:
        return math.prod(self.obs_shape)

    @property
    def is_discrete(self) -> bool:
        return isinstance(self.action_space, Discrete)

    @property
    def is_image(self) -> bool:
        return len(self.obs_shape) == 3


@struct.dataclass
class TimeStep:
    """One transition. `terminated` is the end of the MDP, `truncated` the time limit; `obs` is the true last one."""

    obs: Array  # f32[*obs_shape]
    reward: Array  # f32[]
    terminated: Array  # bool[]
    truncated: Array  # bool[]
    info: dict[str, Array]  # f32[] each


@struct.dataclass
class Dataset:
    """N observation-target pairs, observations in the normaliser's coordinates."""

    observations: Array  # f32[N, *obs_shape]
    targets: Array  # f32[N, A]: class probabilities for Discrete, actions for Box


@struct.dataclass
class Moments:
    """Running count, mean and sum of squared deviations; merged by Chan et al. (1983)."""

    count: Array  # f32[]
    mean: Array  # f32[*obs_shape]
    m2: Array  # f32[*obs_shape]

    @staticmethod
    def zeros(shape: tuple[int, ...]) -> "Moments":
        return Moments(count=jnp.zeros(()), mean=jnp.zeros(shape), m2=jnp.zeros(shape))

    @staticmethod
    def of(x: Array, mask: Array) -> "Moments":
        """Moments over the leading axis of f32[B, ...], counting the rows where bool[B] is true."""
        rows = mask.reshape(mask.shape + (1,) * (x.ndim - 1))
        count = mask.sum().astype(x.dtype)
        mean = x.sum(0, where=rows) / jnp.maximum(count, 1.0)
        return Moments(count=count, mean=mean, m2=jnp.square(x - mean).sum(0, where=rows))

    def where(self, kept: Array) -> "Moments":
        """These moments where a bool of the shape of `count` is true; elsewhere none, whatever they hold there."""
        entries = kept.reshape(kept.shape + (1,) * (self.mean.ndim - kept.ndim))
        return Moments(
            count=jnp.where(kept, self.count, 0.0),
            mean=jnp.where(entries, self.mean, 0.0),
            m2=jnp.where(entries, self.m2, 0.0),
        )

    def merge(self, other: "Moments") -> "Moments":
        self, other = self.where(self.count > 0), other.where(other.count > 0)
        count = self.count + other.count
        share = other.count / jnp.maximum(count, 1.0)
        delta = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + delta * share,
            m2=self.m2 + other.m2 + jnp.square(delta) * self.count * share,
        )

    def merge_axis(self) -> "Moments":
        """Merge a stack of moments along its leading axis; further axes of `count` are a batch."""
        self = self.where(self.count > 0)
        weights = self.count.reshape(self.count.shape + (1,) * (self.mean.ndim - self.count.ndim))
        mean = (weights * self.mean).sum(0) / jnp.maximum(weights.sum(0), 1.0)
        m2 = (self.m2 + weights * jnp.square(self.mean - mean)).sum(0)
        return Moments(count=self.count.sum(0), mean=mean, m2=m2)

    @property
    def variance(self) -> Array:
        return self.m2 / jnp.maximum(self.count, 1.0)


@struct.dataclass
class Candidate:
    """One genome with what it led to, the policy cloned from it and the learner's metrics, and when: its generation."""

    genome: Genome
    params: Params
    metrics: Metrics
    generation: Array | int = 0  # i32[]
    observations: Array | None = None  # f32[N, *obs_shape], those of its pairs, raw; None where it has no pairs


@struct.dataclass
class Score:
    """Result of a Fitness for one policy. `value` is maximised; a value that could not be measured is NaN, never 0."""

    value: Array  # f32[]
    episodes: Array  # i32[], finished ones
    env_steps: Array  # i32[], live ones
    moments: Moments | None  # of the raw observations met, where the normaliser asks for them
    metrics: Metrics

    def reduce(self) -> "Score":
        """Reduce a leading axis (inits): values averaged, counts summed, moments merged, metrics by finite mean."""
        return Score(
            value=self.value.mean(0),
            episodes=self.episodes.sum(0),
            env_steps=self.env_steps.sum(0),
            moments=None if self.moments is None else self.moments.merge_axis(),
            metrics=jax.tree.map(lambda x: finite_mean(x, axis=0), self.metrics),
        )


def finite_mean(x: Array, axis: int | None = None) -> Array:
    """Mean over finite entries; NaN where there are none."""
    finite = jnp.isfinite(x)
    total = jnp.where(finite, x, 0.0).sum(axis)
    count = finite.sum(axis)
    return jnp.where(count > 0, total / jnp.maximum(count, 1), jnp.nan)


def all_finite(tree: PyTree) -> Array:
    """Return bool[]: True if every number of a pytree of arrays is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def finite_or(new: PyTree, old: PyTree) -> tuple[PyTree, Array]:
    """The pytree `new` where all of its numbers are finite, else `old`; and bool[], whether it is `new`."""
    finite = all_finite(new)
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old), finite


def size_of(tree: PyTree) -> int:
    """Number of scalars in a pytree of arrays or shapes."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
