"""The InnerLearner and InitScheme interfaces."""

import abc
from collections.abc import Callable
from typing import Any, TypeAlias

from jax import Array

from hades.environments.base import Environment
from hades.policies.base import Policy
from hades.types import EnvSpec, Genome, Key, Metrics, Params

Trained: TypeAlias = Any


class InitScheme(abc.ABC):
    """Which initial policies a generation trains: always the same one, or fresh ones."""

    num_inits: int
    """k, the independent inner trainings of every candidate in a generation."""

    is_fixed: bool
    """Whether a dataset made under this scheme needs the scheme's own weights (HaDES-F)."""

    @abc.abstractmethod
    def init(self, key: Key, policy: Policy, spec: EnvSpec) -> Params:
        """One initial policy."""


class InnerLearner(abc.ABC):
    """The inner loop, a frozen dataclass."""

    policy: Policy

    @property
    def num_inits(self) -> int:
        """k, the independent inner trainings of every candidate in a generation."""
        return 1

    @abc.abstractmethod
    def init_genome(self, key: Key, env: Environment, normalize: Callable[[Array], Array]) -> Genome:
        """Where the search starts; may play a random policy. `normalize` maps raw observations to a dataset's."""

    @abc.abstractmethod
    def init_params(self, key: Key, spec: EnvSpec) -> Params:
        """One initial policy."""

    @abc.abstractmethod
    def learn(self, key: Key, genome: Genome, params: Params, spec: EnvSpec) -> tuple[Trained, Metrics]:
        """What training from `params` on the genome changed, and scalar metrics."""

    def assemble(self, params: Params, trained: Trained) -> Params:
        """The trained policy's weights from its initial ones and what `learn` returned.

        By default `trained` is all of the weights. A learner that changes an initial policy in few directions returns
        only those, so that a population keeps sharing the rest.
        """
        del params
        return trained

    def check(self, spec: EnvSpec) -> None:
        """Raise ConfigError where this learner cannot serve the environment."""
        del spec
