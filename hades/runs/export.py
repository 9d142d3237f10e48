"""The dataset of a run's best solution so far, read from its newest usable checkpoint."""

from pathlib import Path

from hades.data.sources import load_dataset
from hades.errors import CheckpointError
from hades.runs.restore import read_experiment, restore_best
from hades.runs.result import distilled_dataset
from hades.runs.workdir import WorkDir


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
    experiment = read_experiment(directory)
    if directory.dataset.exists() and not embed_init:
        return load_dataset(directory.dataset).save(output)
    algorithm = experiment.algorithm
    if not algorithm.evolves_dataset:
        raise CheckpointError(f"The run in {directory.path} evolves no dataset; hades.load_policy gives its policy.")
    best = restore_best(directory, experiment)
    known = load_dataset(directory.dataset).metadata if directory.dataset.exists() else {}
    dataset = distilled_dataset(algorithm, best, None, known.get("training"), embed_init)
    assert dataset is not None  # it evolves one
    if known.get("returns"):
        dataset.metadata["returns"] = known["returns"]  # type: ignore[index]  # a dict, made just above
    return dataset.save(output)
