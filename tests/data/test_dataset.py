"""The dataset file: round trip, readable with numpy alone, and one paragraph for every way in which it can be wrong."""

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from hades import registry
from hades.data.dataset import FORMAT_VERSION, DistilledDataset, action_kind, describe_spec, load_dataset
from hades.environments.base import Environment
from hades.environments.gymnax import Gymnax
from hades.errors import DatasetError
from hades.fitness.windowed_return import WindowedReturn
from hades.normalizers.constant import ConstantNormalizer
from tests.support import CLASSIFYING, CLONING, POINT, POINT_DISCRETE

RNG = np.random.default_rng(0)


def make(env: Environment, learner, n: int, **changes) -> DistilledDataset:
    spec = env.spec
    metadata = {
        "environment": registry.describe(env),
        "spec": describe_spec(spec),
        "learner": registry.describe(learner),
        "normalizer": registry.describe(ConstantNormalizer()),
        "init": {"kind": "random"},
        "returns": {"mean": 1.5, "unit": "Δ°"},
        "versions": {"hades": "0"},
    }
    fields = {
        "observations": RNG.normal(size=(n, *spec.obs_shape)).astype(np.float32),
        "targets": RNG.normal(size=(n, spec.action_space.size)).astype(np.float32),
        "obs_mean": np.full(spec.obs_shape, 0.25, np.float32),
        "obs_std": np.full(spec.obs_shape, 2.0, np.float32),
        "metadata": metadata | changes.pop("metadata", {}),
    }
    return DistilledDataset(**(fields | changes))


@pytest.fixture
def dataset() -> DistilledDataset:
    return make(POINT, CLONING, 3, init={"layers_0/kernel": np.ones((2, 8), np.float32)})


@pytest.fixture
def path(dataset, tmp_path) -> Path:
    return dataset.save(tmp_path / "point.safetensors")


def assert_same(a: DistilledDataset, b: DistilledDataset) -> None:
    for name in ("observations", "targets", "obs_mean", "obs_std"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.metadata == b.metadata
    assert a.init.keys() == b.init.keys()
    for name in a.init:
        np.testing.assert_array_equal(a.init[name], b.init[name])


def test_a_file_holds_all_that_was_saved(dataset, path):
    loaded = load_dataset(path)
    assert_same(loaded, dataset)
    assert len(loaded) == 3
    assert loaded.returns == {"mean": 1.5, "unit": "Δ°"}


def test_datasets_are_equal_where_their_files_are(dataset, path):
    one, two = load_dataset(path), load_dataset(path)
    assert one == two == dataset
    assert hash(one) == hash(two) == hash(dataset)
    assert {one: "found"}[two] == "found"
    assert one in [dataclasses.replace(dataset, targets=dataset.targets + 1), two]
    unknown = {**dataset.metadata, "returns": {"mean": float("nan")}}  # NaN equals NaN
    assert dataclasses.replace(dataset, metadata=unknown) == dataclasses.replace(
        dataset, metadata={**unknown, "returns": {"mean": float("nan")}}
    )


@pytest.mark.parametrize("field", ["observations", "targets", "obs_mean", "obs_std", "metadata", "init"])
def test_datasets_that_differ_in_one_field_are_not_equal(dataset, field):
    value = getattr(dataset, field)
    if field == "metadata":
        changed = {**value, "returns": {"mean": 1.25}}
    elif field == "init":
        changed = {name: array + 1 for name, array in value.items()}
    else:
        changed = value + 1
    other = dataclasses.replace(dataset, **{field: changed})
    assert other != dataset
    assert len({other, dataset}) == 2
    assert dataset != dataset.metadata


def test_the_components_come_back_equal(path):
    loaded = load_dataset(str(path))
    assert (loaded.environment, loaded.learner, loaded.normalizer) == (POINT, CLONING, ConstantNormalizer())


def test_a_file_may_name_the_protocol_of_its_returns(dataset, tmp_path):
    assert dataset.protocol is None  # as in every file from before there was such an entry
    window = WindowedReturn(num_envs=3, num_steps=7)
    metadata = {**dataset.metadata, "evaluation": registry.describe(window)}
    named = dataclasses.replace(dataset, metadata=metadata)
    assert load_dataset(named.save(tmp_path / "named.safetensors")).protocol == window


def test_images_and_labels_keep_their_shape(tmp_path):
    env = Gymnax("Breakout-MinAtar")
    dataset = make(env, CLASSIFYING, 2)
    loaded = load_dataset(dataset.save(tmp_path / "b.safetensors"))
    assert_same(loaded, dataset)
    assert loaded.environment == env


def read_with_numpy(path: Path) -> tuple[dict, dict]:
    """Header and tensors, as docs/dataset_format.md says: u64 length, JSON, raw little-endian data."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    metadata = json.loads(header.pop("__metadata__")["hades"])
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        assert entry["dtype"] == "F32"
        tensors[name] = np.frombuffer(content[begin:end], "<f4").reshape(entry["shape"])
    return metadata, tensors


def test_a_file_is_readable_with_numpy_alone(dataset, path):
    metadata, tensors = read_with_numpy(path)
    assert set(tensors) == {"observations", "targets", "normalizer/mean", "normalizer/std", "init/layers_0/kernel"}
    np.testing.assert_array_equal(tensors["observations"], dataset.observations)
    np.testing.assert_array_equal(tensors["normalizer/std"], dataset.obs_std)
    assert metadata["format_version"] == FORMAT_VERSION
    assert metadata["spec"] == {
        "name": "point",
        "obs_shape": [2],
        "action_kind": "box",
        "action_size": 1,
        "max_episode_steps": 4,
        "observation_names": ["position", "goal"],
        "action_names": ["velocity"],
    }


def test_equal_datasets_write_equal_bytes(dataset, path, tmp_path):
    shuffled = dataclasses.replace(dataset, metadata=dict(reversed(dataset.metadata.items())))
    assert shuffled.save(tmp_path / "other.safetensors").read_bytes() == path.read_bytes()
    assert load_dataset(path).save(tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    changed = dataclasses.replace(dataset, targets=dataset.targets + 1)
    assert changed.save(tmp_path / "changed.safetensors").read_bytes() != path.read_bytes()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.safetensors"):
        load_dataset(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_a_truncated_file_is_refused_by_name(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"point\.safetensors .*complete.*export"):
        load_dataset(path)


def with_header(path: Path, change) -> None:
    """Rewrite a file with the JSON under "hades" changed."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["hades"] = change(header["__metadata__"]["hades"])
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + content[8 + size :])


