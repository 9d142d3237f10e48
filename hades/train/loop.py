"""The host loop: drives any Algorithm, a block of generations at a time inside one compiled function.

Nothing the host decides (block length, logging, checkpoints, evaluations) touches a key or a state, so a run that is
interrupted and resumed is the uninterrupted run, bit for bit on the same kind of device.
"""

import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding, PartitionSpec

from hades.algorithms.base import Algorithm, Evaluation, Solution, State
from hades.algorithms.keys import Stream, stream_key
from hades.errors import NonFiniteFitnessError
from hades.train.checkpoint import Checkpoints
from hades.train.experiment import Experiment
from hades.train.mesh import make_mesh
from hades.train.progress import ProgressReport
from hades.train.result import RunResult, evolves_dataset, write_result
from hades.train.statistics import ReturnSummary, summarize_evaluation
from hades.train.workdir import WorkDir
from hades.train.writers import JsonLines, TensorBoard

BLOCK = 64
"""Most generations between two looks of the host."""
BLOCK_SECONDS = 2.0
"""About how long a block should take: how often progress moves and a signal is noticed."""
MAX_INT32 = 2**31 - 1
MAX_FAILURES = 3
"""Generations in a row without any finite fitness before a run stops."""


@dataclasses.dataclass
class Progress:
    """The host's part of a run's state: plain numbers, saved with every checkpoint."""

    generation: int = 0
    search_steps: int = 0
    selection_steps: int = 0
    best_return: float | None = None
    best_generation: int = 0
    selected_generation: int = 0
    seconds: dict[str, float] = dataclasses.field(
        default_factory=lambda: {"compile": 0.0, "search": 0.0, "inside": 0.0, "selection": 0.0, "total": 0.0}
    )


def run(experiment: Experiment, workdir: str | Path, *, progress: bool = True, config: str = "") -> RunResult:
    """Run an experiment in a work directory, or continue the one that lives there.

    Args:
        experiment: what to run.
        workdir: receives checkpoints, metrics, the dataset file and `result.json`.
        progress: show a progress bar on stderr.
        config: the gin text that the experiment came from, kept beside the run as `config.gin`.

    Returns:
        The result; `interrupted` where a signal ended it early, after a checkpoint.

    Raises:
        CheckpointError: when the directory holds another configuration, or no checkpoint in it is usable.
        NonFiniteFitnessError: when three generations in a row had no finite fitness.
    """
    directory = WorkDir(workdir)
    budgeted = experiment.max_seconds is not None or experiment.max_env_steps is not None
    total = None if budgeted else experiment.generations
    with directory.locked(), ProgressReport(total, progress) as report:
        directory.claim(experiment, config)
        return _Session(experiment, directory, report).run()


