"""A teacher: a finished policy that a search for a dataset may look at. Such a dataset is not distilled from nothing.

Whatever comes from a teacher carries its record, so that results, dataset files and tables name it.
"""

import base64
import dataclasses
from functools import cached_property
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import serialization
from jax import Array

from hades.errors import require
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policies.base import Policy
from hades.policies.distributions import Categorical, Distribution
from hades.registry import register
from hades.types import EnvSpec, Key, Moments, Params

LINE = 1000
"""Characters of a line of encoded weights, the most that a text in a component may have."""


@register("TeacherRecord", "TeacherRecord")
@dataclasses.dataclass(frozen=True)
class TeacherRecord:
    """The origin of a teacher.

    Attributes:
        source: the work directory, the dataset file, or the name in the zoo.
        method: of the run, such as "PPO".
        env_steps: of its search and its selection, in all stages; None where nothing states them.
    """

    source: str
    method: str
    env_steps: int | None = None


@register("Teacher", "Teacher")
@dataclasses.dataclass(frozen=True)
class Teacher:
    """A frozen policy. `Teacher.of` makes one, `hades.runs.teachers.teacher_from` reads one.

    Attributes:
        policy: what acts.
        normalizer: of its observations.
        arrays: its weights and statistics (msgpack of flax, base64, in lines).
        environment: name of the task that it plays.
        obs_shape: of that task.
        actions: the action space of that task, in words.
        records: what made it, and what taught it; none of the stage before, whose steps are its run's own.
    """

    policy: Policy
    normalizer: Normalizer
    arrays: tuple[str, ...] = dataclasses.field(repr=False)
    environment: str
    obs_shape: tuple[int, ...]
    actions: str
    records: tuple[TeacherRecord, ...]

    @classmethod
    def of(
        cls,
        policy: Policy,
        params: Params,
        normalizer: Normalizer,
        state: NormalizerState,
        spec: EnvSpec,
        records: tuple[TeacherRecord, ...],
    ) -> Self:
        """A teacher from weights and statistics.

        Raises:
            ConfigError: where it has no fixed coordinates.
        """
        require(
            not normalizer.has_memory,
            f"The teacher from {_source(records)} gathers statistics while it plays ({type(normalizer).__name__}), so "
            "that it does not act on one observation alone: freeze them first "
            "(hades.policy.trained_policy.freeze_statistics).",
        )
        tree = {"params": params, "mean": state.mean, "std": state.std}
        text = base64.b64encode(serialization.msgpack_serialize(jax.device_get(tree))).decode()
        return cls(
            policy=policy,
            normalizer=normalizer,
            arrays=tuple(text[i : i + LINE] for i in range(0, len(text), LINE)),
            environment=spec.name,
            obs_shape=spec.obs_shape,
            actions=repr(spec.action_space),
            records=records,
        )

    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where it plays another task."""
        for what, one, other in (
            ("environment", self.environment, spec.name),
            ("shape of observations", self.obs_shape, spec.obs_shape),
            ("action space", self.actions, repr(spec.action_space)),
        ):
            require(
                one == other,
                f"The {what} of the teacher from {_source(self.records)} is {one}, but that of the search is {other}: "
                "take a teacher of the same task.",
            )

    def act(self, key: Key, obs: Array, spec: EnvSpec) -> Array:
        """Its action for raw observations f32[..., *obs_shape]."""
        return self.policy.act(key, self._arrays["params"], self._normalized(obs), spec)

    def targets(self, obs: Array, spec: EnvSpec) -> Array:
        """Its answers, f32[..., A]: log-probabilities, or its mean action within ±1."""
        params = self._arrays["params"]
        distribution: Distribution = self.policy.distribution(params, self._normalized(obs), spec)
        if isinstance(distribution, Categorical):
            return distribution.log_probs()
        return jnp.clip(distribution.mode(), -1.0, 1.0)

    def _normalized(self, obs: Array) -> Array:
        mean, std = jnp.asarray(self._arrays["mean"]), jnp.asarray(self._arrays["std"])
        return self.normalizer.apply(NormalizerState(mean=mean, std=std, moments=Moments.zeros(mean.shape)), obs)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        tree: dict[str, Any] = serialization.msgpack_restore(base64.b64decode("".join(self.arrays)))
        return tree


def _source(records: tuple[TeacherRecord, ...]) -> str:
    return records[0].source if records else "the stage before"
