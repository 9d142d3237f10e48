"""One generation of the outer loop as one pure function: ask, learn, roll out, score, tell.

HaDES-R, HaDES-F and direct ES are this loop with other components. All candidates of a generation see the same initial
policies, cloning keys and episodes. The population is the only sharded axis and this is the only place that names a
mesh.
"""

import dataclasses
import functools
from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from hades.algorithms.base import Solution
from hades.algorithms.distilling import Distilling
from hades.algorithms.keys import Purpose, Stream, indexed_keys, purpose_key, stream_key
from hades.algorithms.playing import apply_in_chunks, chunk_size, is_usable, map_chunks
from hades.contracts import expect_same_structure, expect_shape, single_precision
from hades.devices import check_devices
from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.fields import Natural
from hades.fitness.base import Fitness
from hades.inner.base import InnerLearner, Trained
from hades.normalizers.base import Normalizer, NormalizerState
from hades.outer.base import OuterOptimizer, OuterState, Population
from hades.outer.shaping import tied_share
from hades.registry import register
from hades.types import (
    POPULATION_AXIS,
    Candidate,
    EnvSpec,
    Genome,
    Key,
    Metrics,
    Moments,
    Params,
    Score,
    all_finite,
    finite_mean,
    finite_or,
    size_of,
)


@struct.dataclass
class EvolutionState:
    key: Key  # the root key, never changed
    generation: Array  # i32[], generations done
    outer: OuterState
    normalizer: NormalizerState
    failures: Array  # i32[], generations in a row without any finite fitness, or after which the search was not finite


