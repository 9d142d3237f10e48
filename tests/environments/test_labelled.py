"""Labels as rewards: every example is in one part, and test examples are for the report alone."""

import gzip
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

import hades
from hades.environments import examples
from hades.environments.examples import read_examples
from hades.environments.labelled import Labelled
from hades.environments.rollout import rollout
from hades.environments.tasks import Tasks
from hades.errors import ConfigError, MissingPackageError
from hades.fitness.episodic_return import EpisodicReturn
from hades.runs.gin_config import load_experiment
from hades.runs.loop import run
from hades.types import Candidate

SMALL = (
    "MLP.width = 4",
    "BehaviourCloning.num_pairs = 3",
    "BehaviourCloning.num_updates = 2",
    "RandomInit.num_inits = 2",
    "ConstantNormalizer.episodes = 16",
    "Experiment.generations = 2",
    "Experiment.eval_every = 1",
    "Experiment.eval_inits = 2",
    "Experiment.report_inits = 3",
)


def bright_or_dark(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images u8[N, 2, 3] of three classes that differ in brightness, and their labels."""
    labels = np.arange(count) % 3
    noise = np.random.default_rng(seed).integers(0, 60, (count, 2, 3))
    return (80 * labels[:, None, None] + noise).astype(np.uint8), labels


def write_npz(folder: Path, test_seed: int = 1, **changes: Any) -> str:
    (x_train, y_train), (x_test, y_test) = bright_or_dark(36, 0), bright_or_dark(9, test_seed)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test} | changes
    folder.mkdir(exist_ok=True)
    np.savez(folder / "squares.npz", **{name: x for name, x in arrays.items() if x is not None})
    return str(folder / "squares.npz")


def idx(array: np.ndarray, magic: bytes = b"") -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return (magic or bytes((0, 0, 8, array.ndim))) + sizes + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, **changes: bytes) -> str:
    """Four files, two of them compressed; `changes` are their contents by the first words of their names."""
    (x_train, y_train), (x_test, y_test) = bright_or_dark(36, 0), bright_or_dark(9, 1)
    contents = {
        "train-images-idx3-ubyte": idx(x_train),
        "train-labels-idx1-ubyte.gz": gzip.compress(idx(y_train)),
        "t10k-images-idx3-ubyte.gz": gzip.compress(idx(x_test)),
        "t10k-labels-idx1-ubyte": idx(y_test),
    }
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(changes.get(name.split("-idx")[0].replace("-", "_"), content))
    return str(folder)


def test_every_digit_is_in_one_part() -> None:
    parts = read_examples("digits").parts
    assert [len(parts[name].labels) for name in examples.PARTS] == [1079, 359, 359]
    rows = [np.column_stack([p.images.reshape(len(p.labels), -1), p.labels]) for p in parts.values()]
    images, labels = load_digits(return_X_y=True)
    together, own = np.concatenate(rows), np.column_stack([images, labels])
    np.testing.assert_array_equal(together[np.lexsort(together.T)], own[np.lexsort(own.T)])


def test_parts_of_a_file_are_apart_and_the_same_from_both_formats(tmp_path: Path) -> None:
    one, other = read_examples(write_npz(tmp_path)), read_examples(write_idx(tmp_path / "idx"))
    assert [len(one.parts[name].labels) for name in examples.PARTS] == [30, 6, 9]
    for name, part in one.parts.items():
        np.testing.assert_array_equal(part.images, other.parts[name].images)
        np.testing.assert_array_equal(part.labels, other.parts[name].labels)
    images = bright_or_dark(36, 0)[0]
    held = np.concatenate([one.parts[name].images for name in ("train", "validation")])
    np.testing.assert_array_equal(np.sort(held.reshape(36, -1), 0), np.sort(images.reshape(36, -1), 0))
    test = one.parts["test"]
    np.testing.assert_array_equal(test.images, bright_or_dark(9, 1)[0])
    assert one.scale == one.parts["train"].images.max() <= images.max()
    assert one.versions == other.versions


def by_brightness(key: jax.Array, obs: jax.Array) -> jax.Array:
    """A rule that is sometimes wrong."""
    del key
    return jnp.where(obs.mean() > 0.5, 2, 0).astype(jnp.int32)


def test_the_fitness_is_the_share_of_right_labels(tmp_path: Path, key: jax.Array) -> None:
    env, count = Labelled(write_npz(tmp_path)), 32
    candidate = Candidate(genome=(), params=(), metrics={})
    score = jax.jit(lambda key: EpisodicReturn(count)(key, env, by_brightness, candidate))(key)
    images, labels = env.examples.shown("train")
    fold = jax.random.fold_in  # as `rollout` draws examples
    drawn = jax.jit(jax.vmap(lambda e: env.reset(fold(fold(key, e), 0))[0]))(jnp.arange(count))
    right = [labels[i] == (2 if images[i].mean() > 0.5 else 0) for i in drawn]
    assert 0 < sum(right) < count
    np.testing.assert_allclose(score.value, 100.0 * np.mean(right), rtol=1e-6)
    assert (int(score.episodes), int(score.env_steps)) == (count, count)


@pytest.mark.parametrize(("held_out", "part"), [("for_selection", "validation"), ("for_report", "test")])
def test_an_evaluation_is_one_episode_over_all_examples_held_out(held_out: str, part: str, key: jax.Array) -> None:
    env = getattr(Labelled(), held_out)

    def act(key: jax.Array, obs: jax.Array) -> jax.Array:
        return jnp.argmax(obs.reshape(-1)[20:30]).astype(jnp.int32)

    images, labels = Labelled().examples.shown(part)
    by_hand = 100.0 * np.mean(images.reshape(len(images), -1)[:, 20:30].argmax(1) == labels)
    played = jax.jit(lambda k: rollout(k, env, act, 2))(key)
    np.testing.assert_allclose(played.returns, [by_hand, by_hand], rtol=1e-4)
    assert played.lengths.tolist() == [359, 359]
    assert env.spec.name == "digits"


def test_tasks_hold_out_what_their_members_do() -> None:
    tasks = Tasks((Labelled(), hades.Point(discrete=True)), references=(100.0, 0.0), floors=(10.0, -4.0))
    assert [member.spec.max_episode_steps for member in tasks.for_report.members] == [359, 10]
    assert tasks.for_selection != tasks.for_report


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Runs in miniature on data that differs in its test examples alone."""
    return [
        in_miniature("digits_hades_r", folder, ("SNES.population_size = 4", "EpisodicReturn.num_episodes = 4"), seed)
        for seed, folder in ((seed, tmp_path_factory.mktemp("data")) for seed in (1, 2))
    ]


def in_miniature(config: str, folder: Path, lines: tuple[str, ...], seed: int = 1) -> Any:
    """A shipped run with small numbers, on nine test examples that depend on the seed."""
    x_test, y_test = bright_or_dark(9, seed)
    data = write_npz(folder, x_test=x_test, y_test=(y_test + seed) % 3)
    return run(load_experiment(config, (*SMALL, *lines, f"Labelled.data = '{data}'")), folder / "run", progress=False)


def test_test_examples_are_seen_by_the_report_alone(two_runs: list[Any]) -> None:
    one, other = two_runs
    assert one.metrics == other.metrics
    assert one.evaluations == other.evaluations
    for name in ("observations", "targets", "obs_mean", "obs_std"):
        np.testing.assert_array_equal(getattr(one.dataset, name), getattr(other.dataset, name))
    assert one.returns.mean != other.returns.mean


def test_a_dataset_and_its_policies_are_measured_on_test_examples(two_runs: list[Any]) -> None:
    dataset = two_runs[0].dataset
    assert dataset.environment == two_runs[0].algorithm.environment
    policies = hades.train_policies(dataset, 2)
    images, labels = dataset.environment.examples.shown("test")
    right = 100.0 * np.mean(np.asarray(policies[0].predict(images)) == labels)
    np.testing.assert_allclose(hades.evaluate(policies, num_episodes=1).per_init[0], right, rtol=1e-5)
    np.testing.assert_allclose(hades.evaluate(policies[0], num_episodes=1).mean, right, rtol=1e-5)
    assert hades.evaluate_dataset(dataset, num_inits=1, num_episodes=1).mean_length == len(labels) == 9


def test_the_shipped_search_by_gradient_runs_in_miniature(tmp_path: Path) -> None:
    lines = ("TeacherMatching.num_envs = 4", "TeacherMatching.num_minibatches = 2")
    result = in_miniature("digits_gradient_r", tmp_path, lines)
    assert (result.returns.mean_length, len(result.dataset)) == (9, 3)
    assert result.details["method"] == "HaDES-R by gradient from labels"
    assert "teachers" not in result.details


def labels_with(value: float) -> np.ndarray:
    labels = bright_or_dark(36, 0)[1].astype(float)
    labels[3] = value
    return labels


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, r"squares\.npz has no array y_test"),
        ({"x_train": np.zeros((36, 6))}, r"x_train of .* has the shape \(36, 6\); images must be N × height × width"),
        ({"y_train": np.zeros(35)}, r"y_train of .* has the shape \(35,\), but x_train of .* has 36 images"),
        ({"y_train": labels_with(-1)}, "y_train of .* has the label -1; labels must be whole numbers from 0"),
        ({"y_train": labels_with(0.5)}, "has the label 0.5"),
        ({"y_test": np.full(9, 7)}, "has the label 7 outside its training examples, whose labels are 0 to 2"),
        ({"x_test": np.zeros((9, 3, 3))}, r"are \(2, 3\) for training, but \(3, 3\) for the test"),
        ({"x_train": np.full((36, 2, 3), np.nan)}, "negative or not finite"),
        ({"x_train": np.zeros((36, 2, 3))}, "are black"),
        ({"y_train": np.zeros(36), "y_test": np.zeros(9)}, "all training labels of .* are 0"),
        ({"x_train": np.ones((2, 2, 3)), "y_train": np.arange(2)}, "has 2 training examples; at least 6"),
    ],
)
def test_a_bad_npz_file_is_refused_by_name(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = write_npz(tmp_path, **changes)
    with pytest.raises(ConfigError, match=rf"(?s)Labelled\.data: .*{message}"):
        Labelled(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": idx(np.zeros((4, 2, 2)), b"\x89PNG")}, r"train-images-idx3-ubyte begins with 89 50 4e 47"),
        ({"t10k_labels": idx(np.zeros((9, 1)))}, "t10k-labels-idx1-ubyte begins with 00 00 08 02"),
        ({"t10k_labels": b""}, "begins with nothing"),
        ({"train_images": idx(np.zeros((4, 2, 2)))[:-1]}, "states the sizes 4 × 2 × 2, which are 16 bytes, but 15"),
        ({"train_labels": b"no gzip"}, r"train-labels-idx1-ubyte\.gz is no gzip file"),
        ({"train_labels": gzip.compress(bytes(99))[:-9]}, "is cut off"),
        ({"t10k_labels": idx(np.full(9, 200))}, "has the label 200 outside its training examples"),
    ],
)
def test_a_bad_idx_file_is_refused_by_name(changes: dict[str, bytes], message: str, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "squares", **changes)
    with pytest.raises(ConfigError, match=rf"Labelled\.data: .*{message}"):
        Labelled(folder)


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r'Labelled\.data: There is no folder digts .* Known by name is "digits"'):
        Labelled("digts")
    with pytest.raises(ConfigError, match=r"Labelled\.data: There is no file at .*none\.npz"):
        Labelled(str(tmp_path / "none.npz"))
    folder = write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ConfigError, match=r"There is no IDX file at .*t10k-labels-idx1-ubyte"):
        Labelled(folder)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    read_examples.cache_clear()
    with pytest.raises(MissingPackageError, match=r'pip install "hades-rl\[digits\]"'):
        Labelled()
