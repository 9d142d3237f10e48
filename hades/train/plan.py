"""What a run will cost before it runs: genome, environment steps, and a memory plan for one device."""

import dataclasses

import jax

from hades.algorithms.evolution import Evolution
from hades.algorithms.playing import largest_divisor
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.train.experiment import Experiment
from hades.train.loop import CompiledRun
from hades.types import PyTree, size_of

MIB = 2**20
POPULATION_COPIES = 5
"""Arrays of the population's size in a generation: candidates, noise, copies between; seen with direct ES on CPU."""


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """Bytes that one generation keeps alive on one device: the population, and the larger of its two phases."""

    population: int
    cloning: int
    stepping: int

    @property
    def total(self) -> int:
        return self.population + max(self.cloning, self.stepping)

    def __str__(self) -> str:
        rows = [f"  {f.name:<12}{getattr(self, f.name) / MIB:>10.1f} MiB" for f in dataclasses.fields(self)]
        return "\n".join([*rows, f"  {'peak':<12}{self.total / MIB:>10.1f} MiB"])


def memory_plan(algorithm: Evolution, num_devices: int = 1) -> MemoryPlan:
    """The arrays of a generation by their shapes; what XLA adds on top is small for large runs.

    Population: the candidates, their noise and copies between. Cloning: weights, gradients and optimiser state of the
    networks cloned together, beside those already done. Stepping: the policies that roll out together, in two layouts,
    and the states, observations and activations of their episodes.
    """
    spec, learner, count = algorithm.spec, algorithm.learner, algorithm.num_inits
    local = algorithm.outer.population_size // num_devices
    chunk = largest_divisor(local, algorithm.rollout_batch)
    networks = chunk * count
    cloned = largest_divisor(chunk, max(1, algorithm.learn_batch // count) if algorithm.learn_batch else 0) * count
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(lambda k: learner.init_params(k, spec), key)
    genome = algorithm.genome_shapes
    trained = jax.eval_shape(lambda k, g, p: learner.learn(k, g, p, spec)[0], key, genome, params)
    policies = networks * _bytes(trained)
    cloning = policies
    if isinstance(learner, BehaviourCloning):
        optimizer = jax.eval_shape(lambda p: learner.make_optimizer().init(p), trained)
        cloning = cloned * (2 * _bytes(trained) + _bytes(optimizer)) + (policies if networks > cloned else 0)
    episodes = networks * getattr(algorithm.fitness, "num_episodes", getattr(algorithm.fitness, "num_envs", 1))
    state = jax.eval_shape(algorithm.environment.reset, key)
    return MemoryPlan(
        population=POPULATION_COPIES * local * size_of(genome) * 4,
        cloning=cloning,
        stepping=2 * policies + episodes * (2 * _bytes(state) + 4 * _activations(params)),
    )


def describe_plan(experiment: Experiment, compile_too: bool = False) -> str:
    """Text for `--dry_run`; `compile_too` adds XLA's own analysis of the compiled generation."""
    algorithm = experiment.algorithm
    lines = [f"device: {jax.device_count()} × {jax.devices()[0].device_kind}"]
    if isinstance(algorithm, Evolution):
        per_generation = (
            algorithm.fitness.max_env_steps(algorithm.spec) * algorithm.num_inits * algorithm.outer.population_size
        )
        lines += [
            f"genome: {size_of(algorithm.genome_shapes):,} numbers",
            f"environment steps: at most {per_generation:,} a generation, "
            f"{per_generation * experiment.generations:,} in {experiment.generations:,} generations",
            "memory plan of a generation, per device:",
            str(memory_plan(algorithm, jax.device_count())),
        ]
    if compile_too:
        run = CompiledRun(experiment)
        analysis = run.lower(run.shapes()["state"]).compile().memory_analysis()
        peak = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
        lines.append(f"XLA's analysis:{peak / MIB:>13.1f} MiB (temporaries and outputs)")
    return "\n".join(lines)


def _bytes(tree: PyTree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf.dtype, "itemsize"))


def _activations(params: PyTree) -> int:
    """Numbers of all biases: one activation for each unit."""
    return sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim == 1)
