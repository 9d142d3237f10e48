"""No inner loop: the genome is the policy's weights, which turns Evolution into direct evolution strategies."""

import dataclasses
from collections.abc import Callable

from jax import Array

from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.inner.base import InnerLearner
from hades.policies.base import Policy
from hades.registry import register
from hades.types import EnvSpec, Genome, Key, Metrics, Params


@register("InnerLearner", "Identity")
@dataclasses.dataclass(frozen=True)
class Identity(InnerLearner):
    """Direct ES; the search starts from one fresh initial policy.

    Attributes:
        policy: whose weights are the genome.
    """

    policy: Policy

    label = "ES"

    def check_differentiable(self) -> None:
        raise ConfigError("Identity has no dataset to search for by gradient: PPO trains a policy.")

    def init_genome(self, key: Key, env: Environment, normalize: Callable[[Array], Array]) -> Genome:
        del normalize
        return self.policy.init(key, env.spec)

    def init_params(self, key: Key, spec: EnvSpec) -> Params:
        del key, spec
        return ()

    def learn(self, key: Key, genome: Genome, params: Params, spec: EnvSpec) -> tuple[Params, Metrics]:
        del key, params, spec
        return genome, {}
