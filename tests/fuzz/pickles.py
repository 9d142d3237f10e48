"""Released pickles: damaged, with a changed configuration, and written to run code."""

import functools
import os
import pickle
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hades.policy.published import import_published
from tests.fuzz.harness import NUMBERS, TEXTS, VALUES, Attempt, kind, mutated
from tests.policy.released import CONFIG, released_bytes


@functools.cache
def content() -> bytes:
    return released_bytes()


@functools.cache
def warm_up() -> None:
    """Import the libraries of the environment, which is not what is timed."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.pkl").write_bytes(released_bytes(OVERFIT=True))
        import_published(Path(folder) / "x.pkl")


def tried(rng: random.Random, folder: Path, data: bytes, description: str, accept: Any = lambda result: "") -> Attempt:
    path = folder / "data_final.pkl"
    warm_up()
    path.write_bytes(data)

    def checked(dataset: Any) -> str:
        if (folder / "run").exists():
            return "it ran code"
        finite = all(np.isfinite(array).all() for array in (dataset.observations, dataset.targets, dataset.obs_std))
        return accept(dataset) if finite else "its arrays are not finite"

    return Attempt(description, lambda: import_published(path), checked)


@kind("pickle-bytes")
def pickle_bytes(rng: random.Random, folder: Path) -> Attempt:
    return tried(rng, folder, mutated(rng, content()), "damaged")


@kind("pickle-values")
def pickle_values(rng: random.Random, folder: Path) -> Attempt:
    """Another value in the configuration."""
    values = {rng.choice(list(CONFIG)): rng.choice((*VALUES, *NUMBERS, *TEXTS)) for _ in range(rng.choice((1, 1, 2)))}
    return tried(rng, folder, released_bytes(**values), str(values)[:300])


@kind("pickle-programs")
def pickle_programs(rng: random.Random, folder: Path) -> Attempt:
    """Instructions that would run something, before, behind or instead of the content."""
    mark = folder / "run"

    class Runs:
        def __reduce__(self) -> Any:
            return rng.choice(((os.mkdir, (str(mark),)), (eval, (f"open({str(mark)!r}, 'w')",))))

    hostile = [
        pickle.dumps(Runs(), protocol=rng.randrange(6)),
        pickle.dumps({"state": Runs(), "config": {}}),
        b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR.",
        b"(S'touch " + str(mark).encode() + b"'\nios\nsystem\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
        b"\x80\x04\x8c\x0fnumpy.core.multi\x8c\x0c_reconstruct\x93)R.",
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"\x80\x02cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.",
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x02Nr\xff\xff\xff\xff.",
        b"\x80\x02N" + b"\x85" * 300_000 + b".",
        b"\x80\x02}(" + b"N" + b"\x85" * 300_000 + b"K\x01u.",
        b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
        b"\x80\x04\x8e" + b"\xff" * 8 + b".",
        b"\x80\x02P1\n.",
        b"\x80\x02\x82\x01.",
    ]
    data = rng.choice(hostile)
    if rng.random() < 0.3:
        return tried(rng, folder, data[:-1] + content()[2:], f"program before the content {data[:60]!r}")
    return tried(rng, folder, data, f"program {data[:60]!r}", lambda dataset: "it was accepted")
