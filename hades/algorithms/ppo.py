"""Proximal policy optimisation (Schulman et al., 2017): the baseline that learns from rewards step by step.

It shares Environment, Policy, Normalizer, evaluation and host loop with Evolution.
"""

import dataclasses
from functools import cached_property

import jax.numpy as jnp
import optax
from jax import Array

from hades.algorithms.actor_critic import ActorCritic
from hades.algorithms.base import Evaluation, Solution
from hades.algorithms.keys import Purpose, purpose_key
from hades.algorithms.playing import play
from hades.normalizers.base import NormalizerState
from hades.optimizers import make_optimizer
from hades.policies.base import Policy
from hades.policies.distributions import Distribution
from hades.registry import register
from hades.types import ActFn, Key, Params, PyTree


@register("Algorithm", "PPO")
@dataclasses.dataclass(frozen=True, kw_only=True)
class PPO(ActorCritic):
    """On-policy actor-critic learning of a policy's weights.

    Fields that are not listed here are those of ActorCritic. Without a `critic` it has the actor's architecture.

    Attributes:
        actor: the policy that acts.
    """

    actor: Policy

    label = "PPO"
    evolves_dataset = False
    teachers = ()
    stages = ()

    @cached_property
    def value_network(self) -> Policy:
        return self.critic or dataclasses.replace(self.actor, output_scale=1.0)

    def start_actor(self, key: Key, normalizer: NormalizerState) -> Params:
        del normalizer
        return self.actor.init(key, self.spec)

    def acting_policies(self, actor: Params, draws: PyTree) -> Params:
        del draws
        return actor

    def distribution(self, policies: Params, obs: Array) -> Distribution:
        return self.actor.distribution(policies, obs, self.spec)

    def make_optimizer(self, generation: Array) -> optax.GradientTransformation:
        return make_optimizer(self.optimizer, self.rate(generation), self.optimizer_options, self.max_grad_norm)

    def distilled(self, solution: Solution) -> None:
        del solution

    def evaluate(self, key: Key, solution: Solution, num_inits: int, num_episodes: int) -> Evaluation:
        """There is one policy: `num_inits` are groups of its episodes."""
        act = self._act(solution)
        groups = jnp.arange(num_inits)
        episodes = play(purpose_key(key, Purpose.EPISODES), self.environment, lambda group: act, groups, num_episodes)
        return Evaluation(returns=episodes.returns, lengths=episodes.lengths, metrics={}, info_max=episodes.info_max)

    def network(self, key: Key, solution: Solution) -> tuple[Policy, Params]:
        del key
        return self.actor, solution.genome

    def policy(self, key: Key, solution: Solution) -> ActFn:
        del key
        return self._act(solution)

    def _act(self, solution: Solution) -> ActFn:
        act = self.actor.act
        return self.normalizer.wrap(solution.normalizer, lambda key, obs: act(key, solution.genome, obs, self.spec))
