"""The host loop: drives any Algorithm, a block of generations at a time inside one compiled function.

Nothing the host decides (block length, logging, checkpoints, evaluations) touches a key or a state, so a run that is
interrupted and resumed is the uninterrupted run, bit for bit on the same kind of device.
"""

import contextlib
import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from hades import registry
from hades.algorithms.base import Solution, State
from hades.algorithms.keys import Stream
from hades.contracts import single_precision
from hades.errors import NonFiniteFitnessError, notice, require
from hades.policy.statistics import ReturnSummary, summarize_evaluation
from hades.policy.versions import library_versions
from hades.runs import processes
from hades.runs.callback import STOPPED, Callback, LoggedGeneration, numbers
from hades.runs.checkpoint import opened
from hades.runs.compiled_run import BLOCK, MAX_FAILURES, CompiledRun
from hades.runs.experiment import Experiment, limit_reached
from hades.runs.log import RunLog, check_trackers, read_json_lines
from hades.runs.progress import ProgressReport, generation_text
from hades.runs.record import ended_stage
from hades.runs.result import BUDGETED, RunResult, all_stages, finished, write_result
from hades.runs.signals import stop_requests
from hades.runs.stages import FIRST, check_stages, stages, started_from
from hades.runs.state import Progress
from hades.runs.workdir import WorkDir
from hades.text import return_text

BLOCK_SECONDS = 2.0
"""About how long a block should take: how often progress moves and a signal is noticed."""
LONG_BLOCK_SECONDS = 5.0
"""A block that takes longer is followed by a checkpoint, so that a stop never has to wait for one."""


@dataclasses.dataclass(frozen=True)
class _Order:
    """The next step of all processes."""

    generations: int
    save: bool
    done: bool
    stop: bool


@single_precision
def run(
    experiment: Experiment,
    workdir: str | Path | None = None,
    *,
    progress: bool = True,
    config: str = "",
    accept_numerics: bool = False,
    callback: Callback | None = None,
    trackers: Sequence[str] = ("tensorboard",),
) -> RunResult:
    """Run an experiment in a work directory, or continue the one that lives there.

    Args:
        experiment: what to run.
        workdir: receives checkpoints, metrics, the dataset file and `result.json`. None: nothing is kept of a run that
            finishes; one that an error or a signal ends is kept in a temporary folder, which is named.
        progress: show a progress bar on stderr.
        config: the gin text that the experiment came from, kept beside the run as `config.gin`.
        accept_numerics: continue a run although settings of JAX or the engine of physics differ.
        callback: called on process 0 with every generation, each of which is then a block of its own. Where it returns
            True, the run ends with a report, as where `max_seconds` are used up, and a later start continues it; of a
            run in stages, the stage it is in is the last one then. Where it raises, the run is saved first.
        trackers: where the scalars are shown beside the metric files: "tensorboard", "wandb" (Weights & Biases).

    Returns:
        The result; `interrupted` where a signal ended it early, after a checkpoint.

    Raises:
        ConfigError: when the devices cannot share a generation evenly, or several processes have no work directory.
        CheckpointError: when the directory is in use or holds another configuration, no checkpoint in it is usable, or
            its numbers would be others than before.
        ProcessError: when the processes of the run differ in their configuration or do not share the directory.
        NonFiniteFitnessError: when three generations in a row had no finite fitness.
    """
    check_stages(experiment)
    check_trackers(trackers)
    if workdir is None:
        return _run_without_workdir(experiment, progress=progress, callback=callback, trackers=trackers)
    before = None
    directory = WorkDir(workdir)
    if experiment.first is not None:
        processes.first_does(lambda: directory.check(registry.describe(experiment), configured=True))
        first = directory.path / FIRST
        if (before := ended_stage(directory, experiment.first)) is None:
            if processes.is_first():
                notice(f"First {experiment.first.algorithm.label}, in {first}:")
            options: dict[str, Any] = {"progress": progress, "accept_numerics": accept_numerics}
            before = run(experiment.first, first, callback=callback, trackers=trackers, **options)
        if before.interrupted or before.details["stopped_by"] == STOPPED:
            return dataclasses.replace(before, workdir=Path(workdir))
        assert before.dataset is not None  # check_stages
        experiment = started_from(experiment, before.dataset)
    engines = [environment.spec.engine for environment in experiment.algorithm.environments]
    processes.compare([registry.describe(experiment), library_versions(), engines, callback is not None])
    experiment.algorithm.check_devices(jax.device_count())
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(ProgressReport(progress and processes.is_first()))
        _open(directory, experiment, config, stack, report)
        return _Session(experiment, directory, report, accept_numerics, before, callback, trackers).run()


