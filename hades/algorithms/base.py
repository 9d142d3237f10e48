"""The Algorithm protocol: what the host loop needs to drive, evaluate and save any method."""

import dataclasses
from typing import Any, Protocol, TypeAlias, runtime_checkable

from flax import struct
from jax import Array
from jax.sharding import Mesh

from hades.environments.base import Environment
from hades.inner.base import InnerLearner
from hades.inner.stage_record import StageRecord
from hades.inner.teacher import TeacherRecord
from hades.normalizers.base import Normalizer, NormalizerState
from hades.policies.base import Policy
from hades.types import ActFn, Dataset, Genome, Key, Metrics, Params

State: TypeAlias = Any


@struct.dataclass
class Solution:
    """The genome that a state would report, with the statistics it acts under."""

    genome: Genome
    normalizer: NormalizerState


@struct.dataclass
class Evaluation:
    """Whole episodes of I independent policies, E each."""

    returns: Array  # f32[I, E]
    lengths: Array  # i32[I, E]
    metrics: Metrics  # f32[I] each, of the inner loop
    info_max: dict[str, Array]  # f32[I, E] each, largest value of the episode
    tasks: dict[str, "Evaluation"] = struct.field(default_factory=dict)  # by name, where the environment has several


@dataclasses.dataclass(frozen=True)
class Distilled:
    """A dataset that a solution stands for, with what trains a policy from it."""

    pairs: Dataset
    learner: InnerLearner
    normalizer: Normalizer
    codes: Array | None = None  # f32[N, ...], what the observations were made from, where the search moved that


@runtime_checkable
class Algorithm(Protocol):
    """A frozen dataclass whose methods are pure."""

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Environments of training and evaluation."""
        ...

    @property
    def normalizer(self) -> Normalizer:
        """Normalises what policies observe."""
        ...

    @property
    def label(self) -> str:
        """Name of the method in results and reports."""
        ...

    @property
    def teachers(self) -> tuple[TeacherRecord, ...]:
        """Records of the teachers that the search uses; empty where it begins from nothing."""
        ...

    @property
    def stages(self) -> tuple[StageRecord, ...]:
        """Records of the searches that the start comes from, where it is a finished dataset."""
        ...

    @property
    def evolves_dataset(self) -> bool:
        """True if a solution stands for a dataset, which trains any number of policies; False for one policy."""
        ...

    def check_devices(self, count: int) -> None:
        """Raise ConfigError where `count` devices cannot share a generation evenly."""
        ...

    def init(self, key: Key) -> State:
        """The state before the first generation. A state has `generation` i32[] and `failures` i32[]."""
        ...

    def step(self, state: State, mesh: Mesh) -> tuple[State, Metrics]:
        """One generation. Metrics are scalars and include `env_steps` i32[], the live steps of this generation."""
        ...

    def solution(self, state: State) -> Solution:
        """Solution that a state reports."""
        ...

    def distilled(self, solution: Solution) -> Distilled | None:
        """The dataset that a solution stands for; None where it stands for a policy."""
        ...

    def evaluate(self, key: Key, solution: Solution, num_inits: int, num_episodes: int) -> Evaluation:
        """Train `num_inits` independent policies from a solution and play whole episodes with each."""
        ...

    def network(self, key: Key, solution: Solution) -> tuple[Policy, Params]:
        """One policy trained from a solution, with its weights."""
        ...

    def policy(self, key: Key, solution: Solution) -> ActFn:
        """The same, acting on raw observations."""
        ...


def in_environment(algorithm: Algorithm, environment: Environment) -> Algorithm:
    """The algorithm with another environment of the same task in the place of its own, for an evaluation."""
    if environment == algorithm.environments[0]:
        return algorithm
    return dataclasses.replace(algorithm, environment=environment)  # type: ignore[type-var]  # algorithms are dataclasses
