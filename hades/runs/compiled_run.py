"""The compiled functions of a run: the first state, a block of generations, and an evaluation."""

import functools
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from hades.algorithms.base import Algorithm, Evaluation, Solution, State, in_environment
from hades.algorithms.distilling import for_report
from hades.algorithms.keys import Stream, stream_key
from hades.runs.experiment import Experiment
from hades.runs.mesh import make_mesh

BLOCK = 64
"""Most generations between two looks of the host."""
MAX_FAILURES = 3
"""Generations in a row without any finite fitness before a run stops."""
MAX_INT32 = 2**31 - 1
_Protocol: TypeAlias = tuple[Algorithm, int, int]


class CompiledRun:
    """The compiled functions of a run: a block of generations, and an evaluation."""

    def __init__(self, experiment: Experiment):
        self._experiment = experiment
        self._mesh = make_mesh()
        self._replicated = NamedSharding(self._mesh, PartitionSpec())
        self._block: Any = None
        self._evaluations: dict[_Protocol, Any] = {}
        self.seconds_per_generation: float | None = None

    @property
    def algorithm(self) -> Algorithm:
        return self._experiment.algorithm

    def init(self) -> State:
        """The first state, replicated over the mesh."""
        return self._init()

    def shapes(self) -> dict[str, Any]:
        """Shapes of what a checkpoint holds."""
        state = jax.eval_shape(self._init)
        best = jax.eval_shape(self.algorithm.solution, state)
        return jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=self._replicated), {"state": state, "best": best}
        )

    def lower(self, state: State) -> Any:
        """The lowered block, for its cost and memory analyses."""
        number = jax.ShapeDtypeStruct((), jnp.int32, sharding=self._replicated)
        return jax.jit(self._run_block, out_shardings=self._replicated).lower(state, number, number)

    def compile(self, state: State) -> float:
        """Compile the block; seconds it took."""
        began = time.monotonic()
        self._block = self.lower(state).compile()
        return time.monotonic() - began

    def block(self, state: State, count: int, max_env_steps: int | None = None) -> tuple[State, list[dict[str, Any]]]:
        """`count` generations, and the metrics of those done: fewer where fitness failed or the steps were taken."""
        began = time.monotonic()
        most = MAX_INT32 if max_env_steps is None else min(max_env_steps, MAX_INT32)
        state, done, metrics = jax.block_until_ready(self._block(state, np.int32(count), np.int32(most)))
        completed = int(done)
        each = (time.monotonic() - began) / max(completed, 1)
        previous = self.seconds_per_generation
        self.seconds_per_generation = each if previous is None else 0.5 * (previous + each)
        host = jax.device_get(metrics)
        return state, [{name: values[i] for name, values in host.items()} for i in range(completed)]

    def compile_evaluation(self, solution: Solution, stream: Stream) -> float:
        """Compile the evaluation on a stream's keys, unless that is done; seconds it took."""
        began = time.monotonic()
        protocol = algorithm, inits, episodes = self._protocol(stream)
        if protocol not in self._evaluations:
            evaluate = jax.jit(
                lambda key, s: algorithm.evaluate(key, s, inits, episodes), out_shardings=self._replicated
            )
            self._evaluations[protocol] = evaluate.lower(self._stream_key(stream), solution).compile()
        return time.monotonic() - began

    def evaluate(self, solution: Solution, stream: Stream) -> Evaluation:
        """On the keys of a stream, with the inits and episodes that the experiment has for it."""
        self.compile_evaluation(solution, stream)
        evaluate = self._evaluations[self._protocol(stream)]
        return jax.block_until_ready(evaluate(self._stream_key(stream), solution))

    def _protocol(self, stream: Stream) -> _Protocol:
        """Algorithm, inits and episodes of a stream; streams with equal ones share a compilation."""
        experiment, algorithm = self._experiment, self.algorithm
        if stream == Stream.REPORT:
            return for_report(algorithm), experiment.report_inits, experiment.report_episodes
        selecting = in_environment(algorithm, algorithm.environments[0].for_selection)
        return selecting, experiment.eval_inits, experiment.eval_episodes

    def _stream_key(self, stream: Stream) -> Array:
        key = jax.jit(lambda: stream_key(jax.random.key(self._experiment.seed), stream), out_shardings=self._replicated)
        return key()

    @functools.cached_property
    def _init(self) -> Callable[[], State]:
        seed = self._experiment.seed
        return jax.jit(lambda: self.algorithm.init(jax.random.key(seed)), out_shardings=self._replicated)

    def _run_block(self, state: State, count: Array, max_env_steps: Array) -> tuple[State, Array, dict[str, Array]]:
        step = jax.jit(lambda s: self.algorithm.step(s, self._mesh))  # jitted, so that it is traced once for both uses
        shapes = jax.eval_shape(step, state)[1]
        empty = jax.tree.map(lambda m: jnp.zeros((BLOCK, *m.shape), m.dtype), shapes)

        def unfinished(carry: tuple[State, Array, Array, dict[str, Array]]) -> Array:
            state, done, steps_left, _ = carry
            return (done < count) & (steps_left > 0) & (state.failures < MAX_FAILURES)

        def generation(carry: tuple[State, Array, Array, dict[str, Array]]) -> tuple[Any, ...]:
            state, done, steps_left, rows = carry
            state, metrics = step(state)
            rows = jax.tree.map(lambda row, m: row.at[done].set(m), rows, metrics)
            return state, done + 1, steps_left - metrics["env_steps"], rows

        start = state, jnp.zeros((), jnp.int32), max_env_steps, empty
        state, done, _, rows = lax.while_loop(unfinished, generation, start)
        return state, done, rows
