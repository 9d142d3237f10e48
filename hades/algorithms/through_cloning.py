"""From a dataset to the policies of an iteration, for all that search along a gradient through cloning."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from hades.algorithms.distilling import Distilling
from hades.algorithms.iterations import Iterating
from hades.algorithms.keys import Purpose, indexed_keys, purpose_key
from hades.errors import ConfigError, require
from hades.fields import Natural
from hades.inner.base import InnerLearner
from hades.normalizers.base import NormalizerState
from hades.policies.distributions import Stacked
from hades.types import Genome, Key, Metrics, Params


@dataclasses.dataclass(frozen=True, kw_only=True)
class ThroughCloning(Distilling, Iterating):
    """The learner's `num_inits` policies share the environments of an iteration equally.

    Attributes:
        learner: from a dataset to a policy, differentiable.
        learn_batch: networks cloned at a time where policies are evaluated. 0: all.

    Raises:
        ConfigError: where the components do not fit each other, or the dataset has no gradient.
    """

    learner: InnerLearner
    learn_batch: Natural = 8

    evolves_dataset = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.learner.check(self.spec)
        self.learner.check_differentiable()
        self.check_normalizer()
        require(
            self.num_envs % self.num_groups == 0,
            f"{self.name}.num_envs is {self.num_envs}, which the {self.num_groups} initial policies of an iteration "
            "cannot share equally: use a multiple.",
        )
        require(
            (self.steps_per_iteration // self.num_groups) % self.num_minibatches == 0,
            f"{self.name}.num_minibatches is {self.num_minibatches}, which does not divide the "
            f"{self.steps_per_iteration // self.num_groups} steps of each initial policy: use a divisor.",
        )

    @property
    def num_groups(self) -> int:  # type: ignore[override]  # a constant in the base class
        return self.learner.num_inits

    def check_devices(self, count: int) -> None:
        super().check_devices(count)
        if self.num_groups > 1 and self.num_groups % count:
            raise ConfigError(
                f"The {self.num_groups} initial policies of an iteration are not divisible by {count} devices: use "
                f"{-(-self.num_groups // count) * count} (num_inits of the init scheme), or fewer devices."
            )

    def start_genome(self, key: Key, normalizer: NormalizerState) -> Genome:
        """The dataset before the first iteration."""
        return self.learner.init_genome(key, self.environment, lambda obs: self.normalizer.apply(normalizer, obs))

    def draw(self, key: Key) -> tuple[Key, Params]:
        """Cloning keys and initial weights of k policies."""
        inits = self.initial_policies(purpose_key(key, Purpose.INITS), self.num_groups)
        return indexed_keys(purpose_key(key, Purpose.CLONE), self.num_groups), inits

    def acting_policies(self, actor: Genome, draws: tuple[Key, Params]) -> Params:
        def clone(key: Key, init: Params) -> Params:
            trained, _ = self.learner.learn(key, actor, init, self.spec)
            return self.learner.assemble(init, trained)

        return jax.vmap(clone)(*draws)

    def distribution(self, policies: Params, obs: Array) -> Stacked:
        """Distributions of the k policies, each for its own normalised observations f32[k, ..., *obs_shape]."""
        policy = self.learner.policy
        return Stacked(jax.vmap(lambda params, obs: policy.distribution(params, obs, self.spec))(policies, obs))

    def dataset_metrics(self, genome: Genome) -> Metrics:
        """Sizes of the dataset, which show a search that runs away, and the scalars that are searched for with it."""
        pairs = self.learner.dataset(genome, self.spec)
        assert pairs is not None
        sizes = {"observations": pairs.observations, "targets": pairs.targets}
        metrics = {f"dataset/rms_{name}": jnp.sqrt(jnp.square(x).mean()) for name, x in sizes.items()}
        return metrics | self.learner.recipe_metrics(genome)
