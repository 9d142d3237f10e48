"""Proximal policy optimisation (Schulman et al., 2017): the baseline that learns from rewards step by step.

It shares Environment, Policy, Normalizer, evaluation and host loop with Evolution. What the loop calls a generation is
one iteration here: T steps of E environments, then several epochs of minibatch updates on them.

Ours because no library at hand serves both action kinds on today's JAX: rejax 0.1 needs a nightly build of TensorFlow
Probability and gymnax before 1.0, and the PPO of brax 0.14 calls a function that JAX no longer has. Departures
from the common single-file implementations: an episode that a time limit ends is bootstrapped from the value of its
true last observation, and an iteration whose update is not finite is dropped and counted.
"""

import dataclasses
from functools import cached_property
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from hades.algorithms.advantages import (
    discounted_returns,
    explained_variance,
    generalized_advantages,
    linear_decay,
    minibatches,
    policy_loss,
    value_loss,
)
from hades.algorithms.base import Evaluation, Solution
from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, stream_key
from hades.algorithms.playing import play
from hades.environments.base import Environment
from hades.environments.rollout import AutoReset
from hades.errors import ConfigError
from hades.fields import Count, Fraction, NonNegative, Positive, Total
from hades.normalizers.base import Normalizer, NormalizerState
from hades.optimizers import check_optimizer, make_optimizer
from hades.policies.base import Policy
from hades.registry import register
from hades.types import (
    POPULATION_AXIS,
    ActFn,
    Box,
    EnvSpec,
    Key,
    Metrics,
    Moments,
    Params,
    TimeStep,
    all_finite,
    finite_or,
)

StepKeys: TypeAlias = tuple[Key, Key, Key]
"""Keys of one step: one key to act, E to step and E to begin anew."""
REWARD_CLIP = 10.0
"""Largest scaled reward, as in Stable Baselines' VecNormalize."""


@struct.dataclass
class Networks:
    """Weights of both networks."""

    actor: Params
    critic: Params


@struct.dataclass
class PPOState:
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
    """Steps in the order they were taken [T, E, ...], or in any order [B, ...]."""

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


