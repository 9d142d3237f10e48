"""From a file to a policy, and HaDES-F files that need their own initial weights."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

import hades
from hades.algorithms.base import Solution
from hades.data.dataset import DistilledDataset
from hades.data.sources import load_dataset
from hades.environments.point import Point
from hades.errors import CheckpointError, ConfigError, DatasetError
from hades.fitness.shaped_return import ShapedReturn
from hades.inner.init_scheme import FixedInit
from hades.normalizers.none import NoNormalizer
from hades.policies.mlp import MLP
from hades.policy.run_policy import RunPolicy
from hades.policy.statistics import summarize
from hades.policy.trained_policy import (
    TrainedPolicies,
    TrainedPolicy,
    evaluate,
    evaluate_dataset,
    freeze_statistics,
    parse_policy,
    train_policy,
)
from hades.runs.export import export_dataset
from hades.runs.loop import run
from hades.runs.result import RunResult
from hades.types import EnvSpec
from tests.runs.tiny import tiny_experiment
from tests.support import CLONING, EVOLUTION, POINT


@pytest.fixture(scope="module")
def dataset(finished: Path) -> DistilledDataset:
    return load_dataset(finished / "dataset.safetensors")


@pytest.fixture(scope="module")
def fixed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("fixed") / "run"
    run(tiny_experiment(init_scheme=FixedInit(seed=3), generations=3), workdir, progress=False)
    return workdir


def test_three_lines_from_file_to_return(finished: Path) -> None:
    policy = hades.train_policy(hades.load_dataset(finished / "dataset.safetensors"), seed=0)
    assert policy.act(jax.random.key(0), np.zeros(2, np.float32)).shape == (1,)
    summary = hades.evaluate(policy, num_episodes=8)
    assert np.isfinite(summary.mean)
    assert summary.ci95[0] < summary.mean < summary.ci95[1]
    assert summary.one_policy
    assert (summary.num_inits, summary.num_episodes, len(summary.per_init)) == (8, 1, 8)


def test_a_dataset_of_an_environment_that_is_not_there_trains_and_acts(dataset: DistilledDataset) -> None:
    """Which is read from the header; what the header says is compared with an environment before it is played."""
    here = train_policy(dataset)
    described = {"interface": "Environment", "name": "Elsewhere"}
    elsewhere = train_policy(dataclasses.replace(dataset, metadata={**dataset.metadata, "environment": described}))
    jax.tree.map(np.testing.assert_array_equal, here.params, elsewhere.params)
    obs = np.ones(2, np.float32)
    assert here.act(jax.random.key(0), obs) == elsewhere.act(jax.random.key(0), obs)
    assert "point" in repr(elsewhere)
    with pytest.raises(DatasetError, match=r'environment cannot be used: There is no Environment "Elsewhere"'):
        evaluate(elsewhere)
    described = {**dataset.metadata["environment"], "discrete": True}
    other = train_policy(dataclasses.replace(dataset, metadata={**dataset.metadata, "environment": described}))
    with pytest.raises(DatasetError, match=r"spec\.action_kind is 'box', but point-discrete has discrete"):
        evaluate(other)


@pytest.mark.parametrize(
    ("shape", "one_policy", "expected"),
    [
        ((64, 1), True, ("one policy, 64 episodes", "worst episode -1.0")),
        ((64, 4), True, ("one policy, 64 × 4 episodes", "worst group -1.0")),
        ((64, 4), False, ("64 policies × 4 episodes", "worst policy -1.0")),
    ],
)
def test_a_summary_names_its_units(shape: tuple[int, int], one_policy: bool, expected: tuple[str, str]) -> None:
    returns = np.zeros(shape)
    returns[0] = -1.0
    text = str(summarize(returns, np.ones(shape), one_policy=one_policy))
    assert all(f"; {part}" in text for part in expected)


def test_one_policy_has_no_interval() -> None:
    assert str(summarize(np.ones((1, 4)), np.ones((1, 4)))).startswith("1.0 (no interval; 1 policy × 4 episodes;")


def test_policies_of_one_seed_agree_and_of_two_differ(dataset: DistilledDataset) -> None:
    one, same, other = (train_policy(dataset, seed=s).params for s in (0, 0, 1))
    leaves = [jax.tree.leaves(p) for p in (one, same, other)]
    assert all(np.array_equal(a, b) for a, b in zip(leaves[0], leaves[1], strict=True))
    assert not all(np.allclose(a, b) for a, b in zip(leaves[0], leaves[2], strict=True))


def test_training_lowers_the_loss_and_the_recipe_can_be_changed(dataset: DistilledDataset) -> None:
    short = train_policy(dataset, num_updates=1).loss
    long = train_policy(dataset, num_updates=200, learning_rate=0.02).loss
    assert long < short
    wide = train_policy(dataset, policy=MLP(width=16, depth=2))
    assert wide.params["layers_0"]["kernel"].shape == (2, 16)


def test_unknown_recipe_fields_are_named(dataset: DistilledDataset) -> None:
    with pytest.raises(ConfigError, match=r'"learning_rat".*"learning_rate"'):
        train_policy(dataset, learning_rat=0.1)


def test_a_training_that_diverges_is_an_error_and_never_a_return(dataset: DistilledDataset) -> None:
    with pytest.raises(ConfigError, match=r"diverged.*learning_rate"):
        train_policy(dataset, learning_rate=1e38)
    summary = evaluate_dataset(dataset, 2, 1, learning_rate=1e38)
    assert np.isnan(summary.mean)
    assert "2 of 2 returns are NaN" in str(summary)
    whole = evaluate_dataset(dataset, 2, protocol=ShapedReturn(num_episodes=1), learning_rate=1e38)
    assert np.isnan(whole.mean)
    policy = train_policy(dataset)
    params = jax.tree.map(lambda x: x, policy.params)
    params["layers_0"]["kernel"] = params["layers_0"]["kernel"].at[0, 0].set(np.nan)
    assert np.isnan(evaluate(dataclasses.replace(policy, params=params), 2).mean)


def test_statistics_of_policies_that_all_diverge_are_not_frozen(dataset: DistilledDataset) -> None:
    metadata = {**dataset.metadata, "learner": {**dataset.metadata["learner"], "learning_rate": 1e38}}
    with pytest.raises(ConfigError, match="None of the 2 policies"):
        freeze_statistics(dataclasses.replace(dataset, metadata=metadata), 2, 1)


def test_a_summary_names_infinite_returns(dataset: DistilledDataset) -> None:
    summary = summarize(np.array([[1.0], [np.inf], [-np.inf]]), np.ones((3, 1)))
    assert "2 of 3 returns are infinite" in str(summary)
    assert summary.faults
    assert not summarize(np.ones((3, 1)), np.ones((3, 1))).faults


def test_an_evaluation_repeats_and_counts(dataset: DistilledDataset) -> None:
    one, same, other = (evaluate_dataset(dataset, 3, 2, seed) for seed in (0, 0, 1))
    assert one == same != other
    assert (one.num_inits, one.num_episodes, len(one.per_init)) == (3, 2, 3)
    assert one.mean_length == 5.0


def test_a_trained_policy_beats_an_untrained_one() -> None:
    # The targets are the optimal actions of `point` at random states: what cloning should be able to use.
    from hades.runs.result import distilled_dataset

    algorithm = tiny_experiment().algorithm
    state = jax.jit(lambda: algorithm.init(jax.random.key(0)))()
    made = distilled_dataset(algorithm, algorithm.solution(state))  # type: ignore[arg-type]
    observations = np.random.default_rng(0).uniform(-1, 1, (64, 2)).astype(np.float32)
    targets = np.clip((observations[:, 1:] - observations[:, :1]) / 0.25, -1, 1).astype(np.float32)
    expert = dataclasses.replace(made, observations=observations, targets=targets)
    trained = evaluate(train_policy(expert, num_updates=300, learning_rate=0.02), 64)
    untrained = evaluate(train_policy(expert, num_updates=0), 64)
    assert trained.mean > untrained.mean + 0.5


def test_a_fixed_init_file_rebuilds_its_weights(fixed_run: Path) -> None:
    dataset = load_dataset(fixed_run / "dataset.safetensors")
    assert dataset.metadata["init"]["kind"] == "fixed"
    one, other = (train_policy(dataset, seed=s).params for s in (0, 1))
    assert np.array_equal(one["layers_0"]["kernel"], other["layers_0"]["kernel"])


def test_a_fixed_init_file_is_refused_where_the_weights_differ(fixed_run: Path) -> None:
    dataset = load_dataset(fixed_run / "dataset.safetensors")
    metadata = json.loads(json.dumps(dict(dataset.metadata)))
    metadata["init"]["fingerprint"]["layers_0/kernel"][3] += 0.01
    with pytest.raises(DatasetError, match=r"layers_0/kernel.*0\.01.*embed_init"):
        train_policy(dataclasses.replace(dataset, metadata=metadata))


def test_embedded_weights_serve_where_they_cannot_be_rebuilt(fixed_run: Path, tmp_path: Path) -> None:
    path = export_dataset(fixed_run, tmp_path / "embedded.safetensors", embed_init=True)
    dataset = load_dataset(path)
    metadata = json.loads(json.dumps(dict(dataset.metadata)))
    metadata["init"]["fingerprint"]["layers_0/kernel"][3] += 0.01  # as if this machine made other weights
    embedded = train_policy(dataclasses.replace(dataset, metadata=metadata))
    rebuilt = train_policy(load_dataset(fixed_run / "dataset.safetensors"))
    assert np.array_equal(embedded.params["layers_0"]["kernel"], rebuilt.params["layers_0"]["kernel"])
    assert dataset.returns == load_dataset(fixed_run / "dataset.safetensors").returns


def test_a_random_init_file_needs_no_weights(finished: Path, tmp_path: Path) -> None:
    path = export_dataset(finished, tmp_path / "copy.safetensors")
    assert path.read_bytes() == (finished / "dataset.safetensors").read_bytes()


def test_exporting_from_nowhere_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no run in"):
        export_dataset(tmp_path, tmp_path / "x.safetensors")


def test_a_policy_is_parsed_from_text() -> None:
    assert parse_policy("MLP(width=16, depth=1)") == MLP(width=16, depth=1)
    assert parse_policy("MLP") == MLP()
    like = MLP(width=8, acting="greedy", hidden_scale=0.4)
    assert parse_policy("MLP(width=16)", like) == MLP(width=16, acting="greedy", hidden_scale=0.4)
    assert parse_policy("MLP(acting='sample')", like) == MLP(acting="sample", hidden_scale=0.4)
    for text in ("MPL(width=16)", "MLP(width=", "MLP(wdth=3)", "3"):
        with pytest.raises(ConfigError, match=r"MLP|MPL"):
            parse_policy(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TrainedPolicy(POINT, CLONING, NoNormalizer(), np.zeros(2), {"kernel": np.ones((2, 3))}, 0.5),
        lambda: TrainedPolicies(POINT, CLONING, NoNormalizer(), np.zeros(2), {"kernel": np.ones((2, 3))}, {}),
        lambda: RunPolicy(EVOLUTION, Solution(np.zeros(3), np.zeros(2))),
        lambda: RunResult(Path("run"), False, 3, solution=Solution(np.zeros(3), np.zeros(2))),
    ],
    ids=["TrainedPolicy", "TrainedPolicies", "RunPolicy", "RunResult"],
)
def test_what_holds_arrays_equals_itself_alone(make: Callable[[], object]) -> None:
    one, other = make(), make()
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    assert {one: "one", other: "other"}[other] == "other"


@dataclasses.dataclass(frozen=True)
class Bounded(Point):
    """A point that states how far it can honestly be from its goal."""

    @property
    def spec(self) -> EnvSpec:
        return dataclasses.replace(super().spec, plausible=(("distance", 0.5),))


def test_an_evaluation_raises_the_exploit_alarm(dataset: DistilledDataset) -> None:
    point = dataset.environment
    assert isinstance(point, Point)
    bounded = Bounded(**{field.name: getattr(point, field.name) for field in dataclasses.fields(Point)})
    summary = evaluate(dataclasses.replace(train_policy(dataset), task=bounded), num_episodes=32)
    alarm = summary.alarms["distance"]
    assert 0 < alarm.episodes == summary.implausible_episodes < 32
    assert alarm.largest > alarm.bound == 0.5
    assert evaluate(train_policy(dataset), num_episodes=2).alarms == {}