@register("Algorithm", "Evolution")
@dataclasses.dataclass(frozen=True)
class Evolution(Distilling):
    """The distillation loop.

    Attributes:
        environment: where fitness is measured; on each of its tasks, where it has several, and then combined.
        learner: from a genome to a policy.
        outer: the evolution strategy.
        fitness: what it maximises.
        normalizer: the coordinates of the dataset.
        learn_batch: networks cloned at a time on a device; few stay in cache. 0: all of a rollout batch.
        rollout_batch: candidates that are built and step in lockstep on a device; bounds the memory. 0: all. Never
            less than what one row of the population stands for (an antithetic pair).

    Raises:
        ConfigError: where the components do not fit each other.
    """

    environment: Environment
    learner: InnerLearner
    outer: OuterOptimizer
    fitness: Fitness
    normalizer: Normalizer
    learn_batch: Natural = 8
    rollout_batch: Natural = 0

    def __post_init__(self) -> None:
        check_devices()  # what an algorithm evolves is found out by tracing
        self.learner.check(self.spec)
        for member in self.environment.members:
            self.fitness.check(member.spec)
        self.normalizer.check(self.spec)
        self.check_normalizer()
        if self.max_env_steps >= 2**31:
            raise ConfigError(
                f"A generation could take {self.max_env_steps:,} environment steps, more than its int32 counter holds: "
                "use a smaller population, fewer inits or fewer episodes."
            )

    @property
    def environments(self) -> tuple[Environment, ...]:
        return (self.environment,)

    @property
    def spec(self) -> EnvSpec:
        return self.environment.spec

    @cached_property
    def evolves_dataset(self) -> bool:
        return jax.eval_shape(lambda g: self.learner.dataset(g, self.spec), self.genome_shapes) is not None

    @property
    def num_inits(self) -> int:
        return self.learner.num_inits

    @property
    def max_env_steps(self) -> int:
        """Most live environment steps that one generation can take."""
        each = sum(self.fitness.max_env_steps(member.spec) for member in self.environment.members)
        return each * self.num_inits * self.outer.population_size

    @cached_property
    @single_precision
    def genome_shapes(self) -> Genome:
        """The genome as a pytree of ShapeDtypeStruct."""
        return jax.eval_shape(
            lambda key: self.learner.init_genome(key, self.environment, lambda x: x), jax.random.key(0)
        )

    @cached_property
    @single_precision
    def unravel(self) -> Callable[[Array], Genome]:
        """A function from f32[n] to a genome."""
        with jax.ensure_compile_time_eval():
            return ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), self.genome_shapes))[1]

    def check_devices(self, count: int) -> None:
        key = jax.eval_shape(lambda: jax.random.key(0))
        size = size_of(self.genome_shapes)
        state = jax.eval_shape(lambda k: self.outer.init(k, jnp.zeros(size), self.unravel), key)
        population, asked = jax.eval_shape(self.outer.ask, key, state)
        candidates = jax.eval_shape(self.outer.candidates, asked, population)
        expect_shape(candidates, (self.outer.population_size, size), self.outer, "all candidates")
        _check_divisible(self.outer.population_size, num_rows(population), count)

    def init(self, key: Key) -> EvolutionState:
        start = stream_key(key, Stream.START)
        normalizer = self.normalizer.init(purpose_key(start, Purpose.NORMALIZER), self.environment)
        genome = self.learner.init_genome(
            purpose_key(start, Purpose.GENOME), self.environment, lambda obs: self.normalizer.apply(normalizer, obs)
        )
        zero = jnp.zeros((), jnp.int32)
        outer = self.outer.init(purpose_key(start, Purpose.ASK), ravel_pytree(genome)[0], self.unravel)
        return EvolutionState(key=key, generation=zero, outer=outer, normalizer=normalizer, failures=zero)

    def step(self, state: EvolutionState, mesh: Mesh) -> tuple[EvolutionState, Metrics]:
        """One generation. See Algorithm.step.

        Raises:
            ConfigError: when the population is not divisible by the number of devices.
        """
        self.check_devices(mesh.size)
        key = stream_key(state.key, Stream.SEARCH, state.generation)
        population, asked = self.outer.ask(purpose_key(key, Purpose.ASK), state.outer)
        sharding = NamedSharding(mesh, PartitionSpec(POPULATION_AXIS))
        population = jax.tree.map(lambda rows: lax.with_sharding_constraint(rows, sharding), population)
        scores = self._scores(key, population, dataclasses.replace(state, outer=asked), mesh)
        fitness = lax.with_sharding_constraint(scores.value, NamedSharding(mesh, PartitionSpec()))
        finite = jnp.isfinite(fitness)
        usable = jnp.where(finite, fitness, jnp.min(jnp.where(finite, fitness, jnp.inf)))
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # for sums over rows that lie on several devices
            outer, outer_metrics = self.outer.tell(purpose_key(key, Purpose.TELL), asked, population, usable)
        expect_same_structure(outer, state.outer, self.outer, "the state")
        normalizer, normalizer_metrics = self._updated_normalizer(state.normalizer, scores)
        updated = dataclasses.replace(state, outer=outer, normalizer=normalizer)
        succeeded = finite.any() & _stays_finite(outer, state.outer)
        updated = jax.tree.map(lambda new, old: jnp.where(succeeded, new, old), updated, state)
        next_state = dataclasses.replace(
            updated, generation=state.generation + 1, failures=jnp.where(succeeded, 0, state.failures + 1)
        )
        return next_state, outer_metrics | normalizer_metrics | _summary(scores, fitness, finite)

    def solution(self, state: EvolutionState) -> Solution:
        solution = self.outer.solution(state.outer)
        expect_shape(solution, (size_of(self.genome_shapes),), self.outer, "the solution")
        return Solution(genome=self.unravel(solution), normalizer=state.normalizer)

    def _scores(self, key: Key, population: Population, state: EvolutionState, mesh: Mesh) -> Score:
        """Score[P] of a population asked with `state`, each device its own candidates, without communication."""
        inits = self.initial_policies(purpose_key(key, Purpose.INITS), self.num_inits)
        replicated, sharded = PartitionSpec(), PartitionSpec(POPULATION_AXIS)
        score = jax.shard_map(
            self._score_chunks,
            mesh=mesh,
            in_specs=(sharded, replicated, replicated, replicated, replicated, replicated),
            out_specs=sharded,
            check_vma=False,
        )
        return score(population, state.outer, key, inits, state.normalizer, state.generation)

    def _score_chunks(
        self,
        population: Population,
        outer: OuterState,
        key: Key,
        inits: Params,
        normalizer: NormalizerState,
        generation: Array,
    ) -> Score:
        """Chunks of `rollout_batch` candidates, cloned `learn_batch` networks at a time and rolled out together."""
        count = self.num_inits
        k_learn = indexed_keys(purpose_key(key, Purpose.LEARN), count)
        k_episodes = indexed_keys(purpose_key(key, Purpose.EPISODES), count)
        members = self.environment.members

        def learn(genome: Array) -> tuple[Trained, Metrics]:
            return jax.vmap(lambda k, p: self.learner.learn(k, self.unravel(genome), p, self.spec))(k_learn, inits)

        def score_one(k_episode: Key, genome: Array, init: Params, trained: Trained, metrics: Metrics) -> Score:
            params = self.learner.assemble(init, trained)
            pairs = self.learner.dataset(self.unravel(genome), self.spec)
            candidate = Candidate(
                genome=self.unravel(genome),
                params=params,
                metrics=metrics,
                generation=generation,
                observations=None if pairs is None else pairs.observations * normalizer.std + normalizer.mean,
            )
            wants = self.normalizer.wants_moments
            scores = [
                self.fitness(
                    k_episode, task, self.act_for(normalizer, task.spec)(params), candidate, with_moments=wants
                )
                for task in members
            ]
            for each in scores:
                expect_shape(each.value, (), self.fitness, "the value of a Score")
            score = scores[0] if len(scores) == 1 else _combined(self.environment, scores)
            value = jnp.where(is_usable(params, metrics), score.value, jnp.nan)
            return dataclasses.replace(score, value=value, metrics=score.metrics | metrics)

        def score_chunk(rows: Population) -> Score:
            genomes = self.outer.candidates(outer, rows)
            at_once = max(1, self.learn_batch // count) if self.learn_batch else 0
            trained, metrics = map_chunks(learn, genomes, at_once)
            per_candidate = jax.vmap(score_one, in_axes=(None, 0, None, 0, 0))
            # Inits outermost, so that the weights they share are one operand of a matrix product.
            per_init = jax.vmap(per_candidate, in_axes=(0, None, 0, 1, 1))
            return per_init(k_episodes, genomes, inits, trained, metrics).reduce()

        size = num_rows(population)
        per_row = jax.eval_shape(self.outer.candidates, outer, population).shape[0] // size
        return apply_in_chunks(score_chunk, population, self.rows_at_once(size, per_row))

    def rows_at_once(self, rows: int, per_row: int) -> int:
        """Number of a device's rows, each standing for `per_row` candidates, that make a full rollout batch."""
        return chunk_size(rows, max(1, self.rollout_batch // per_row) if self.rollout_batch else 0)

    def _updated_normalizer(self, state: NormalizerState, scores: Score) -> tuple[NormalizerState, Metrics]:
        """The statistics after a generation, as they were where they would not be finite, and what was left out.

        A candidate whose fitness or whose moments are not finite does not count.
        """
        if scores.moments is None:
            return state, {}
        usable = jnp.isfinite(scores.value) & jax.vmap(all_finite)(scores.moments)
        moments = scores.moments.where(usable).merge_axis()
        updated, accepted = finite_or(self.normalizer.update(state, moments), state)
        return updated, {"normalizer/rejected": (~usable).sum(), "normalizer/refused": (~accepted).astype(jnp.int32)}


def num_rows(population: Population) -> int:
    """R, the leading axis of a population."""
    return int(jax.tree.leaves(population)[0].shape[0])


def _stays_finite(new: OuterState, old: OuterState) -> Array:
    """Return bool[]: True if no number that was finite is not any more; a strategy may start with infinite ones."""
    pairs = zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
    floats = ((a, b) for a, b in pairs if jnp.issubdtype(a.dtype, jnp.floating))
    return jnp.stack([(jnp.isfinite(a) | ~jnp.isfinite(b)).all() for a, b in floats]).all()


def _check_divisible(population_size: int, rows: int, devices: int) -> None:
    if rows % devices:
        per_row = population_size // rows
        least = -(-rows // devices) * devices * per_row
        pairs = "" if per_row == 1 else f", in groups of {per_row} that stay together,"
        raise ConfigError(
            f"population_size {population_size}{pairs} is not divisible by {devices} devices: "
            f"use {least}, or fewer devices."
        )


def _combined(env: Environment, scores: list[Score]) -> Score:
    """One score from those of several tasks, whose metrics are named after them."""
    moments = [score.moments for score in scores if score.moments is not None]
    names = [member.spec.name for member in env.members]
    return Score(
        value=env.combine([score.value for score in scores]),
        episodes=jnp.stack([score.episodes for score in scores]).sum(0),
        env_steps=jnp.stack([score.env_steps for score in scores]).sum(0),
        moments=functools.reduce(Moments.merge, moments) if moments else None,
        metrics={f"{n}/{k}": v for n, score in zip(names, scores, strict=True) for k, v in score.metrics.items()},
    )


def _summary(scores: Score, fitness: Array, finite: Array) -> Metrics:
    """Metrics of a generation: of the fitness, and the population's mean of every other metric."""
    known = jnp.where(finite, fitness, jnp.nan)
    return {
        "fitness/mean": finite_mean(fitness),
        "fitness/max": jnp.nanmax(known),
        "fitness/min": jnp.nanmin(known),
        "fitness/std": jnp.nanstd(known),
        "fitness/tied": tied_share(known),
        "fitness/nonfinite": (~finite).sum(),
        "fitness/infinite": jnp.isinf(fitness).sum(),
        "env_steps": scores.env_steps.sum(),
        "episodes": scores.episodes.sum(),
        **{f"population/{name}": finite_mean(value) for name, value in scores.metrics.items()},
    }
