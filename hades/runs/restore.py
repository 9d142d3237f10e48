"""Load what a work directory holds: the experiment and its best solution; and the policy of a run or a file."""

from pathlib import Path

import jax

from hades import registry
from hades.algorithms.base import Solution
from hades.contracts import single_precision
from hades.errors import CheckpointError, notice
from hades.policy.run_policy import RunPolicy
from hades.policy.trained_policy import TrainedPolicy
from hades.runs.checkpoint import read_newest
from hades.runs.compiled_run import CompiledRun
from hades.runs.experiment import Experiment
from hades.runs.workdir import WorkDir


def load_policy(path: str | Path) -> RunPolicy | TrainedPolicy:
    """The policy in a file, or that of the best solution so far of a run of direct ES or PPO, finished or not.

    Args:
        path: a file that `policy.save` wrote, or the work directory of a run.

    Raises:
        DatasetError: for a file that is damaged or holds no policy.
        CheckpointError: when there is nothing, no run, no usable checkpoint, a run that evolves a dataset, or one of
            the processes of a run asks (they restore together).
    """
    directory = WorkDir(path)
    if directory.path.is_file():
        return TrainedPolicy.load(directory.path)
    if not directory.path.exists():
        raise CheckpointError(
            f"There is no file and no run in {directory.path}: give a file that policy.save wrote, or the work "
            "directory of a run of PPO or direct ES."
        )
    experiment = read_experiment(directory)
    if experiment.algorithm.evolves_dataset:
        raise CheckpointError(
            f"The run in {directory.path} evolves a dataset, which trains any number of policies: "
            "hades.train_policy(hades.load_dataset(…))."
        )
    return RunPolicy(algorithm=experiment.algorithm, solution=restore_best(directory, experiment))


def read_experiment(directory: WorkDir) -> Experiment:
    """The experiment that runs in a work directory.

    Raises:
        CheckpointError: when there is none.
    """
    if not directory.experiment.exists():
        raise CheckpointError(f"There is no run in {directory.path}: it has no {directory.experiment.name}.")
    experiment = registry.build(directory.described("Put a copy in its place, or run hades-train there again."))
    assert isinstance(experiment, Experiment)  # its interface has one class
    return experiment


@single_precision
def restore_best(directory: WorkDir, experiment: Experiment) -> Solution:
    """The best solution so far, from the newest usable checkpoint of a run that may go on meanwhile.

    Raises:
        CheckpointError: when there is none yet.
    """
    if jax.process_count() > 1:
        raise CheckpointError("A process of a run cannot load another run's policy: do it in a program of its own.")
    restored = read_newest(directory.checkpoints, CompiledRun(experiment).shapes(), notice)
    if restored is None:
        raise CheckpointError(f"The run in {directory.path} has no checkpoint yet; wait for its first one.")
    best = restored.tree["best"]
    assert isinstance(best, Solution)
    return best