def edited(**changes):
    return lambda text: json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    "change", [lambda text: text[:50], lambda text: "[1, 2]", lambda text: '"text"', lambda text: "{}"]
)
def test_a_corrupted_header_is_refused_by_name(path, change):
    with_header(path, change)
    with pytest.raises(DatasetError, match=r"point\.safetensors .*complete"):
        load_dataset(path)


def test_flipped_bytes_of_the_header_never_pass_as_another_error(path):
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    refused = 0
    for position in range(0, 8 + size, 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x15]) + content[position + 1 :])
        try:
            load_dataset(path)
        except DatasetError:
            refused += 1
    assert refused > (8 + size) / 7 / 4


def test_a_format_that_never_was_is_refused(path):
    with_header(path, edited(format_version=0))
    with pytest.raises(DatasetError, match=r"format 0.*\b1\b"):
        load_dataset(path)


def test_a_file_of_a_newer_format_says_what_to_install(path):
    with_header(path, edited(format_version=FORMAT_VERSION + 1))
    with pytest.raises(DatasetError, match=rf"format {FORMAT_VERSION + 1}.*{FORMAT_VERSION}.*pip install -U"):
        load_dataset(path)


def test_a_file_written_by_another_program_is_refused(tmp_path):
    import safetensors.numpy

    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.numpy.save({"x": np.zeros(3, np.float32)}))
    with pytest.raises(DatasetError, match="written by another program"):
        load_dataset(path)


@pytest.mark.parametrize("field", ["environment", "spec", "learner", "normalizer", "init", "versions"])
def test_missing_metadata_are_named(path, field):
    with_header(path, lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != field}))
    with pytest.raises(DatasetError, match=rf"metadata.*{field}.*environment, spec"):
        load_dataset(path)


def test_missing_tensors_are_named(dataset, tmp_path):
    import safetensors.numpy

    header = json.dumps({"format_version": FORMAT_VERSION, **dataset.metadata})
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save({"observations": dataset.observations}, metadata={"hades": header}))
    with pytest.raises(DatasetError, match="targets, normalizer/mean, normalizer/std"):
        load_dataset(path)


def test_an_unknown_environment_is_answered_with_the_known_ones(path):
    with_header(path, edited(environment={"interface": "Environment", "name": "Pointt"}))
    with pytest.raises(DatasetError, match=r'point\.safetensors: .*environment.*Environment "Pointt".*"Point".*Gymnax'):
        load_dataset(path)
    with_header(path, edited(environment={"interface": "Environment", "name": "Gymnax", "env_id": "CartPole-v2"}))
    with pytest.raises(DatasetError, match=r'"CartPole-v2".*"CartPole-v1"'):
        load_dataset(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": np.zeros((3, 4), np.float32)}, r"observations have shape \(3, 4\), but point needs \(N, 2\)"),
        ({"observations": np.zeros((0, 2), np.float32)}, r"observations have shape \(0, 2\).* with N >= 1"),
        ({"targets": np.zeros((3, 2), np.float32)}, r"targets have shape \(3, 2\), but 3 pairs .*Box.* need \(3, 1\)"),
        ({"targets": np.zeros((2, 1), np.float32)}, r"targets have shape \(2, 1\), but 3 pairs"),
        ({"obs_mean": np.zeros(3, np.float32)}, r"obs_mean has shape \(3,\), but an observation of point has \(2,\)"),
        ({"obs_std": np.zeros((), np.float32)}, r"obs_std has shape \(\)"),
        ({"targets": np.full((3, 1), np.nan, np.float32)}, "targets hold 3 non-finite numbers"),
        ({"observations": np.full((3, 2), np.inf, np.float32)}, "observations hold 6 non-finite numbers"),
        ({"obs_mean": np.full(2, np.nan, np.float32)}, "obs_mean hold.* 2 non-finite numbers"),
        ({"obs_std": np.array([1.0, 0.0], np.float32)}, r"obs_std .*above 0"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_both_shapes(dataset, change, message):
    with pytest.raises(DatasetError, match=message):
        dataclasses.replace(dataset, **change)


def test_targets_for_another_kind_of_action_are_refused(dataset):
    discrete = make(POINT_DISCRETE, CLASSIFYING, 3)
    with pytest.raises(DatasetError, match=r"discrete.*box.*Box.*point-discr"):
        discrete.check(dataclasses.replace(POINT.spec, name="box", action_space=type(POINT.spec.action_space)(3)))
    assert (action_kind(POINT.spec), action_kind(POINT_DISCRETE.spec)) == ("box", "discrete")
