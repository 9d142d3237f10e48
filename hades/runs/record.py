"""The files of a work directory as one value: what the report and comparisons are made from."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from hades import registry
from hades.data.dataset import DistilledDataset
from hades.data.files import read_json
from hades.data.sources import load_dataset
from hades.errors import HadesError, notice
from hades.runs.callback import STOPPED
from hades.runs.experiment import Experiment, limit_reached
from hades.runs.json_forms import RESULT, fits
from hades.runs.log import read_json_lines
from hades.runs.result import BUDGETED, RunResult, all_stages
from hades.runs.stages import FIRST
from hades.runs.workdir import WorkDir
from hades.types import EnvSpec

_RENAMED = {"num_points": "num_pairs"}
"""Keys of `result.json` that had another name."""
_ENDED = {"generations", "selection_return", "env_steps", "seconds"}
"""Keys of `result.json` that say whether the run has ended."""


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The files that a run has written so far; every part may be missing.

    Attributes:
        workdir: where it was read from.
        dataset: the evolved dataset; None for direct ES and for unfinished runs.
        dataset_problem: why a dataset file that exists cannot be read, else empty.
        metrics, evaluations, timing: rows of the JSON lines files.
        result: `result.json`, empty where the run has not finished.
        experiment: `experiment.json`, the description of everything that decides the run.
        config: the operative gin configuration.
    """

    workdir: Path
    dataset: DistilledDataset | None
    dataset_problem: str
    metrics: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, Any]]
    timing: Sequence[Mapping[str, Any]]
    result: Mapping[str, Any]
    experiment: Mapping[str, Any]
    config: str

    @cached_property
    def spec(self) -> EnvSpec | None:
        """The environment's spec, from the dataset or the experiment; None where neither can be rebuilt here."""
        if self.dataset is not None:
            return self.dataset.environment.spec
        try:
            return registry.build(self.experiment).algorithm.environments[0].spec if self.experiment else None
        except HadesError:
            return None

    @property
    def figures(self) -> Path:
        """The folder of the report's figures as files."""
        return self.workdir / "figures"

    @property
    def report(self) -> Mapping[str, Any] | None:
        """Returns on report keys, from `result.json`."""
        return self.result.get("report")

    @property
    def environment(self) -> str:
        return self.result.get("environment") or (self.spec.name if self.spec else "Unknown environment")

    @property
    def method(self) -> str:
        """The paper's name of the method, or those of a run's stages; empty where the run has not finished."""
        last = [self.result] if self.result.get("generations") or "stages" not in self.result else []
        names = [stage["method"] for stage in (*self.result.get("stages", ()), *last) if "method" in stage]
        return ", then ".join(dict.fromkeys(names))

    def all_stages(self) -> "list[RunRecord]":
        """Records of the stages before, and of this one.

        Raises:
            HadesError: when the folder of one is missing.
        """
        before = read_run(self.workdir / FIRST).all_stages() if self.experiment.get("first") else []
        return [*before, self]

    @property
    def device(self) -> str:
        """Number and kind of the devices, such as "8 × TPU v5 lite"."""
        return f"{self.result.get('num_devices', 1)} × {self.result.get('device', 'unknown')}"

    @property
    def is_finished(self) -> bool:
        """True if `result.json` describes the end of the run: its budget is used up and no generation came after it."""
        return _is_end(self.result, self.metrics, self.experiment)

    @property
    def title(self) -> str:
        return f"{self.method} on {self.environment}" if self.method else self.environment


def read_run(workdir: str | Path) -> RunRecord:
    """Read whatever files there are; incomplete last lines are left out.

    Raises:
        HadesError: when there is no such directory.
    """
    paths = WorkDir(workdir)
    if not paths.path.is_dir():
        raise HadesError(f"There is no work directory at {paths.path}: give the --workdir of a run.")
    dataset, problem = None, ""
    if paths.dataset.exists():
        try:
            dataset = load_dataset(paths.dataset)
            dataset.check(dataset.environment.spec)
        except HadesError as error:
            dataset, problem = None, str(error)
    return RunRecord(
        workdir=paths.path,
        dataset=dataset,
        dataset_problem=problem,
        metrics=read_json_lines(paths.metrics, notice),
        evaluations=read_json_lines(paths.evaluations, notice),
        timing=read_json_lines(paths.timing, notice),
        result=_read_result(paths, notice),
        experiment=_read_experiment(paths),
        config=paths.config.read_text(errors="replace") if paths.config.is_file() else "",
    )


def finished_result(workdir: str | Path, experiment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `result.json` of a directory if it describes the end of this experiment, else an empty mapping."""
    paths = WorkDir(workdir)
    result = _read_result(paths)
    return result if _is_end(result, read_json_lines(paths.metrics), experiment) else {}


def ended_stage(directory: WorkDir, first: Experiment) -> RunResult | None:
    """Read the result of the stage before from its files, once a later stage has begun; None where that is not so.

    Such a stage is not evaluated again. Another version of JAX would round its pairs differently, and the later stage
    would then be another run than the one that has begun.
    """
    before = WorkDir(directory.path / FIRST)
    if not (directory.experiment.exists() and before.dataset.exists()):
        return None
    details = finished_result(before.path, registry.describe(first))
    if not details:
        return None
    dataset = load_dataset(before.dataset)
    return RunResult(
        before.path, interrupted=False, generation=details["generations"], dataset=dataset, details=dict(details)
    )


def _is_end(result: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], experiment: Mapping[str, Any]) -> bool:
    if not result or (metrics and metrics[-1]["generation"] > result["generations"]):
        return False
    return not experiment or _used_up(experiment, result)


def _used_up(experiment: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Return True if a result reached one of the limits that the experiment states, or a callback ended the run."""
    seconds = sum(all_stages(result, "seconds", phase) for phase in BUDGETED)
    in_vain = result["generations"] - result.get("improved_generation", result["generations"])
    reached = {
        "target_return": result["selection_return"],
        "max_seconds": seconds + 0.002,  # the file holds milliseconds
        "max_env_steps": all_stages(result, "env_steps", "search"),
        "patience": in_vain / (experiment.get("eval_every") or 1),
        "generations": result["generations"],
    }
    return bool(limit_reached(experiment, reached)) or result.get("stopped_by") == STOPPED


def _read_result(paths: WorkDir, say: Callable[[str], None] = lambda text: None) -> Mapping[str, Any]:
    """`result.json`; empty where there is none, or one that is damaged, which `say` is told of."""
    if not paths.result.exists():
        return {}
    remedy = "The run counts as unfinished: the command that started it writes the file again."
    try:
        found = read_json(paths.result, remedy)
    except HadesError as error:
        say(str(error))
        return {}
    result = {_RENAMED.get(name, name): value for name, value in found.items()}
    if result.keys() >= _ENDED and fits(result, RESULT):
        return {name: with_nan(value) if name == "report" else value for name, value in result.items()}
    say(f"{paths.result} is damaged: it holds JSON, but no result. {remedy}")
    return {}


def with_nan(value: Any) -> Any:
    """Numbers of a report with NaN in the place of null, which stands in a file for what is not finite."""
    if isinstance(value, Mapping):
        return {name: with_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [with_nan(part) for part in value]
    return math.nan if value is None else value


def _read_experiment(paths: WorkDir) -> Mapping[str, Any]:
    """`experiment.json`; empty where there is none, or one that is damaged, which is said."""
    try:
        return paths.described("It is left out.") if paths.experiment.exists() else {}
    except HadesError as error:
        notice(str(error))
        return {}