def _run_without_workdir(experiment: Experiment, **options: Any) -> RunResult:
    """Run in a temporary folder, which goes with the run unless that would lose something."""
    require(
        jax.process_count() == 1,
        "A run of several processes needs a work directory that they share: hades.run(experiment, workdir).",
    )
    folder, result = Path(tempfile.mkdtemp(prefix="hades-")), None
    try:
        result = run(experiment, folder, **options)
    finally:
        if (result is None or result.interrupted) and any(folder.rglob("checkpoints/*")):
            notice(f"The run did not finish and is kept: hades.run(experiment, {str(folder)!r}) continues it.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return result if result.interrupted else dataclasses.replace(result, workdir=None)


def _open(
    directory: WorkDir, experiment: Experiment, config: str, stack: contextlib.ExitStack, report: ProgressReport
) -> None:
    """Lock and claim the directory, for all processes."""
    stale = processes.first_does(lambda: stack.enter_context(directory.locked()))
    if stale:
        report.say(stale)
    processes.first_does(lambda: directory.claim(experiment, config))
    processes.check_shared(lambda: directory.lock_token, directory.path)


class _Session:
    """One start of a run, from the newest checkpoint to the end or a signal."""

    def __init__(
        self,
        experiment: Experiment,
        directory: WorkDir,
        report: ProgressReport,
        accept_numerics: bool,
        before: RunResult | None,
        callback: Callback | None,
        trackers: Sequence[str],
    ):
        self._experiment, self._directory, self._report = experiment, directory, report
        self._accept_numerics, self._callback, self._trackers = accept_numerics, callback, trackers
        self._is_stopped = False  # by the callback
        self._before = before  # the stage before
        self._costs_before = {} if before is None else before.details
        self._compiled = CompiledRun(experiment)
        self._host = Progress()
        self._state: State = None
        self._best: Solution = None  # type: ignore[assignment]  # set by _start_or_resume

    def run(self) -> RunResult:
        with (
            stop_requests(self._is_saved) as stop_requested,  # until the checkpoints are closed, too
            opened(self._directory.checkpoints) as self._checkpoints,
        ):
            try:
                return self._run(stop_requested)
            except Exception:
                self._checkpoints.settle(self._directory.is_removed)
                raise

    def _run(self, stop_requested: Callable[[], bool]) -> RunResult:
        self._start_or_resume()
        if int(self._state.failures) >= MAX_FAILURES:  # an earlier start has stopped here, and another would too
            raise self._no_finite_fitness()
        self._began = time.monotonic() - self._host.seconds["total"]
        order = self._order(stop_requested)
        if not order.done:
            versions = library_versions(self._experiment.algorithm.environments[0].versions)
            self._host.start(versions, self._directory.checkpoints, accept_numerics=self._accept_numerics)
            self._report.say("Compiling one generation …")
            self._host.seconds["compile"] += self._compiled.compile(self._state)
        self._log = RunLog(self._directory, self._host.generation, processes.is_first(), self._trackers)
        if self._experiment.first is not None and self._host.best_return is None:
            self._select()  # what the stage before has made, which this one has to improve
        while not order.done:
            if order.stop:
                return self._interrupted()
            self._advance(order)
            order = self._order(stop_requested)
        if self._host.selected_generation != self._host.generation:  # stopped by the clock between two evaluations
            self._select()
        self._save()
        self._flush()
        if self._host.best_return is None:
            self._warn("No solution earned a finite return on the selection keys: the result is the first one.")
        summary, seconds = self._evaluate(self._best, Stream.REPORT)
        self._host.seconds["report"] = seconds
        self._host.seconds["inside"] += seconds
        self._host.seconds["total"] = time.monotonic() - self._began
        result = finished(self._directory, self._experiment, self._host, self._best, summary, self._before)
        result.details["stopped_by"] = self._limit()
        processes.first_does(lambda: write_result(self._directory, result))
        return result

    def _order(self, stop_requested: Callable[[], bool]) -> _Order:
        """Decide the next step. Process 0 decides, since clocks differ; any process can request a stop."""
        each = self._compiled.seconds_per_generation
        count = self._next_count()
        long = each is None or each * count > LONG_BLOCK_SECONDS
        given = processes.gather(count, long, bool(self._limit()), stop_requested())
        return _Order(int(given[0, 0]), bool(given[0, 1]), bool(given[0, 2]), bool(given[:, 3].any()))

    def _start_or_resume(self) -> None:
        like = self._compiled.shapes()
        restored = self._checkpoints.restore(like, self._report.say)
        if restored is None:
            self._state = self._compiled.init()
            self._best = self._experiment.algorithm.solution(self._state)
            return
        self._state, self._best = restored.tree["state"], restored.tree["best"]
        self._host = Progress.from_record(restored.record, self._directory.checkpoints)
        self._report.say(f"Continuing {self._directory.path} after generation {self._host.generation}.")

    def _advance(self, order: _Order) -> None:
        """One block, then whatever is due at the generation it ends at."""
        began = time.monotonic()
        self._state, metrics = self._compiled.block(self._state, order.generations, self._steps_left())
        inside = time.monotonic() - began
        self._host.seconds["inside"] += inside
        processes.first_does(self._directory.check_owner)
        self._checkpoints.wait()  # what is logged is at most one checkpoint interval ahead of what is on disk
        self._count(metrics, began)
        host, experiment = self._host, self._experiment
        if int(self._state.failures) >= MAX_FAILURES:
            self._save()
            self._flush()
            raise self._no_finite_fitness()
        host.seconds["search"] += time.monotonic() - began
        if host.generation % experiment.eval_every == 0 or host.generation == experiment.generations:
            self._select()
        if order.save or host.generation % experiment.checkpoint_every == 0:
            self._save()
        if self._callback is not None:
            self._call(self._callback, metrics[-1])

    def _call(self, callback: Callback, metrics: dict[str, Any]) -> None:
        """Let process 0 call the callback, and all of them know whether it ends the run.

        Raises:
            BaseException: on process 0, what the callback raised, once everything is saved.
            ProcessError: on the others then.
        """
        host, algorithm = self._host, self._experiment.algorithm
        stage, seconds = len(stages(self._experiment)), host.seconds["search"]
        counts = (stage, host.generation, host.search_steps, seconds, numbers(metrics), host.best_return)
        error = None
        if processes.is_first():
            try:
                self._is_stopped = bool(callback(LoggedGeneration(*counts, algorithm, self._best)))
            except BaseException as raised:
                error = raised
        stopped, failed = processes.gather(self._is_stopped, error is not None)[0]
        self._is_stopped = bool(stopped)
        if failed:
            self._save()
            self._flush()
            processes.first_does(lambda: _raise(error))

    def _next_count(self) -> int:
        """Generations until something is due, or about BLOCK_SECONDS' worth."""
        if self._callback is not None:
            return 1
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
        return None if most is None else most - self._steps_taken()

    def _steps_taken(self) -> int:
        """Environment steps of the search, those of the stages before included."""
        return self._host.search_steps + int(all_stages(self._costs_before, "env_steps", "search"))

    def _seconds_taken(self) -> float:
        """Seconds of search and selection, those of the stages before included."""
        return sum(self._host.seconds[p] + all_stages(self._costs_before, "seconds", p) for p in BUDGETED)

    def _count(self, metrics: list[dict[str, Any]], began: float) -> None:
        """Add a block's generations to the record and the log, and show how far the run is."""
        host = self._host
        rows = []
        for row in metrics:
            host.generation += 1
            host.search_steps += int(row["env_steps"])
            rows.append({"generation": host.generation, "env_steps_total": host.search_steps, **row})
        elapsed = time.monotonic() - began
        self._log.generations(rows, host.seconds["search"] + elapsed)
        steps_per_second = sum(int(row["env_steps"]) for row in metrics) / max(elapsed, 1e-9)
        share, seconds_left = self._outlook(elapsed, steps_per_second)
        fitness = float(metrics[-1]["fitness/mean"])
        budgeted = self._experiment.max_seconds is not None or self._experiment.max_env_steps is not None
        total = None if budgeted else self._experiment.generations
        text = generation_text(host.generation, total, fitness, host.best_return, steps_per_second)
        self._report.update(text, share, left=f"  {seconds_left:.0f} s left")

    def _outlook(self, elapsed: float, steps_per_second: float) -> tuple[float, float]:
        """The share of the run that is done, and the seconds left, by whichever limit comes first."""
        host, experiment = self._host, self._experiment
        each = self._compiled.seconds_per_generation or elapsed
        limits = [(host.generation / experiment.generations, each * (experiment.generations - host.generation))]
        if experiment.max_env_steps is not None:
            taken = self._steps_taken()
            left = experiment.max_env_steps - taken
            limits.append((taken / experiment.max_env_steps, max(0, left) / max(steps_per_second, 1e-9)))
        if experiment.max_seconds is not None:
            spent = self._seconds_taken() + elapsed
            limits.append((spent / experiment.max_seconds, max(0.0, experiment.max_seconds - spent)))
        return min(1.0, max(share for share, _ in limits)), min(left for _, left in limits)

    def _select(self) -> None:
        """Evaluate the solution on selection keys, and keep it where it is the best so far."""
        solution = self._experiment.algorithm.solution(self._state)
        summary, seconds = self._evaluate(solution, Stream.SELECTION)
        host = self._host
        host.seconds["selection"] += seconds
        host.seconds["inside"] += seconds
        host.selection_steps += round(summary.mean_length * summary.num_inits * summary.num_episodes)
        # Of equals the newest: where a return saturates, the longer search is the safer one.
        is_best = bool(np.isfinite(summary.mean)) and (host.best_return is None or summary.mean >= host.best_return)
        in_vain = self._evaluations_in_vain()
        host.selected_generation = host.generation
        if is_best and (host.best_return is None or summary.mean > host.best_return):
            host.improved_generation = host.generation
        if is_best:
            host.best_return, host.best_generation, self._best = summary.mean, host.generation, solution
        self._log.evaluation(
            {
                "generation": host.generation,
                "env_steps_total": host.search_steps,
                "return_mean": summary.mean,
                "return_std": summary.std_over_inits,
                "implausible_episodes": summary.implausible_episodes,
                "best": is_best,
            }
        )
        self._note_plateau(in_vain)

    def _evaluate(self, solution: Solution, stream: Stream) -> tuple[ReturnSummary, float]:
        self._host.seconds["compile"] += self._compiled.compile_evaluation(solution, stream)
        began = time.monotonic()
        evaluation = self._compiled.evaluate(solution, stream)
        algorithm = self._experiment.algorithm
        one_policy = not algorithm.evolves_dataset
        summary = summarize_evaluation(evaluation, algorithm.environments[0], one_policy=one_policy)
        if summary.faults:
            self._warn(f"Evaluation after generation {self._host.generation}: {summary.faults}")
        return summary, time.monotonic() - began

    def _warn(self, text: str) -> None:
        """Print a line that a run without a progress bar prints, too."""
        if processes.is_first():
            notice(text)

    def _limit(self) -> str:
        """Name of the limit that ends the run, or "callback"; empty while none does."""
        host = self._host
        reached = {
            "target_return": host.best_return,
            "max_seconds": self._seconds_taken(),
            "max_env_steps": self._steps_taken(),
            "patience": self._evaluations_in_vain(),
            "generations": host.generation,
        }
        return limit_reached(vars(self._experiment), reached) or STOPPED * self._is_stopped

    def _evaluations_in_vain(self) -> float:
        """Evaluations since the last one that improved the return."""
        return (self._host.selected_generation - self._host.improved_generation) / self._experiment.eval_every

    def _note_plateau(self, before: float) -> None:
        """Print, once, that the search is on a plateau; `before` is `_evaluations_in_vain` at the last evaluation."""
        now, experiment, host = self._evaluations_in_vain(), self._experiment, self._host
        if any(n is not None and before < n <= now for n in (experiment.plateau_notice, experiment.patience)):
            self._warn(
                f"The search is on a plateau: {now:.0f} evaluations in a row, up to generation {host.generation}, did "
                f"not improve the {return_text(host.best_return)} of generation {host.improved_generation}."
            )

    def _save(self) -> None:
        processes.first_does(self._directory.check_owner)
        self._host.seconds["total"] = time.monotonic() - self._began
        tree = {"state": self._state, "best": self._best}
        self._checkpoints.save(self._host.generation, tree, dataclasses.asdict(self._host))

    def _is_saved(self) -> bool:
        return self._host.generation == 0 or self._checkpoints.holds(self._host.generation)

    def _flush(self) -> None:
        """Wait until everything is on disk."""
        self._checkpoints.wait()
        self._log.close()

    def _no_finite_fitness(self) -> NonFiniteFitnessError:
        return NonFiniteFitnessError(
            f"{int(self._state.failures)} generations in a row had no finite fitness or no finite update "
            f"(the last is {self._host.generation}). The search or the training may diverge (use a lower rate or "
            "step size), an episode may never end inside a WindowedReturn, or the environment may return NaN or "
            "infinite rewards (`fitness/infinite` in the metrics counts such candidates). Change the configuration and "
            f"start it in another --workdir; the state before is in {self._directory.checkpoints}."
        )

    def _interrupted(self) -> RunResult:
        self._save()
        self._flush()
        self._report.say(
            f"Stopped after generation {self._host.generation}; everything is saved. "
            "Run the same command again to continue."
        )
        directory = self._directory
        return RunResult(
            workdir=directory.path,
            interrupted=True,
            generation=self._host.generation,
            metrics=read_json_lines(directory.metrics),
            evaluations=read_json_lines(directory.evaluations),
        )


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
