"""Teachers out of runs and files."""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hades
from hades.algorithms.base import Solution
from hades.errors import ConfigError
from hades.inner.identity import Identity
from hades.inner.teacher import TeacherRecord
from hades.normalizers.base import identity_state
from hades.normalizers.running import RunningNormalizer
from hades.policy.merge import merge
from hades.policy.trained_policy import train_policy
from hades.runs.gin_config import load_experiment
from hades.runs.loop import run
from hades.runs.teachers import teacher_from
from tests.runs.tiny import tiny_experiment
from tests.support import EVOLUTION, LEARNING, POINT, SMALL

GREEDY = dataclasses.replace(SMALL, acting="greedy")
OBS = jnp.array([[0.5, -0.5], [0.1, 0.15], [-1.0, 0.3]])


def test_a_finished_run_acts_as_its_policy_does(tmp_path: Path) -> None:
    ppo = dataclasses.replace(LEARNING, actor=GREEDY, normalizer=RunningNormalizer(episodes=2))
    folder = tmp_path / "run"
    result = run(tiny_experiment(algorithm=ppo, generations=2, eval_every=2), folder, progress=False)
    teacher = teacher_from(str(folder))
    act = hades.load_policy(folder).act
    expected = jax.vmap(lambda obs: act(jax.random.key(0), obs))(OBS)
    np.testing.assert_allclose(teacher.act(jax.random.key(0), OBS, POINT.spec), expected, atol=1e-6)
    steps = 2 * 8 * 3 + result.details["env_steps"]["selection"]
    assert teacher.records == (TeacherRecord(str(folder), "PPO", steps),)
    (folder / "result.json").unlink()
    with pytest.raises(ConfigError, match=r"teacher_from\.path: The run in .* has not finished"):
        teacher_from(str(folder))


def test_the_network_of_direct_es_is_its_genome() -> None:
    direct = dataclasses.replace(EVOLUTION, learner=Identity(policy=GREEDY))
    weights = GREEDY.init(jax.random.key(0), POINT.spec)
    solution = Solution(genome=weights, normalizer=identity_state((2,)))
    assert direct.network(jax.random.key(0), solution) == (GREEDY, weights)


def test_a_dataset_teaches_by_the_policy_that_it_trains(finished: Path, tmp_path: Path) -> None:
    teacher = teacher_from(str(finished))
    trained = train_policy(hades.load_dataset(finished / "dataset.safetensors"))
    spec = trained.environment.spec
    expected = jax.vmap(lambda obs: trained.act(jax.random.key(0), obs))(OBS)
    np.testing.assert_allclose(teacher.act(jax.random.key(0), OBS, spec), expected, atol=1e-6)
    assert teacher.records[0].method == "HaDES-R"
    shutil.copy(finished / "dataset.safetensors", tmp_path / "alone.safetensors")
    alone = teacher_from(str(tmp_path / "alone.safetensors"))
    assert alone.arrays == teacher.arrays
    assert alone.records[0].env_steps == teacher.records[0].env_steps
    assert teacher_from(str(finished), seed=1).arrays != teacher.arrays


def test_a_missing_or_unfit_teacher_is_refused_by_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"teacher_from\.path: .*nowhere"):
        teacher_from("nowhere")
    with pytest.raises(ConfigError, match=r"teacher_from\.path: There is no run in .*: it has no experiment\.json"):
        teacher_from(str(tmp_path))
    with pytest.raises(ConfigError, match=r"teacher_from\.seed is -1"):
        teacher_from("cartpole-hades-r-d2", seed=-1)
    with pytest.raises(
        ConfigError, match=r"environment of the teacher from pendulum-hades-r-d8 is Pendulum-v1, but that"
    ):
        load_experiment("cartpole_teacher_r", ["teacher_from.path = 'pendulum-hades-r-d8'"])


def test_a_merged_dataset_owes_what_its_parts_owe() -> None:
    taught, alone = hades.zoo.load("cartpole-hades-r-d2"), hades.zoo.load("acrobot-hades-r-d3")
    record = {"source": "a test", "method": "PPO", "env_steps": None}
    training = {**taught.metadata["training"], "teachers": [record]}
    taught = dataclasses.replace(taught, metadata={**taught.metadata, "training": training})
    merged = merge([taught, alone], floors=(0.0, -500.0))
    assert (merged.method, merged.metadata["training"]["teachers"]) == ("merged, from a teacher", [record])
