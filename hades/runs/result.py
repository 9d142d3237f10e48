"""Results of a finished run: `result.json` and, where a dataset was evolved, `dataset.safetensors`."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np

import hades
from hades import registry
from hades.algorithms.base import Algorithm, Solution
from hades.data.dataset import DistilledDataset, describe_spec
from hades.data.files import write_bytes
from hades.displayed import Displayed
from hades.inner.stage_record import StageRecord
from hades.policy.fingerprint import initial_weights
from hades.policy.run_policy import RunPolicy
from hades.policy.statistics import ReturnSummary
from hades.policy.trained_policy import TrainedPolicy, train_policy
from hades.policy.versions import library_versions
from hades.runs.experiment import Experiment
from hades.runs.log import read_json_lines
from hades.runs.stages import recipe_text
from hades.runs.state import Progress
from hades.runs.workdir import WorkDir
from hades.text import json_text
from hades.types import size_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Policy: TypeAlias = TrainedPolicy | RunPolicy


@dataclasses.dataclass(frozen=True, eq=False)
class RunResult(Displayed):
    """Result of a run. It equals itself alone.

    Attributes:
        workdir: where everything lies; None where nothing was kept.
        interrupted: a signal ended the run early; run it again to continue.
        generation: generations done.
        returns: of the best solution, on report keys.
        dataset: the evolved dataset; None where the solution is a policy.
        details: the content of `result.json`.
        solution: the best one, as arrays of this process alone.
        metrics, evaluations: rows of the files of these names, one a generation and one a selection.
        algorithm: the run's.
    """

    workdir: Path | None
    interrupted: bool
    generation: int
    returns: ReturnSummary | None = None
    dataset: DistilledDataset | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    solution: Solution | None = None
    metrics: Sequence[Mapping[str, Any]] = ()
    evaluations: Sequence[Mapping[str, Any]] = ()
    algorithm: Algorithm | None = None

    def __repr__(self) -> str:
        if self.interrupted:
            return f"<RunResult: interrupted after generation {self.generation}, in {self.workdir}>"
        made = f"{self.details.get('method')} on {self.details.get('environment')}"
        return f"<RunResult of {made}: {self.generation} generations, return {self.returns}>"

    def plot(self) -> "Figure":
        """The fitness over the search as a figure of matplotlib, which a notebook shows."""
        return hades.plot(self)

    @cached_property
    def policy(self) -> Policy | None:
        """The policy that was found, or one that is trained from the dataset with seed 0; None where interrupted."""
        return None if self.solution is None else policy_of(self.algorithm, self.solution, self.dataset)


def policy_of(algorithm: Algorithm | None, solution: Solution, dataset: DistilledDataset | None) -> Policy:
    """The policy that a solution is, or one that is trained from its dataset with seed 0."""
    if dataset is not None:
        return train_policy(dataset, seed=0)
    assert algorithm is not None  # only results that tests make have none
    return RunPolicy(algorithm, solution)


def finished(
    directory: WorkDir,
    experiment: Experiment,
    host: Progress,
    best: Solution,
    returns: ReturnSummary,
    before: RunResult | None = None,
) -> RunResult:
    """Collect the result of a run that is done, and of the stage `before` it."""
    algorithm = experiment.algorithm
    details = _details(algorithm, experiment.seed, host, best, returns) | _teachers(algorithm)
    earlier = [_recorded(stage) for stage in algorithm.stages]
    if before is not None:
        earlier = [*before.details.get("stages", ()), _stage(before)]
    if earlier:
        details["stages"] = earlier
    training = {name: details[name] for name in _TRAINING if name in details}
    if "stages" in training:  # without their seconds: equal runs write equal files
        training["stages"] = [{k: v for k, v in stage.items() if k != "seconds"} for stage in training["stages"]]
    dataset = distilled_dataset(algorithm, best, returns, training)
    if dataset is not None:
        details["num_pairs"] = len(dataset)
    return RunResult(
        workdir=directory.path,
        interrupted=False,
        generation=host.generation,
        returns=returns,
        dataset=dataset,
        details=details,
        solution=jax.device_get(best),
        metrics=read_json_lines(directory.metrics),
        evaluations=read_json_lines(directory.evaluations),
        algorithm=algorithm,
    )


_TRAINING = ("generations", "best_generation", "env_steps", "seed", "method", "stages", "teachers")


def _stage(result: RunResult) -> dict[str, Any]:
    """The fields of an earlier stage's result that later stages keep."""
    assert result.dataset is not None  # stages.check_stages
    details = result.details
    names = ("method", "generations", "best_generation", "env_steps", "seconds", "seed")
    recipe = recipe_text(result.dataset.metadata["learner"])
    networks = [registry.describe(network) for network in result.dataset.learner.policy.networks]
    made = {"recipe": recipe, "networks": networks, "return": details["report"]["mean"]}
    return {name: details[name] for name in names} | made


