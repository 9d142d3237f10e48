"""PPO and direct ES in the host loop: resume = uninterrupted, and the policy that a run leaves."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hades
from hades.errors import CheckpointError
from hades.inner.identity import Identity
from hades.normalizers.running import RunningNormalizer
from hades.policies.mlp import MLP
from hades.report.report import write_report
from hades.runs.experiment import Experiment
from hades.runs.export import export_dataset
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from hades.runs.restore import load_policy
from tests.runs.tiny import tiny_experiment
from tests.support import LEARNING

SAME_BYTES = ("metrics.jsonl", "evaluations.jsonl")


def ppo_experiment(**changes: Any) -> Experiment:
    algorithm = dataclasses.replace(LEARNING, normalizer=RunningNormalizer(episodes=2), normalize_rewards=True)
    return dataclasses.replace(tiny_experiment(), **({"algorithm": algorithm} | changes))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("ppo") / "run"
    run(ppo_experiment(), workdir, progress=False)
    return workdir


def test_a_resumed_run_is_the_uninterrupted_one(learned: Path, tmp_path: Path) -> None:
    run(ppo_experiment(generations=6), tmp_path / "run", progress=False)
    run(ppo_experiment(), tmp_path / "run", progress=False)
    for name in SAME_BYTES:
        assert (tmp_path / "run" / name).read_bytes() == (learned / name).read_bytes(), name
    weights = [jax.tree.leaves(load_policy(path).solution) for path in (learned, tmp_path / "run")]
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


def test_what_a_run_leaves(learned: Path) -> None:
    result = json.loads((learned / "result.json").read_text())
    assert result["method"] == "PPO"
    assert result["env_steps"]["search"] == 12 * 8 * 3
    assert result["genome_size"] == 2 * 8 + 8 + 8 * 1 + 1 + 1  # the actor's weights, biases and log deviation
    assert len(read_json_lines(learned / "metrics.jsonl")) == 12
    assert not (learned / "dataset.safetensors").exists()


def test_its_policy_acts_and_earns_what_the_report_says(learned: Path) -> None:
    policy = hades.load_policy(learned)
    result = json.loads((learned / "result.json").read_text())
    returns = hades.evaluate(policy, num_episodes=200, seed=5)
    assert (returns.num_inits, returns.num_episodes, returns.one_policy) == (200, 1, True)
    error = returns.std_over_inits / 200**0.5
    assert returns.mean == pytest.approx(result["report"]["mean"], abs=4 * error + 3 * returns.std_over_inits / 6**0.5)
    action = policy.act(jax.random.key(0), np.zeros(2, np.float32))
    assert action.shape == (1,)


def test_direct_es_leaves_a_policy_too(tmp_path: Path) -> None:
    algorithm = dataclasses.replace(tiny_experiment().algorithm, learner=Identity(MLP(width=4, depth=1)))  # type: ignore[type-var]
    result = run(dataclasses.replace(tiny_experiment(), algorithm=algorithm), tmp_path, progress=False)
    assert result.dataset is None
    policy = load_policy(tmp_path)
    assert policy.environment == algorithm.environments[0]  # type: ignore[attr-defined]
    assert np.isfinite(hades.evaluate(policy, num_episodes=4).mean)
    page = write_report(tmp_path).read_text()
    assert "The policy played 15 episodes" in page


def test_a_run_that_evolves_a_dataset_or_holds_nothing_is_refused(
    finished: Path, learned: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="evolves a dataset"):
        load_policy(finished)
    with pytest.raises(CheckpointError, match=r"experiment\.json"):
        load_policy(tmp_path)
    with pytest.raises(CheckpointError, match=r"hades\.load_policy"):
        export_dataset(learned, tmp_path / "x.safetensors")
