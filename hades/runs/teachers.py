"""Read a teacher out of a finished run or a dataset.

In gin: `TeacherMatching.teacher = @teacher_from()`, `TeacherStates.teacher = @teacher_from()`, and
`teacher_from.path = 'runs/cartpole_ppo'`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gin

from hades.data import zoo
from hades.data.sources import is_address, load_dataset
from hades.errors import CheckpointError, ConfigError, HadesError
from hades.fields import Seed, checked
from hades.inner.teacher import Teacher, TeacherRecord
from hades.runs.record import read_run
from hades.runs.restore import load_policy
from hades.runs.result import all_stages
from hades.runs.stages import dataset_teacher, teachers_of
from hades.runs.workdir import WorkDir


@gin.register(module="hades.Teacher")
def teacher_from(path: str, seed: int = 0) -> Teacher:
    """The policy of a finished run of PPO or direct ES, or one that a dataset trains.

    Args:
        path: a work directory, or another source of `load_dataset`.
        seed: of the initial policy that a dataset trains.

    Raises:
        ConfigError: when there is no such thing, it is damaged, or the run has not finished.
    """
    checked(seed, Seed, "teacher_from.seed")
    try:
        is_path = not is_address(path) and path not in zoo.names()
        if is_path and (workdir := WorkDir(path)).path.is_dir() and not workdir.dataset.exists():
            return _of_run(workdir.path, path)
        return _of_dataset(path, seed)
    except HadesError as error:
        raise ConfigError(f"teacher_from.path: {error}") from error


def _of_dataset(path: str, seed: int) -> Teacher:
    dataset = load_dataset(path)
    return dataset_teacher(dataset, seed, _records(path, dataset.method, dataset.metadata.get("training") or {}))


def _of_run(folder: Path, path: str) -> Teacher:
    run = load_policy(folder)
    record = read_run(folder)
    if not record.is_finished:
        raise CheckpointError(
            f"The run in {folder} has not finished, so that its policy and its steps may still change: finish it first "
            "(the command that started it continues it)."
        )
    policy, params, normalizer, state, env = run.network
    return Teacher.of(policy, params, normalizer, state, env.spec, _records(path, record.method, record.result))


def _records(path: str, method: str, details: Mapping[str, Any]) -> tuple[TeacherRecord, ...]:
    """The teacher's own, then those of its teachers; `details` as in `result.json`."""
    steps = sum(all_stages(details, "env_steps", phase) for phase in ("search", "selection"))
    return TeacherRecord(path, method, int(steps) if "env_steps" in details else None), *teachers_of(details)
