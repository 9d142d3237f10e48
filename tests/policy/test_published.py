"""Released datasets: what becomes of the npz files, what is refused, and that one of them earns its return."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hades.data.arrays import read_npy, read_npz
from hades.data.files import write_bytes
from hades.data.sources import load_dataset
from hades.environments.gymnax import Gymnax
from hades.errors import ConfigError, DatasetError, HadesError
from hades.fitness.episodic_return import EpisodicReturn
from hades.fitness.windowed_return import WindowedReturn
from hades.inner.init_scheme import FixedInit
from hades.inner.losses import CrossEntropy, GaussianNLL
from hades.normalizers.none import NoNormalizer
from hades.normalizers.restarting import RestartingNormalizer
from hades.policies.mlp import MLP
from hades.policy.published import import_published, load_any_dataset, published_datasets, rebuilt_weights
from hades.policy.replication import Replication, replicate, table
from hades.policy.trained_policy import evaluate_dataset, freeze_statistics, normalizer_state, train_policy
from tests.policy.released import CONFIG, released_bytes
from tests.support import ROOT

PUBLISHED = Path(os.environ.get("HADES_PUBLISHED", ROOT.parent / "shared" / "published"))
needs_released = pytest.mark.skipif(
    not (PUBLISHED / "index.json").is_file(), reason=f"the released datasets are not at {PUBLISHED} (HADES_PUBLISHED)"
)
OBS, ACTIONS, WIDTH = 4, 2, 8
STEPS = 600
PROTOCOL = f"WindowedReturn(num_envs=3, num_steps={STEPS})"
MEAN, VARIANCE = np.array([0.1, -0.2, 0.0, 0.3]), np.array([0.5, 2.0, 0.01, 0.0])
NAMES = ("constant", "online", "fixed", "fixed_421")


def entry(**changes: Any) -> dict[str, Any]:
    """Of an index, for a CartPole that balances by its pole's angle and velocity."""
    recipe = {
        "lr": 0.02,
        "epochs": 40,
        "optimizer": "adam(eps=1e-5)",
        "grad_clip_global_norm": None,
        "full_batch": True,
    }
    policy = {"kind": "mlp", "hidden": [WIDTH, WIDTH], "activation": "relu", "sample_actions": True}
    fields = {
        "env": "CartPole-v1",
        "suite": "gymnax",
        "variant": "HaDES-R",
        "obs_dim": OBS,
        "action_dim": ACTIONS,
        "discrete": True,
        "policy": policy,
        "bc": recipe,
        "normalisation": "constant",
        "num_steps": STEPS,
        "eval_envs": 3,
        "overfit_init_seed": None,
        "population_mean_fitness_published": 42.5,
        "return_with_todays_physics": {"mean": 30.0, "sd_over_inits": 5.0, "inits": 6, "episode_length": 30.0},
    }
    return fields | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four small files in the released form, one of each kind."""
    observations = np.array([[0, 0, 1, 1], [0, 0, -1, -1], [0, 0, 2, 0], [0, 0, 0, -2]], np.float32)
    pairs = {"observations": observations, "actions": np.eye(2, dtype=np.float32)[[1, 0, 1, 0]]}
    constants = {"obs_mean": MEAN.astype(np.float32), "obs_var": VARIANCE.astype(np.float32)}
    fixed = {"variant": "HaDES-F"}
    index = {
        "constant": entry(),
        "online": entry(normalisation="online"),
        "fixed": entry(overfit_init_seed=420, **fixed),
        "fixed_421": entry(overfit_init_seed=421, **fixed),
    }
    for name in NAMES:
        np.savez(tmp_path / f"{name}.npz", **pairs, **(constants if name != "online" else {}))
    np.savez(tmp_path / "init_CartPole-v1_hades_f.npz", **weights_of(420))
    (tmp_path / "index.json").write_text(json.dumps(index))
    return tmp_path


def weights_of(seed: int) -> dict[str, np.ndarray]:
    return rebuilt_weights(seed, MLP(width=WIDTH, depth=2, activation="relu"), OBS, ACTIONS, True)


def change_entry(folder: Path, name: str, **changes: Any) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_text())
    index[name] = {k: v for k, v in (index[name] | changes).items() if v != "removed"}
    path.write_text(json.dumps(index))


def change_arrays(path: Path, **changes: np.ndarray | None) -> None:
    arrays = dict(np.load(path)) | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def test_a_released_file_becomes_a_dataset_with_its_recipe_and_protocol(folder: Path) -> None:
    dataset = import_published(folder / "constant.npz")
    assert dataset.environment == Gymnax("CartPole-v1")
    learner = dataset.learner
    assert learner.policy == MLP(width=WIDTH, depth=2, activation="relu", acting="sample")
    assert learner.loss == CrossEntropy(mean_over_entries=True)
    assert (learner.optimizer, dict(learner.optimizer_options)) == ("adam", {"eps": 1e-5})
    assert (learner.learning_rate, learner.num_updates, learner.batch_size, learner.max_grad_norm) == (0.02, 40, 0, 0.0)
    assert dataset.protocol == WindowedReturn(num_envs=3, num_steps=STEPS)
    assert dataset.returns["mean"] == 42.5
    assert "population average of perturbed candidates" in dataset.returns["protocol"]
    assert dataset.returns["remeasured"]["mean"] == 30.0
    assert dataset.metadata["init"] == {"kind": "random"}


def test_constants_are_used_exactly_as_published(folder: Path) -> None:
    dataset = import_published(folder / "constant.npz")
    raw = jnp.array([0.3, 1.0, -0.2, 5.0])
    shown = dataset.normalizer.apply(normalizer_state(dataset), raw)
    np.testing.assert_allclose(shown, (np.asarray(raw) - MEAN) / np.sqrt(VARIANCE + 1e-8), rtol=1e-5)
    assert shown[3] > 1e4  # no floor but that of the square root, and no clip


def test_a_clip_by_norm_is_kept(folder: Path) -> None:
    change_entry(folder, "constant", bc=entry()["bc"] | {"grad_clip_global_norm": 0.5})
    assert import_published(folder / "constant.npz").learner.max_grad_norm == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_converted_file_comes_back_equal(folder: Path, name: str) -> None:
    dataset = import_published(folder / f"{name}.npz")
    loaded = load_any_dataset(dataset.save(folder / f"{name}.safetensors"))
    for field in ("observations", "targets", "obs_mean", "obs_std"):
        np.testing.assert_array_equal(getattr(loaded, field), np.asarray(getattr(dataset, field), np.float32))
    assert json.loads(json.dumps(dict(dataset.metadata))) == loaded.metadata
    assert (loaded.learner, loaded.normalizer, loaded.protocol) == (
        dataset.learner,
        dataset.normalizer,
        dataset.protocol,
    )
    assert loaded.init.keys() == dataset.init.keys()


def test_a_file_is_measured_under_its_own_protocol(folder: Path) -> None:
    dataset = import_published(folder / "constant.npz")
    summary = evaluate_dataset(dataset, 2)
    assert f"2 policies under {PROTOCOL}, {summary.num_episodes} episodes completed" in str(summary)
    assert summary.num_inits == len(summary.per_init) == 2
    assert 1.0 <= summary.mean_length <= 500.0
    assert 2 * 3 <= summary.num_episodes <= 2 * 3 * STEPS / summary.mean_length
    assert summary.mean == pytest.approx(np.mean(summary.per_init), abs=1e-3)
    assert summary.describe()["protocol"] == PROTOCOL
    whole = evaluate_dataset(dataset, 2, protocol=EpisodicReturn(3))
    assert (whole.num_episodes, "protocol" in whole.describe()) == (3, False)
    assert whole.mean == pytest.approx(whole.mean_length)  # CartPole pays 1 a step
    metadata = {k: v for k, v in dataset.metadata.items() if k != "evaluation"}
    assert evaluate_dataset(dataclasses.replace(dataset, metadata=metadata), 2, 3) == whole


def test_a_policy_without_a_completed_episode_is_not_averaged_away(folder: Path) -> None:
    dataset = import_published(folder / "constant.npz")
    with pytest.raises(ConfigError, match=r"2 of 2.*WindowedReturn.*num_steps=2"):
        evaluate_dataset(dataset, 2, protocol=WindowedReturn(num_envs=2, num_steps=2))


def test_an_online_file_restarts_its_statistics(folder: Path) -> None:
    dataset = import_published(folder / "online.npz")
    assert dataset.normalizer == RestartingNormalizer()
    constant = dataclasses.replace(dataset, metadata=import_published(folder / "constant.npz").metadata)
    assert evaluate_dataset(dataset, 2) != evaluate_dataset(constant, 2)
    with pytest.raises(ConfigError, match="freeze_statistics"):
        train_policy(dataset).act(jax.random.key(0), jnp.zeros(OBS))


def test_frozen_statistics_stand_alone(folder: Path) -> None:
    dataset = import_published(folder / "online.npz")
    frozen = freeze_statistics(dataset, num_inits=2, num_episodes=2)
    assert frozen.protocol is None
    assert not frozen.returns
    assert (np.abs(frozen.obs_mean) + np.abs(frozen.obs_std - 1) > 1e-3).all()
    loaded = load_dataset(frozen.save(folder / "frozen.safetensors"))
    assert train_policy(loaded).act(jax.random.key(0), jnp.zeros(OBS)).shape == ()


def test_a_fixed_file_carries_its_initial_weights(folder: Path) -> None:
    dataset = import_published(folder / "fixed.npz")
    assert dataset.learner.init_scheme == FixedInit(seed=420)
    untrained = train_policy(dataset, num_updates=0).params
    stored = np.load(folder / "init_CartPole-v1_hades_f.npz")
    np.testing.assert_array_equal(untrained["layers_1"]["kernel"], stored["Dense_1/kernel"])
    assert dataset.metadata["init"]["embedded"]


def test_weights_of_another_seed_are_made_again_where_the_known_ones_can_be(folder: Path) -> None:
    dataset = import_published(folder / "fixed_421.npz")
    np.testing.assert_array_equal(dataset.init["layers_0/kernel"], weights_of(421)["Dense_0/kernel"])
    assert "seed 421, made again" in dataset.metadata["init"]["source"]
    init = folder / "init_CartPole-v1_hades_f.npz"
    change_arrays(init, **{"Dense_1/kernel": np.load(init)["Dense_1/kernel"] + 0.01})
    with pytest.raises(DatasetError, match=r"seed 421.*init_CartPole.*0\.01"):
        import_published(folder / "fixed_421.npz")
    import_published(folder / "fixed.npz")  # the stored ones are what they are


@pytest.mark.parametrize(
    ("file", "arrays", "message"),
    [
        ("constant", {"actions": None}, r"constant.npz lacks actions; it holds obs_mean, obs_var, observations"),
        ("constant", {"obs_var": None}, r"lacks obs_var"),
        ("constant", {"obs_mean": np.zeros(3)}, r"obs_mean has shape \(3,\), but CartPole-v1 needs \(4,\)"),
        ("constant", {"observations": np.zeros((4, 5))}, r"observations has shape \(4, 5\), but CartPole.* \(4, 4\)"),
        ("constant", {"actions": np.zeros((3, 2))}, r"actions has shape \(3, 2\), but CartPole-v1 needs \(4, 2\)"),
        ("init_CartPole-v1_hades_f", {"Dense_2/bias": None}, r"init_.* lacks Dense_2/bias; it holds Dense_0/bias"),
        ("init_CartPole-v1_hades_f", {"Dense_0/kernel": np.zeros((4, 9))}, r"Dense_0/kernel has shape \(4, 9\)"),
    ],
)
def test_arrays_that_are_missing_or_do_not_fit_are_named(folder: Path, file: str, arrays: Any, message: str) -> None:
    change_arrays(folder / f"{file}.npz", **arrays)
    with pytest.raises(DatasetError, match=message):
        import_published(folder / ("constant.npz" if file == "constant" else "fixed.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obs_dim": 11}, "obs_dim is 11, but CartPole-v1 has 4 today"),
        ({"env": "CartPole-v2"}, 'no environment "CartPole-v2". Did you mean "CartPole-v1"'),
        ({"suite": "atari"}, 'suite is "atari"; known: brax, minatar, gymnax'),
        ({"normalisation": "batch"}, 'normalisation is "batch"; known: online, constant'),
        ({"eval_envs": "removed"}, 'The entry "constant" of .*index.json lacks eval_envs'),
        ({"bc": entry()["bc"] | {"optimizer": "sgd"}}, "no full batch of adam"),
        ({"policy": entry()["policy"] | {"hidden": [8, 4]}}, "is not an MLP of equally wide layers"),
    ],
)
def test_an_entry_that_cannot_be_followed_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    change_entry(folder, "constant", **changes)
    with pytest.raises((DatasetError, ConfigError), match=message):
        import_published(folder / "constant.npz")


def test_missing_files_and_entries_are_named(folder: Path) -> None:
    np.savez(folder / "constnt.npz", observations=np.zeros((1, 4)))
    with pytest.raises(DatasetError, match=r'index\.json.*"constnt".*"constant"'):
        import_published(folder / "constnt.npz")
    (folder / "online.npz").unlink()
    with pytest.raises(DatasetError, match=r"online\.npz"):
        import_published(folder / "online.npz")
    (folder / "init_CartPole-v1_hades_f.npz").unlink()
    with pytest.raises(DatasetError, match=r"fixed\.npz.*HaDES-F.*init_CartPole-v1_hades_f\.npz"):
        import_published(folder / "fixed.npz")
    (folder / "constant.npz").write_bytes(b"PK nothing")
    with pytest.raises(DatasetError, match=r"constant\.npz.*complete"):
        import_published(folder / "constant.npz")
    (folder / "index.json").unlink()
    with pytest.raises(DatasetError, match=r"index\.json"):
        import_published(folder / "fixed.npz")


@pytest.fixture
def pickled(tmp_path: Path) -> Callable[..., Path]:
    """Write a pickle in the released form, as `distill/x/seed0/data_final.pkl`."""

    def write(**config: Any) -> Path:
        path = tmp_path / "distill/x/seed0/data_final.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(released_bytes(**config))
        return path

    return write


def test_a_released_pickle_becomes_a_dataset(pickled: Callable[..., Path]) -> None:
    dataset = load_any_dataset(pickled())
    assert dataset.environment == Gymnax("CartPole-v1")
    learner = dataset.learner
    assert learner.policy == MLP(width=8, depth=2, activation="relu", acting="sample")
    assert (learner.loss, learner.targets) == (CrossEntropy(mean_over_entries=True), "hard")
    assert (learner.learning_rate, learner.num_updates, learner.max_grad_norm) == (0.03, 4, 0.0)
    assert dataset.protocol == WindowedReturn(num_envs=3, num_steps=600)
    assert dataset.returns["mean"] == 42.5
    # 5 states and 2 actions: two of each are used, in the order of the actions
    np.testing.assert_array_equal(dataset.targets, np.eye(2)[[0, 0, 1, 1]])
    np.testing.assert_allclose(dataset.observations, np.arange(16).reshape(4, 4) / 10, rtol=1e-6)
    np.testing.assert_allclose(dataset.obs_std, np.sqrt(CONFIG["OBS_VAR"] + 1e-8), rtol=1e-6)
    assert train_policy(dataset, num_updates=1).act(jax.random.key(0), jnp.zeros(OBS)).shape == ()


def test_evolved_labels_lie_before_the_states_of_a_pickle(pickled: Callable[..., Path]) -> None:
    dataset = import_published(pickled(learn_labels=True))
    np.testing.assert_allclose(dataset.targets, jax.nn.softmax(np.arange(10).reshape(5, 2) / 10), rtol=1e-6)
    np.testing.assert_allclose(dataset.observations, np.arange(10, 30).reshape(5, 4) / 10, rtol=1e-6)
    assert dataset.learner.targets == "evolved"


def test_the_initial_weights_of_a_pickle_are_made_again(pickled: Callable[..., Path], folder: Path) -> None:
    dataset = import_published(pickled(OVERFIT=True, OVERFIT_SEED=421))
    np.testing.assert_array_equal(dataset.init["layers_0/kernel"], weights_of(421)["Dense_0/kernel"])
    assert "made again" in dataset.metadata["init"]["source"]
    with jax.threefry_partitionable(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr("hades.policy.published._PROBE", (1.0, 0.0, 0.0, 1.0))  # of another way of drawing
        with pytest.raises(DatasetError, match="cannot be made again here"):
            import_published(pickled(OVERFIT=True, OVERFIT_SEED=421))


def test_statistics_that_a_pickle_lacks_are_read_beside_it(pickled: Callable[..., Path]) -> None:
    path = pickled(OBS_MEAN=None)
    with pytest.raises(DatasetError, match=r"mean_CartPole-v1\.npy"):
        import_published(path)
    np.save(path.parent / "mean_CartPole-v1.npy", CONFIG["OBS_MEAN"] + 1)
    np.testing.assert_array_equal(import_published(path).obs_mean, CONFIG["OBS_MEAN"] + 1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ENV_NAME": "CartPole-v9"}, 'no environment "CartPole-v9"'),
        ({"ENV_NAME": "Acrobot-v1"}, r"\(20,\) numbers are not 5 pairs for Acrobot-v1"),
        ({"NET": "cnn"}, "network is no MLP"),
        ({"UPDATE_EPOCHS": 10**9}, "num_updates is 1000000000; .*at most"),
        ({"WIDTH": 10**10, "OVERFIT": True}, r"width is 10000000000; .*below 2³¹"),
        ({"WIDTH": 10**6, "OVERFIT": True}, "1,000,001,000,000 weights"),
        ({"LR": "x"}, "learning_rate"),
        ({"WIDTH": "8"}, "width"),
        ({"OBS_VAR": -np.ones(4, np.float32)}, "above 0"),
        ({"OBS_VAR": np.full(4, np.nan, np.float32)}, "non-finite"),
        ({"OBS_MEAN": np.zeros(3, np.float32)}, r"obs_mean has shape \(3,\)"),
        ({"CONST_NORMALIZE_OBS": []}, ""),
    ],
)
def test_a_pickle_of_another_run_is_refused_by_name(pickled: Callable[..., Path], config: Any, message: str) -> None:
    path = pickled(**config)
    if message:
        with pytest.raises(DatasetError, match=rf"data_final\.pkl.*{message}"):
            import_published(path)
    else:  # no constants: nothing is normalised
        assert isinstance(import_published(path).normalizer, NoNormalizer)


def test_a_folder_is_listed_with_its_pickles(pickled: Callable[..., Path], folder: Path) -> None:
    path = pickled()
    assert published_datasets(folder) == {
        **{name: folder / f"{name}.npz" for name in NAMES},
        "distill_x_seed0_data_final": path,
    }
    assert list(published_datasets(path.parent)) == ["data_final"]
    with pytest.raises(DatasetError, match="neither pickles"):
        published_datasets(folder / "distill" / "none")


@pytest.mark.skipif(not (PUBLISHED / "pickles").is_dir(), reason=f"the released pickles are not at {PUBLISHED}/pickles")
@pytest.mark.parametrize(
    ("name", "pairs", "method", "published"),
    [
        ("sweep_hopper_D4_distill_seed0_data_final", 4, "HaDES-R", 1637.3),
        ("breakout_D16_overfit_greedy_seed0_data_final", 15, "HaDES-F", 5.545),
    ],
)
def test_the_pickles_of_the_authors_are_read(name: str, pairs: int, method: str, published: float) -> None:
    dataset = import_published(PUBLISHED / "pickles" / f"{name}.pkl")
    assert (len(dataset), dataset.learner.label) == (pairs, method)
    assert dataset.returns["mean"] == pytest.approx(published, rel=1e-3)
    assert dataset.learner.policy.acting == ("sample" if method == "HaDES-R" else "greedy")
    if method == "HaDES-F":
        released = read_npz(PUBLISHED / "init_Breakout-MinAtar_hades_f.npz")
        for layer in range(3):
            np.testing.assert_allclose(
                dataset.init[f"layers_{layer}/kernel"], released[f"Dense_{layer}/kernel"], atol=1e-5
            )
        np.testing.assert_array_equal(
            dataset.obs_mean.reshape(-1), read_npy(PUBLISHED / "pickles/mean_Breakout-MinAtar.npy")
        )


def test_a_replication_is_measured_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = replicate(folder / "online.npz", folder / "records", num_inits=2, stand_alone=True)
    assert done.ours["protocol"] == PROTOCOL
    assert done.whole_episodes["num_episodes"] == done.frozen["num_episodes"] == 4
    monkeypatch.setattr("hades.policy.replication.evaluate_dataset", None)
    assert replicate(folder / "online.npz", folder / "records", num_inits=2) == done
    with pytest.raises(TypeError):  # other settings are measured anew
        replicate(folder / "online.npz", folder / "records", num_inits=3)
    record = folder / "records" / "online.json"
    for damaged in ("null", "{", record.read_text().replace('"ours": {', '"ours": {}, "more": {')):
        record.write_text(damaged)
        with pytest.raises(HadesError, match=rf"{record} is damaged.*measured again"):
            replicate(folder / "online.npz", folder / "records", num_inits=2)


@pytest.mark.parametrize(
    ("mean", "sd", "agrees"),
    [(109.0, 0.1, True), (111.0, 0.1, False), (111.0, 30.0, True), (-100.0, 30.0, False)],
)
def test_agreement_is_ten_per_cent_or_two_errors(mean: float, sd: float, agrees: bool) -> None:
    ours = {"mean": mean, "std_over_inits": sd, "num_inits": 8, "mean_length": 7.0}
    index = {"mean": 100.0, "sd_over_inits": 0.1, "inits": 6, "episode_length": 7.0}
    one = Replication("x", 90.0, index, ours, {}, {}, seed=1)
    assert one.agrees is agrees
    assert one.standard_error == pytest.approx((sd**2 / 8 + 0.01 / 6) ** 0.5)
    assert table([one]).splitlines()[-1].split(" | ")[-1].strip(" |") == ("yes" if agrees else "**no**")


@pytest.mark.slow
@pytest.mark.system
def test_the_programs_convert_evaluate_and_tabulate(folder: Path) -> None:
    ours = {"mean": 29.0, "std_over_inits": 2.0, "num_inits": 32, "mean_length": 29.0}
    for name in NAMES:  # measured before
        record = Replication(name, 42.5, entry()["return_with_todays_physics"], ours, {}, {}, seed=1)
        write_bytes(folder / "records" / f"{name}.json", json.dumps(dataclasses.asdict(record)).encode())
    evaluation = ["hades-evaluate", f"--dataset={folder}/constant.npz", "--num_inits=2", "--num_updates=2"]
    commands = [
        ["hades-import-published", f"--input={folder}", f"--output={folder}/out"],
        evaluation,
        [*evaluation, "--num_episodes=3", "--whole_episodes"],
        ["hades-replicate", f"--published={folder}", f"--workdir={folder}/records"],
    ]
    steps = [{"command": command, "only_parse": False} for command in commands]
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.run_steps"],
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    outcomes = json.loads(done.stdout.strip().splitlines()[-1])
    assert [outcome["failure"] for outcome in outcomes] == [""] * len(commands)
    _, window, whole, rows = (outcome["output"] for outcome in outcomes)
    assert {path.stem for path in (folder / "out").iterdir()} == set(NAMES)
    assert f"2 policies under {PROTOCOL}" in window
    assert "42.5 (published: population average of perturbed candidates" in window
    assert "30.0 (the index, re-measured: 6 policies" in window
    assert "retention" in window
    assert "2 policies × 3 episodes" in whole
    assert "retention" not in whole  # the file's figures are of another protocol
    assert [row.split(" | ")[0].strip("| ") for row in rows.splitlines()[-len(NAMES) :]] == list(NAMES)
    assert "| 29.0 ± 2.0 (n = 32) | −3.3 %, −0.5 SE | 29 (index 30) | yes |" in rows


@needs_released
@pytest.mark.slow
def test_every_released_file_is_read() -> None:
    paths = [path for path in published_datasets(PUBLISHED).values() if path.suffix == ".npz"]
    assert len(paths) >= 15
    for path in paths:
        dataset = import_published(path)
        assert dataset.returns["mean"] == pytest.approx(float(np.load(path)["published_fitness"]), rel=1e-5)
        assert dataset.metadata["init"]["kind"] == ("fixed" if path.stem.startswith("hadesF") else "random")
        assert isinstance(dataset.learner.loss, CrossEntropy if "MinAtar" in path.stem else GaussianNLL)


@needs_released
@pytest.mark.parametrize(
    ("env", "activation", "sizes"), [("hopper", "tanh", (11, 3)), ("Breakout-MinAtar", "relu", (400, 3))]
)
def test_the_released_initial_weights_can_be_made_again(env: str, activation: str, sizes: tuple[int, int]) -> None:
    made = rebuilt_weights(420, MLP(width=512, depth=2, activation=activation), *sizes, env != "hopper")
    stored = np.load(PUBLISHED / f"init_{env}_hades_f.npz")
    assert sorted(made) == sorted(stored.files)
    for name, array in made.items():
        np.testing.assert_allclose(array, stored[name], atol=1e-5)


@needs_released
@pytest.mark.slow
def test_a_released_dataset_earns_what_the_index_says(tmp_path: Path) -> None:
    done = replicate(PUBLISHED / "hadesF_Breakout-MinAtar_D16_5k_seed0.npz", tmp_path, num_inits=8)
    assert done.agrees
    assert done.ours["mean"] == pytest.approx(27.2, abs=0.5)
    assert done.ours["mean_length"] == pytest.approx(254, abs=5)
