"""What a run will cost before it runs: genome, environment steps, and a memory plan for one device."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from hades.algorithms.evolution import Evolution, num_rows
from hades.algorithms.playing import chunk_size
from hades.algorithms.ppo import PPO
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.train import communication
from hades.train.compiled_run import CompiledRun
from hades.train.experiment import Experiment
from hades.types import PyTree, size_of

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes that one generation keeps alive on one device: the population, and the largest of its phases beside it.

    Attributes:
        population: what is kept of the candidates for the whole generation: all of them, or their noise.
        asking: drawing it.
        building: one rollout batch of candidates from it.
        cloning: the networks of that batch, and what training a few of them at a time takes.
        stepping: the policies of that batch, and their episodes.
        telling: the update.
    """

    population: int
    asking: int
    building: int
    cloning: int
    stepping: int
    telling: int

    @property
    def total(self) -> int:
        return self.population + max(self.asking, self.building, self.cloning, self.stepping, self.telling)

    def __str__(self) -> str:
        rows = [f"  {f.name:<12}{getattr(self, f.name) / MIB:>10.1f} MiB" for f in dataclasses.fields(self)]
        return "\n".join([*rows, f"  {'peak':<12}{self.total / MIB:>10.1f} MiB (population + the largest phase)"])


def memory_plan(algorithm: Evolution, num_devices: int = 1) -> MemoryPlan:
    """What a generation keeps; what XLA adds on top is small for large runs.

    The outer optimiser's part is XLA's own analysis of its three functions, compiled alone, which takes a second. The
    rest is the arrays of cloning and stepping by their shapes. Cloning: weights, gradients and optimiser state of the
    networks cloned together, beside those already done. Stepping: the policies that roll out together, in two layouts,
    and the states, observations and activations of their episodes.
    """
    spec, learner, count, outer = algorithm.spec, algorithm.learner, algorithm.num_inits, algorithm.outer
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(algorithm.init, key).outer
    rows, asked = jax.eval_shape(outer.ask, key, state)
    per_row = outer.population_size // num_rows(rows)
    at_once = algorithm.rows_at_once(num_rows(rows) // num_devices, per_row)
    some_rows = jax.tree.map(lambda x: jax.ShapeDtypeStruct((at_once, *x.shape[1:]), x.dtype), rows)
    fitness = jax.ShapeDtypeStruct((outer.population_size,), jnp.float32)

    chunk = at_once * per_row
    networks = chunk * count
    cloned = chunk_size(chunk, max(1, algorithm.learn_batch // count) if algorithm.learn_batch else 0) * count
    params = jax.eval_shape(lambda k: learner.init_params(k, spec), key)
    genome = algorithm.genome_shapes
    trained = jax.eval_shape(lambda k, g, p: learner.learn(k, g, p, spec)[0], key, genome, params)
    policies = networks * _bytes(trained)
    units = _units(jax.eval_shape(learner.assemble, params, trained))
    cloning = policies
    if isinstance(learner, BehaviourCloning):
        optimizer = jax.eval_shape(lambda p: learner.make_optimizer().init(p), trained)
        cloning = cloned * (2 * _bytes(trained) + _bytes(optimizer)) + (policies if networks > cloned else 0)
    episodes = networks * getattr(algorithm.fitness, "num_episodes", getattr(algorithm.fitness, "num_envs", 1))
    states = [jax.eval_shape(member.reset, key) for member in algorithm.environment.members]
    return MemoryPlan(
        population=_bytes(rows) // num_devices,
        asking=(_compiled_bytes(outer.ask, key, state) - _bytes(rows)) // num_devices,
        building=_compiled_bytes(outer.candidates, asked, some_rows),
        cloning=cloning,
        stepping=2 * policies + episodes * (2 * max(map(_bytes, states)) + 4 * units),
        telling=_compiled_bytes(outer.tell, key, asked, rows, fitness) // num_devices,
    )


def describe_plan(experiment: Experiment, compile_too: bool = False) -> str:
    """Text for `--dry_run`; `compile_too` adds XLA's own analysis of a block of compiled generations."""
    algorithm = experiment.algorithm
    lines = [f"device: {jax.device_count()} × {jax.devices()[0].device_kind}"]
    if isinstance(algorithm, Evolution):
        per_generation = algorithm.max_env_steps
        lines += [
            f"genome: {size_of(algorithm.genome_shapes):,} numbers",
            f"environment steps: at most {per_generation:,} a generation, "
            f"{per_generation * experiment.generations:,} in {experiment.generations:,} generations",
            "memory plan of a generation, per device:",
            str(memory_plan(algorithm, jax.device_count())),
        ]
    if isinstance(algorithm, PPO):
        lines += _ppo_lines(algorithm, experiment.generations)
    if compile_too:
        run = CompiledRun(experiment)
        block = run.lower(run.shapes()["state"]).compile()
        lines.append(f"XLA's analysis:{_peak(block) / MIB:>13.1f} MiB (temporaries and outputs)")
        if jax.device_count() > 1:
            lines.append(communication.describe(communication.collectives(block.as_text()), jax.device_count()))
    return "\n".join(lines)


def _ppo_lines(algorithm: PPO, iterations: int) -> list[str]:
    """Sizes of PPO by the shapes of its arrays."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(algorithm.init, key)
    here = SingleDeviceSharding(jax.devices()[0])
    played, steps, _ = jax.eval_shape(lambda k, s: algorithm.collect(k, s, here), key, state)
    batch = jax.eval_shape(algorithm.prepare, played, steps)[1]
    learning = 2 * _bytes(state.networks) + _bytes(state.optimizer)
    sizes = {
        "environments": _bytes(state.envs),
        "networks": learning,  # with gradients and the optimiser's state
        "steps": _bytes(steps) + 2 * _bytes(batch),  # as taken, prepared, and in the order of an epoch
    }
    each = algorithm.steps_per_iteration
    return [
        f"networks: {size_of(state.networks.actor):,} numbers of the actor, "
        f"{size_of(state.networks.critic):,} of the critic",
        f"environment steps: {each:,} an iteration, {each * iterations:,} in {iterations:,} iterations; "
        f"{algorithm.num_epochs * algorithm.num_minibatches} updates an iteration",
        "memory plan of an iteration, on one device:",
        *(f"  {name:<12}{size / MIB:>10.1f} MiB" for name, size in sizes.items()),
        f"  {'peak':<12}{sum(sizes.values()) / MIB:>10.1f} MiB",
    ]


def _compiled_bytes(function: Callable[..., PyTree], *shapes: PyTree) -> int:
    """Temporaries and outputs of a function, by XLA's analysis."""
    return _peak(jax.jit(function).lower(*shapes).compile())


def _peak(compiled: jax.stages.Compiled) -> int:
    analysis: Any = compiled.memory_analysis()
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def _bytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _units(params: PyTree) -> int:
    """Numbers of all biases: one activation for each unit."""
    return sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim == 1)
