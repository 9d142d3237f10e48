"""Costs of a run before it runs: genome, environment steps, and a memory plan for one device."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from hades.algorithms.actor_critic import ActorCritic
from hades.algorithms.base import Algorithm
from hades.algorithms.evolution import Evolution, num_rows
from hades.algorithms.gradient_distillation import GradientDistillation
from hades.algorithms.iterations import Iterating
from hades.algorithms.playing import apply_in_chunks, chunk_size
from hades.algorithms.ppo import PPO
from hades.algorithms.teacher_matching import TeacherMatching
from hades.algorithms.through_cloning import ThroughCloning
from hades.contracts import single_precision
from hades.costs import communication
from hades.environments.lockstep import num_together
from hades.outer.base import OuterState, Population
from hades.runs.compiled_run import CompiledRun
from hades.runs.experiment import Experiment
from hades.runs.mesh import make_mesh
from hades.runs.stages import stages
from hades.types import POPULATION_AXIS, Key, PyTree, size_of

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes of one generation on one device.

    Attributes:
        population: what is kept of the candidates for the whole generation: all of them, or their noise.
        searching: `ask`, `candidates` and `tell` with the population, by XLA's analysis.
        cloning: the networks of one rollout batch, and what training a few of them at a time takes, by their shapes.
        stepping: the policies of that batch and their episodes, by their shapes.
        peak: XLA's analysis of a generation that holds the larger of cloning and stepping while it scores.
    """

    population: int
    searching: int
    cloning: int
    stepping: int
    peak: int

    def __str__(self) -> str:
        rows = [f"  {f.name:<12}{getattr(self, f.name) / MIB:>10.1f} MiB" for f in dataclasses.fields(self)]
        return "\n".join([*rows[:-1], f"{rows[-1]} (searching, with the larger of cloning and stepping in it)"])


