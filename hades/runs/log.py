"""Metric files: JSON lines without clock times (equal runs write equal bytes), times beside them, and trackers."""

import importlib.util
import json
import math
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hades.data.files import explained, free_name, read_bytes, write_bytes
from hades.errors import ConfigError, HadesError, MissingPackageError, notice, offer
from hades.libraries import unchanged
from hades.runs.workdir import WorkDir
from hades.text import json_text

NAMES = {"evaluations.jsonl": ("env_steps_total", "return_mean"), "timing.jsonl": ("seconds",)}
"""Numbers that every row of a file has, beside its generation."""
_REMEDY = "Make it readable, or move it away."


class JsonLines:
    """One JSON object a line, each with its `generation`."""

    def __init__(self, path: Path, resume_at: int):
        """Open for appending; rows behind generation `resume_at` are dropped, they will be written again.

        A file with lines that are no rows is kept beside its rows, under another name.
        """
        self._path = path
        rows, damage = _rows(path)
        if damage:
            aside = write_bytes(free_name(path), read_bytes(path, _REMEDY))
            notice(f"{path} is damaged: {damage}. It is kept as {aside.name}; the run continues with the other lines.")
        kept = [line for line, row in rows if row["generation"] <= resume_at]
        write_bytes(path, "".join(f"{line}\n" for line in kept).encode())

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json_text({k: plain(v) for k, v in row.items()}) + "\n" for row in rows)
        with explained(self._path, "Writing metrics"), self._path.open("a") as file:
            file.write(text)


class TensorBoard:
    """Scalars by generation, as event files.

    Through the file format of tensorboardX, not its SummaryWriter: that one writes from a thread of its own, which a
    full disk ends without an error, and then waits for it forever.
    """

    def __init__(self, directory: Path, resume_at: int):
        with unchanged():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._directory = directory
        with explained(directory, "Writing TensorBoard files"):
            directory.mkdir(parents=True, exist_ok=True)
            # The name ends in seconds of the wall clock, and an existing file would be overwritten.
            count = len(list(directory.iterdir()))
            self._writer = EventsWriter(str(directory / "events"), f".{count}")
            self._writer.write_event(Event(step=resume_at + 1, session_log=SessionLog(status=SessionLog.START)))
            self._writer.flush()

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Every number of the rows, at their `generation`; on disk when it returns."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        with explained(self._directory, "Writing TensorBoard files"):
            for row in rows:
                numbers = {name: plain(value) for name, value in row.items() if name != "generation"}
                scalars = [
                    Summary.Value(tag=name, simple_value=value)
                    for name, value in numbers.items()
                    if isinstance(value, int | float)
                ]
                step = int(row["generation"])
                self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
            self._writer.flush()

    def close(self) -> None:
        with explained(self._directory, "Writing TensorBoard files"):
            self._writer.close()


class WeightsAndBiases:
    """Scalars by generation in Weights & Biases: one run there for each work directory, continued by later starts.

    `WANDB_MODE=offline` keeps it below the work directory, for `wandb sync`; the other variables of wandb hold, too.
    """

    def __init__(self, directory: WorkDir):
        """Start the run there.

        Raises:
            HadesError: where wandb refuses it, such as without an API key.
        """
        with unchanged():
            import wandb

        known = directory.wandb / "id"
        if not known.exists():
            write_bytes(known, secrets.token_hex(8).encode())
        name, described = str(directory.path), directory.described("Start the run again.")
        try:
            self._run = wandb.init(
                project="hades", name=name, id=known.read_text(), resume="allow", dir=name, config=dict(described)
            )
        except Exception as error:  # wandb raises errors of its own, of its server and of its process
            raise HadesError(
                f"Weights & Biases did not start: {error} Log in with `wandb login`, set WANDB_MODE=offline, or leave "
                'out the tracker "wandb". Nothing of the run is lost.'
            ) from error
        # A continued run logs some generations again, and wandb's own steps may not go back.
        self._run.define_metric("*", step_metric="generation")

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Every number of the rows; sent by wandb's own process."""
        for row in rows:
            numbers = {name: plain(value) for name, value in row.items()}
            self._run.log({name: value for name, value in numbers.items() if value is not None})

    def close(self) -> None:
        self._run.finish()