class _Session:
    """One start of a run, from the newest checkpoint to the end or a signal."""

    def __init__(self, experiment: Experiment, directory: WorkDir, report: ProgressReport):
        self._experiment, self._directory, self._report = experiment, directory, report
        self._compiled = CompiledRun(experiment)
        self._checkpoints = Checkpoints(directory.checkpoints)
        self._host = Progress()
        self._state: State = None
        self._best: Solution = None  # type: ignore[assignment]  # set by _start_or_resume

    def run(self) -> RunResult:
        with _signals() as stop_requested:
            return self._run(stop_requested)

    def _run(self, stop_requested: Callable[[], bool]) -> RunResult:
        self._start_or_resume()
        self._began = time.monotonic() - self._host.seconds["total"]
        if not self._is_done():
            self._report.say("Compiling one generation …")
            self._host.seconds["compile"] += self._compiled.compile(self._state)
        at = self._host.generation
        self._metrics = JsonLines(self._directory.metrics, at)
        self._evaluations = JsonLines(self._directory.evaluations, at)
        self._timing = JsonLines(self._directory.timing, at)
        self._tensorboard = TensorBoard(self._directory.tensorboard, at)
        while not self._is_done():
            if stop_requested():
                return self._interrupted()
            self._advance()
        if self._host.selected_generation != self._host.generation:  # stopped by the clock between two evaluations
            self._select()
        self._save()
        self._checkpoints.close()
        self._tensorboard.close()
        summary, seconds = self._evaluate(self._best, Stream.REPORT)
        self._host.seconds["report"] = seconds
        self._host.seconds["inside"] += seconds
        self._host.seconds["total"] = time.monotonic() - self._began
        result = write_result(self._directory, self._experiment, self._host, self._best, summary)
        return result

    def _start_or_resume(self) -> None:
        like = self._compiled.shapes()
        restored = self._checkpoints.restore(like, self._report.say)
        if restored is None:
            self._state = self._compiled.init()
            self._best = self._experiment.algorithm.solution(self._state)
            return
        self._state, self._best = restored.tree["state"], restored.tree["best"]
        self._host = Progress(**restored.record)
        self._report.say(f"Continuing {self._directory.path} after generation {self._host.generation}.")

    def _advance(self) -> None:
        """One block, then whatever is due at the generation it ends at."""
        count = self._next_count()
        began = time.monotonic()
        self._state, metrics = self._compiled.block(self._state, count, self._steps_left())
        inside = time.monotonic() - began
        self._host.seconds["inside"] += inside
        self._log(metrics, began)
        host, experiment = self._host, self._experiment
        failures = int(self._state.failures)
        if failures >= MAX_FAILURES:
            self._save()
            self._checkpoints.close()
            raise NonFiniteFitnessError(
                f"There was no finite fitness, or no finite update, for {failures} generations in a row (the last is "
                f"{host.generation}). The training may diverge (lower the learning rate), an episode may never end "
                "inside a WindowedReturn, or the environment may return NaN. "
                f"The state before is in {self._directory.checkpoints}."
            )
        host.seconds["search"] += time.monotonic() - began
        if host.generation % experiment.eval_every == 0 or host.generation == experiment.generations:
            self._select()
        if host.generation % experiment.checkpoint_every == 0:
            self._save()

    def _next_count(self) -> int:
        """Generations until something is due, or about BLOCK_SECONDS' worth."""
        host, experiment = self._host, self._experiment
        due = min(
            experiment.generations - host.generation,
            experiment.eval_every - host.generation % experiment.eval_every,
            experiment.checkpoint_every - host.generation % experiment.checkpoint_every,
        )
        each = self._compiled.seconds_per_generation
        affordable = BLOCK if each is None else max(1, int(BLOCK_SECONDS / max(each, 1e-6)))
        return max(1, min(due, BLOCK, affordable if each is not None else 1))

    def _steps_left(self) -> int | None:
        most = self._experiment.max_env_steps
        return None if most is None else most - self._host.search_steps

    def _log(self, metrics: list[dict[str, Any]], began: float) -> None:
        host = self._host
        rows = []
        for row in metrics:
            host.generation += 1
            host.search_steps += int(row["env_steps"])
            rows.append({"generation": host.generation, "env_steps_total": host.search_steps, **row})
        elapsed = time.monotonic() - began
        self._metrics.write(rows)
        self._timing.write([{"generation": host.generation, "seconds": round(host.seconds["search"] + elapsed, 3)}])
        self._tensorboard.write(rows)
        steps_per_second = sum(int(row["env_steps"]) for row in metrics) / max(elapsed, 1e-9)
        share, seconds_left = self._outlook(elapsed, steps_per_second)
        fitness = float(metrics[-1]["fitness/mean"])
        self._report.update(host.generation, fitness, host.best_return, steps_per_second, share, seconds_left)

    def _outlook(self, elapsed: float, steps_per_second: float) -> tuple[float, float]:
        """The share of the run that is done, and the seconds left, by whichever limit comes first."""
        host, experiment = self._host, self._experiment
        each = self._compiled.seconds_per_generation or elapsed
        limits = [(host.generation / experiment.generations, each * (experiment.generations - host.generation))]
        if experiment.max_env_steps is not None:
            left = experiment.max_env_steps - host.search_steps
            limits.append((host.search_steps / experiment.max_env_steps, max(0, left) / max(steps_per_second, 1e-9)))
        if experiment.max_seconds is not None:
            spent = host.seconds["search"] + host.seconds["selection"] + elapsed
            limits.append((spent / experiment.max_seconds, max(0.0, experiment.max_seconds - spent)))
        return min(1.0, max(share for share, _ in limits)), min(left for _, left in limits)

    def _select(self) -> None:
        """Evaluate the solution on selection keys, and keep it where it is the best so far."""
        solution = self._experiment.algorithm.solution(self._state)
        summary, seconds = self._evaluate(solution, Stream.SELECTION)
        host = self._host
        host.seconds["selection"] += seconds
        host.seconds["inside"] += seconds
        host.selected_generation = host.generation
        host.selection_steps += round(summary.mean_length * summary.num_inits * summary.num_episodes)
        # Of equals the newest: where a return saturates, the longer search is the safer one.
        is_best = bool(np.isfinite(summary.mean)) and (host.best_return is None or summary.mean >= host.best_return)
        if is_best:
            host.best_return, host.best_generation, self._best = summary.mean, host.generation, solution
        row = {
            "generation": host.generation,
            "env_steps_total": host.search_steps,
            "return_mean": summary.mean,
            "return_std": summary.std_over_inits,
            "implausible_episodes": summary.implausible_episodes,
            "best": is_best,
        }
        self._evaluations.write([row])
        self._tensorboard.write([{"generation": host.generation, "solution/return": summary.mean}])

    def _evaluate(self, solution: Solution, stream: Stream) -> tuple[ReturnSummary, float]:
        self._host.seconds["compile"] += self._compiled.compile_evaluation(solution, stream)
        began = time.monotonic()
        evaluation = self._compiled.evaluate(solution, stream)
        algorithm = self._experiment.algorithm
        one_policy = not evolves_dataset(algorithm)
        summary = summarize_evaluation(evaluation, algorithm.environments[0], one_policy=one_policy)
        return summary, time.monotonic() - began

    def _is_done(self) -> bool:
        host, experiment = self._host, self._experiment
        target, seconds, steps = experiment.target_return, experiment.max_seconds, experiment.max_env_steps
        if target is not None and host.best_return is not None and host.best_return >= target:
            return True
        if seconds is not None and host.seconds["search"] + host.seconds["selection"] >= seconds:
            return True
        if steps is not None and host.search_steps >= steps:
            return True
        return host.generation >= experiment.generations

    def _save(self) -> None:
        self._host.seconds["total"] = time.monotonic() - self._began
        tree = {"state": self._state, "best": self._best}
        self._checkpoints.save(self._host.generation, tree, dataclasses.asdict(self._host))

    def _interrupted(self) -> RunResult:
        self._save()
        self._checkpoints.close()
        self._tensorboard.close()
        self._report.say(
            f"Stopped after generation {self._host.generation}; everything is saved. "
            "Run the same command again to continue."
        )
        return RunResult(workdir=self._directory.path, interrupted=True, generation=self._host.generation)


