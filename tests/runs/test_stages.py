"""A run in stages: each starts from the dataset of the one before, all are counted, and none makes it worse."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import hades
from hades import registry
from hades.algorithms.gradient_distillation import GradientDistillation
from hades.environments.point import Point
from hades.errors import CheckpointError, ConfigError
from hades.inner.behaviour_cloning import BehaviourCloning
from hades.inner.identity import Identity
from hades.inner.init_scheme import RandomInit
from hades.inner.losses import MSE
from hades.inner.pairs import PairsLearner, StartPairs
from hades.inner.teacher_states import TeacherStates
from hades.normalizers.constant import ConstantNormalizer
from hades.normalizers.running import RunningNormalizer
from hades.policies.wide_mlp import WideMLP
from hades.report.report import write_report
from hades.runs.callback import LoggedGeneration
from hades.runs.experiment import Experiment
from hades.runs.log import read_json_lines
from hades.runs.loop import run
from hades.runs.result import all_stages
from hades.runs.stages import check_stages, stages_of, started_from
from hades.runs.start_pairs import pairs_from_dataset
from tests.algorithms.test_gradient_distillation import NETWORK, RIDGE, SEARCH, experiment
from tests.runs.tiny import SAME_BYTES, tiny_experiment

WIDE = dataclasses.replace(
    experiment(4),
    algorithm=dataclasses.replace(
        SEARCH,
        learner=dataclasses.replace(RIDGE, policy=WideMLP(acting="greedy"), init_scheme=RandomInit(1)),
        normalizer=RunningNormalizer(episodes=2),
    ),
)
SEARCH_ON = dataclasses.replace(SEARCH, normalizer=ConstantNormalizer())
FEATURES = dataclasses.replace(experiment(4), algorithm=SEARCH_ON, first=WIDE)
CLONING = BehaviourCloning(
    policy=NETWORK,
    init_scheme=RandomInit(2),
    loss=MSE(),
    num_pairs=3,
    start="gaussian",
    optimizer="sgd",
    learning_rate=0.1,
    num_updates=16,
)
CLONED = dataclasses.replace(
    experiment(4), algorithm=dataclasses.replace(SEARCH_ON, learner=CLONING), first=FEATURES, generations=0
)


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("stages") / "run"
    run(CLONED, workdir, progress=False)
    return workdir


def test_every_stage_hands_over_its_pairs_and_is_counted(staged: Path) -> None:
    datasets = [hades.load_dataset(staged / folder / "dataset.safetensors") for folder in ("first/first", "first", ".")]
    details = [json.loads((staged / folder / "result.json").read_text()) for folder in ("first/first", "first", ".")]
    assert [type(dataset.learner.policy).__name__ for dataset in datasets] == ["WideMLP", "MLP", "MLP"]
    np.testing.assert_allclose(datasets[2].observations, datasets[1].observations, atol=1e-5)
    np.testing.assert_array_equal(datasets[2].obs_std, datasets[0].obs_std)
    assert datasets[2].learner == CLONING
    assert [stage["method"] for stage in details[2]["stages"]] == ["HaDES-R by gradient"] * 2
    assert [stage["return"] for stage in details[2]["stages"]] == [d["report"]["mean"] for d in details[:2]]
    assert all_stages(details[2], "env_steps", "search") == 2 * 4 * 8 * 4
    kept = [{k: v for k, v in stage.items() if k != "seconds"} for stage in details[2]["stages"]]
    assert datasets[2].metadata["training"]["stages"] == kept, "equal runs write equal files"


def test_a_stage_begins_with_what_the_one_before_has_made(staged: Path) -> None:
    rows = read_json_lines(staged / "first" / "evaluations.jsonl")
    assert [row["generation"] for row in rows] == [0, 2, 4]
    assert rows[0]["best"]
    result = json.loads((staged / "first" / "result.json").read_text())
    best = max(row["return_mean"] for row in rows)
    assert result["selection_return"] == pytest.approx(best)


def test_a_stage_that_hands_over_an_affine_policy_moves_the_mean_to_where_it_prefers_no_action(staged: Path) -> None:
    dataset = hades.load_dataset(staged / "first" / "first" / "dataset.safetensors")
    learner = dataclasses.replace(dataset.learner, hand_over="affine")
    handing = dataclasses.replace(
        dataset,
        observations=np.float32([[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]),
        targets=np.float32([[0.6], [-0.2], [0.2]]),
        metadata={**dataset.metadata, "learner": registry.describe(learner)},
    )
    started = started_from(FEATURES, handing).algorithm
    assert isinstance(started, GradientDistillation)
    assert isinstance(started.normalizer, ConstantNormalizer)
    assert isinstance(started.learner, PairsLearner)
    assert isinstance(started.learner.start_pairs, StartPairs)
    mean, std = np.reshape(started.normalizer.mean, dataset.obs_mean.shape), dataset.obs_std
    policy = hades.train_policy(handing, seed=0)
    assert np.abs(policy.predict(np.float32(mean))) < 0.5 * np.abs(policy.predict(dataset.obs_mean))
    raw = np.reshape(started.learner.start_pairs.observations, dataset.observations.shape)
    np.testing.assert_allclose((raw - mean) / std, handing.observations, atol=1e-5)


def test_a_stage_may_start_from_states_that_the_policy_of_the_one_before_visits(staged: Path, tmp_path: Path) -> None:
    """It may have another number of pairs. The teacher is the run's own, so the label does not name one."""
    folder = Path(shutil.copytree(staged / "first", tmp_path / "run" / "first")).parent
    states = TeacherStates(num_episodes=4, states_each=4)
    learner = dataclasses.replace(CLONING, num_pairs=5, start_pairs=states)
    follower = dataclasses.replace(CLONED, algorithm=dataclasses.replace(CLONED.algorithm, learner=learner))
    result = run(follower, folder, progress=False)
    assert result.dataset is not None
    before = hades.load_dataset(folder / "first" / "dataset.safetensors")
    teacher = hades.train_policy(before, seed=0)
    raw = result.dataset.observations * before.obs_std + before.obs_mean
    expected = np.clip([teacher.predict(row)[0] for row in raw], -1.0, 1.0)
    np.testing.assert_allclose(result.dataset.targets[:, 0], expected, atol=1e-4)
    assert (len(result.dataset), result.details["method"], result.details.get("teachers", [])) == (
        5,
        "HaDES-R by gradient",
        [],
    )
    assert all_stages(result.details, "env_steps", "search") == 2 * 4 * 8 * 4
    assert run(follower, folder, progress=False).details["report"] == result.details["report"]
    other = dataclasses.replace(learner, start_pairs=dataclasses.replace(states, states_each=8))
    with pytest.raises(CheckpointError, match=r"start_pairs\.states_each is 4 there and 8 now"):
        run(
            dataclasses.replace(CLONED, algorithm=dataclasses.replace(CLONED.algorithm, learner=other)),
            folder,
            progress=False,
        )


