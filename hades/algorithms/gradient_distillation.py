"""Distillation by policy gradient: PPO's surrogate, differentiated through cloning to the dataset.

Everything between a dataset and its return is differentiable but the environment, and a policy gradient needs no
derivative of that. An iteration draws k initial policies, clones each on the dataset, and plays T steps of E / k
environments with each; every minibatch update clones them anew, as a function of the dataset, and moves the dataset
along the gradient of the surrogate (Schulman et al., 2017) through cloning: by a formula (`RidgeCloning`), or through
unrolled updates (`BehaviourCloning`). The environments' steps are those of PPO with as many environments.
"""

import dataclasses
from functools import cached_property

import jax
import jax.numpy as jnp
import optax
from jax import Array

from hades.algorithms.actor_critic import ActorCritic, ActorCriticState, Batch, Networks
from hades.algorithms.through_cloning import ThroughCloning
from hades.fields import NonNegative, Positive
from hades.fitness.regularizers import visited_distance
from hades.normalizers.base import NormalizerState
from hades.optimizers import make_optimizer
from hades.policies.base import Policy
from hades.policies.mlp import MLP
from hades.registry import register
from hades.types import Genome, Key, Metrics, PyTree, all_finite

RATE_STEP = 1.2
"""Factor by which the rate of the dataset changes where an iteration moved it too far or too little."""
RATE_SCALES = (0.01, 4.0)
"""Bounds of what these factors make of the rate."""


