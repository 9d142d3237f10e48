"""Seeds × varied gin lines: the points of a sweep, where each lives, and whether it is done.

Each point is an ordinary run of `hades-train` in a folder of its own that is called after what differs, so that adding
values or seeds later renames nothing. `sweep_run.py` is what runs them.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hades import registry
from hades.data.files import write_bytes
from hades.errors import CheckpointError, ConfigError
from hades.machines.job import Job
from hades.runs.experiment import FREE_FIELDS
from hades.runs.log import read_json_lines
from hades.runs.record import RunRecord
from hades.runs.workdir import WorkDir, differences
from hades.text import markdown_table

LONGEST = 40
"""Letters of a point's name: what schedulers take as a name (`Job.name`)."""
TARGETS = {"local": "hades-train", "slurm": "hades-slurm", "gke": "hades-gke", "tpu_pod": "hades-tpu-pod"}
"""The program that runs one point, by where."""
_NAME = re.compile(r"[\w./]+")
_WORD = re.compile(r"[A-Za-z]\w*|m?\d[\d.]*(e-?\d+)?", re.ASCII)
"""A value that its place in a folder's name says completely."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """A gin line with several values: `SNES.sigma = 0.1|0.3|0.5`."""

    name: str
    values: tuple[str, ...]

    @property
    def label(self) -> str:
        """The last part of the name: "sigma"."""
        return re.split(r"[./]", self.name)[-1]


@dataclasses.dataclass(frozen=True)
class Point:
    """One run of a sweep.

    Attributes:
        name: of its folder.
        values: what differs, by gin name.
        job: the run.
        described: its experiment, as `experiment.json` would say it.
    """

    name: str
    values: Mapping[str, str]
    job: Job
    described: Mapping[str, Any]


def parse_axis(text: str) -> Axis:
    """`--vary` as an axis; `|` inside of quotes or brackets belongs to a value.

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
) -> list[Point]:
    """All points, every one of them resolved, so that mistakes are said before anything runs.

    Args:
        config: of every point.
        workdir: gets a folder a point.
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
    labels = _labels(axes)
    points = []
    for values in itertools.product(*(axis.values for axis in axes)):
        name = _point_name(labels, values)
        lines = tuple(f"{axis.name} = {value}" for axis, value in zip(axes, values, strict=True))
        job = Job(config, str(Path(workdir) / name), (*bindings, *lines))
        chosen = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        points.append(Point(name, chosen, job, registry.describe(job.check())))
    _check_different(points)
    return points


def check_folders(points: Sequence[Point]) -> None:
    """Raises: CheckpointError when the folder of a point holds another run."""
    for point in points:
        known = _read(WorkDir(point.job.workdir).experiment)
        changed = (
            [d for d in differences(dict(known), dict(point.described)) if d[0] not in FREE_FIELDS] if known else []
        )
        if changed:
            rows = "; ".join(f"{path} is {old!r} there and {new!r} now" for path, old, new in changed[:4])
            raise CheckpointError(
                f"{point.job.workdir} holds a run with a different configuration: {rows}. Give another --workdir, or "
                "the old values to continue it."
            )


def is_finished(point: Point) -> bool:
    """Whether the point's folder, as seen from here, holds its result."""
    paths = WorkDir(point.job.workdir)
    result = _read(paths.result)
    return (
        bool(result)
        and RunRecord(
            workdir=paths.path,
            dataset=None,
            dataset_problem="",
            metrics=read_json_lines(paths.metrics)[-1:],
            evaluations=(),
            timing=(),
            result=result,
            experiment=point.described,  # what is asked for now: a finished run may be asked to go on
            config="",
        ).is_finished
    )


def generation(point: Point) -> int:
    """How many generations the point has done."""
    rows = read_json_lines(WorkDir(point.job.workdir).timing)
    return int(rows[-1]["generation"]) if rows else 0


def returns_text(point: Point) -> str:
    """The return of a finished point with its interval."""
    report = _read(WorkDir(point.job.workdir).result).get("report") or {}
    if "mean" not in report:
        return ""
    low, high = report["ci95"]
    return f"{report['mean']:.4g} ({low:.4g} to {high:.4g})"


def state_of(point: Point) -> str:
    """ "finished", "generation 12 of 200", or "not started", as far as the files here say."""
    if is_finished(point):
        return "finished"
    done = generation(point)
    return f"generation {done} of {point.described['generations']}" if done else "not started"


def write_plan(folder: Path, config: str, target: str, points: Sequence[Point]) -> Path:
    """`sweep.json` in a folder: what the sweep is made of."""
    rows = [
        {"name": point.name, "values": point.values, "bindings": point.job.bindings, "workdir": point.job.workdir}
        for point in points
    ]
    content = {"config": config, "on": target, "points": rows}
    return write_bytes(folder / "sweep.json", json.dumps(content, indent=1, ensure_ascii=False).encode())


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows of (point, state, return) as Markdown."""
    return markdown_table(("point", "state", "return (95 % interval)"), rows, aligned=True)


def _split(text: str) -> list[str]:
    """Parts between bars that stand outside of quotes and brackets."""
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


def _labels(axes: Sequence[Axis]) -> list[str]:
    """Short names of axes; the whole name where two would be called alike."""
    short = [axis.label for axis in axes]
    return [axis.name if short.count(axis.label) > 1 else axis.label for axis in axes]


def _point_name(labels: Sequence[str], values: Sequence[str]) -> str:
    """A folder's name of safe letters: readable, and unique by a digest wherever reading it back would not be."""
    parts = [f"{_safe(label)}-{_safe(_plain(value))}" for label, value in zip(labels, values, strict=True)]
    name = "_".join(parts)
    if len(name) <= LONGEST and all(_WORD.fullmatch(_plain(value)) for value in values):
        return name
    digest = hashlib.sha256(json.dumps(list(zip(labels, values, strict=True))).encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip('-_.')}-{digest}"


def _plain(value: str) -> str:
    """'relu' and @SNES() without what surrounds the word, -3 as m3 (names of jobs lose signs)."""
    if match := re.fullmatch(r"'([A-Za-z]\w*)'|\"([A-Za-z]\w*)\"|@(\w+)\(\)", value):
        return next(group for group in match.groups() if group)
    return f"m{value[1:]}" if re.fullmatch(r"-[\d.]+", value) else value


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")


def _check_different(points: Sequence[Point]) -> None:
    """Raises: ConfigError when two points are one run, or two jobs would have one name."""
    runs: dict[str, Point] = {}
    jobs: dict[str, Point] = {}
    for point in points:
        other = runs.setdefault(json.dumps(point.described, sort_keys=True), point)
        if other is not point:
            raise ConfigError(
                f"The points {other.name} and {point.name} are the same run: {_difference(other, point)} changes "
                "nothing in this config. Is the component in use, and is the value a different one?"
            )
        other = jobs.setdefault(point.job.name, point)
        if other is not point:
            raise ConfigError(f"The points {other.name} and {point.name} would both be called {point.job.name}.")


def _difference(first: Point, second: Point) -> str:
    changed = [name for name in first.values if first.values[name] != second.values[name]]
    return " and ".join(f"{name} ({first.values[name]} or {second.values[name]})" for name in changed)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
