"""The dataset file: round trip, readable with numpy alone, and one paragraph for every way in which it can be wrong."""

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from hades import registry
from hades.data.dataset import DistilledDataset, action_kind, describe_spec
from hades.data.sources import load_dataset
from hades.data.tensor_file import FORMAT_VERSION
from hades.environments.base import Environment
from hades.environments.gymnax import Gymnax
from hades.errors import ConfigError, DatasetError
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


def test_the_first_pairs_are_a_dataset_without_a_measured_return(dataset):
    shorter = dataset.first(2)
    np.testing.assert_array_equal(shorter.observations, dataset.observations[:2])
    np.testing.assert_array_equal(shorter.targets, dataset.targets[:2])
    assert (len(shorter), shorter.learner.num_pairs, shorter.returns) == (2, 2, {})
    for count in (0, 4):
        with pytest.raises(ConfigError, match="3 pairs"):
            dataset.first(count)


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


def with_header(path: Path, change, *, keep_digest: bool = True) -> None:
    """Rewrite a file with the JSON under "hades" changed."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["hades"] = change(header["__metadata__"]["hades"])
    if not keep_digest:
        del header["__metadata__"]["sha256"]
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
    header = json.dumps({"format_version": FORMAT_VERSION, **dataset.metadata})
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors.numpy.save({"observations": dataset.observations}, metadata={"hades": header}))
    with pytest.raises(DatasetError, match="targets, normalizer/mean, normalizer/std"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"name": "Pointt"}, r'environment cannot be used: There is no Environment "Pointt".*"Point".*Gymnax'),
        ({"name": "x" * 10**6}, "There is no Environment"),
        ({"name": "\x1b[31mred\n"}, r"\\x1b\[31mred\\n"),
        ({"name": "Gymnax", "env_id": "CartPole-v2"}, r'"CartPole-v2".*"CartPole-v1"'),
        ({"name": "Point", "discrete": True}, r"spec\.action_kind is 'box', but point-discrete has discrete"),
    ],
)
def test_an_environment_that_cannot_be_meant_is_refused_when_it_is_built(path, environment, message):
    with_header(path, edited(environment={"interface": "Environment", **environment}), keep_digest=False)
    dataset = load_dataset(path)
    for _ in range(2):
        with pytest.raises(DatasetError, match=message) as refused:
            _ = dataset.environment
        assert str(refused.value).startswith(f"{path}: ")
        assert len(str(refused.value)) < 3000
        assert "\x1b" not in str(refused.value)


def test_an_environment_that_contradicts_header_and_arrays_is_refused_when_it_is_built(dataset):
    spec = {**dataset.metadata["spec"], "obs_shape": [3]}
    columns = {name: getattr(dataset, name)[..., [0, 1, 1]] for name in ("observations", "obs_mean", "obs_std")}
    changed = dataclasses.replace(dataset, **columns, metadata={**dataset.metadata, "spec": spec}, init={})
    assert changed.spec.obs_shape == (3,)
    with pytest.raises(DatasetError, match=r"^spec\.obs_shape is \[3\], but point has \[2\]"):
        _ = changed.environment


def test_the_protocol_is_checked_against_the_environment_when_it_is_built(dataset):
    window = registry.describe(WindowedReturn(num_envs=3, num_steps=2))  # an episode of this one lasts 4 steps
    changed = dataclasses.replace(dataset, metadata={**dataset.metadata, "evaluation": window})
    with pytest.raises(DatasetError, match=r"evaluation cannot be used: WindowedReturn\.num_steps is 2"):
        _ = changed.environment


def test_opening_a_file_builds_no_environment(dataset, path, monkeypatch):
    def built(self):
        raise AssertionError("built")

    monkeypatch.setattr(type(POINT), "spec", property(built))
    assert load_dataset(path).spec == dataset.spec
    monkeypatch.undo()
    assert describe_spec(POINT.spec) == dataset.metadata["spec"] == describe_spec(dataset.spec)
    assert dataset.spec.action_space == POINT.spec.action_space


@pytest.mark.parametrize("field", list(describe_spec(POINT.spec)))
def test_an_older_header_that_lacks_a_field_of_the_spec_opens(dataset, path, field):
    spec = {name: value for name, value in dataset.metadata["spec"].items() if name != field}
    with_header(path, edited(spec=spec), keep_digest=False)
    if field in ("name", "action_kind"):  # every file has had these
        with pytest.raises(DatasetError, match=f"spec lacks {field}"):
            load_dataset(path)
    else:
        assert load_dataset(path).spec == POINT.spec


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


def test_a_number_that_is_not_finite_is_null_in_the_file(dataset, tmp_path):
    unknown = {"mean": 1.5, "ci95": [float("nan"), float("inf")]}
    saved = dataclasses.replace(dataset, metadata={**dataset.metadata, "returns": unknown})
    path = saved.save(tmp_path / "x.safetensors")
    assert read_with_numpy(path)[0]["returns"] == {"mean": 1.5, "ci95": [None, None]}
    assert b"NaN" not in path.read_bytes()
    with_header(path, lambda text: text.replace("null", "NaN"), keep_digest=False)  # as older files have it
    assert load_dataset(path).returns == {"mean": 1.5, "ci95": [None, None]}


def test_safetensors_reads_what_we_write(dataset, path):
    tensors = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(tensors["observations"], dataset.observations)
    np.testing.assert_array_equal(tensors["normalizer/std"], dataset.obs_std)


def test_an_older_file_without_a_digest_opens(path):
    changed = edited(training={"seed": 3})
    with_header(path, changed, keep_digest=False)
    assert load_dataset(path).metadata["training"] == {"seed": 3}


@pytest.mark.parametrize(
    "part", ["observations", "targets", "normalizer/mean", "normalizer/std", "init/layers_0/kernel"]
)
def test_a_flipped_bit_of_any_tensor_is_found(path, part):
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    begin = 8 + size + json.loads(content[8 : 8 + size])[part]["data_offsets"][0]
    path.write_bytes(content[:begin] + bytes([content[begin] ^ 1]) + content[begin + 1 :])
    with pytest.raises(DatasetError, match=r"point\.safetensors .*SHA-256"):
        load_dataset(path)


def test_a_changed_header_is_found(path):
    with_header(path, lambda text: text.replace('"learning_rate": 0.005', '"learning_rate": 0.006'))
    with pytest.raises(DatasetError, match="SHA-256"):
        load_dataset(path)


def changed_at(place: str, value):
    """The header's JSON with another value at a place such as "learner.num_updates"."""

    def change(text: str) -> str:
        header = json.loads(text)
        *holders, name = place.split(".")
        part = header
        for holder in holders:
            part = part[holder]
        part[name] = value
        return json.dumps(header)

    return change


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("learner.num_updates", 10**9, r"learner\.num_updates is 1000000000; .*for num_updates is 1,000,000"),
        ("learner.init_scheme.num_inits", 10**9, "num_inits is 100,000"),
        ("learner.policy.depth", 10**9, "depth is 100"),
        ("learner.policy.width", 10**7, "weights; the most that a dataset file may name is 30,000,000"),
        ("environment.max_episode_steps", 10**9, "max_episode_steps is 1,000,000"),
        ("learner.policy.width", 10**30, "width is 10,000,000"),
        ("returns", {"mean": "1.5"}, r'returns\.mean is "1\.5"; it must be a number or null'),
        ("returns", {"mean": 1.5, "per_init": "x"}, r'returns\.per_init is "x"; it must be a list'),
        ("returns", {"mean": 1.5, "remeasured": {}}, r"returns\.remeasured lacks mean"),
        ("versions", {"jax": 1}, r"versions\.jax is 1; it must be a text"),
        ("init", {"kind": "fixd"}, 'init.kind is "fixd"'),
        ("init", [], r"init is \[\]; it must be an object"),
        ("spec.obs_shape", [3], r"observations have shape \(3, 2\), but point needs \(N, 3\)"),
        ("spec.name", None, r"spec\.name is None; it must be a text"),
        ("spec.action_kind", "both", r'spec\.action_kind is "both"; it must be "discrete" or "box"'),
        ("spec.max_episode_steps", 10**9, r"spec\.max_episode_steps is 1000000000; .* is 1,000,000"),
        (
            "learner",
            {"interface": "Policy", "name": "MLP"},
            "learner cannot be used: it describes a MLP, which is no Inner",
        ),
        ("learner", {"interface": "InnerLearner", "name": "Identity", "policy": None}, "learner cannot be used"),
        ("normalizer", {"interface": "Normalizer", "name": "x"}, "normalizer cannot be used: There is no Normalizer"),
        ("evaluation", {"interface": "Fitness", "name": "DatasetL2"}, "DatasetL2 plays no episodes"),
        ("training", {"seed": "x"}, r"training\.seed"),
    ],
)
def test_a_header_that_cannot_be_meant_is_refused_when_the_file_is_opened(path, place, value, message):
    with_header(path, changed_at(place, value))
    with pytest.raises(DatasetError, match=message) as refused:
        load_dataset(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert len(str(refused.value)) < 3000
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + b"x",
        lambda content: content[:8] + b"\xff" + content[9:],
        lambda content: struct.pack("<Q", 2**63) + content[8:],
        lambda content: content.replace(b'"dtype":"F32","shape":[3,1]', b'"dtype":"F32","shape":[1,3]').replace(
            b'"shape":[1,3]', b'"shape":[9,9]'
        ),
        lambda content: content.replace(b'"dtype":"F32","shape":[3,1]', b'"dtype":"I32","shape":[3,1]'),
        lambda content: content.replace(b'"data_offsets":[64,72]', b'"data_offsets":[60,68]'),
        lambda content: content.replace(b'"targets":', b'"observations":'),
        lambda content: struct.pack("<Q", 200_002) + b"[" * 100_001 + b"]" * 100_001 + content[-100:],
    ],
)
def test_a_table_of_tensors_that_cannot_be_is_refused(path, change):
    content = path.read_bytes()
    assert change(content) != content
    path.write_bytes(change(content))
    with pytest.raises(DatasetError, match=r"point\.safetensors .*complete.*export"):
        load_dataset(path)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(path, monkeypatch):
    monkeypatch.setattr("hades.data.arrays.MOST_BYTES", 100)
    with pytest.raises(DatasetError, match="at most 100 are read"):
        load_dataset(path)
