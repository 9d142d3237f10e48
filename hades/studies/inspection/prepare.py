"""The subject of `hades-inspect`: a dataset file with a folder for the results, or the folder of a run."""

from pathlib import Path

from hades.data.dataset import DistilledDataset
from hades.data.sources import load_dataset
from hades.errors import CheckpointError, DatasetError
from hades.policy.published import load_any_dataset
from hades.runs.record import read_run
from hades.runs.workdir import WorkDir
from hades.studies.inspection.numbers import dataset_fingerprint


def prepare_dataset(workdir: str | Path, dataset: str | Path | None = None) -> DistilledDataset:
    """The dataset to inspect; a given one is copied into the folder, so that the report there stands alone.

    Args:
        workdir: where numbers and report go; without `dataset`, the folder of a run.
        dataset: a source of `load_dataset`, or a released pickle or npz file.

    Raises:
        DatasetError: where there is no such dataset.
        CheckpointError: where the folder holds another dataset or run, or a run without a dataset.
    """
    return _of_run(workdir) if dataset is None else _beside(WorkDir(workdir), dataset)


def _beside(directory: WorkDir, name: str | Path) -> DistilledDataset:
    dataset = load_any_dataset(name)
    if directory.experiment.exists():
        raise CheckpointError(
            f"{directory.path} is the folder of a run: choose another --workdir for {name}, or leave --dataset out to "
            "inspect the run's own dataset."
        )
    if not directory.dataset.exists():
        dataset.save(directory.dataset)
    elif dataset_fingerprint(load_dataset(directory.dataset)) != dataset_fingerprint(dataset):
        raise CheckpointError(
            f"{directory.dataset} is another dataset than {name}: choose another --workdir, or delete that file."
        )
    return dataset


def _of_run(workdir: str | Path) -> DistilledDataset:
    run = read_run(workdir)
    if run.dataset is not None:
        return run.dataset
    if run.dataset_problem:
        raise DatasetError(run.dataset_problem)
    if run.result:
        raise CheckpointError(
            f"The run in {run.workdir} is one of {run.method}: it ended in a policy (hades.load_policy), not in a "
            "dataset. Inspect a run of HaDES-R or HaDES-F, or give --dataset."
        )
    if not run.experiment:
        raise CheckpointError(f"There is neither a run nor a dataset in {run.workdir}: give --dataset as well.")
    raise CheckpointError(
        f"The run in {run.workdir} has not finished, so it has no dataset yet. Let hades-train end it, or write the "
        f"best one so far (hades-export-dataset --workdir={run.workdir} --output=best.safetensors) and inspect that "
        "(--dataset=best.safetensors, with another --workdir)."
    )
