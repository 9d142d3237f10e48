"""Distillation from a teacher: what it does, matched through cloning on the states that it and its students visit.

An iteration draws k initial policies, clones each on the dataset, and plays T steps of E environments: the teacher acts
in a fixed share of them, the students in the others (a form of DAgger, Ross et al., 2011). Every minibatch update
clones the students anew, as a function of the dataset, and moves the dataset towards what the teacher would do in
those states. Rewards are shown and teach nothing. The teacher has learned from rewards, so that this is not behaviour
distillation from nothing: the label and the result name it.

An environment that knows the right actions, a labelled data set, needs no teacher: its labels are what is matched. That
is dataset distillation by gradient through the whole training (Wang et al., 2018).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax
from jax.sharding import Mesh, Sharding

from hades.algorithms.base import Solution
from hades.algorithms.iterations import StepKeys, summary
from hades.algorithms.keys import Purpose, Stream, purpose_key, stream_key
from hades.algorithms.through_cloning import ThroughCloning
from hades.environments.rollout import AutoReset
from hades.errors import require
from hades.fields import Fraction, Positive
from hades.inner.teacher import Teacher, TeacherRecord
from hades.normalizers.base import NormalizerState
from hades.optimizers import make_optimizer
from hades.policies.distributions import Categorical, Stacked
from hades.registry import register
from hades.types import Genome, Key, Metrics, Params, finite_or

NEVER = -1e3
"""Logarithm of the probability of a label that is wrong: finite, and 0 as a probability in f32."""


@struct.dataclass
class MatchingState:
    key: Key  # the root key, never changed
    generation: Array  # i32[], iterations done
    genome: Genome
    optimizer: optax.OptState
    envs: AutoReset  # E environments, in the middle of their episodes
    last_returns: Array  # f32[E], of each environment's last episode that a student finished; −∞ before the first
    normalizer: NormalizerState
    failures: Array  # i32[], iterations in a row without a finite update


@struct.dataclass
class Visited:
    """States [k, B, ...], and what the teacher would do in them."""

    obs: Array  # normalised
    targets: Array  # f32[k, B, A], log-probabilities or actions


@register("Algorithm", "TeacherMatching")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherMatching(ThroughCloning):
    """Search for a dataset whose students act like a teacher, or give the labels of the environment.

    The loss is the divergence from the teacher's probabilities, or the mean squared error from its mean action. Fields
    that are not listed here are those of Iterating and ThroughCloning.

    Attributes:
        teacher: what is matched; None: the environment's right actions.
        teacher_share: share of each student's environments in which the teacher acts; none where there is no teacher.

    Raises:
        ConfigError: where the components do not fit each other, such as a teacher of another task, or no teacher in an
            environment without labels.
    """

    teacher: Teacher | None
    teacher_share: Fraction = 0.25
    learning_rate: Positive = 1e-2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher is not None:
            self.teacher.check(self.spec)
            return
        state = jax.eval_shape(lambda key: self.environment.reset(key)[0], jax.eval_shape(lambda: jax.random.key(0)))
        require(
            jax.eval_shape(self.environment.right_action, state) is not None,
            f"TeacherMatching.teacher is None, but {self.spec.name} has no labels to match: give a teacher, or an "
            "environment that has some (Labelled).",
        )

    @property
    def label(self) -> str:
        return f"{self.learner.label} {'by gradient from labels' if self.teacher is None else 'matching a teacher'}"

    @property
    def teachers(self) -> tuple[TeacherRecord, ...]:
        records = () if self.teacher is None else self.teacher.records
        return tuple(dict.fromkeys((*records, *self.learner.teachers)))

    def init(self, key: Key) -> MatchingState:
        start = stream_key(key, Stream.START)
        normalizer = self.normalizer.init(purpose_key(start, Purpose.NORMALIZER), self.environment)
        genome = self.start_genome(purpose_key(start, Purpose.GENOME), normalizer)
        zero = jnp.zeros((), jnp.int32)
        return MatchingState(
            key=key,
            generation=zero,
            genome=genome,
            optimizer=self._optimizer(zero).init(genome),
            **self.first_episodes(start),
            normalizer=normalizer,
            failures=zero,
        )

    def step(self, state: MatchingState, mesh: Mesh) -> tuple[MatchingState, Metrics]:
        """One iteration. See Algorithm.step.

        Raises:
            ConfigError: when the environments are not divisible by the number of devices.
        """
        self.check_devices(mesh.size)
        key = stream_key(state.key, Stream.SEARCH, state.generation)
        apart, learning = self.placements(mesh)
        draws = self.draw(key)
        played, (obs, right), episodes = self.collect(purpose_key(key, Purpose.EPISODES), state, apart, draws)
        visited = Visited(obs=self.normalizer.apply(state.normalizer, obs), targets=self._targets(obs, right))
        visited = jax.tree.map(self.grouped, visited)
        normalizer, refused = self.seen(state.normalizer, obs)
        visited, draws = lax.with_sharding_constraint((visited, draws), learning)
        genome, optimizer, losses = self._learn(purpose_key(key, Purpose.LEARN), visited, state, draws)
        succeeded = losses["match/dropped"] < 1.0
        next_state = dataclasses.replace(
            played,
            generation=state.generation + 1,
            genome=genome,
            optimizer=optimizer,
            normalizer=normalizer,
            failures=jnp.where(succeeded, 0, state.failures + 1),
        )
        shown = summary(played.last_returns, episodes, self.steps_per_iteration)
        return next_state, shown | losses | refused | self.dataset_metrics(genome)

    def solution(self, state: MatchingState) -> Solution:
        return Solution(genome=state.genome, normalizer=state.normalizer)

    def collect(
        self, key: Key, state: MatchingState, sharding: Sharding, draws: tuple[Key, Params]
    ) -> tuple[MatchingState, tuple[Array, Array | None], Array]:
        """T steps of each environment: the state behind them, raw observations [T, E, ...] with the right actions
        i32[T, E] where there is no teacher, and episodes that ended.
        """
        students = self.acting_policies(state.genome, draws)
        policy, spec = self.learner.policy, self.spec
        each = self.num_envs // self.num_groups
        share = self.teacher_share if self.teacher is not None else 0.0
        taught = jnp.arange(self.num_envs) % each < round(share * each)
        right_actions = jax.vmap(self.environment.right_action)

        def advance(carry: tuple[AutoReset, Array], keys: StepKeys) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            envs, last_returns = carry
            (k_student, k_teacher), (_, k_steps, k_resets) = jax.random.split(keys[0]), keys
            obs = self.normalizer.apply(state.normalizer, envs.obs).reshape(self.num_groups, each, *spec.obs_shape)
            by_students = jax.vmap(lambda key, params, obs: policy.act(key, params, obs, spec))(
                jax.random.split(k_student, self.num_groups), students, obs
            )
            by_students = by_students.reshape(self.num_envs, *by_students.shape[2:])
            right: Array | None = right_actions(envs.state) if self.teacher is None else None
            by_teacher = self.teacher.act(k_teacher, envs.obs, spec) if self.teacher is not None else by_students
            by_whom = taught.reshape(-1, *(1,) * (by_teacher.ndim - 1))
            action = jnp.where(by_whom, by_teacher, by_students)
            after, _, ended = envs.step(k_steps, k_resets, self.environment, action)
            last_returns = jnp.where(ended.episodes & ~taught, ended.returns, last_returns)
            carry = lax.with_sharding_constraint((after, last_returns), sharding)
            return carry, (envs.obs, right, ended.episodes.sum())

        start = lax.with_sharding_constraint((state.envs, state.last_returns), sharding)
        (envs, last_returns), (obs, right, episodes) = lax.scan(advance, start, self.step_keys(key))
        return dataclasses.replace(state, envs=envs, last_returns=last_returns), (obs, right), episodes.sum()

    def _targets(self, obs: Array, right: Array | None) -> Array:
        """Answers that students are to give, f32[..., A]: the teacher's, or the logarithms of one-hot labels."""
        if self.teacher is not None:
            return self.teacher.targets(obs, self.spec)
        return NEVER * (1.0 - jax.nn.one_hot(right, self.spec.action_space.size))

    def loss(self, genome: Genome, visited: Visited, draws: tuple[Key, Params]) -> Array:
        """The distance of k students from the teacher, f32[]; 0 where they act alike."""
        return mismatch(self.distribution(self.acting_policies(genome, draws), visited.obs), visited.targets)

    def _learn(
        self, key: Key, visited: Visited, state: MatchingState, draws: tuple[Key, Params]
    ) -> tuple[Genome, optax.OptState, Metrics]:
        """All epochs of an iteration, and the means of their metrics. An update that is not finite is dropped."""
        optimizer = self._optimizer(state.generation)

        def update(carry: tuple[Genome, optax.OptState], minibatch: Visited) -> tuple[tuple[Any, ...], Metrics]:
            loss, gradient = jax.value_and_grad(self.loss)(carry[0], minibatch, draws)
            updates, new_state = optimizer.update(gradient, carry[1], carry[0])
            after, kept = finite_or((optax.apply_updates(carry[0], updates), new_state), carry)
            metrics = {"loss": loss, "grad_norm": optax.tree.norm(gradient)}
            known = {name: jnp.where(jnp.isfinite(x), x, 0.0) for name, x in metrics.items()}
            return after, known | {"dropped": 1.0 - kept}

        start = state.genome, state.optimizer
        (genome, opt_state), metrics = self.epochs(key, update, start, visited)
        metrics = {f"match/{name}": x.mean() for name, x in metrics.items()}
        return genome, opt_state, metrics | {"match/learning_rate": self.rate(state.generation)}

    def _optimizer(self, generation: Array) -> optax.GradientTransformation:
        return make_optimizer(self.optimizer, self.rate(generation), self.optimizer_options, self.max_grad_norm)


def mismatch(students: Stacked, targets: Array) -> Array:
    """Mean divergence from log-probabilities f32[k, ..., A], or mean squared error from actions: f32[]."""
    if isinstance(students.parts, Categorical):
        return optax.losses.kl_divergence_with_log_targets(students.parts.log_probs(), targets).mean()
    return optax.squared_error(students.mode(), targets).mean()