def test_a_run_that_stopped_inside_a_stage_goes_on_there(staged: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(dataclasses.replace(WIDE, generations=2), folder / "first" / "first", progress=False)
    run(CLONED, folder, progress=False)
    for place in ("first/first", "first", "."):
        for name in SAME_BYTES:
            if (staged / place / name).exists():
                assert (folder / place / name).read_bytes() == (staged / place / name).read_bytes(), (place, name)


def test_a_stage_that_others_started_from_does_not_go_on(staged: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(staged, tmp_path / "run"))
    longer = dataclasses.replace(WIDE, generations=6)
    with pytest.raises(CheckpointError, match=r"first\.first\.generations is 4 there and 6 now"):
        run(dataclasses.replace(CLONED, first=dataclasses.replace(FEATURES, first=longer)), folder, progress=False)
    for name in ("metrics.jsonl", "experiment.json"):
        assert (folder / "first/first" / name).read_bytes() == (staged / "first/first" / name).read_bytes()


def test_a_stage_that_has_ended_is_read_from_its_files(staged: Path, tmp_path: Path) -> None:
    """It is not evaluated again: another version of JAX would hand over other pairs, which the next stage refuses."""
    folder = Path(shutil.copytree(staged, tmp_path / "run"))
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "first" / "checkpoints")
    written = (folder / "first" / "result.json").stat().st_mtime_ns
    run(CLONED, folder, progress=False)
    assert (folder / "first" / "result.json").stat().st_mtime_ns == written
    assert (folder / "dataset.safetensors").read_bytes() == (staged / "dataset.safetensors").read_bytes()


def test_a_report_sums_the_stages_and_says_where_the_search_is(staged: Path) -> None:
    page = write_report(staged).read_text()
    assert "This stage searches no more" in page
    tiles = page[page.index("<h1") : page.index("The dataset")]
    assert "steps of the search" in tiles
    assert "256" in tiles, "2 stages × 4 iterations × 8 environments × 4 steps"
    assert "RidgeCloning of WideMLP" in page
    assert "RidgeCloning of MLP" in page
    assert "This stage searches no more" not in write_report(staged / "first").read_text()


def test_pairs_of_a_file_are_those_of_the_file(staged: Path) -> None:
    path = staged / "first" / "dataset.safetensors"
    dataset, pairs = hades.load_dataset(path), pairs_from_dataset(str(path))
    raw = np.reshape(pairs.observations, dataset.observations.shape)
    np.testing.assert_allclose((raw - dataset.obs_mean) / dataset.obs_std, dataset.observations, atol=1e-5)
    np.testing.assert_array_equal(np.reshape(pairs.targets, dataset.targets.shape), dataset.targets)
    assert pairs_from_dataset("cartpole-hades-r-d2").num_pairs == 2
    assert [stage.recipe for stage in pairs.stages] == ["RidgeCloning of WideMLP", "RidgeCloning of MLP"]
    assert [stage.search_steps for stage in pairs.stages] == [128, 128], "4 iterations × 8 environments × 4 steps"
    with pytest.raises(ConfigError, match=r"pairs_from_dataset\.path: .*nowhere\.safetensors"):
        pairs_from_dataset("nowhere.safetensors")


