"""Many runs, each in a folder of its own: finished ones stay, interrupted ones continue, a failure stops no other.

A `Runner` decides where a run happens: `in_process` here, `hades.machines.sweep.Programs` in child processes.
"""

import dataclasses
import enum
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from hades import registry
from hades.errors import CheckpointError, HadesError, notice
from hades.runs.gin_config import operative_config
from hades.runs.job import Job
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from hades.runs.record import finished_result
from hades.runs.signals import FAILED, FINISHED, INTERRUPTED, handled
from hades.runs.stages import FIRST, described_stages
from hades.runs.workdir import WorkDir, as_configured, differences


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedRun:
    """One of many runs.

    Attributes:
        name: unique among them.
        values: what differs between them, by name.
        job: config, bindings and folder.
        described: the experiment, as `experiment.json` holds it.
    """

    name: str
    values: Mapping[str, str]
    job: Job
    described: Mapping[str, Any]

    @property
    def workdir(self) -> Path:
        return Path(self.job.workdir)

    @property
    def command(self) -> str:
        """The command line of this run alone."""
        return shlex.join(self.job.words())

    @property
    def budget(self) -> str:
        """Seconds, steps or both; see `budget_text`."""
        return budget_text(self.described)

    @property
    def seconds(self) -> float:
        """Seconds of its budget; 0 where other limits end it."""
        return self.described["max_seconds"] or 0.0

    @property
    def generation(self) -> int:
        """Generations that the folder holds, those of the stages before included."""
        folders = [self.workdir.joinpath(*[FIRST] * depth) for depth in range(len(described_stages(self.described)))]
        rows = [read_json_lines(WorkDir(folder).timing)[-1:] for folder in folders]
        return sum(int(last[0]["generation"]) for last in rows if last)

    def result(self) -> Mapping[str, Any]:
        """Return `result.json` if the folder holds the end of this run under this budget, else an empty mapping.

        Raises:
            CheckpointError: when it holds another run, or the end of this one under a larger budget.
        """
        known = WorkDir(self.workdir).check(self.described, configured=True)
        result = finished_result(self.workdir, self.described)
        if not known or not result:
            return result
        changed = {path: (old, new) for path, old, new in differences(known, as_configured(self.described))}
        for name in ("checkpoint_every", "plateau_notice"):
            changed.pop(name, None)
        larger = [
            f"{name} {old} there and {new} now"
            for name, (old, new) in changed.items()
            if name in ("max_seconds", "max_env_steps") and new is not None and (old is None or old > new)
        ]
        if larger:
            raise CheckpointError(
                f"{self.workdir} holds this run under a larger budget ({', '.join(larger)}), and a run cannot be "
                "shortened. Give that budget, or another --workdir."
            )
        return {} if changed else result

    def returns(self) -> str:
        """The reported return with its interval; empty for an unfinished run."""
        report = self.result().get("report") or {}
        return f"{report['mean']:.4g} ({report['ci95'][0]:.4g} to {report['ci95'][1]:.4g})" if report else ""

    def progress(self) -> str:
        """ "generation 12 of 200"."""
        return f"generation {self.generation} of {sum(s['generations'] for s in described_stages(self.described))}"

    def state(self) -> str:
        """ "finished", "generation 12 of 200" or "not started", by the files in its folder; raises like `result`."""
        return State.FINISHED if self.result() else self.progress() if self.generation else "not started"


class State(enum.StrEnum):
    """State of a run that `run_all` has seen."""

    FINISHED = "finished"
    HANDED_OVER = "handed over"
    INTERRUPTED = "interrupted"
    FAILED = "FAILED"


@dataclasses.dataclass(frozen=True)
class End:
    """State in which a run was left; `reason` belongs to a failure."""

    state: State
    reason: str = ""


Runner = Callable[[PlannedRun, Sequence[int]], End]
"""Makes a run and returns how it was left. The sequence grows with each request to stop: a second one kills the run."""


def budget_text(described: Mapping[str, Any]) -> str:
    """The budget of an experiment: "60 s", "1,000,000 steps" or both, whichever is used up first."""
    seconds, steps = described["max_seconds"], described["max_env_steps"]
    ends = ([] if seconds is None else [f"{seconds:g} s"]) + ([] if steps is None else [f"{steps:,.0f} steps"])
    return " or ".join(ends) or "no budget"


def planned(name: str, values: Mapping[str, str], job: Job) -> PlannedRun:
    """Resolve a job, so that a mistake in it shows before anything runs.

    Raises:
        ConfigError: for a config that cannot be built.
    """
    return PlannedRun(name, values, job, registry.describe(job.check()))