def memory_plan(algorithm: Evolution) -> MemoryPlan:
    """Plan the memory of a generation on each of the mesh's devices.

    The outer optimiser is compiled, which takes a few seconds; cloning and stepping are not, which would take minutes
    with a simulator. An array of their size stands for them. Cloning: weights, gradients and optimiser state of the
    networks cloned together, beside those already done. Stepping: the policies, states and observations of a rollout
    batch, and of the policies that step at the same time (`lockstep.num_together`) a second copy and the activations.

    Raises:
        ConfigError: when the population is not divisible by the number of devices.
    """
    spec, learner, count, outer = algorithm.spec, algorithm.learner, algorithm.num_inits, algorithm.outer
    mesh = make_mesh()
    algorithm.check_devices(mesh.size)
    key = jax.eval_shape(lambda: jax.random.key(0))
    rows = jax.eval_shape(outer.ask, key, jax.eval_shape(algorithm.init, key).outer)[0]
    per_row = outer.population_size // num_rows(rows)
    chunk = algorithm.rows_at_once(num_rows(rows) // mesh.size, per_row) * per_row
    networks = chunk * count
    cloned = chunk_size(chunk, max(1, algorithm.learn_batch // count) if algorithm.learn_batch else 0) * count
    params = jax.eval_shape(lambda k: learner.init_params(k, spec), key)
    genome = algorithm.genome_shapes
    trained = jax.eval_shape(lambda k, g, p: learner.learn(k, g, p, spec)[0], key, genome, params)
    policies = networks * _bytes(trained)
    weights = jax.tree.leaves(jax.eval_shape(learner.assemble, params, trained))
    units = sum(leaf.size for leaf in weights if leaf.ndim == 1)  # one activation for each bias
    working = jax.eval_shape(learner.working_arrays, trained)
    cloning = cloned * (_bytes(trained) + _bytes(working)) + (policies if networks > cloned else 0)
    stepping = 0
    for task in algorithm.environment.members:
        num_episodes = algorithm.fitness.parallel_episodes(task.spec)
        at_once = chunk if algorithm.fitness.plays_windows else num_together(chunk, max(1, num_episodes))
        held = 2 * num_episodes * _bytes(jax.eval_shape(task.reset, key))
        active = num_episodes * 4 * units + _bytes(trained)
        stepping = max(stepping, policies + networks * held + at_once * count * active)
    return MemoryPlan(
        population=_bytes(rows) // mesh.size,
        searching=_generation_bytes(algorithm, mesh, 0),
        cloning=cloning,
        stepping=stepping,
        peak=_generation_bytes(algorithm, mesh, max(cloning, stepping)),
    )


def _generation_bytes(algorithm: Evolution, mesh: Mesh, held: int) -> int:
    """XLA's analysis, for one device, of generations that hold so many bytes in the place of cloning and stepping."""
    outer = algorithm.outer
    sharded, replicated = PartitionSpec(POPULATION_AXIS), PartitionSpec()

    def score_chunk(rows: Population, asked: OuterState) -> Array:
        sums = outer.candidates(asked, rows).sum(1)
        array = jnp.full(held // 4, sums.sum())
        # A loop, because the sum of an array that nothing else changes would be computed without the array.
        return sums + lax.fori_loop(0, 3, lambda i, x: 0.5 * x + i, array).sum()

    def score(rows: Population, asked: OuterState) -> Array:
        size = num_rows(rows)
        at_once = algorithm.rows_at_once(size, outer.population_size // mesh.size // size)
        return apply_in_chunks(lambda some: score_chunk(some, asked), rows, at_once)

    def generation(key: Key, state: OuterState) -> OuterState:
        rows, asked = outer.ask(key, state)
        rows = jax.tree.map(lambda x: lax.with_sharding_constraint(x, NamedSharding(mesh, sharded)), rows)
        scored = jax.shard_map(score, mesh=mesh, in_specs=(sharded, replicated), out_specs=sharded, check_vma=False)
        fitness = lax.with_sharding_constraint(scored(rows, asked), NamedSharding(mesh, replicated))
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return outer.tell(key, asked, rows, fitness)[0]

    def several(key: Key, state: OuterState) -> OuterState:
        # In a loop, as in a run: XLA keeps less of one generation alone.
        return lax.fori_loop(0, 2, lambda i, s: generation(jax.random.fold_in(key, i), s), state)

    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(algorithm.init, key).outer
    return _peak(jax.jit(several, out_shardings=NamedSharding(mesh, replicated)).lower(key, state).compile())


@single_precision
def describe_plan(experiment: Experiment, compile_too: bool = False) -> str:
    """Text for `--dry_run`, of every stage; `compile_too` adds XLA's own analysis of a block of generations."""
    lines = [f"device: {jax.device_count()} × {jax.devices()[0].device_kind}"]
    every = stages(experiment)
    for number, stage in enumerate(every, 1):
        if len(every) > 1:
            lines.append(f"stage {number} of {len(every)}, {stage.algorithm.label}:")
        if stage.generations == 0:
            lines.append("no search: policies are trained on the dataset of the stage before, and reported")
            continue
        lines += algorithm_lines(stage.algorithm, stage.generations)
        if compile_too:
            lines += _compiled_lines(stage)
    return "\n".join(lines)


def _compiled_lines(experiment: Experiment) -> list[str]:
    run = CompiledRun(experiment)
    block = run.lower(run.shapes()["state"]).compile()
    lines = [f"XLA's analysis:{_peak(block) / MIB:>13.1f} MiB (temporaries and outputs)"]
    if jax.device_count() > 1:
        lines.append(communication.describe(communication.collectives(block.as_text()), jax.device_count()))
    return lines


@functools.singledispatch
def algorithm_lines(algorithm: Algorithm, generations: int) -> list[str]:
    """Sizes, steps and memory of an algorithm; none for a class that nobody has registered a function for."""
    del algorithm, generations
    return []


@algorithm_lines.register
def _evolution_lines(algorithm: Evolution, generations: int) -> list[str]:
    each = algorithm.max_env_steps
    return [
        f"genome: {size_of(algorithm.genome_shapes):,} numbers",
        f"environment steps: at most {each:,} a generation, {each * generations:,} in {generations:,} generations",
        "memory plan of a generation, per device:",
        str(memory_plan(algorithm)),
    ]


@algorithm_lines.register
def _ppo_lines(algorithm: PPO, iterations: int) -> list[str]:
    return _iteration_lines(
        algorithm, iterations, "networks: {actor:,} numbers of the actor, {critic:,} of the critic", 0
    )


@algorithm_lines.register
def _distillation_lines(algorithm: GradientDistillation, iterations: int) -> list[str]:
    text = "genome: {actor:,} numbers; critic: {critic:,}"
    return _iteration_lines(algorithm, iterations, text, cloning_bytes(algorithm))


@algorithm_lines.register
def _matching_lines(algorithm: TeacherMatching, iterations: int) -> list[str]:
    state = jax.eval_shape(lambda: algorithm.init(jax.random.key(0)))
    numbers = algorithm.spec.obs_size + algorithm.spec.action_space.size
    sizes = {
        "environments": _bytes(state.envs),
        "steps": 3 * 4 * algorithm.steps_per_iteration * numbers,  # as _iteration_lines counts them
        "cloning": cloning_bytes(algorithm),
    }
    return _lines(algorithm, iterations, f"genome: {size_of(state.genome):,} numbers", sizes)


def cloning_bytes(algorithm: ThroughCloning) -> int:
    """Cloned policies and their gradients, and what every update of the unrolled training keeps."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    learner, spec = algorithm.learner, algorithm.spec
    genome = jax.eval_shape(
        lambda k: algorithm.start_genome(k, algorithm.normalizer.init(k, algorithm.environment)), key
    )
    init = jax.eval_shape(lambda k: learner.init_params(k, spec), key)
    trained = jax.eval_shape(lambda k, g, p: learner.learn(k, g, p, spec)[0], key, genome, init)
    working = _bytes(jax.eval_shape(learner.working_arrays, trained))
    return algorithm.num_groups * (_bytes(init) + 2 * _bytes(trained) + learner.num_updates * working)


def _iteration_lines(algorithm: ActorCritic, iterations: int, trained: str, cloning: int) -> list[str]:
    """Sizes of an iteration by the shapes of its arrays; `trained` is a text with the sizes of both networks."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, draws = jax.eval_shape(algorithm.init, key), jax.eval_shape(algorithm.draw, key)
    here = SingleDeviceSharding(jax.devices()[0])
    played, steps, _ = jax.eval_shape(lambda k, s, d: algorithm.collect(k, s, here, d), key, state, draws)
    batch = jax.eval_shape(algorithm.prepare, played, steps)[1]
    learning = 2 * _bytes(state.networks) + _bytes(state.optimizer)
    sizes = {
        "environments": _bytes(state.envs),
        "networks": learning,  # with gradients and the optimiser's state
        "steps": _bytes(steps) + 2 * _bytes(batch),  # as taken, prepared, and in the order of an epoch
    }
    if cloning:
        sizes["cloning"] = cloning
    trained = trained.format(actor=size_of(state.networks.actor), critic=size_of(state.networks.critic))
    return _lines(algorithm, iterations, trained, sizes)


def _lines(algorithm: Iterating, iterations: int, trained: str, sizes: dict[str, int]) -> list[str]:
    each = algorithm.steps_per_iteration
    return [
        trained,
        f"environment steps: {each:,} an iteration, {each * iterations:,} in {iterations:,} iterations; "
        f"{algorithm.num_epochs * algorithm.num_minibatches} updates an iteration",
        "memory plan of an iteration, on one device:",
        *(f"  {name:<12}{size / MIB:>10.1f} MiB" for name, size in sizes.items()),
        f"  {'peak':<12}{sum(sizes.values()) / MIB:>10.1f} MiB",
    ]


def _peak(compiled: jax.stages.Compiled) -> int:
    analysis: Any = compiled.memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def _bytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
