"""Seeds × varied gin lines: the points of a sweep, and the programs that make them here or on other machines.

Each point is an ordinary run of `hades-train` in a folder of its own that is called after what differs, so that adding
values or seeds later renames nothing.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hades.data.files import explained, write_bytes
from hades.errors import ConfigError, shown
from hades.machines.children import Child
from hades.machines.commands import LaunchError
from hades.runs.job import Job
from hades.runs.signals import FAILED, FINISHED, may_continue
from hades.studies.many_runs import End, PlannedRun, State, planned
from hades.text import json_text, markdown_table

POLL_SECONDS = 0.2
SHOW_SECONDS = 30.0
"""Seconds between lines about a point that is running."""
LONGEST = 40
"""Letters of a point's name: what schedulers take as a name (`Job.name`)."""
TARGETS = {"local": "hades-train", "slurm": "hades-slurm", "gke": "hades-gke", "tpu_pod": "hades-tpu-pod"}
"""The program that runs one point, by where."""
NAMED = ("gke", "tpu_pod")
"""Launchers that would call a run after the last part of its work directory only."""
_NAME = re.compile(r"[\w./]+")
_WORD = re.compile(r"[A-Za-z]\w*|m?\d[\d.]*(e-?\d+)?", re.ASCII)
"""A value that its place in a folder's name says completely."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A gin line with several values: `SNES.sigma = 0.1|0.3|0.5`."""

    name: str
    values: tuple[str, ...]


def parse_axis(text: str) -> Axis:
    """Parse `--vary`; a `|` inside of quotes or brackets belongs to a value.

    Raises:
        ConfigError: for a line that is no `Name.field = a|b|c`, and for values that are missing or given twice.
    """
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not _NAME.fullmatch(name):
        raise ConfigError(f"--vary: {text!r} is no gin line with several values, such as 'SNES.sigma = 0.1|0.3|0.5'.")
    values = tuple(value.strip() for value in _split(rest))
    if not all(values):
        raise ConfigError(f"--vary: {text!r} has an empty value. Values stand between bars, such as 0.1|0.3|0.5.")
    if len(set(values)) < len(values):
        raise ConfigError(f"--vary: {text!r} has a value twice: each point is run once.")
    return Axis(name, values)


def plan_sweep(
    config: str, workdir: str, axes: Sequence[Axis], seeds: Sequence[int], bindings: Sequence[str] = ()
) -> list[PlannedRun]:
    """Resolve all points, so that mistakes show before anything runs.

    Args:
        config: of every point.
        workdir: gets a folder for each point.
        axes: what varies; all combinations are run.
        seeds: of every combination; none: the config's own seed.
        bindings: further gin lines of every point.

    Raises:
        ConfigError: for an empty sweep, a line that the config refuses, and points that are one and the same run.
    """
    if not axes and not seeds:
        raise ConfigError("The sweep is empty: give --vary='Name.field = a|b', --seeds=0,1,2, or both.")
    if seeds:
        axes = [*axes, Axis("Experiment.seed", tuple(str(seed) for seed in seeds))]
    names = [axis.name for axis in axes]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"{', '.join(sorted(twice))} is varied twice; give all of its values in one place.")
    labels = _labels(names)
    points = []
    for values in itertools.product(*(axis.values for axis in axes)):
        folder = _folder_name(labels, values)
        lines = (f"{name} = {value}" for name, value in zip(names, values, strict=True))
        chosen = dict(zip(names, values, strict=True))
        points.append(planned(folder, chosen, Job(config, str(Path(workdir) / folder), (*bindings, *lines))))
    _check_different(points)
    return points


def write_plan(folder: Path, config: str, target: str, points: Sequence[PlannedRun]) -> Path:
    """Write `sweep.json`, the list of the points, into a folder."""
    rows = [
        {"name": point.name, "values": point.values, "bindings": point.job.bindings, "workdir": point.job.workdir}
        for point in points
    ]
    content = {"config": config, "on": target, "points": rows}
    return write_bytes(folder / "sweep.json", json_text(content, indent=1).encode())


def table(points: Sequence[PlannedRun], ends: Mapping[PlannedRun, End]) -> str:
    """Name, state and return of each point as Markdown.

    Raises:
        CheckpointError: when the folder of one without an end holds something else.
    """
    states = [ends[point].state if point in ends else point.state() for point in points]
    rows = [(p.name, s, p.returns() if s == State.FINISHED else "") for p, s in zip(points, states, strict=True)]
    return markdown_table(("point", "state", "return (95 % interval)"), rows, aligned=True)


def point_command(target: str, point: PlannedRun, flags: Sequence[str]) -> tuple[str, ...]:
    """Return the command line that makes a point."""
    own = ["--noprogress"] if target == "local" else ["--execute"]
    if target in NAMED:  # two sweeps may have points that are called alike
        own.append(f"--name={point.job.name[:31]}-{hashlib.sha256(point.job.workdir.encode()).hexdigest()[:8]}")
    return point.job.words(*own, *flags, program=(TARGETS[target],))


