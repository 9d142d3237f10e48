"""Dataset files: bytes that were damaged, and headers whose JSON was changed, with a digest that fits and without."""

import functools
import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np

from hades.data import zoo
from hades.data.dataset import DistilledDataset
from hades.data.sources import load_dataset
from hades.data.tensor_file import DIGEST, HEADER, _digest, _parse
from tests.fuzz.harness import Attempt, kind, mutated, mutated_json

NAMES = ("cartpole-hades-r-d2", "cartpole-hades-f-d2", "pendulum-hades-r-d8", "cartpole-acrobot-hades-r-d5")


@functools.cache
def original(name: str) -> DistilledDataset:
    return zoo.load(name)


def tried(name: str, content: bytes, folder: Path, description: str, *, any_header: bool = False) -> Attempt:
    """Open a file that was made from a dataset of the zoo and use what it says."""
    (folder / "x.safetensors").write_bytes(content)
    for one in NAMES:  # the first use of an environment imports its library, which is not what is timed
        original(one)

    def accept(loaded: DistilledDataset) -> str:
        first = original(name)
        same = all(
            np.array_equal(getattr(loaded, field), getattr(first, field))
            for field in ("observations", "targets", "obs_mean", "obs_std")
        )
        if not same:
            return "its tensors are not the original ones"
        if not any_header and loaded != first:
            return "its header is not the original one"
        repr((loaded.environment, loaded.learner, loaded.normalizer, loaded.protocol))
        if loaded.returns:
            f"{loaded.returns['mean']:.1f}"
        return "" if loaded == DistilledDataset(*arrays_of(loaded)) else "it is not equal to itself"

    def built() -> DistilledDataset:
        loaded = load_dataset(folder / "x.safetensors")
        assert loaded.environment.spec.action_space == loaded.spec.action_space
        return loaded

    return Attempt(f"{name}: {description}", built, accept)


def arrays_of(dataset: DistilledDataset) -> tuple[Any, ...]:
    return (
        *(dataset.observations, dataset.targets, dataset.obs_mean, dataset.obs_std),
        *(dataset.metadata, dataset.init),
    )


@kind("dataset-bytes")
def dataset_bytes(rng: random.Random, folder: Path) -> Attempt:
    name = rng.choice(NAMES)
    content = zoo.path(name).read_bytes()
    if rng.random() < 0.1:  # the beginning of one file and the end of another
        other = zoo.path(rng.choice(NAMES)).read_bytes()
        return tried(
            name, content[: rng.randrange(len(content))] + other[rng.randrange(len(other)) :], folder, "spliced"
        )
    return tried(name, mutated(rng, content), folder, "damaged")


@kind("dataset-tables")
def dataset_tables(rng: random.Random, folder: Path) -> Attempt:
    """The table of tensors changed."""
    name = rng.choice(NAMES)
    entries, body = split(zoo.path(name).read_bytes())
    change, entries = mutated_json(rng, entries)
    return tried(name, joined(json.dumps(entries), body), folder, f"table {change}")


@kind("dataset-headers")
def dataset_headers(rng: random.Random, folder: Path) -> Attempt:
    """The header changed, with a digest that fits or without any, as an author of a hostile file would leave it."""
    name = rng.choice(NAMES)
    entries, body = split(zoo.path(name).read_bytes())
    changes, header = [], json.loads(entries["__metadata__"][HEADER])
    for _ in range(rng.choice((1, 1, 1, 3))):
        change, header = mutated_json(rng, header)
        changes.append(change)
    text = json.dumps(header)
    if rng.random() < 0.03:
        text = text.replace('"random"', '{"a":' * 100_000 + "1" + "}" * 100_000)
    entries["__metadata__"] = {HEADER: text}
    if rng.random() < 0.5:
        tensors = _parse(joined(json.dumps(entries), body))[2]
        entries["__metadata__"][DIGEST] = _digest(text, tensors)
    return tried(name, joined(json.dumps(entries), body), folder, f"header {changes}", any_header=True)


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The table of tensors and the bytes behind it."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(table: str, body: bytes) -> bytes:
    """The inverse of `split`."""
    return struct.pack("<Q", len(table.encode())) + table.encode() + body