@register("Algorithm", "PPO")
@dataclasses.dataclass(frozen=True)
class PPO:
    """On-policy actor-critic learning.

    Attributes:
        environment: where it learns.
        actor: the policy that acts.
        critic: the architecture of the critic, whose one output is the value; None: the actor's own.
        normalizer: of the observations of both.
        num_envs, num_steps: E and T of an iteration.
        num_epochs, num_minibatches: passes over the E·T steps of an iteration, and updates in a pass.
        learning_rate, anneal_steps: and the environment steps over which it falls linearly to 0 (0: constant).
        optimizer, optimizer_options: any optax optimiser.
        max_grad_norm: clip by the global norm over both networks.
        discount, gae_lambda: γ and λ.
        clip: ε of the surrogate; with `clip_value` also how far values may move.
        value_weight, entropy_weight: of their terms in the loss.
        normalize_rewards: divide rewards by the running deviation of discounted rewards, and clip them at ±10.
        bootstrap_truncated: whether a time limit is no end of the task; False treats it as one.

    Raises:
        ConfigError: where the numbers do not fit each other.
    """

    environment: Environment
    actor: Policy
    normalizer: Normalizer
    critic: Policy | None = None
    num_envs: Count = 64
    num_steps: Count = 128
    num_epochs: Count = 4
    num_minibatches: Count = 8
    learning_rate: Positive = 2.5e-4
    anneal_steps: Total = 0
    optimizer: str = "adam"
    optimizer_options: tuple[tuple[str, Any], ...] = (("eps", 1e-5),)
    max_grad_norm: Positive = 0.5
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip: Positive = 0.2
    clip_value: bool = True
    value_weight: NonNegative = 0.5
    entropy_weight: float = 0.01
    normalize_rewards: bool = False
    bootstrap_truncated: bool = True

    label = "PPO"
    evolves_dataset = False

    def __post_init__(self) -> None:
        check_optimizer("PPO", self.optimizer, self.optimizer_options)
        self.normalizer.check(self.spec)
        if self.normalizer.has_memory:
            raise ConfigError(
                f"PPO.normalizer is {type(self.normalizer).__name__}, whose statistics restart with every evaluation: "
                "PPO learns from observations in fixed coordinates. Use RunningNormalizer."
            )
        if self.steps_per_iteration >= 2**31:
            raise ConfigError(
                f"PPO.num_envs is {self.num_envs} and .num_steps {self.num_steps}; their product, the steps of an "
                "iteration, must be below 2³¹."
            )
        if self.steps_per_iteration % self.num_minibatches:
            raise ConfigError(
                f"PPO.num_minibatches is {self.num_minibatches}, which does not divide the {self.num_envs} × "
                f"{self.num_steps} = {self.steps_per_iteration} steps of an iteration: use a divisor."
            )

    @property
    def environments(self) -> tuple[Environment, ...]:
        return (self.environment,)

    @property
    def spec(self) -> EnvSpec:
        return self.environment.spec

    @property
    def steps_per_iteration(self) -> int:
        return self.num_envs * self.num_steps

    @cached_property
    def _critic(self) -> Policy:
        """The critic as a policy with one continuous action, of which the mode is the value."""
        return self.critic or dataclasses.replace(self.actor, output_scale=1.0)

    @property
    def _value_spec(self) -> EnvSpec:
        return dataclasses.replace(self.spec, action_space=Box(1))

    def init(self, key: Key) -> PPOState:
        start = stream_key(key, Stream.START)
        k_actor, k_critic = jax.random.split(purpose_key(start, Purpose.GENOME))
        networks = Networks(
            actor=self.actor.init(k_actor, self.spec), critic=self._critic.init(k_critic, self._value_spec)
        )
        zero = jnp.zeros((), jnp.int32)
        return PPOState(
            key=key,
            generation=zero,
            networks=networks,
            optimizer=self._optimizer(zero).init(networks),
            envs=AutoReset.start(indexed_keys(purpose_key(start, Purpose.EPISODES), self.num_envs), self.environment),
            last_returns=jnp.full(self.num_envs, -jnp.inf, jnp.float32),
            normalizer=self.normalizer.init(purpose_key(start, Purpose.NORMALIZER), self.environment),
            discounted=jnp.zeros(self.num_envs),
            reward_moments=Moments.zeros(()),
            failures=zero,
        )

    def check_devices(self, count: int) -> None:
        if self.num_envs % count:
            raise ConfigError(
                f"PPO.num_envs {self.num_envs} is not divisible by {count} devices: "
                f"use {-(-self.num_envs // count) * count}, or fewer devices."
            )

    def step(self, state: PPOState, mesh: Mesh) -> tuple[PPOState, Metrics]:
        """One iteration. See Algorithm.step.

        Raises:
            ConfigError: when the environments are not divisible by the number of devices.
        """
        self.check_devices(mesh.size)
        key = stream_key(state.key, Stream.SEARCH, state.generation)
        apart, together = NamedSharding(mesh, PartitionSpec(POPULATION_AXIS)), NamedSharding(mesh, PartitionSpec())
        played, steps, episodes = self.collect(purpose_key(key, Purpose.EPISODES), state, apart)
        prepared, batch, refused = self.prepare(played, steps)
        batch = lax.with_sharding_constraint(batch, together)  # environments step apart, every device learns from all
        networks, optimizer, losses = self.learn(purpose_key(key, Purpose.LEARN), batch, prepared)
        finite = jnp.isfinite(losses["ppo/grad_norm"]) & all_finite((networks, optimizer))
        learned = dataclasses.replace(prepared, networks=networks, optimizer=optimizer)
        learned = jax.tree.map(lambda new, old: jnp.where(finite, new, old), learned, state)
        next_state = dataclasses.replace(
            learned, generation=state.generation + 1, failures=jnp.where(finite, 0, state.failures + 1)
        )
        return next_state, _summary(played.last_returns, episodes, self.steps_per_iteration) | losses | refused

    def solution(self, state: PPOState) -> Solution:
        return Solution(genome=state.networks.actor, normalizer=state.normalizer)

    def distilled(self, solution: Solution) -> None:
        del solution

    def evaluate(self, key: Key, solution: Solution, num_inits: int, num_episodes: int) -> Evaluation:
        """There is one policy: `num_inits` are groups of its episodes."""
        act = self._act(solution)
        groups = jnp.arange(num_inits)
        episodes = play(purpose_key(key, Purpose.EPISODES), self.environment, lambda group: act, groups, num_episodes)
        return Evaluation(returns=episodes.returns, lengths=episodes.lengths, metrics={}, info_max=episodes.info_max)

    def policy(self, key: Key, solution: Solution) -> ActFn:
        del key
        return self._act(solution)

    def _act(self, solution: Solution) -> ActFn:
        act = self.actor.act
        return self.normalizer.wrap(solution.normalizer, lambda key, obs: act(key, solution.genome, obs, self.spec))

    def collect(self, key: Key, state: PPOState, sharding: Sharding) -> tuple[PPOState, Steps, Array]:
        """T steps of each environment: the state behind them, the steps, and how many episodes ended."""

        def advance(carry: tuple[AutoReset, Array], keys: StepKeys) -> tuple[tuple[Any, ...], tuple[Steps, Array]]:
            envs, last_returns = carry
            k_act, k_steps, k_resets = keys
            obs = self.normalizer.apply(state.normalizer, envs.obs)
            distribution = self.actor.distribution(state.networks.actor, obs, self.spec)
            action = distribution.sample(k_act)
            after, step, ended = envs.step(k_steps, k_resets, self.environment, action)
            taken = Steps(
                obs=envs.obs,
                action=action,
                log_prob=distribution.log_prob(action),
                reward=step.reward,
                done=step.terminated | step.truncated,
                beyond=self._value_beyond(state, step),
            )
            last_returns = jnp.where(ended.episodes, ended.returns, last_returns)
            return lax.with_sharding_constraint((after, last_returns), sharding), (taken, ended.episodes.sum())

        start = lax.with_sharding_constraint((state.envs, state.last_returns), sharding)
        keys = jax.vmap(self._step_keys)(indexed_keys(key, self.num_steps))
        (envs, last_returns), (steps, episodes) = lax.scan(advance, start, keys)
        return dataclasses.replace(state, envs=envs, last_returns=last_returns), steps, episodes.sum()

    def _step_keys(self, key: Key) -> StepKeys:
        k_act, k_step, k_reset = jax.random.split(key, 3)
        return k_act, indexed_keys(k_step, self.num_envs), indexed_keys(k_reset, self.num_envs)

    def prepare(self, state: PPOState, steps: Steps) -> tuple[PPOState, Batch, Metrics]:
        """Make a batch of the steps, and update the scales of rewards and observations.

        Returns:
            The state with scales that know these steps, or as they were where they would not be finite; the steps with
            advantages and targets, in one row [T·E, ...]; and for each scale whether it was left as it was (0 or 1).
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
        batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
        if self.normalizer.wants_moments:
            raw = steps.obs.reshape(-1, *self.spec.obs_shape)
            moments = Moments.of(raw, jnp.ones(len(raw), bool))
            updated, accepted = finite_or(self.normalizer.update(state.normalizer, moments), state.normalizer)
            state = dataclasses.replace(state, normalizer=updated)
            metrics["normalizer/refused"] = (~accepted).astype(jnp.int32)
        return state, batch, metrics

    def _seen_rewards(self, state: PPOState, steps: Steps) -> tuple[PPOState, Array]:
        """The state with the moments of these steps' discounted rewards, and bool[], whether they are finite.

        Where they are not, the moments stay as they were.
        """
        totals, left = discounted_returns(steps.reward, steps.done, state.discounted, self.discount)
        moments = Moments.of(totals.reshape(-1), jnp.ones(totals.size, bool))
        merged, accepted = finite_or(state.reward_moments.merge(moments), state.reward_moments)
        return dataclasses.replace(state, discounted=left, reward_moments=merged), accepted

    def learn(self, key: Key, batch: Batch, state: PPOState) -> tuple[Networks, optax.OptState, Metrics]:
        """All epochs of an iteration, and the means of their metrics."""
        optimizer = self._optimizer(state.generation)

        def update(carry: tuple[Networks, optax.OptState], minibatch: Batch) -> tuple[tuple[Any, ...], Metrics]:
            networks, opt_state = carry
            gradient, metrics = jax.grad(self._loss, has_aux=True)(networks, minibatch)
            updates, opt_state = optimizer.update(gradient, opt_state, networks)
            metrics["ppo/grad_norm"] = optax.tree.norm(gradient)
            return (optax.apply_updates(networks, updates), opt_state), metrics

        def epoch(carry: tuple[Networks, optax.OptState], key: Key) -> tuple[tuple[Any, ...], Metrics]:
            rows = minibatches(key, self.steps_per_iteration, self.num_minibatches)
            return lax.scan(update, carry, jax.tree.map(lambda x: x[rows], batch))  # one gather, not one an update

        start = state.networks, state.optimizer
        (networks, opt_state), metrics = lax.scan(epoch, start, indexed_keys(key, self.num_epochs))
        metrics = jax.tree.map(jnp.mean, metrics)
        metrics["ppo/explained_variance"] = explained_variance(batch.value, batch.target)
        metrics["ppo/learning_rate"] = self._rate(state.generation)
        return networks, opt_state, metrics

    def _loss(self, networks: Networks, batch: Batch) -> tuple[Array, Metrics]:
        distribution = self.actor.distribution(networks.actor, batch.obs, self.spec)
        values = self._critic.distribution(networks.critic, batch.obs, self._value_spec).mode()[..., 0]
        of_policy, metrics = policy_loss(distribution, batch.action, batch.log_prob, batch.advantage, self.clip)
        of_value = value_loss(values, batch.value, batch.target, self.clip if self.clip_value else 0.0)
        entropy = distribution.entropy().mean()
        loss = of_policy + self.value_weight * of_value - self.entropy_weight * entropy
        metrics |= {"policy_loss": of_policy, "value_loss": of_value, "entropy": entropy}
        return loss, {f"ppo/{name}": value for name, value in metrics.items()}

    def _value(self, state: PPOState, obs: Array) -> Array:
        """f32[...] of raw observations f32[..., *obs_shape]."""
        obs = self.normalizer.apply(state.normalizer, obs)
        return self._critic.distribution(state.networks.critic, obs, self._value_spec).mode()[..., 0]

    def _value_beyond(self, state: PPOState, step: TimeStep) -> Array:
        """f32[E]: the value of the last observation where only the time limit ended the episode, else 0."""
        cut_off = step.truncated & ~step.terminated
        if not self.bootstrap_truncated:
            return jnp.zeros(self.num_envs)
        return lax.cond(
            cut_off.any(),  # rare, and costs as much as the critic's share of a step
            lambda: jnp.where(cut_off, self._value(state, step.obs), 0.0),
            lambda: jnp.zeros(self.num_envs),
        )

    def _rate(self, generation: Array) -> Array:
        return linear_decay(self.learning_rate, generation * float(self.steps_per_iteration), self.anneal_steps)

    def _optimizer(self, generation: Array) -> optax.GradientTransformation:
        return make_optimizer(self.optimizer, self._rate(generation), self.optimizer_options, self.max_grad_norm)


def _summary(last_returns: Array, episodes: Array, env_steps: int) -> Metrics:
    """Summary of each environment's last finished episode: the training returns that the host loop shows.

    An environment whose first episode still goes on has none. With none at all each number is −∞, because NaN would
    stop a program under `jax_debug_nans`.
    """
    known = ~jnp.isneginf(last_returns)
    count = jnp.maximum(known.sum(), 1)
    mean = jnp.where(known, last_returns, 0.0).sum() / count
    variance = jnp.where(known, jnp.square(last_returns - mean), 0.0).sum() / count
    return {
        "fitness/mean": jnp.where(known.any(), mean, -jnp.inf),
        "fitness/max": last_returns.max(),
        "fitness/min": jnp.where(known, last_returns, last_returns.max()).min(),
        "fitness/std": jnp.where(known.any(), jnp.sqrt(variance), -jnp.inf),
        "env_steps": jnp.asarray(env_steps, jnp.int32),
        "episodes": episodes,
    }
