"""The dataset of a run's best solution so far, read from its newest usable checkpoint."""

import json
from pathlib import Path

from hades import registry
from hades.algorithms.evolution import Evolution
from hades.data.dataset import load_dataset
from hades.errors import CheckpointError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.train.checkpoint import Checkpoints
from hades.train.loop import CompiledRun
from hades.train.result import distilled_dataset
from hades.train.workdir import WorkDir


def export_dataset(workdir: str | Path, output: str | Path, *, embed_init: bool = False) -> Path:
    """Write the best dataset of a run, finished or not.

    Args:
        workdir: the run's.
        output: the file to write.
        embed_init: put a HaDES-F policy's initial weights into the file.

    Raises:
        CheckpointError: when there is no run, no usable checkpoint, or a run that evolves no dataset.
    """
    directory = WorkDir(workdir)
    if not directory.experiment.exists():
        raise CheckpointError(f"There is no run in {directory.path}: it has no {directory.experiment.name}.")
    if directory.dataset.exists() and not embed_init:
        return load_dataset(directory.dataset).save(output)
    experiment = registry.build(json.loads(directory.experiment.read_text()))
    algorithm = experiment.algorithm
    if not isinstance(algorithm, Evolution) or not isinstance(algorithm.learner, BehaviourCloning):
        raise CheckpointError(f"The run in {directory.path} evolves no dataset.")
    with directory.locked():
        restored = Checkpoints(directory.checkpoints).restore(CompiledRun(experiment).shapes(), print)
    if restored is None:
        raise CheckpointError(f"The run in {directory.path} has no checkpoint yet; wait for its first one.")
    known = load_dataset(directory.dataset).metadata if directory.dataset.exists() else {}
    dataset = distilled_dataset(algorithm, restored.tree["best"], None, known.get("training"), embed_init)
    if known.get("returns"):
        dataset.metadata["returns"] = known["returns"]  # type: ignore[index]
    return dataset.save(output)
