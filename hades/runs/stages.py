"""A run in stages: each starts from the dataset that the one before has made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hades import registry
from hades.data.dataset import DistilledDataset
from hades.environments.base import Environment
from hades.errors import ConfigError, DatasetError, require
from hades.inner.pairs import PairsLearner, Start, StartPairs
from hades.inner.stage_record import StageRecord
from hades.inner.teacher import Teacher, TeacherRecord
from hades.inner.teacher_states import visited_by
from hades.normalizers.base import Normalizer
from hades.policy.trained_policy import normalizer_state, train_policy
from hades.runs.experiment import Experiment
from hades.types import Dataset

FIRST = "first"
"""Folder of the stage before, inside a run's work directory."""
VISITED_EPISODES = 16
"""Whole episodes that the policy of a stage plays for a hand-over that asks for visited states; they count nowhere."""
VISITED_STATES = 64
"""States that are kept of each of these."""


def stages(experiment: Experiment) -> list[Experiment]:
    """All stages of a run in the order in which they run, of which the last is the experiment itself."""
    return [*(stages(experiment.first) if experiment.first is not None else []), experiment]


def described_stages(described: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The same of a described experiment."""
    return [*(described_stages(described["first"]) if described.get("first") else []), described]


def recipe_text(learner: Mapping[str, Any]) -> str:
    """A described learner and its policy, such as "RidgeCloning of WideMLP"."""
    return f"{learner['name']} of {learner['policy']['name']}"


def pairs_of(dataset: DistilledDataset, source: str, *, coded: bool = False) -> StartPairs:
    """Pairs of a dataset in raw coordinates, or in its codes, to start a search from.

    Raises:
        DatasetError: where it has no codes.
    """
    observations = dataset.codes if coded else dataset.observations * dataset.obs_std + dataset.obs_mean
    if observations is None:
        raise DatasetError(f"{source} has no codes: its search moved the observations themselves. Leave out codes.")
    return StartPairs(
        num_pairs=len(dataset),
        observations=tuple(map(float, np.ravel(observations))),
        targets=tuple(map(float, np.ravel(dataset.targets))),
        source=source,
        teachers=teachers_of(dataset.metadata.get("training") or {}),
    )


def teachers_of(details: Mapping[str, Any]) -> tuple[TeacherRecord, ...]:
    """Records of teachers in a result, or in the `training` of a dataset's header."""
    return tuple(TeacherRecord(t["source"], t["method"], t.get("env_steps")) for t in details.get("teachers", ()))


def stages_of(dataset: DistilledDataset) -> tuple[StageRecord, ...]:
    """Records of the searches that made a dataset, as far as its header states them."""
    training = dataset.metadata.get("training") or {}
    own = {**training, "recipe": recipe_text(dataset.metadata["learner"]), "return": dataset.returns.get("mean")}
    own["networks"] = [registry.describe(network) for network in dataset.learner.policy.networks]
    return tuple(
        StageRecord(
            method=stage["method"],
            recipe=stage["recipe"],
            networks=tuple(registry.build(network) for network in stage.get("networks", ())),
            generations=stage["generations"],
            search_steps=stage["env_steps"].get("search", 0),
            selection_steps=stage["env_steps"].get("selection", 0),
            returns=stage["return"],
        )
        for stage in [*training.get("stages", ()), own]
        if {"method", "generations", "env_steps"} <= stage.keys()
    )


def check_stages(experiment: Experiment) -> None:
    """Raise ConfigError where a stage cannot start from what the one before makes, before anything runs."""
    if (first := experiment.first) is None:
        require(
            _needs_teacher(experiment) is None,
            "TeacherStates.teacher is None, which stands for the policy of the stage before, but no stage runs before: "
            "bind TeacherStates.teacher = @teacher_from(), or Experiment.first.",
        )
        _check_settled(experiment)
        return
    check_stages(first)
    before, after = first.algorithm, experiment.algorithm
    require(
        before.evolves_dataset and after.evolves_dataset,
        f"Experiment.first is {before.label}, followed by {after.label}: a stage hands over a dataset, so both must "
        "search for one.",
    )
    _learner(first).check_hand_over()
    is_coded = _learner(experiment).code is not None
    names = [_environment(stage, is_coded).spec.name for stage in (first, experiment)]
    require(names[0] == names[1], f"Experiment.first is on {names[0]}, but the stage after it is on {names[1]}.")
    learner = _learner(experiment)
    if _needs_teacher(experiment) is None:
        pairs = [_learner(stage).num_pairs for stage in (first, experiment)]
        require(
            pairs[1] % pairs[0] == 0,
            f"Experiment.first makes {pairs[0]} pairs, but {type(learner).__name__}.num_pairs of the stage after it is "
            f"{pairs[1]}: use the same number, or a multiple, for which they are repeated.",
        )
        require(
            learner.start_pairs is None,
            f"{type(learner).__name__}.start_pairs is given, but a stage that follows another starts from its pairs: "
            "leave it out, or use TeacherStates without a teacher.",
        )
    if not is_coded:
        size = after.environments[0].spec.obs_size
        _normalizer(experiment).holding((0.0,) * size, (1.0,) * size)


def _check_settled(experiment: Experiment) -> None:
    """Raise ConfigError where pairs are settled that nothing has found before."""
    learner = getattr(experiment.algorithm, "learner", None)
    require(
        not isinstance(learner, PairsLearner) or not learner.settled or learner.start_pairs is not None,
        f"{type(learner).__name__}.settled leaves pairs as they start, but nothing has found them: bind "
        "Experiment.first or start_pairs, or leave it at 0.",
    )


def started_from(experiment: Experiment, dataset: DistilledDataset) -> Experiment:
    """The experiment with the pairs and the statistics of the stage before."""
    learner = _learner(experiment)
    is_coded = learner.code is not None
    start: Start
    if (given := _needs_teacher(experiment)) is not None:
        start = given.taught_by(dataset_teacher(dataset))
    else:
        by_code = learner.code is not None and learner.code.is_observation and dataset.codes is not None
        dataset = _handed_over(dataset)
        start = pairs_of(dataset, "the stage before", coded=by_code)
    parts: dict[str, Any] = {"learner": learner.changed(start_pairs=start)}
    if not is_coded:  # codes are raw
        mean, std = (tuple(map(float, np.ravel(x))) for x in (dataset.obs_mean, dataset.obs_std))
        parts["normalizer"] = _normalizer(experiment).holding(mean, std)
    return dataclasses.replace(experiment, algorithm=dataclasses.replace(experiment.algorithm, **parts))  # type: ignore[type-var]  # algorithms are dataclasses


def dataset_teacher(dataset: DistilledDataset, seed: int = 0, records: tuple[TeacherRecord, ...] = ()) -> Teacher:
    """The policy that a dataset trains, as a teacher."""
    trained = train_policy(dataset, seed)
    parts = trained.learner.policy, trained.params, trained.normalizer, trained.normalizer_state
    return Teacher.of(*parts, dataset.environment.spec, records)


def _needs_teacher(experiment: Experiment) -> Start | None:
    """Its start, if the pairs come from the policy of the stage before."""
    start: Start | None = getattr(getattr(experiment.algorithm, "learner", None), "start_pairs", None)
    return start if start is not None and start.needs_teacher else None


def _handed_over(dataset: DistilledDataset) -> DistilledDataset:
    """The dataset with the targets, and about the mean, that its learner hands over."""
    learner, env = dataset.learner, dataset.environment
    assert isinstance(learner, PairsLearner)

    def visited() -> Array:
        teacher = dataset_teacher(dataset)
        raw, usable = visited_by(teacher, jax.random.key(0), env, VISITED_EPISODES, VISITED_STATES)
        return dataset.normalizer.apply(normalizer_state(dataset), raw[usable])

    pairs = Dataset(jnp.asarray(dataset.observations), jnp.asarray(dataset.targets))
    found, centre = learner.handed_over(pairs, dataset.spec, visited)
    mean = dataset.obs_mean if centre is None else dataset.obs_mean + dataset.obs_std * np.asarray(centre)
    return dataclasses.replace(dataset, targets=np.asarray(found.targets), obs_mean=mean)


def _learner(experiment: Experiment) -> PairsLearner:
    learner = getattr(experiment.algorithm, "learner", None)
    if not isinstance(learner, PairsLearner):
        raise ConfigError(
            f"A stage that follows another needs a learner that can start from pairs, not {type(learner).__name__}: "
            "BehaviourCloning or RidgeCloning."
        )
    return learner


def _environment(stage: Experiment, coded: bool) -> Environment:
    """The environment of a stage, or the one whose observations its genome holds."""
    environment, code = stage.algorithm.environments[0], _learner(stage).code
    return code.coded(environment) if coded and code is not None else environment


def _normalizer(experiment: Experiment) -> Normalizer:
    normalizer: Normalizer = getattr(experiment.algorithm, "normalizer")  # noqa: B009  (of any algorithm)
    return normalizer