@register("Algorithm", "GradientDistillation")
@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientDistillation(ThroughCloning, ActorCritic):
    """Search for a dataset along the gradient of PPO's surrogate.

    Fields that are not listed here are those of ActorCritic and ThroughCloning. Without a `critic` it is an MLP 2 × 64.

    Attributes:
        critic_learning_rate: `learning_rate` is that of the dataset; both are annealed.
        kl_target: divergence of an iteration's last epoch to which the dataset's rate is adapted, by a factor of 1.2
            an iteration where it is more than 1.5 times off, within 0.01 to 4 times the rate; 0: it falls where
            cloning diverges, and never otherwise.
        kl_limit: updates of a minibatch whose divergence is above this are dropped; 0: none.
        visited_weight: of the mean distance of the pairs from the states of a minibatch, which is added to the loss and
            pulls the pairs to where this dataset's own policies are (`VisitedDistance` is the same for evolution).
        visited_radius: what of each distance is free, so that pairs need not crowd at the states that are met most.
        sparsity_weight: of their mean absolute difference from the mean state, in the same unit.
    """

    critic_learning_rate: Positive = 1e-3
    kl_target: NonNegative = 0.0
    kl_limit: NonNegative = 0.0
    visited_weight: NonNegative = 0.0
    visited_radius: NonNegative = 0.0
    sparsity_weight: NonNegative = 0.0

    how = " by gradient"

    @cached_property
    def value_network(self) -> Policy:
        return self.critic or MLP(width=64, depth=2, activation="tanh", output_scale=1.0)

    def start_actor(self, key: Key, normalizer: NormalizerState) -> Genome:
        return self.start_genome(key, normalizer)

    def make_optimizer(self, generation: Array) -> optax.GradientTransformation:
        """One optimiser for the dataset and one for the critic, so that neither's gradient clips the other's.

        Their state also holds the factor of the dataset's rate, which follows the divergence, and the last dataset
        from which an update was made: the one to go back to where cloning a later one diverges.
        """
        rate, options, clip = self.rate(generation), self.optimizer_options, self.max_grad_norm
        critic_rate = rate * (self.critic_learning_rate / self.learning_rate)
        of_critic = make_optimizer(self.optimizer, critic_rate, options, clip)

        def of_actor(scale: Array) -> optax.GradientTransformation:
            return make_optimizer(self.optimizer, rate * scale, options, clip)

        def init(networks: Networks) -> dict[str, optax.OptState]:
            one = jnp.ones(())
            actor, critic = of_actor(one).init(networks.actor), of_critic.init(networks.critic)
            return {"actor": actor, "critic": critic, "rate_scale": one, "sound": networks.actor}

        def update(
            gradient: Networks, state: dict[str, optax.OptState], networks: Networks
        ) -> tuple[Networks, dict[str, optax.OptState]]:
            scale = state["rate_scale"]
            actor, actor_state = of_actor(scale).update(gradient.actor, state["actor"], networks.actor)
            critic, critic_state = of_critic.update(gradient.critic, state["critic"], networks.critic)
            state = {**state, "actor": actor_state, "critic": critic_state}
            return Networks(actor=actor, critic=critic), state

        return optax.GradientTransformation(init, update)

    def loss(self, networks: Networks, batch: Batch, draws: PyTree = ()) -> tuple[Array, Metrics]:
        loss, metrics = super().loss(networks, batch, draws)
        if not (self.visited_weight or self.sparsity_weight):
            return loss, metrics
        pairs = self.learner.dataset(networks.actor, self.spec)
        assert pairs is not None
        states = batch.obs.reshape(-1, self.spec.obs_size)
        met = jnp.ones(len(states), bool)
        distance, deviation = visited_distance(pairs.observations, states, met, self.visited_radius)
        loss += self.visited_weight * distance + self.sparsity_weight * deviation
        return loss, metrics | {"dataset/visited_distance": distance, "dataset/mean_deviation": deviation}

    def accepted(self, new: PyTree, old: PyTree, metrics: Metrics) -> tuple[PyTree, Metrics]:
        """Keep the dataset where its update is not finite, or follows a policy that has already moved too far.

        Where cloning it has diverged, go back to the last dataset that was sound.
        """
        networks, optimizer = new
        norm = metrics["ppo/grad_norm"]
        kept = jnp.isfinite(norm) & all_finite((networks.actor, optimizer["actor"]))
        if self.kl_limit:
            kept &= metrics["ppo/kl"] <= self.kl_limit
        before, scale, diverged = old[0].actor, optimizer["rate_scale"], ~jnp.isfinite(norm)
        sound = _chosen(kept, before, optimizer["sound"])
        actor = _chosen(kept, networks.actor, _chosen(diverged, sound, before))
        of_actor = _chosen(kept, optimizer["actor"], old[1]["actor"])
        scale = jnp.where(diverged, _slower(scale), scale)
        dropped = {"ppo/dropped": 1.0 - kept, "ppo/grad_norm": jnp.where(diverged, 0.0, norm)}
        known = {name: jnp.where(jnp.isfinite(x), x, 0.0) for name, x in metrics.items()}
        optimizer = {**optimizer, "actor": of_actor, "rate_scale": scale, "sound": sound}
        return (dataclasses.replace(networks, actor=actor), optimizer), known | dropped

    def recovered(self, networks: Networks, optimizer: dict[str, PyTree]) -> tuple[Networks, dict[str, PyTree]]:
        optimizer = {**optimizer, "rate_scale": _slower(optimizer["rate_scale"])}
        return dataclasses.replace(networks, actor=optimizer["sound"]), optimizer

    def adapted(self, optimizer: dict[str, Array], metrics: Metrics) -> dict[str, Array]:
        if not self.kl_target:
            return optimizer
        kl = metrics["ppo/last_kl"]
        factor = jnp.where(kl > 1.5 * self.kl_target, 1 / RATE_STEP, jnp.where(kl < self.kl_target / 1.5, RATE_STEP, 1))
        return {**optimizer, "rate_scale": jnp.clip(optimizer["rate_scale"] * factor, *RATE_SCALES)}

    def actor_metrics(self, state: ActorCriticState) -> Metrics:
        return self.dataset_metrics(state.networks.actor) | {"ppo/rate_scale": state.optimizer["rate_scale"]}


def _chosen(first: Array, a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), a, b)


def _slower(scale: Array) -> Array:
    return jnp.maximum(scale / RATE_STEP, RATE_SCALES[0])
