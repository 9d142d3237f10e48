"""On-policy actor-critic iterations with the surrogate of PPO (Schulman et al., 2017), for any differentiable actor.

What the loop calls a generation is one iteration here (iterations.py). A subclass says what is trained
(`start_actor`), what acts (`acting_policies`) and how a gradient is applied. PPO has one group of environments.

Ours because no library at hand serves both action kinds on today's JAX: rejax 0.1 needs a nightly build of TensorFlow
Probability and gymnax before 1.0, and the PPO of brax 0.14 calls a function that JAX no longer has. Departures
from the common single-file implementations: an episode that a time limit ends is bootstrapped from the value of its
true last observation, and an iteration whose update is not finite is dropped and counted.
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax
from jax.sharding import Mesh, Sharding

from hades.algorithms.advantages import (
    discounted_returns,
    explained_variance,
    generalized_advantages,
    policy_loss,
    value_loss,
)
from hades.algorithms.base import Solution
from hades.algorithms.iterations import Iterating, StepKeys, summary
from hades.algorithms.keys import Purpose, Stream, purpose_key, stream_key
from hades.environments.rollout import AutoReset
from hades.fields import Fraction, NonNegative, Positive
from hades.normalizers.base import NormalizerState
from hades.policies.base import Policy
from hades.policies.distributions import Distribution, Stacked
from hades.types import (
    Box,
    EnvSpec,
    Key,
    Metrics,
    Moments,
    Params,
    PyTree,
    TimeStep,
    all_finite,
    finite_or,
)

REWARD_CLIP = 10.0
"""Largest scaled reward, as in Stable Baselines' VecNormalize."""


@struct.dataclass
class Networks:
    """Weights of both networks."""

    actor: PyTree  # what is trained: a policy's weights or a genome
    critic: Params


@struct.dataclass
class ActorCriticState:
    key: Key  # the root key, never changed
    generation: Array  # i32[], iterations done
    networks: Networks
    optimizer: optax.OptState
    envs: AutoReset  # E environments, in the middle of their episodes
    last_returns: Array  # f32[E], of each environment's last finished episode; −∞ before the first
    normalizer: NormalizerState
    discounted: Array  # f32[E], discounted rewards of the running episodes
    reward_moments: Moments  # of such sums, f32[]
    failures: Array  # i32[], iterations in a row without a finite update


@struct.dataclass
class Batch:
    """Steps [k, B, ...] of k groups of environments."""

    obs: Array  # normalised
    action: Array
    log_prob: Array
    value: Array
    advantage: Array
    target: Array