@dataclasses.dataclass(frozen=True)
class Programs:
    """Makes points by a program of this machine: `hades-train`, or a launcher that hands them to other machines.

    Attributes:
        target: of TARGETS.
        flags: further flags of the program.
        logs: folder of a file for each point.
        say: called with each line of a launcher, and every half minute with the progress of a point that runs here.
        max_restarts: how often a point here is continued after a status that allows it.

    Raises:
        LaunchError: when the program is not installed.
    """

    target: str
    flags: Sequence[str]
    logs: Path
    say: Callable[[str], None]
    max_restarts: int = 0

    @property
    def is_local(self) -> bool:
        return self.target == "local"

    def __call__(self, point: PlannedRun, stops: Sequence[int]) -> End:
        log = self.logs / f"{point.name}.log"
        with explained(log, "Opening the log"):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
        for restarts in itertools.count():
            status = self._run(point, log, stops)
            if status == FINISHED and (point.result() or not self.is_local):
                return End(State.FINISHED if point.result() else State.HANDED_OVER)
            if stops and status != FAILED:
                return End(State.INTERRUPTED)
            if not may_continue(status) or not self.is_local or restarts == self.max_restarts:
                break
            self.say(f"    {point.name}: ended early with status {status}; continuing it")
        cause = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        last = log.read_bytes()[-2000:].decode(errors="replace").strip().splitlines()[-1:]
        return End(State.FAILED, f"{cause}, see {log}: {last[0] if last else 'it printed nothing'}")

    def _run(self, point: PlannedRun, log: Path, stops: Sequence[int]) -> int:
        """Run the program once; the first stop asks it to save and end, the second one kills it."""
        program, *words = point_command(self.target, point, self.flags)
        with log.open("a") as file:

            def on_line(line: str) -> None:
                print(line, file=file, flush=True)
                self.say(f"    {line}")

            child = Child((_program(program), *words), file if self.is_local else on_line)
            asked, shown = 0, time.monotonic()
            try:
                while (status := child.status) is None:
                    if len(stops) > asked:
                        asked = len(stops)
                        child.signal(signal.SIGTERM if self.is_local else signal.SIGINT) if asked == 1 else child.kill()
                    if self.is_local and time.monotonic() - shown > SHOW_SECONDS:
                        shown = time.monotonic()
                        self.say(f"    {point.name}: {point.progress()}")
                    time.sleep(POLL_SECONDS)
            except BaseException:
                child.kill()
                raise
            child.drain(5.0)
            return status


def _program(name: str) -> str:
    """Path of an installed program: beside this interpreter, else on PATH."""
    beside = Path(sys.executable).parent / name
    path = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if path is None:
        raise LaunchError(f"{name} is neither beside {sys.executable} nor on PATH: install hades (pip install .).")
    return path


def split_flags(text: str) -> list[str]:
    """The flags in a text that is quoted as in a shell.

    Raises:
        ConfigError: for a quote that does not end.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"--launcher_flags: {shown(text)} is not quoted as in a shell: {error}.") from None


def _split(text: str) -> list[str]:
    """Split at bars outside of quotes and brackets."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "([{") - (letter in ")]}")
        if letter == "|" and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _labels(names: Sequence[str]) -> list[str]:
    """The last part of each name, such as "sigma"; the whole name where two would be called alike."""
    short = [re.split(r"[./]", name)[-1] for name in names]
    return [name if short.count(label) > 1 else label for name, label in zip(names, short, strict=True)]


def _folder_name(labels: Sequence[str], values: Sequence[str]) -> str:
    """Name a folder with safe letters: readable, and with a digest wherever that would not be unique."""
    parts = [f"{_safe(label)}-{_safe(_plain(value))}" for label, value in zip(labels, values, strict=True)]
    name = "_".join(parts)
    if len(name) <= LONGEST and all(_WORD.fullmatch(_plain(value)) for value in values):
        return name
    digest = hashlib.sha256(json.dumps(list(zip(labels, values, strict=True))).encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip('-_.')}-{digest}"


def _plain(value: str) -> str:
    """Strip 'relu' and @SNES() to the word, and write -3 as m3: names of jobs lose signs."""
    if match := re.fullmatch(r"'([A-Za-z]\w*)'|\"([A-Za-z]\w*)\"|@(\w+)\(\)", value):
        return next(group for group in match.groups() if group)
    return f"m{value[1:]}" if re.fullmatch(r"-[\d.]+", value) else value


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")


def _check_different(points: Sequence[PlannedRun]) -> None:
    """Raises: ConfigError when two points are one run, or two jobs would have one name."""
    runs: dict[str, PlannedRun] = {}
    jobs: dict[str, PlannedRun] = {}
    for point in points:
        other = runs.setdefault(json.dumps(point.described, sort_keys=True), point)
        if other is not point:
            changed = [name for name in point.values if other.values[name] != point.values[name]]
            lines = " and ".join(f"{name} ({other.values[name]} or {point.values[name]})" for name in changed)
            raise ConfigError(
                f"The points {other.name} and {point.name} are the same run: {lines} changes nothing in this config. "
                "Is the value a different one?"
            )
        other = jobs.setdefault(point.job.name, point)
        if other is not point:
            raise ConfigError(f"The points {other.name} and {point.name} would both be called {point.job.name}.")
