"""The Fitness interface."""

import abc

from hades.environments.base import Environment
from hades.types import ActFn, Candidate, EnvSpec, Key, Score


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

    def max_env_steps(self, spec: EnvSpec) -> int:
        """Most live environment steps that one call can take."""
        del spec
        return 0
