"""Normaliser statistics from files, by gin."""

import numpy as np
import pytest

from hades.errors import ConfigError
from hades.runs.gin_config import load_experiment
from hades.runs.normalizer_file import normalizer_from_file
from tests.support import ROOT

MEAN, VAR = np.array([1.0, -2.0, 0.5, 0.0], np.float32), np.array([4.0, 9.0, 1e-8, 1.0], np.float32)


def bindings(path):
    return ["Evolution.normalizer = @normalizer_from_file()", f"normalizer_from_file.path = '{path}'"]


def test_an_npz_gives_the_constants(tmp_path):
    np.savez(tmp_path / "stats.npz", obs_mean=MEAN, obs_var=VAR)
    normalizer = load_experiment("cartpole_hades_r", bindings(tmp_path / "stats.npz")).algorithm.normalizer
    np.testing.assert_allclose(normalizer.mean, MEAN)
    np.testing.assert_allclose(normalizer.std, np.sqrt(VAR))
    assert (normalizer.floor, normalizer.clip) == (0.1, 10.0)
    np.savez(tmp_path / "std.npz", obs_mean=MEAN, obs_std=VAR)
    np.testing.assert_allclose(normalizer_from_file(str(tmp_path / "std.npz"), floor=0.5).std, VAR)


def test_a_dataset_file_gives_its_own(tmp_path):
    path = ROOT / "hades/data/zoo/pendulum-hades-r-d8.safetensors"
    normalizer = normalizer_from_file(str(path))
    assert len(normalizer.mean) == 3
    assert all(std > 0 for std in normalizer.std)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.npz"):
        load_experiment("cartpole_hades_r", bindings(tmp_path / "missing.npz"))
    np.savez(tmp_path / "wrong.npz", mean=MEAN)
    with pytest.raises(ConfigError, match=r"mean\b.*obs_mean"):
        load_experiment("cartpole_hades_r", bindings(tmp_path / "wrong.npz"))
    np.savez(tmp_path / "short.npz", obs_mean=MEAN[:3], obs_std=VAR[:3])
    with pytest.raises(ConfigError, match=r"3.*CartPole-v1.*4"):
        load_experiment("cartpole_hades_r", bindings(tmp_path / "short.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obs_var": -VAR}, "above 0"),
        ({"obs_var": VAR * np.nan}, "non-finite"),
        ({"obs_var": VAR * 0}, "above 0"),
        ({"obs_mean": MEAN * np.inf}, "non-finite"),
        ({"obs_mean": MEAN[:2]}, "shape"),
        ({"obs_mean": np.array([{}] * 4, object)}, "not plain numbers"),
    ],
)
def test_statistics_that_cannot_normalise_are_refused_when_the_file_is_read(tmp_path, changes, message):
    np.savez(tmp_path / "stats.npz", **({"obs_mean": MEAN, "obs_var": VAR} | changes))
    with pytest.raises(ConfigError, match=rf"normalizer_from_file\.path: .*stats\.npz.*{message}"):
        normalizer_from_file(str(tmp_path / "stats.npz"))


@pytest.mark.parametrize("name", ["mean_x.npy", "var_x.npy"])
def test_released_statistics_are_read_as_they_are(tmp_path, name):
    np.save(tmp_path / "mean_x.npy", MEAN)
    np.save(tmp_path / "var_x.npy", VAR * 0)
    normalizer = normalizer_from_file(str(tmp_path / name))
    np.testing.assert_allclose(normalizer.mean, MEAN)
    np.testing.assert_allclose(normalizer.std, 1e-4, rtol=1e-5)
    (tmp_path / "var_x.npy").unlink()
    with pytest.raises(ConfigError, match=r"no file at .*var_x\.npy"):
        normalizer_from_file(str(tmp_path / name))
