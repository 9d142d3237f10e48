"""Print the tables of scaling.md: a generation on other machines, by a cost model.

python docs/scaling_table.py --config=breakout_hades_r
python docs/scaling_table.py --config=hopper_hades_r --gin_bindings='SNES.population_size = 512'

scaling.md explains the model: a roofline per device, a chain of kernels, and what devices exchange. Three things can
bound a phase: arithmetic, memory traffic (every policy has weights of its own, which are read for every action), and
the chain of updates and steps that follow each other, each a few kernels that cannot be faster than their launches.
The slowest of the three counts.
"""

import dataclasses
import re
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from hades.algorithms.evolution import Evolution
from hades.commands.command_line import start
from hades.costs.benchmark import Costs, generation_costs
from hades.environments.base import Environment
from hades.errors import ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.runs.experiment import Experiment
from hades.runs.gin_config import load_experiment
from hades.runs.mesh import make_mesh
from hades.types import POPULATION_AXIS, Discrete, Key, PyTree, size_of

CONFIG = flags.DEFINE_string("config", "breakout_hades_r", "A config of Evolution whose fitness plays episodes.")
BINDINGS = flags.DEFINE_multi_string("gin_bindings", [], "A further gin line; repeatable.")
KERNEL = re.compile(
    r"^\s+(?:ROOT )?%?\S+ = .*? (fusion|dot|custom-call|convolution|while|reduce|gather|scatter|sort)\("
)
FLOAT = 4
"""Bytes."""
UPDATE_PASSES = 7
"""Arrays of the weights' size that an update with Adam reads or writes: weights, gradients and two moments."""
MEASURED_POPULATION = 16
MEMORY_SHARE = 0.5
"""Of a device's memory that policies fill before they are done in several batches."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Constants of one kind of device.

    Attributes:
        flops: peak of float32 matrix products as JAX does them, a second.
        bandwidth: of its memory, bytes a second.
        memory: bytes.
        kernel_seconds: of a kernel that does nothing, one after another.
        collective_seconds: of a small all-reduce over all devices.
        link: bytes a second to its neighbours.
    """

    name: str
    flops: float
    bandwidth: float
    memory: float
    kernel_seconds: float
    collective_seconds: float
    link: float


# Peaks from cloud.google.com/tpu/docs/v5e (one bfloat16 pass is JAX's default for float32 there) and from NVIDIA's data
# sheet of the H100 SXM (float32 without tensor cores). Kernel and collective times are assumptions of their usual size.
V5E = Machine("TPU v5e", 197e12, 819e9, 16e9, 2e-6, 20e-6, 100e9)
H100 = Machine("H100", 67e12, 3.35e12, 80e9, 6e-6, 20e-6, 450e9)


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of a generation.

    Attributes:
        policies: P · k.
        episodes, steps: of each policy, and the length of an episode.
        updates, points: of cloning, and the pairs of a batch; 0 for direct ES.
        weights: numbers of a policy.
        env_flops, env_bytes: of one environment step.
        update_kernels, step_kernels: that follow each other in an update, and in a step.
        exchanged: bytes a generation.
        selection: (policies, episodes) of an evaluation, and generations between two.
    """

    policies: int
    episodes: int
    steps: float
    updates: int
    points: int
    weights: int
    env_flops: float
    env_bytes: float
    update_kernels: int
    step_kernels: int
    exchanged: int
    selection: tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds of a generation, by phase."""

    cloning: float
    stepping: float
    exchange: float
    selection: float

    @property
    def total(self) -> float:
        return self.cloning + self.stepping + self.exchange + self.selection


