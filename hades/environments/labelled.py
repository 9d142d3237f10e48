"""A labelled set of images as an environment, so that a dataset is distilled for a supervised task like for any other.

An episode shows one training example; the action is a label, and the right one earns 100. So the mean return is the
accuracy in percent, and a Fitness, an algorithm, a report or a study that knows environments knows this one.
Evaluations see other examples: selection keys play on the validation part, report keys on the test part, each in one
episode that shows every example of the part once, in order. Its return is the accuracy on that part, exactly.
"""

import abc
import dataclasses
from functools import cached_property
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from hades.environments.base import Environment
from hades.environments.examples import DIGITS, Examples, read_examples
from hades.registry import register
from hades.types import Discrete, EnvSpec, Key, TimeStep

RIGHT = 100.0
"""Return of an episode in which every label is right."""


class _Labels(Environment):
    """An environment whose state is i32[], the place of an example in a part."""

    part: str
    steps: int
    """Examples that an episode shows."""

    @property
    @abc.abstractmethod
    def examples(self) -> Examples:
        """All parts."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name in the spec."""

    @cached_property
    def spec(self) -> EnvSpec:
        height, width = self.examples.parts[self.part].images.shape[1:]
        return EnvSpec(
            name=self.name,
            obs_shape=(height, width, 1),
            action_space=Discrete(self.examples.num_classes),
            max_episode_steps=self.steps,
            observation_names=("brightness",),
            action_names=tuple(map(str, range(self.examples.num_classes))),
        )

    @cached_property
    def versions(self) -> dict[str, str]:
        return self.examples.versions

    def right_action(self, state: Array) -> Array:
        return jnp.asarray(self.examples.parts[self.part].labels)[state]

    def observation(self, state: Array) -> Array:
        """The image f32[H, W, 1] in a state."""
        image = jnp.asarray(self.examples.parts[self.part].images)[state]
        return image.astype(jnp.float32)[..., None] / self.examples.scale


@register("Environment", "Labelled")
@dataclasses.dataclass(frozen=True)
class Labelled(_Labels):
    """Name the label of an image.

    Attributes:
        data: "digits" (of scikit-learn, 8 × 8), a path that ends in .npz (arrays x_train, y_train, x_test and y_test),
            or a folder of IDX files, such as MNIST's or Fashion-MNIST's. Images are divided by the largest training
            value. Of digits a fifth each is for validation and test, of files a sixth of the training examples for
            validation.

    Raises:
        ConfigError: where the data is missing, damaged or no set of labelled images.
        MissingPackageError: where digits are wanted and scikit-learn is not installed.
    """

    data: str = DIGITS

    part = "train"
    steps = 1

    def __post_init__(self) -> None:
        read_examples(self.data)

    @classmethod
    def offered(cls) -> tuple[str, ...]:
        return (DIGITS,)

    @property
    def examples(self) -> Examples:
        return read_examples(self.data)

    @property
    def name(self) -> str:
        return Path(self.data).stem or self.data

    @property
    def for_selection(self) -> "Examination":
        return Examination(self, "validation")

    @property
    def for_report(self) -> "Examination":
        return Examination(self, "test")

    def reset(self, key: Key) -> tuple[Array, Array]:
        state = jax.random.randint(key, (), 0, len(self.examples.parts[self.part].labels))
        return state, self.observation(state)

    def step(self, key: Key, state: Array, action: Array) -> tuple[Array, TimeStep]:
        del key
        step = TimeStep(
            obs=self.observation(state),
            reward=jnp.where(jnp.equal(action, self.right_action(state)), RIGHT, 0.0),
            terminated=jnp.ones((), bool),
            truncated=jnp.zeros((), bool),
            info={},
        )
        return state, step


@dataclasses.dataclass(frozen=True)
class Examination(_Labels):
    """One episode over all examples of a part that no search sees; not registered, so that none is configured to."""

    source: Labelled
    part: str

    @property
    def examples(self) -> Examples:
        return self.source.examples

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def steps(self) -> int:  # type: ignore[override]
        return len(self.examples.parts[self.part].labels)

    def reset(self, key: Key) -> tuple[Array, Array]:
        del key
        state = jnp.zeros((), jnp.int32)
        return state, self.observation(state)

    def step(self, key: Key, state: Array, action: Array) -> tuple[Array, TimeStep]:
        del key
        right, after = jnp.equal(action, self.right_action(state)), state + 1
        step = TimeStep(
            obs=self.observation(jnp.minimum(after, self.steps - 1)),
            reward=jnp.where(right, RIGHT / self.steps, 0.0),
            terminated=after >= self.steps,
            truncated=jnp.zeros((), bool),
            info={},
        )
        return after, step