class Tracker(Protocol):
    """A writer that shows the scalars of a run elsewhere."""

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None: ...

    def close(self) -> None: ...


TRACKERS: Mapping[str, Callable[[WorkDir, int], Tracker]] = {
    "tensorboard": lambda directory, resume_at: TensorBoard(directory.tensorboard, resume_at),
    "wandb": lambda directory, resume_at: WeightsAndBiases(directory),
}


def check_trackers(names: Sequence[str]) -> None:
    """Check names of trackers before a run begins.

    Raises:
        ConfigError: for an unknown one.
        MissingPackageError: for "wandb" where it is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f'There is no tracker "{name}". {offer(name, TRACKERS)}')
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise MissingPackageError('The tracker "wandb" needs the package of that name: pip install "hades-rl[wandb]".')


class RunLog:
    """Metric files of a running experiment; processes other than the first write nothing."""

    def __init__(
        self, directory: WorkDir, resume_at: int, enabled: bool = True, trackers: Sequence[str] = ("tensorboard",)
    ):
        """Open for appending; what lies behind generation `resume_at` is dropped, it will be written again."""
        self._enabled, self._directory = enabled, directory
        if enabled:
            directory.check_owner()
            self._metrics = JsonLines(directory.metrics, resume_at)
            self._evaluations = JsonLines(directory.evaluations, resume_at)
            self._timing = JsonLines(directory.timing, resume_at)
            self._trackers = [TRACKERS[name](directory, resume_at) for name in dict.fromkeys(trackers)]

    def generations(self, rows: Sequence[Mapping[str, Any]], seconds: float) -> None:
        """Rows of consecutive generations, and the seconds of search up to the last of them."""
        if self._enabled:
            self._directory.check_owner()
            self._metrics.write(rows)
            self._timing.write([{"generation": rows[-1]["generation"], "seconds": round(seconds, 3)}])
            self._track(rows)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """One evaluation on selection keys."""
        if self._enabled:
            self._directory.check_owner()
            self._evaluations.write([row])
            self._track([{"generation": row["generation"], "solution/return": row["return_mean"]}])

    def _track(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for tracker in self._trackers:
            tracker.write(rows)

    def close(self) -> None:
        if self._enabled:
            for tracker in self._trackers:
                tracker.close()


def read_json_lines(path: Path, say: Callable[[str], None] = lambda text: None) -> list[dict[str, Any]]:
    """All complete rows of a JSON lines file; none where it is missing. `say` is told of what is damaged.

    Raises:
        HadesError: where it cannot be read.
    """
    rows, damage = _rows(path)
    if damage:
        say(f"{path} is damaged: {damage}. Only the other lines are used.")
    return [row for _, row in rows]


def plain(value: Any) -> Any:
    """A JSON-ready scalar: non-finite numbers become null."""
    scalar = value.item() if hasattr(value, "item") else value
    return None if isinstance(scalar, float) and not math.isfinite(scalar) else scalar


def _rows(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """The rows with their lines, and what is wrong with the other lines, if anything is.

    The beginning of a row at the end of the file was cut off by a kill or a full disk, which is no damage.
    """
    rows, damaged = [], []
    lines = read_bytes(path, _REMEDY).split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, 1):
        row = _row(line, NAMES.get(path.name, ()))
        is_cut_off = number == len(lines) and line.isascii() and line.startswith(b'{"')
        if row is not None:
            rows.append((line.decode(), row))
        elif line.strip() and not is_cut_off:
            damaged.append(number)
    if not damaged:
        return rows, ""
    which = f"line {damaged[0]} is no row" if len(damaged) == 1 else f"{len(damaged)} lines are no rows"
    return rows, f"{which} of numbers with their generation"


def _row(line: bytes, names: Sequence[str]) -> dict[str, Any] | None:
    """The row in a line; None where there is none."""
    try:
        row = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or not {"generation", *names} <= row.keys():
        return None
    generation, values = row["generation"], [value for value in row.values() if value is not None]
    is_counted = type(generation) is int and 0 <= generation < 2**31
    is_finite = all(isinstance(value, int | float) and abs(value) <= sys.float_info.max for value in values)
    return row if is_counted and is_finite else None
