"""The policy of an ES or PPO run. Such runs evolve a policy, not a dataset."""

import dataclasses
from functools import cached_property

import jax

from hades.algorithms.base import Algorithm, Evaluation, Solution
from hades.algorithms.distilling import for_report
from hades.algorithms.keys import Stream, stream_key
from hades.contracts import single_precision
from hades.displayed import Displayed
from hades.environments.base import Environment
from hades.policy.acting import Acting, Network
from hades.types import ActFn, Key


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RunPolicy(Acting, Displayed):
    """A policy from a run's best solution. It equals itself alone.

    Attributes:
        algorithm: what found it.
        solution: its weights and the statistics it acts under.
    """

    algorithm: Algorithm
    solution: Solution

    def __repr__(self) -> str:
        return f"RunPolicy({self.environment.spec.name}, {self.algorithm.label})"

    @property
    def environment(self) -> Environment:
        """The environment that it was trained in."""
        return self.algorithm.environments[0]

    @cached_property
    def network(self) -> Network:
        policy, params = self.algorithm.network(_network_key(), self.solution)
        return Network(policy, params, self.algorithm.normalizer, self.solution.normalizer, self.environment)

    @property
    def act(self) -> ActFn:
        """`policy.act(key, observation)` is an action for one raw observation f32[*obs_shape]."""
        return self.algorithm.policy(_network_key(), self.solution)

    @single_precision
    def play(self, key: Key, num_episodes: int) -> Evaluation:
        """Whole episodes, each in a row of its own: [num_episodes, 1]."""
        algorithm = for_report(self.algorithm)
        evaluate = jax.jit(lambda key, solution: algorithm.evaluate(key, solution, num_episodes, 1))
        return evaluate(key, self.solution)


def _network_key() -> Key:
    return stream_key(jax.random.key(0), Stream.REPORT)