def test_a_run_from_a_file_owes_the_steps_of_its_searches(staged: Path, tmp_path: Path) -> None:
    start = pairs_from_dataset(str(staged / "first" / "dataset.safetensors"))
    learner = dataclasses.replace(RIDGE, start_pairs=start)
    first = dataclasses.replace(FEATURES, first=None, algorithm=dataclasses.replace(SEARCH_ON, learner=learner))
    result = run(first, tmp_path / "run", progress=False)
    assert all_stages(result.details, "env_steps", "search") == 3 * 128
    assert [stage["return"] for stage in result.details["stages"]] == [stage.returns for stage in start.stages]
    assert result.dataset is not None
    unmeasured = dataclasses.replace(result.dataset, metadata={**result.dataset.metadata, "returns": {}})
    assert [stage.returns for stage in stages_of(unmeasured)][-1] is None
    again = pairs_from_dataset(str(tmp_path / "run"))
    assert [stage.search_steps for stage in again.stages] == [128] * 3
    assert "RidgeCloning of WideMLP" in write_report(tmp_path / "run").read_text()


def with_learner(**changes: object) -> Experiment:
    return dataclasses.replace(
        FEATURES, algorithm=dataclasses.replace(SEARCH_ON, learner=dataclasses.replace(RIDGE, **changes))
    )


EVOLVING = tiny_experiment()
UNMIRRORED = dataclasses.replace(RIDGE, policy=WideMLP(), init_scheme=RandomInit(1), hand_over="affine")
REFUSED = {
    "makes 3 pairs, but RidgeCloning.num_pairs of the stage after it is 4": with_learner(num_pairs=4),
    "needs? a learner that can start from pairs|so both must search for one": dataclasses.replace(
        EVOLVING, algorithm=dataclasses.replace(EVOLVING.algorithm, learner=Identity(policy=NETWORK)), first=WIDE
    ),
    "its normalizer must be ConstantNormalizer, not RunningNormalizer": dataclasses.replace(WIDE, first=WIDE),
    r"TeacherStates\.teacher is None, .* no stage runs before: bind": dataclasses.replace(
        WIDE,
        algorithm=dataclasses.replace(SEARCH, learner=dataclasses.replace(RIDGE, start_pairs=TeacherStates())),
    ),
    r"RidgeCloning\.settled leaves pairs as they start, but nothing has found": dataclasses.replace(
        with_learner(settled=1), first=None
    ),
    "start_pairs is given, .* or use TeacherStates without a teacher": with_learner(
        start_pairs=StartPairs(3, (0.0,) * 6, (0.0,) * 3)
    ),
    'RidgeCloning.hand_over is "affine", which stands for mirrored pairs': dataclasses.replace(
        FEATURES, first=dataclasses.replace(WIDE, algorithm=dataclasses.replace(SEARCH, learner=UNMIRRORED))
    ),
    "mean and .std are given": dataclasses.replace(
        FEATURES,
        algorithm=dataclasses.replace(SEARCH, normalizer=ConstantNormalizer(mean=(0.0, 0.0), std=(1.0, 1.0))),
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_stages_that_do_not_fit_are_refused_before_anything_runs(message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        run(REFUSED[message], tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_stage_may_have_a_multiple_of_the_pairs_before_it(staged: Path) -> None:
    doubled = with_learner(num_pairs=6, settled=3)
    check_stages(doubled)
    first = hades.load_dataset(staged / "first" / "dataset.safetensors")
    learner = started_from(doubled, first).algorithm.learner
    pairs = learner.dataset(learner.init_genome(jax.random.key(0), SEARCH.environment, lambda obs: obs), first.spec)
    raw = first.observations * first.obs_std + first.obs_mean
    np.testing.assert_allclose(pairs.observations, np.tile(raw, (2, 1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pairs.targets, np.tile(first.targets, (2, 1)), rtol=1e-4, atol=1e-5)


def test_a_stage_without_generations_needs_one_before_it() -> None:
    with pytest.raises(ConfigError, match=r"Experiment\.generations is 0, but no stage runs first"):
        experiment(0)


def test_another_environment_is_refused(tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(
        FEATURES, algorithm=dataclasses.replace(SEARCH_ON, environment=Point(discrete=True, max_episode_steps=4))
    )
    with pytest.raises(ConfigError, match=r"Experiment\.first is on"):
        run(elsewhere, tmp_path / "run", progress=False)


def test_the_stage_that_a_callback_ends_is_the_last_one(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def follow(now: LoggedGeneration) -> bool:
        seen.append((now.stage, now.generation))
        return seen[-1] == (2, 3)

    result = run(CLONED, tmp_path / "run", progress=False, callback=follow)
    assert seen == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3)]
    assert (result.workdir, result.generation) == (tmp_path / "run", 3)
    assert result.dataset == hades.load_dataset(tmp_path / "run" / "first" / "dataset.safetensors")
    assert run(CLONED, tmp_path / "run", progress=False).details["stages"][1]["generations"] == 4