def in_process(progress: bool = False) -> Runner:
    """Return a function that makes a run in this process, with or without its progress bar."""
    previous = ""

    def make(one: PlannedRun, stops: Sequence[int]) -> End:
        nonlocal previous
        del stops  # the host loop handles signals itself
        if one.job.config != previous:
            jax.clear_caches()  # programs of another configuration would only take memory
            previous = one.job.config
        try:
            result = run(one.job.check(), one.workdir, progress=progress, config=operative_config())
        except (HadesError, jax.errors.JaxRuntimeError) as error:
            return End(State.FAILED, str(error))
        return End(State.INTERRUPTED if result.interrupted else State.FINISHED)

    return make


def run_all(
    runs: Sequence[PlannedRun], make: Runner, say: Callable[[str], None], *, parallel: int = 1
) -> dict[PlannedRun, End]:
    """Make every run that is not finished, and return how each was left; after a signal, some were not started.

    Args:
        runs: in the order in which they start.
        make: decides where they happen.
        say: called with a line when a run starts or ends.
        parallel: how many run at once; above 1, `make` is called in threads.

    Raises:
        HadesError: when `make` raises it: no run can be made.
    """
    ends: dict[PlannedRun, End] = {}
    beyond: list[float] = []  # seconds that runs took on top of their budgets
    stops: list[int] = []

    def stop(number: int) -> None:
        stops.append(number)
        notice(f"\n{signal.Signals(number).name}: what is running saves and ends …")

    def note(one: PlannedRun, end: End, seconds: float = 0.0) -> None:
        ends[one] = end
        text = f"{end.state}: {end.reason}" if end.reason else str(end.state)
        if end.state is State.FINISHED:
            beyond.append(seconds - one.seconds)
            text = f"return {one.returns()}, {seconds:.0f} s"
        elif end.state is State.INTERRUPTED:
            stops.extend([] if stops else [0])
            text = f"stopped after generation {one.generation}"
        say(f"    {one.name}: {text}")

    def attempt(one: PlannedRun) -> None:
        if stops:
            return
        going_on = f", continuing after generation {one.generation}" if one.generation else ""
        left = time_left([one for one in runs if one not in ends], beyond, parallel)
        say(f"run {runs.index(one) + 1} of {len(runs)}: {one.name}{going_on}{left}")
        began = time.monotonic()
        end = make(one, stops)
        note(one, end, time.monotonic() - began)

    for one in runs:
        try:
            if one.result():
                ends[one] = End(State.FINISHED)
        except HadesError as error:
            note(one, End(State.FAILED, str(error)))
    if finished := sum(end.state is State.FINISHED for end in ends.values()):
        say(f"{finished} of {len(runs)} runs are finished already")
    waiting = [one for one in runs if one not in ends]
    with handled(stop), ThreadPoolExecutor(parallel) as pool:
        try:
            list(map(attempt, waiting) if parallel == 1 else pool.map(attempt, waiting))
        except BaseException:
            stops.extend((0, 0))  # ends at once what runs in other threads
            raise
    return ends


def report(runs: Sequence[PlannedRun], ends: Mapping[PlannedRun, End]) -> int:
    """Print on stderr which runs failed, and whether any is left to be continued; return the exit status."""
    failures = [f"\n  {one.name}: {end.reason}" for one, end in ends.items() if end.state is State.FAILED]
    if failures:
        notice(f"\nhades: {len(failures)} of the runs failed:{''.join(failures)}")
    is_whole = all(one in ends and ends[one].state is not State.INTERRUPTED for one in runs)
    if failures or not is_whole:
        notice("\nThe same command continues what is not finished.")
    return FAILED if failures else FINISHED if is_whole else INTERRUPTED


def time_left(runs: Sequence[PlannedRun], beyond: Sequence[float] = (), parallel: int = 1) -> str:
    """Estimate the time that runs will take from their budgets and from what others took; empty if nothing tells.

    Args:
        runs: those to come.
        beyond: seconds that each of those that are finished took on top of its budget.
        parallel: how many run at once.
    """
    budgets = sum(one.seconds for one in runs)
    if beyond:
        seconds = budgets + max(sum(beyond) / len(beyond), 0.0) * len(runs)
        return f", about {_minutes(seconds / parallel)} left"
    return f", at least {_minutes(budgets / parallel)}" if all(one.seconds for one in runs) else ""


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