def predict(work: Work, machine: Machine, devices: int, slower: tuple[float, float] = (1.0, 1.0)) -> Prediction:
    """A generation on some devices; `slower`: what cloning and stepping take of their rooflines, measured elsewhere."""
    cloning, stepping = _phases(work, machine, -(-work.policies // devices), work.episodes, slower)
    policies, episodes, every = work.selection
    selection = sum(_phases(work, machine, policies, episodes, slower))
    exchange = 0.0 if devices == 1 else 4 * machine.collective_seconds + 2 * work.exchanged / machine.link
    return Prediction(cloning, stepping, exchange, selection / every)


def _phases(
    work: Work, machine: Machine, policies: int, episodes: int, slower: tuple[float, float]
) -> tuple[float, float]:
    """Seconds of cloning and of stepping so many policies on one device."""
    held = policies * work.weights * FLOAT * UPDATE_PASSES
    batches = max(1, -(-int(held) // int(MEMORY_SHARE * machine.memory)))
    cloning = max(
        slower[0] * policies * (6 * work.points + 12) * work.weights / machine.flops,
        slower[0] * policies * UPDATE_PASSES * FLOAT * work.weights / machine.bandwidth,
        batches * work.update_kernels * machine.kernel_seconds,
    )
    plays = policies * episodes
    stepping = max(
        slower[1] * plays * (2 * work.weights + work.env_flops) / machine.flops,
        slower[1] * (policies * FLOAT * work.weights + plays * work.env_bytes) / machine.bandwidth,
        batches * work.step_kernels * machine.kernel_seconds,
    )
    return work.updates * cloning, work.steps * stepping


def work_of(experiment: Experiment, exchanged: int = 0) -> Work:
    """By the shapes of a run, and XLA's analysis of one environment step.

    Raises:
        ConfigError: for what is not Evolution, and for a fitness that plays no episodes.
    """
    algorithm = experiment.algorithm
    if not isinstance(algorithm, Evolution):
        raise ConfigError(f"The cost model knows Evolution, not {type(algorithm).__name__}.")
    spec, learner = algorithm.spec, algorithm.learner
    key = jax.eval_shape(lambda: jax.random.key(0))
    params = jax.eval_shape(lambda k: learner.init_params(k, spec), key)
    env = algorithm.environment.members[0]
    episodes = algorithm.fitness.parallel_episodes(env.spec)
    if not episodes:
        raise ConfigError(f"{type(algorithm.fitness).__name__} plays no episodes: give the run a fitness that does.")
    flops, num_bytes = _env_cost(env)
    genome = size_of(algorithm.genome_shapes)
    return Work(
        policies=algorithm.outer.population_size * algorithm.num_inits,
        episodes=episodes,
        steps=algorithm.fitness.max_env_steps(env.spec) // episodes,
        updates=learner.num_updates if isinstance(learner, BehaviourCloning) else 0,
        points=(learner.batch_size or learner.num_pairs) if isinstance(learner, BehaviourCloning) else 0,
        weights=size_of(params),
        env_flops=flops,
        env_bytes=num_bytes,
        update_kernels=_num_kernels(_clone_one(algorithm), key, algorithm.genome_shapes, params),
        step_kernels=_num_kernels(_step_one(algorithm, env), key, params),
        exchanged=exchanged or FLOAT * (algorithm.outer.population_size + genome),
        selection=(experiment.eval_inits, experiment.eval_episodes, experiment.eval_every),
    )


def measure_here() -> Machine:
    """Constants of this machine's devices."""
    side, count = 1024, 2**26
    square, long = jnp.ones((side, side)), jnp.ones(count)
    small = jnp.ones((8, 8))
    chain = jax.jit(lambda x: lax.fori_loop(0, 1000, lambda _, y: jnp.tanh(y @ y), x))
    return Machine(
        name=f"this machine ({jax.devices()[0].device_kind})",
        flops=2 * side**3 / _seconds(jax.jit(lambda x: x @ x), square),
        bandwidth=2 * FLOAT * count / _seconds(jax.jit(lambda x: x + 1.0), long),
        memory=8e9,
        kernel_seconds=_seconds(chain, small) / 2000,
        collective_seconds=_collective_seconds(),
        link=1e9,
    )


def compare_here(experiment: Experiment, machine: Machine, work: Work) -> tuple[tuple[float, float], Costs]:
    """Cloning and stepping here, as multiples of what the model says, and what was measured."""
    algorithm = experiment.algorithm
    assert isinstance(algorithm, Evolution)
    small = dataclasses.replace(algorithm.outer, population_size=MEASURED_POPULATION)  # type: ignore[type-var]  # all are
    costs = generation_costs(dataclasses.replace(algorithm, outer=small), repeats=3)
    policies = MEASURED_POPULATION * algorithm.num_inits
    fewer = dataclasses.replace(work, policies=policies, steps=costs.env_steps / (policies * work.episodes))
    expected = predict(fewer, machine, 1)
    stepping = costs.inference + costs.environment
    cloning = costs.cloning / expected.cloning if work.updates else 1.0
    return (cloning, stepping / expected.stepping), costs


def table(work: Work, rows: list[tuple[Machine, int]], slower: tuple[float, float]) -> str:
    """Markdown: a generation on each machine, against one device of the same kind."""
    lines = [
        "| machine | cloning | stepping | exchange | selection | generation | efficiency |",
        "|---|---|---|---|---|---|---|",
    ]
    for machine, devices in rows:
        one, many = predict(work, machine, 1, slower), predict(work, machine, devices, slower)
        parts = (many.cloning, many.stepping, many.exchange, many.selection, many.total)
        shown = " | ".join(_readable(seconds) for seconds in parts)
        lines.append(f"| {devices} × {machine.name} | {shown} | {one.total / many.total / devices:.0%} |")
    return "\n".join(lines)


def prediction(experiment: Experiment) -> str:
    """This machine, the model against it, and other machines by the model."""
    work = work_of(experiment)
    here = measure_here()
    ratios, costs = compare_here(experiment, here, work)
    slower = (max(1.0, ratios[0]), max(1.0, ratios[1]))  # what fits into the caches here need not fit elsewhere
    rows = [(V5E, 1), (V5E, 8), (V5E, 64), (V5E, 256), (V5E, 1024), (H100, 1), (H100, 8), (H100, 64)]
    return "\n".join(
        [
            f"{here.name}: {here.flops / 1e9:.0f} GFLOP/s, {here.bandwidth / 1e9:.1f} GB/s, "
            f"{here.kernel_seconds * 1e6:.1f} µs a kernel, {here.collective_seconds * 1e6:.0f} µs a collective "
            f"over {jax.device_count()} devices",
            f"a generation: {work.policies:,} policies of {work.weights:,} weights, {work.updates} updates of "
            f"{work.update_kernels} kernels, {work.episodes} episodes of up to {work.steps:,} steps of "
            f"{work.step_kernels} kernels, {work.env_flops:,.0f} operations and {work.env_bytes:,.0f} B an environment "
            f"step; {work.exchanged:,} B exchanged",
            f"population {MEASURED_POPULATION} here: {costs}",
            f"measured over model: {ratios[0]:.1f} for cloning, {ratios[1]:.1f} for stepping; the larger of that and 1 "
            "slows down the machines below",
            "",
            table(work, rows, slower),
        ]
    )


def _readable(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _clone_one(algorithm: Evolution) -> Callable[[Key, PyTree, PyTree], PyTree]:
    return lambda key, genome, params: algorithm.learner.learn(key, genome, params, algorithm.spec)[0]


def _step_one(algorithm: Evolution, env: Environment) -> Callable[[Key, PyTree], PyTree]:
    def step(key: Key, params: PyTree) -> PyTree:
        state, obs = env.reset(key)
        state, obs = lax.optimization_barrier((state, obs))  # resetting is another program
        return env.step(key, state, algorithm.learner.policy.act(key, params, obs, env.spec))

    return step


def _env_cost(env: Environment, batch: int = 256) -> tuple[float, float]:
    """Floating-point operations, and bytes of state and observation read and written, of one step."""
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), batch))
    state, obs = jax.eval_shape(jax.vmap(env.reset), keys)
    space = env.spec.action_space
    actions = jnp.zeros(batch, jnp.int32) if isinstance(space, Discrete) else jnp.zeros((batch, space.size))
    analysis: Any = jax.jit(jax.vmap(env.step)).lower(keys, state, actions).compile().cost_analysis()
    return analysis["flops"] / batch, 2.0 * FLOAT * (size_of(state) + size_of(obs)) / batch


def _num_kernels(function: Callable[..., PyTree], *shapes: PyTree) -> int:
    """Instructions of the compiled program that would be a kernel on an accelerator, a loop's body counted once."""
    text = jax.jit(function).lower(*shapes).compile().as_text() or ""
    outside = re.sub(r"(?ms)^%?fused_computation.*?^}", "", text)
    return max(1, sum(bool(KERNEL.match(line)) for line in outside.splitlines()))


def _seconds(function: Callable[[Array], Array], argument: Array) -> float:
    """The fastest of a few calls."""
    jax.block_until_ready(function(argument))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(function(argument))
        times.append(time.perf_counter() - began)
    return min(times)


def _collective_seconds(count: int = 200) -> float:
    """Seconds of a sum of one number over all devices; 0 where there is one."""
    mesh = make_mesh()
    if mesh.size == 1:
        return 0.0
    spec = PartitionSpec(POPULATION_AXIS)

    def chain(x: Array) -> Array:
        return lax.fori_loop(0, count, lambda _, y: lax.pmean(y, POPULATION_AXIS) + 1.0, x)

    numbers = jax.device_put(jnp.zeros(mesh.size), NamedSharding(mesh, spec))
    return (
        _seconds(jax.jit(jax.shard_map(chain, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)), numbers)
        / count
    )


def main() -> int:
    print(prediction(load_experiment(CONFIG.value, BINDINGS.value)))
    return 0


if __name__ == "__main__":
    start(__name__, main)