def _recorded(stage: StageRecord) -> dict[str, Any]:
    """The same of a search whose dataset the run started from; nothing states its seconds."""
    return {
        "method": stage.method,
        "recipe": stage.recipe,
        "networks": [registry.describe(network) for network in stage.networks],
        "generations": stage.generations,
        "env_steps": {"search": stage.search_steps, "selection": stage.selection_steps},
        "return": stage.returns,
    }


BUDGETED = ("search", "selection")
"""Phases whose seconds count in `max_seconds`."""


def all_stages(details: Mapping[str, Any], *place: str) -> float:
    """Sum of a number over a run and the stages before it, such as `env_steps`, `search`.

    Args:
        details: the content of `result.json`.
        *place: names that lead to the number; it counts as 0 where a stage lacks it.
    """

    def number(part: Any) -> float:
        for name in place:
            part = part.get(name, {})
        return part or 0.0

    return sum(number(part) for part in [*details.get("stages", ()), details])


def write_result(directory: WorkDir, result: RunResult) -> None:
    """Write the files of a finished run."""
    directory.check_owner()
    if result.dataset is not None:
        result.dataset.save(directory.dataset)
    write_bytes(directory.result, json_text(result.details, indent=1).encode())


def distilled_dataset(
    algorithm: Algorithm,
    solution: Solution,
    returns: ReturnSummary | None = None,
    training: dict[str, Any] | None = None,
    embed_init: bool = False,
) -> DistilledDataset | None:
    """The artefact that a solution stands for; None where that is a policy.

    Args:
        algorithm: the run's.
        solution: genome and statistics.
        returns: what it measured on report keys.
        training: facts about the run for the file's header.
        embed_init: write a HaDES-F policy's initial weights into the file (large), not only their recipe and
            fingerprint.
    """
    distilled, env = algorithm.distilled(solution), algorithm.environments[0]
    if distilled is None:
        return None
    init, weights = initial_weights(distilled.learner, env.spec, embedded=embed_init)
    measured = {} if returns is None else returns.describe() | {"protocol": "whole episodes on report keys"}
    metadata = {
        "environment": registry.describe(env),
        "spec": describe_spec(env.spec),
        "learner": registry.describe(distilled.learner),
        "normalizer": registry.describe(distilled.normalizer),
        "init": init,
        "returns": measured,
        "training": training or ({"method": algorithm.label} | _teachers(algorithm) if algorithm.teachers else {}),
        "versions": library_versions(env.versions),
    }
    return DistilledDataset(
        observations=np.asarray(distilled.pairs.observations),
        targets=np.asarray(distilled.pairs.targets),
        obs_mean=np.asarray(solution.normalizer.mean),
        obs_std=np.asarray(solution.normalizer.std),
        metadata=metadata,
        init=weights,
        codes=None if distilled.codes is None else np.asarray(distilled.codes),
    )


def _teachers(algorithm: Algorithm) -> dict[str, Any]:
    """Records of the teachers that a search had; empty where it had none."""
    return {"teachers": [dataclasses.asdict(record) for record in algorithm.teachers]} if algorithm.teachers else {}


def _details(algorithm: Algorithm, seed: int, host: Progress, best: Solution, returns: ReturnSummary) -> dict[str, Any]:
    """The content of `result.json`."""
    report_steps = round(returns.mean_length * returns.num_inits * returns.num_episodes)
    return {
        "environment": algorithm.environments[0].spec.name,
        "method": algorithm.label,
        "generations": host.generation,
        "genome_size": size_of(best.genome),
        "seed": seed,
        "report": returns.describe(),
        "best_generation": host.best_generation,
        "improved_generation": host.improved_generation,
        "selection_return": host.best_return,
        "env_steps": {"search": host.search_steps, "selection": host.selection_steps, "report": report_steps},
        "seconds": {name: round(value, 3) for name, value in host.seconds.items()},
        "versions": library_versions(algorithm.environments[0].versions),
        "starts": host.starts,
        "device": jax.devices()[0].device_kind,
        "num_devices": jax.device_count(),
        "num_processes": jax.process_count(),
    }