class CompiledRun:
    """The compiled functions of a run: a block of generations, and an evaluation."""

    def __init__(self, experiment: Experiment):
        self._experiment = experiment
        self._mesh = make_mesh()
        self._replicated = NamedSharding(self._mesh, PartitionSpec())
        self._block: Any = None
        self._evaluations: dict[tuple[int, int], Any] = {}
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
        zero = jnp.zeros((), jnp.int32)
        return jax.jit(self._run_block, out_shardings=self._replicated).lower(state, zero, zero)

    def compile(self, state: State) -> float:
        """Compile the block; seconds it took."""
        began = time.monotonic()
        self._block = self.lower(state).compile()
        return time.monotonic() - began

    def block(self, state: State, count: int, max_env_steps: int | None = None) -> tuple[State, list[dict[str, Any]]]:
        """`count` generations, and the metrics of those done: fewer where fitness failed or the steps were taken."""
        began = time.monotonic()
        most = MAX_INT32 if max_env_steps is None else min(max_env_steps, MAX_INT32)
        arguments = jnp.asarray(count, jnp.int32), jnp.asarray(most, jnp.int32)
        state, done, metrics = jax.block_until_ready(self._block(state, *arguments))
        completed = int(done)
        each = (time.monotonic() - began) / max(completed, 1)
        previous = self.seconds_per_generation
        self.seconds_per_generation = each if previous is None else 0.5 * (previous + each)
        host = jax.device_get(metrics)
        return state, [{name: values[i] for name, values in host.items()} for i in range(completed)]

    def compile_evaluation(self, solution: Solution, stream: Stream) -> float:
        """Compile the evaluation on a stream's keys, unless that is done; seconds it took."""
        began = time.monotonic()
        inits, episodes = self._protocol(stream)
        if (inits, episodes) not in self._evaluations:
            evaluate = jax.jit(lambda key, s: self.algorithm.evaluate(key, s, inits, episodes))
            self._evaluations[inits, episodes] = evaluate.lower(self._stream_key(stream), solution).compile()
        return time.monotonic() - began

    def evaluate(self, solution: Solution, stream: Stream) -> Evaluation:
        """On the keys of a stream, with the inits and episodes that the experiment has for it."""
        self.compile_evaluation(solution, stream)
        evaluate = self._evaluations[self._protocol(stream)]
        return jax.block_until_ready(evaluate(self._stream_key(stream), solution))

    def _protocol(self, stream: Stream) -> tuple[int, int]:
        """Inits and episodes of a stream; streams with equal ones share a compilation."""
        experiment = self._experiment
        if stream == Stream.REPORT:
            return experiment.report_inits, experiment.report_episodes
        return experiment.eval_inits, experiment.eval_episodes

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


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT ask for a stop after the current block; a second one acts at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        print(f"\n{signal.Signals(number).name}: saving after the current block …", flush=True)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