@struct.dataclass
class Steps:
    """T steps of E environments as they were taken."""

    obs: Array  # f32[T, E, *obs_shape], raw
    action: Array  # i32[T, E] or f32[T, E, A]
    log_prob: Array  # f32[T, E]
    reward: Array  # f32[T, E]
    done: Array  # bool[T, E]
    beyond: Array  # f32[T, E], value of the last observation where only a time limit ended the episode, else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActorCritic(Iterating):
    """The common part of PPO and GradientDistillation.

    Fields that are not listed here are those of Iterating.

    Attributes:
        critic: the architecture of the critic, whose one output is the value; None: the subclass's choice. Its
            observations are normalised like the actor's.
        discount: γ.
        gae_lambda: λ of generalised advantage estimation.
        clip: ε of the surrogate.
        clip_value: whether values may move by no more than `clip` either.
        value_weight: of the value loss.
        entropy_weight: of the entropy bonus.
        normalize_rewards: divide rewards by the running deviation of discounted rewards, and clip them at ±10.
        bootstrap_truncated: whether a time limit is no end of the task; False treats it as one.
    """

    critic: Policy | None = None
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip: Positive = 0.2
    clip_value: bool = True
    value_weight: NonNegative = 0.5
    entropy_weight: float = 0.01
    normalize_rewards: bool = False
    bootstrap_truncated: bool = True

    @abc.abstractmethod
    def start_actor(self, key: Key, normalizer: NormalizerState) -> PyTree:
        """Return what is trained, before the first iteration."""

    def draw(self, key: Key) -> PyTree:
        """Draw what the policies of an iteration need, such as their initial weights."""
        del key
        return ()

    @abc.abstractmethod
    def acting_policies(self, actor: PyTree, draws: PyTree) -> PyTree:
        """The k policies that what is trained stands for; differentiable in `actor`."""

    @abc.abstractmethod
    def distribution(self, policies: PyTree, obs: Array) -> Distribution | Stacked:
        """Distributions of the k policies, each for its own normalised observations f32[k, ..., *obs_shape]."""

    @abc.abstractmethod
    def make_optimizer(self, generation: Array) -> optax.GradientTransformation:
        """The optimiser of both networks."""

    def accepted(self, new: PyTree, old: PyTree, metrics: Metrics) -> tuple[PyTree, Metrics]:
        """(Networks, OptState) after an update, the old ones for an update that does harm, and its metrics."""
        del old
        return new, metrics

    def actor_metrics(self, state: ActorCriticState) -> Metrics:
        """Further metrics of an iteration, of the state after it."""
        del state
        return {}

    def recovered(self, networks: Networks, optimizer: optax.OptState) -> tuple[Networks, optax.OptState]:
        """The networks and the optimiser's state after an iteration that made no update, from those before it."""
        return networks, optimizer

    def adapted(self, optimizer: optax.OptState, metrics: Metrics) -> optax.OptState:
        """The optimiser's state for the next iteration, from this one's metrics."""
        del metrics
        return optimizer

    @property
    @abc.abstractmethod
    def value_network(self) -> Policy:
        """The critic as a policy with one continuous action, of which the mode is the value."""

    @property
    def _value_spec(self) -> EnvSpec:
        return dataclasses.replace(self.spec, action_space=Box(1))

    def init(self, key: Key) -> ActorCriticState:
        start = stream_key(key, Stream.START)
        k_actor, k_critic = jax.random.split(purpose_key(start, Purpose.GENOME))
        normalizer = self.normalizer.init(purpose_key(start, Purpose.NORMALIZER), self.environment)
        networks = Networks(
            actor=self.start_actor(k_actor, normalizer), critic=self.value_network.init(k_critic, self._value_spec)
        )
        zero = jnp.zeros((), jnp.int32)
        return ActorCriticState(
            key=key,
            generation=zero,
            networks=networks,
            optimizer=self.make_optimizer(zero).init(networks),
            **self.first_episodes(start),
            normalizer=normalizer,
            discounted=jnp.zeros(self.num_envs),
            reward_moments=Moments.zeros(()),
            failures=zero,
        )

    def step(self, state: ActorCriticState, mesh: Mesh) -> tuple[ActorCriticState, Metrics]:
        """One iteration. See Algorithm.step.

        Raises:
            ConfigError: when the environments are not divisible by the number of devices.
        """
        self.check_devices(mesh.size)
        key = stream_key(state.key, Stream.SEARCH, state.generation)
        apart, learning = self.placements(mesh)
        draws = self.draw(key)
        played, steps, episodes = self.collect(purpose_key(key, Purpose.EPISODES), state, apart, draws)
        prepared, batch, refused = self.prepare(played, steps)
        batch, draws = lax.with_sharding_constraint((batch, draws), learning)
        networks, optimizer, losses = self.learn(purpose_key(key, Purpose.LEARN), batch, prepared, draws)
        finite = jnp.isfinite(losses["ppo/grad_norm"]) & all_finite((networks, optimizer))
        finite &= losses.get("ppo/dropped", 0.0) < 1.0  # some update was made
        optimizer = self.adapted(optimizer, losses)
        learned = dataclasses.replace(prepared, networks=networks, optimizer=optimizer)
        networks, optimizer = self.recovered(state.networks, state.optimizer)
        unchanged = dataclasses.replace(state, networks=networks, optimizer=optimizer)
        learned = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learned, unchanged)
        next_state = dataclasses.replace(
            learned, generation=state.generation + 1, failures=jnp.where(finite, 0, state.failures + 1)
        )
        of_episodes = summary(played.last_returns, episodes, self.steps_per_iteration)
        return next_state, of_episodes | losses | refused | self.actor_metrics(next_state)

    def solution(self, state: ActorCriticState) -> Solution:
        return Solution(genome=state.networks.actor, normalizer=state.normalizer)

    def collect(
        self, key: Key, state: ActorCriticState, sharding: Sharding, draws: PyTree = ()
    ) -> tuple[ActorCriticState, Steps, Array]:
        """T steps of each environment: the state behind them, the steps, and how many episodes ended."""
        policies = self.acting_policies(state.networks.actor, draws)
        by_group = (self.num_groups, self.num_envs // self.num_groups)

        def advance(carry: tuple[AutoReset, Array], keys: StepKeys) -> tuple[tuple[Any, ...], tuple[Steps, Array]]:
            envs, last_returns = carry
            k_act, k_steps, k_resets = keys
            obs = self.normalizer.apply(state.normalizer, envs.obs)
            distribution = self.distribution(policies, obs.reshape(*by_group, *self.spec.obs_shape))
            sampled = distribution.sample(k_act)
            action, log_prob = (x.reshape(-1, *x.shape[2:]) for x in (sampled, distribution.log_prob(sampled)))
            after, step, ended = envs.step(k_steps, k_resets, self.environment, action)
            taken = Steps(
                obs=envs.obs,
                action=action,
                log_prob=log_prob,
                reward=step.reward,
                done=step.terminated | step.truncated,
                beyond=self._value_beyond(state, step),
            )
            last_returns = jnp.where(ended.episodes, ended.returns, last_returns)
            return lax.with_sharding_constraint((after, last_returns), sharding), (taken, ended.episodes.sum())

        start = lax.with_sharding_constraint((state.envs, state.last_returns), sharding)
        (envs, last_returns), (steps, episodes) = lax.scan(advance, start, self.step_keys(key))
        return dataclasses.replace(state, envs=envs, last_returns=last_returns), steps, episodes.sum()

    def prepare(self, state: ActorCriticState, steps: Steps) -> tuple[ActorCriticState, Batch, Metrics]:
        """Make a batch of the steps, and update the scales of rewards and observations.

        Returns:
            The state with scales that know these steps, or as they were where they would not be finite; the steps with
            advantages and targets, by group; and for each scale whether it was left as it was (0 or 1).
        """
        rewards, metrics = steps.reward, {}
        if self.normalize_rewards:
            state, accepted = self._seen_rewards(state, steps)
            metrics["ppo/rewards_refused"] = (~accepted).astype(jnp.int32)
            rewards = rewards / jnp.sqrt(state.reward_moments.variance + 1e-8)
            rewards = jnp.clip(rewards, -REWARD_CLIP, REWARD_CLIP)
        rewards = rewards + self.discount * steps.beyond
        values, last_value = self._value(state, steps.obs), self._value(state, state.envs.obs)
        advantage = generalized_advantages(rewards, values, last_value, steps.done, self.discount, self.gae_lambda)
        batch = Batch(
            obs=self.normalizer.apply(state.normalizer, steps.obs),
            action=steps.action,
            log_prob=steps.log_prob,
            value=values,
            advantage=advantage,
            target=advantage + values,
        )
        batch = jax.tree.map(self.grouped, batch)
        normalizer, refused = self.seen(state.normalizer, steps.obs)
        state, metrics = dataclasses.replace(state, normalizer=normalizer), metrics | refused
        return state, batch, metrics

    def _seen_rewards(self, state: ActorCriticState, steps: Steps) -> tuple[ActorCriticState, Array]:
        """The state with the moments of these steps' discounted rewards, and bool[], whether they are finite.

        Where they are not, the moments stay as they were.
        """
        totals, left = discounted_returns(steps.reward, steps.done, state.discounted, self.discount)
        moments = Moments.of(totals.reshape(-1), jnp.ones(totals.size, bool))
        merged, accepted = finite_or(state.reward_moments.merge(moments), state.reward_moments)
        return dataclasses.replace(state, discounted=left, reward_moments=merged), accepted

    def learn(
        self, key: Key, batch: Batch, state: ActorCriticState, draws: PyTree = ()
    ) -> tuple[Networks, optax.OptState, Metrics]:
        """All epochs of an iteration, and the means of their metrics; `ppo/last_kl` is that of the last epoch."""
        optimizer = self.make_optimizer(state.generation)

        def update(carry: tuple[Networks, optax.OptState], minibatch: Batch) -> tuple[tuple[Any, ...], Metrics]:
            networks, opt_state = carry
            gradient, metrics = jax.grad(self.loss, has_aux=True)(networks, minibatch, draws)
            updates, new_state = optimizer.update(gradient, opt_state, networks)
            metrics["ppo/grad_norm"] = optax.tree.norm(gradient)
            return self.accepted((optax.apply_updates(networks, updates), new_state), carry, metrics)

        start = state.networks, state.optimizer
        (networks, opt_state), metrics = self.epochs(key, update, start, batch)
        last_kl = metrics["ppo/kl"][-1].mean()
        metrics = jax.tree.map(jnp.mean, metrics) | {"ppo/last_kl": last_kl}
        metrics["ppo/explained_variance"] = explained_variance(batch.value, batch.target)
        metrics["ppo/learning_rate"] = self.rate(state.generation)
        return networks, opt_state, metrics

    def loss(self, networks: Networks, batch: Batch, draws: PyTree = ()) -> tuple[Array, Metrics]:
        """PPO's loss on a minibatch [k, B / k, ...], f32[], and its parts."""
        policies = self.acting_policies(networks.actor, draws)
        distribution = self.distribution(policies, batch.obs)
        values = self.value_network.distribution(networks.critic, batch.obs, self._value_spec).mode()[..., 0]
        of_policy, metrics = policy_loss(distribution, batch.action, batch.log_prob, batch.advantage, self.clip)
        of_value = value_loss(values, batch.value, batch.target, self.clip if self.clip_value else 0.0)
        entropy = distribution.entropy().mean()
        loss = of_policy + self.value_weight * of_value - self.entropy_weight * entropy
        metrics |= {"policy_loss": of_policy, "value_loss": of_value, "entropy": entropy}
        return loss, {f"ppo/{name}": value for name, value in metrics.items()}

    def _value(self, state: ActorCriticState, obs: Array) -> Array:
        """f32[...] of raw observations f32[..., *obs_shape]."""
        obs = self.normalizer.apply(state.normalizer, obs)
        return self.value_network.distribution(state.networks.critic, obs, self._value_spec).mode()[..., 0]

    def _value_beyond(self, state: ActorCriticState, step: TimeStep) -> Array:
        """f32[E]: the value of the last observation where only the time limit ended the episode, else 0."""
        cut_off = step.truncated & ~step.terminated
        if not self.bootstrap_truncated:
            return jnp.zeros(self.num_envs)
        return lax.cond(
            cut_off.any(),  # rare, and costs as much as the critic's share of a step
            lambda: jnp.where(cut_off, self._value(state, step.obs), 0.0),
            lambda: jnp.zeros(self.num_envs),
        )
