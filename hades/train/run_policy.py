"""The policy that a run of direct ES or PPO ended with: such a run leaves no dataset, its result acts by itself."""

import dataclasses
from pathlib import Path

import jax

from hades import registry
from hades.algorithms.base import Algorithm, Evaluation, Solution
from hades.algorithms.keys import Stream, stream_key
from hades.data.files import read_json
from hades.environments.base import Environment
from hades.errors import CheckpointError
from hades.train.checkpoint import opened
from hades.train.compiled_run import CompiledRun
from hades.train.experiment import Experiment
from hades.train.result import evolves_dataset
from hades.train.workdir import WorkDir
from hades.types import ActFn, Key


@dataclasses.dataclass(frozen=True, eq=False)
class RunPolicy:
    """A policy from a run's best solution. It equals itself alone.

    Attributes:
        algorithm: what found it.
        solution: its weights and the statistics it acts under.
    """

    algorithm: Algorithm
    solution: Solution

    @property
    def environment(self) -> Environment:
        """What it was trained in."""
        return self.algorithm.environments[0]

    @property
    def act(self) -> ActFn:
        """`policy.act(key, observation)` is an action for one raw observation f32[*obs_shape]."""
        return self.algorithm.policy(stream_key(jax.random.key(0), Stream.REPORT), self.solution)

    def play(self, key: Key, num_episodes: int) -> Evaluation:
        """Whole episodes, each in a row of its own: [num_episodes, 1]."""
        evaluate = jax.jit(lambda key, solution: self.algorithm.evaluate(key, solution, num_episodes, 1))
        return evaluate(key, self.solution)


def load_policy(workdir: str | Path) -> RunPolicy:
    """The policy of the best solution so far, from a run of direct ES or PPO, finished or not.

    Args:
        workdir: the run's.

    Raises:
        CheckpointError: when there is no run, no usable checkpoint, a run that evolves a dataset, or one of the
            processes of a run asks (they restore together).
    """
    directory = WorkDir(workdir)
    experiment = read_experiment(directory)
    if evolves_dataset(experiment.algorithm):
        raise CheckpointError(
            f"The run in {directory.path} evolves a dataset, which trains any number of policies: "
            "hades.train_policy(hades.load_dataset(…))."
        )
    return RunPolicy(algorithm=experiment.algorithm, solution=restore_best(directory, experiment))


def read_experiment(directory: WorkDir) -> Experiment:
    """What runs in a work directory.

    Raises:
        CheckpointError: when nothing does.
    """
    if not directory.experiment.exists():
        raise CheckpointError(f"There is no run in {directory.path}: it has no {directory.experiment.name}.")
    remedy = "Put a copy in its place, or run hades-train there again."
    experiment = registry.build(read_json(directory.experiment, remedy))
    assert isinstance(experiment, Experiment)
    return experiment


def restore_best(directory: WorkDir, experiment: Experiment) -> Solution:
    """The best solution so far, from the newest usable checkpoint.

    Raises:
        CheckpointError: when there is none yet.
    """
    if jax.process_count() > 1:
        raise CheckpointError("A process of a run cannot load another run's policy: do it in a program of its own.")
    with directory.locked(), opened(directory.checkpoints) as checkpoints:
        restored = checkpoints.restore(CompiledRun(experiment).shapes(), print)
    if restored is None:
        raise CheckpointError(f"The run in {directory.path} has no checkpoint yet; wait for its first one.")
    best = restored.tree["best"]
    assert isinstance(best, Solution)
    return best
