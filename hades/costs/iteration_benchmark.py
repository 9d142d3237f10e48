"""Time of an actor-critic iteration: stepping and acting against learning."""

import dataclasses
import time
from collections.abc import Callable

import jax
from jax.sharding import NamedSharding, PartitionSpec

from hades.algorithms.actor_critic import ActorCritic
from hades.contracts import single_precision
from hades.costs.benchmark import median_seconds
from hades.runs.mesh import make_mesh
from hades.types import POPULATION_AXIS, PyTree


@dataclasses.dataclass(frozen=True)
class IterationCosts:
    """Seconds of one iteration and of its two parts (medians), and of compiling it."""

    iteration: float
    collecting: float
    learning: float
    compile: float
    env_steps: int

    def __str__(self) -> str:
        return (
            f"iteration {self.iteration:.3f} s ({self.collecting:.3f} collecting, {self.learning:.3f} learning, each "
            f"alone); {self.env_steps:,} environment steps, {self.env_steps / self.iteration / 1e3:.1f} k steps/s; "
            f"compile {self.compile:.1f} s"
        )


@single_precision
def iteration_costs(algorithm: ActorCritic, repeats: int = 5, warm_up: int = 0) -> IterationCosts:
    """Measure an iteration, and its collecting and learning alone.

    Args:
        algorithm: what to measure.
        repeats: timed repetitions, taken in turns.
        warm_up: iterations before them.
    """
    mesh = make_mesh()
    apart = NamedSharding(mesh, PartitionSpec(POPULATION_AXIS))
    key = jax.random.key(1)
    state = jax.jit(lambda: algorithm.init(jax.random.key(0)))()
    began = time.monotonic()
    step = jax.jit(lambda s: algorithm.step(s, mesh)).lower(state).compile()
    compile_seconds = time.monotonic() - began
    for _ in range(warm_up):
        state = step(state)[0]
    draws = jax.jit(algorithm.draw)(key)
    collect = jax.jit(lambda s: algorithm.collect(key, s, apart, draws))
    prepare, learn = jax.jit(algorithm.prepare), jax.jit(algorithm.learn)
    played, steps, _ = collect(state)
    prepared, batch, _ = prepare(played, steps)
    functions: dict[str, Callable[[], PyTree]] = {
        "iteration": lambda: step(state),
        "collecting": lambda: collect(state),
        "learning": lambda: (prepare(played, steps), learn(key, batch, prepared, draws)),
    }
    return IterationCosts(
        **{name: wall for name, (wall, _) in median_seconds(functions, repeats).items()},
        compile=compile_seconds,
        env_steps=algorithm.steps_per_iteration,
    )
