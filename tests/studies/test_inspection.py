"""Nearest visited states and leave-one-out influence: against hand-made states and one-off trainings."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.algorithms.playing import play
from hades.data.dataset import DistilledDataset
from hades.errors import ConfigError, DatasetError, HadesError
from hades.inner.init_scheme import FixedInit
from hades.normalizers.restarting import RestartingNormalizer
from hades.policy.trained_policy import evaluate_dataset, train_policy
from hades.studies.inspection import influence as influence_module
from hades.studies.inspection.influence import measure_influence, without_pair
from hades.studies.inspection.nearest import Nearest, compare_states, measure_nearest
from hades.studies.inspection.numbers import INSPECTION, check_features, inspect_dataset, read_inspection
from hades.studies.inspection.prepare import prepare_dataset
from hades.studies.inspection.visited import Visited, visit
from tests.studies.small import PAIRS, make_dataset
from tests.support import CLONING, IMAGE_SPEC, POINT

SIZES: dict[str, Any] = {"num_inits": 3, "num_episodes": 2}


def visited_states(observations: np.ndarray, episode: Sequence[int]) -> Visited:
    """Of one policy, step after step."""
    count = len(observations)
    return Visited(
        observations=np.asarray(observations, np.float32),
        policy=np.zeros(count, np.int32),
        episode=np.array(episode, np.int32),
        step=np.arange(count, dtype=np.int32),
        lengths=np.array([[count, count]]),
        returns=np.zeros((1, 2)),
    )


@pytest.fixture(scope="module")
def dataset() -> DistilledDataset:
    return make_dataset()


def test_the_same_episodes_are_visited_as_are_played(dataset: DistilledDataset, key: jax.Array) -> None:
    policies = [train_policy(dataset, seed) for seed in range(2)]
    params = jax.tree.map(lambda *x: jnp.stack(x), *(p.params for p in policies))
    act_for = lambda p: dataclasses.replace(policies[0], params=p).act  # noqa: E731
    visited = visit(key, POINT, act_for, params, num_episodes=3)
    played = play(key, POINT, act_for, params, 3)
    np.testing.assert_allclose(visited.returns, played.returns, rtol=1e-5)
    np.testing.assert_array_equal(visited.lengths, played.lengths)
    assert len(visited) == visited.num_steps == int(played.lengths.sum())  # few enough to keep all of them
    assert sorted(visited.step[visited.episode_index == 4].tolist()) == list(range(played.lengths[1, 1]))


def test_memory_is_bounded_and_the_sample_even(key: jax.Array) -> None:
    policies = jnp.zeros(200)
    still = lambda p: lambda key, obs: jnp.zeros(1)  # noqa: E731
    visited = visit(key, POINT, still, policies, num_episodes=2, max_states=400)
    assert len(visited) == 400
    shares = np.bincount(visited.step, minlength=4) / 400
    np.testing.assert_allclose(shares, 0.25, atol=0.08)  # one of four steps of each of 400 episodes
    assert len(visit(key, POINT, still, policies[:3], 2, max_states=2)) == 6  # never less than one of each


def test_a_planted_state_is_found_at_distance_zero(dataset: DistilledDataset) -> None:
    states = np.random.default_rng(0).normal(size=(40, 2))
    states[17] = dataset.observations[1] * 0.5
    found = compare_states(dataset, visited_states(states, [0] * 20 + [1] * 20), visited_states(states + 9, [0] * 40))
    assert found.pairs[1].distance == pytest.approx(0.0, abs=1e-6)
    assert (found.pairs[1].episode, found.pairs[1].step) == (0, 17)
    assert found.is_visited(1)
    assert found.pairs[0].distance > 0
    assert found.pairs[0].random_distance > 5


def test_distances_are_root_mean_squares_of_deviations_in_features_that_vary() -> None:
    two = make_dataset([[6.0, 8.0]])  # raw: 3 and 4
    states = np.array([[0.0, 0.0], [2.0, 4.0], [0.0, 0.0], [2.0, 4.0]])  # standard deviations 1 and 2
    found = compare_states(two, visited_states(states, [0, 0, 1, 1]), visited_states(states, [0, 0, 1, 1]))
    assert found.pairs[0].by_feature == (1.0, 0.0)
    assert found.pairs[0].distance == pytest.approx(0.5**0.5)
    assert found.neighbour_far == 0.0
    assert not found.is_visited(0)

    states[:, 1] = 1.0
    found = compare_states(two, visited_states(states, [0, 0, 1, 1]), visited_states(states, [0, 0, 1, 1]))
    assert found.num_constant == 1
    assert found.pairs[0].by_feature == (1.0, 0.0)
    assert found.pairs[0].distance == 1.0
    assert found.pairs[0].off_constant == 3.0


def test_neighbours_are_of_another_episode(dataset: DistilledDataset) -> None:
    states = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    found = compare_states(dataset, visited_states(states, [0, 0, 1, 1]), visited_states(states, [0] * 4))
    assert found.neighbour_median == pytest.approx(2.0)  # standard deviations, not 0
    assert found.typical == (0.0, 0.0)


def test_cells_of_images_share_one_unit() -> None:
    rng = np.random.default_rng(0)
    env = dataclasses.make_dataclass("Env", [("spec", Any)])(IMAGE_SPEC)
    shape = IMAGE_SPEC.obs_shape
    one = type("D", (), {"environment": env, "observations": np.ones((1, *shape))})
    one.obs_mean, one.obs_std = np.zeros(shape), np.ones(shape)  # type: ignore[attr-defined]
    states = (rng.random((30, *shape)) < 0.5).astype(np.float32)
    states[1:, 0, 0, 0] = 0.0  # a cell that is lit once
    states[0, 0, 0, 0] = 1.0
    states[:, 0, 1, 0] = 0.0  # and one that never is
    found = compare_states(one, visited_states(states, [0] * 15 + [1] * 15), visited_states(states, [0] * 30))  # type: ignore[arg-type]
    assert 1.0 < found.pairs[0].distance < 2.0  # the rare cell would be more than five away by itself
    assert found.num_constant == 0
    changed = type("D", (one,), {"observations": np.ones((1, *shape))})
    changed.observations[0, 0, 1, 0] = 9.0  # type: ignore[attr-defined]
    other = compare_states(changed, visited_states(states, [0] * 15 + [1] * 15), visited_states(states, [0] * 30))  # type: ignore[arg-type]
    assert other.pairs[0].distance > 2 * found.pairs[0].distance
    assert found.pairs[0].by_feature == found.std == found.sample == ()


def test_influence_is_that_of_training_without_the_pair(dataset: DistilledDataset) -> None:
    measured = measure_influence(dataset, **SIZES)
    whole = np.array(evaluate_dataset(dataset, **SIZES).per_init)
    assert measured.returns == pytest.approx(whole.mean(), abs=1e-3)
    kept = make_dataset([PAIRS[0], PAIRS[2]])
    left = np.array(evaluate_dataset(kept, **SIZES).per_init)
    pair = measured.pairs[1]
    assert pair.without == pytest.approx(left.mean(), abs=1e-3)
    assert pair.influence == pytest.approx((whole - left).mean(), abs=1e-3)
    half = 4.302653 * (whole - left).std(ddof=1) / 3**0.5  # Student's t with two degrees of freedom
    assert pair.low is not None
    assert pair.influence - pair.low == pytest.approx(half, abs=1e-3)
    assert abs(pair.influence) > 1e-3


def test_a_pair_that_is_there_twice_is_worth_nothing_where_the_gradient_is_the_same() -> None:
    """Both copies of one pair: without either, the mean loss and with it every update stay the same."""
    twice = measure_influence(make_dataset([PAIRS[0], PAIRS[0]]), **SIZES)
    assert [pair.influence for pair in twice.pairs] == pytest.approx([0.0, 0.0], abs=1e-3)
    different = measure_influence(make_dataset([PAIRS[0], PAIRS[1]]), **SIZES)
    assert max(abs(pair.influence) for pair in different.pairs) > 1e-2


def test_all_leave_one_out_datasets_share_one_compilation(
    dataset: DistilledDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def record(pairs: DistilledDataset, *args: Any, **changes: Any) -> Any:
        asked.append((pairs.observations.shape, changes))
        return evaluate_dataset(pairs, *args, **changes)

    monkeypatch.setattr(influence_module, "evaluate_dataset", record)
    said: list[str] = []
    measure_influence(dataset, **SIZES, say=said.append)
    assert asked == [((3, 2), {}), *[((2, 2), {})] * 3]
    assert len(said) == 4


def test_one_pair_leaves_nothing_to_train_on() -> None:
    measured = measure_influence(make_dataset([PAIRS[0]]), **SIZES)
    assert measured.pairs == ()
    assert np.isfinite(measured.returns)


def test_a_single_policy_has_no_interval(dataset: DistilledDataset) -> None:
    pair = measure_influence(dataset, num_inits=1, num_episodes=1).pairs[0]
    assert (pair.low, pair.high) == (None, None)


def test_fixed_initial_weights_stay_fixed() -> None:
    fixed = make_dataset(learner=dataclasses.replace(CLONING, init_scheme=FixedInit(seed=3)))
    measured = measure_influence(fixed, **SIZES)
    assert measured.one_policy
    by_hand = train_policy(without_pair(fixed, 0), seed=5)  # any seed: the weights are those of FixedInit
    again = train_policy(without_pair(fixed, 0), seed=6)
    jax.tree.map(np.testing.assert_array_equal, by_hand.params, again.params)


def test_mini_batches_are_kept_or_refused() -> None:
    batches = dataclasses.replace(CLONING, batch_size=2)
    assert measure_influence(make_dataset(learner=batches), **SIZES).batch_size == 2
    whole = dataclasses.replace(CLONING, batch_size=3)
    with pytest.raises(ConfigError, match=r"3.*2 of 3 pairs.*batch_size"):
        measure_influence(make_dataset(learner=whole), **SIZES)


@pytest.fixture(scope="module")
def inspection_path(dataset: DistilledDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    inspection = inspect_dataset(dataset, **SIZES, features=["position", "goal"])
    path = inspection.save(tmp_path_factory.mktemp("inspection"))
    assert read_inspection(path.parent) == inspection
    return path


def test_a_reading_is_read_back_and_equal_readings_are_equal_files(
    dataset: DistilledDataset, inspection_path: Path, tmp_path: Path
) -> None:
    again = inspect_dataset(dataset, **SIZES, features=["position", "goal"]).save(tmp_path)
    assert again.read_bytes() == inspection_path.read_bytes()
    assert json.loads(again.read_text())["nearest"]["num_policies"] == 3


def test_no_reading_is_none_and_a_damaged_one_is_named(inspection_path: Path, tmp_path: Path) -> None:
    assert read_inspection(tmp_path) is None
    (tmp_path / INSPECTION).write_bytes(inspection_path.read_bytes()[:-40])
    with pytest.raises(HadesError, match=r"reading\.json.*hades-inspect"):
        read_inspection(tmp_path)
    (tmp_path / INSPECTION).write_text("null")
    with pytest.raises(HadesError, match=r"reading\.json.*hades-inspect"):
        read_inspection(tmp_path)
    (tmp_path / INSPECTION).write_text('{"format_version": 1, "nearest": null}')
    with pytest.raises(DatasetError, match=r"reading\.json.*hades-inspect"):
        read_inspection(tmp_path)
    (tmp_path / INSPECTION).write_text('{"format_version": 2}')
    with pytest.raises(DatasetError, match="format"):
        read_inspection(tmp_path)


def test_statistics_that_restart_are_made_constant_first() -> None:
    restarting = make_dataset(normalizer=RestartingNormalizer())
    with pytest.raises(ConfigError, match="freeze_statistics"):
        measure_nearest(restarting, **SIZES)
    inspection = inspect_dataset(restarting, **SIZES)
    assert inspection.frozen
    assert isinstance(inspection.nearest, Nearest)


def test_several_tasks_are_not_inspected_at_once(dataset: DistilledDataset) -> None:
    both = type("Both", (), {"members": (POINT, dataclasses.replace(POINT, radius=0.5))})
    merged = type("Merged", (), {"environment": both})
    with pytest.raises(ConfigError, match=r"point and point.*merged"):
        inspect_dataset(merged)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (("position", "gaol"), r'no feature "gaol" \(--features\). Did you mean "goal".*Known: position, goal'),
        (("goal",), "names 1 of them; it takes two, such as position,goal"),
        (("goal", "goal"), 'names "goal" twice'),
    ],
)
def test_features_that_span_no_plane_are_refused(features: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_features(features, POINT.spec)


def test_images_have_no_features_to_name() -> None:
    with pytest.raises(ConfigError, match=r"--features.*a, b.*image"):
        check_features(("a", "b"), IMAGE_SPEC)
    assert check_features((), IMAGE_SPEC) == ()


def test_one_episode_has_no_other_to_compare_with(dataset: DistilledDataset) -> None:
    with pytest.raises(ConfigError, match=r"1 policy.*1 episode"):
        measure_nearest(dataset, num_inits=1, num_episodes=1)


def test_a_dataset_is_copied_into_an_empty_folder_only(dataset: DistilledDataset, tmp_path: Path) -> None:
    source = dataset.save(tmp_path / "mine.safetensors")
    folder = tmp_path / "folder"
    assert len(prepare_dataset(folder, str(source))) == 3
    assert (folder / "dataset.safetensors").read_bytes() == source.read_bytes()
    prepare_dataset(folder, str(source))  # again: the same dataset
    assert len(prepare_dataset(folder)) == 3  # and by the folder alone
    other = make_dataset([PAIRS[1]]).save(tmp_path / "other.safetensors")
    with pytest.raises(HadesError, match=r"other\.safetensors.*--workdir"):
        prepare_dataset(folder, str(other))
    (folder / "experiment.json").write_text("{}")
    with pytest.raises(HadesError, match=r"run.*--workdir"):
        prepare_dataset(folder, str(source))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/file.safetensors", "There is no dataset file at nowhere/file.safetensors"),
        ("cartpole-hades-r-d3", '"cartpole-hades-r-d3" here nor .* Did you mean "cartpole-hades-r-d2"'),
    ],
)
def test_a_dataset_that_is_not_there_is_named(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        prepare_dataset(tmp_path, name)


def test_a_folder_without_a_dataset_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(HadesError, match="no work directory at"):
        prepare_dataset(tmp_path / "nowhere")
    with pytest.raises(HadesError, match=r"--dataset"):
        prepare_dataset(tmp_path)
    (tmp_path / "experiment.json").write_text('{"interface": "Experiment", "name": "Experiment"}')
    with pytest.raises(HadesError, match=r"hades-export-dataset --workdir="):
        prepare_dataset(tmp_path)
    ended = {"generations": 3, "selection_return": 1.0, "env_steps": {}, "seconds": {}}
    (tmp_path / "result.json").write_text(json.dumps({"method": "PPO", "environment": "point", **ended}))
    with pytest.raises(HadesError, match="PPO"):
        prepare_dataset(tmp_path)
    (tmp_path / "dataset.safetensors").write_bytes(b"short")
    with pytest.raises(DatasetError, match="complete"):
        prepare_dataset(tmp_path)
