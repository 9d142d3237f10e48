"""Files of arrays: npz and npy that were damaged, that lie about their content, or hold what is no number."""

import functools
import io
import random
import struct
import zipfile
from pathlib import Path

import numpy as np

from hades.data.arrays import MOST_BYTES, read_npy, read_npz
from hades.errors import ConfigError
from hades.runs.normalizer_file import normalizer_from_file
from tests.fuzz.harness import Attempt, kind, mutated

MEAN, VARIANCE = np.array([0.5, -1.0, 2.0], np.float32), np.array([1.0, 4.0, 0.25], np.float32)


@functools.cache
def written(compressed: bool) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, obs_mean=MEAN, obs_var=VARIANCE)
    return file.getvalue()


def array_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@kind("npz")
def npz(rng: random.Random, folder: Path) -> Attempt:
    """Statistics for a normaliser whose bytes were changed; a checksum guards each array."""
    path = folder / "x.npz"
    path.write_bytes(mutated(rng, written(rng.random() < 0.5)))

    def accept(normalizer: object) -> str:
        same = np.allclose(normalizer.mean, MEAN) and np.allclose(normalizer.std, np.sqrt(VARIANCE))
        return "" if same else f"its statistics are {normalizer}"

    return Attempt("npz bytes", lambda: normalizer_from_file(str(path)), accept)


@kind("npz-values")
def npz_values(rng: random.Random, folder: Path) -> Attempt:
    """Whole files of arrays that are no statistics, and archives that are no npz."""
    path = folder / "x.npz"
    hostile = (
        *(np.array(3.0), np.zeros(0), np.zeros((3, 1)), np.zeros(4), -VARIANCE, VARIANCE * np.nan, VARIANCE * np.inf),
        *(np.array(["a"] * 3), np.array([1j] * 3), np.array([1.0, None, "x"], object), np.array([True, False, True])),
        *(np.zeros(3, [("a", "f4")]), np.array([1, 2, 3], "M8[s]"), np.full(3, 1e300), np.zeros(3, "f2"), MEAN),
    )
    arrays = {"obs_mean": rng.choice((MEAN, *hostile)), rng.choice(("obs_var", "obs_std")): rng.choice(hostile)}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", array_bytes(array))
            if rng.random() < 0.1:
                archive.writestr(rng.choice((f"{name}.npy", "../x.npy", "readme.txt")), b"text")

    def accept(normalizer: object) -> str:
        finite = np.isfinite(normalizer.mean).all() and (np.array(normalizer.std) > 0).all()
        return "" if finite and np.isfinite(normalizer.std).all() else f"its statistics are {normalizer}"

    return Attempt(
        f"npz of {[(a.dtype, a.shape) for a in arrays.values()]}", lambda: normalizer_from_file(str(path)), accept
    )


@kind("npz-sizes")
def npz_sizes(rng: random.Random, folder: Path) -> Attempt:
    """Archives that state other sizes, flags or methods than they have, and bombs."""
    path = folder / "x.npz"
    if rng.random() < 0.1:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("obs_mean.npy", "w") as member:
            for _ in range(40):
                member.write(bytes(2**24))
    else:
        content = bytearray(written(rng.random() < 0.5))
        entry = content.index(b"PK\x01\x02")
        field = rng.choice((8, 10, 20, 24, 28, 42))  # flags, method, sizes, length of the name, place of the member
        struct.pack_into("<H" if field < 20 else "<I", content, entry + field, rng.choice((0, 1, 9, 12, 2**15)))
        path.write_bytes(content)

    def accept(arrays: dict[str, np.ndarray]) -> str:
        size = sum(array.nbytes for array in arrays.values())
        return "" if size <= MOST_BYTES and all(a.dtype == np.float32 for a in arrays.values()) else f"{size} bytes"

    return Attempt("npz sizes", lambda: read_npz(path), accept)


@kind("npy")
def npy(rng: random.Random, folder: Path) -> Attempt:
    """A released pair of statistics, one of which was damaged or states another shape."""
    content = {"mean_x.npy": array_bytes(MEAN), "var_x.npy": array_bytes(VARIANCE)}
    changed = rng.choice(list(content))
    if rng.random() < 0.5:
        content[changed] = mutated(rng, content[changed])
    else:
        shape = rng.choice((b"(3,)", b"(10**9,)", b"(999999999999,)", b"(3,1)", b"(-3,)", b"3", b"(" * 300, b"[3]"))
        old = content[changed].index(b"(3,)")
        content[changed] = content[changed][:old] + shape + content[changed][old + len(shape) :]
    for name, data in content.items():
        (folder / name).write_bytes(data)

    def call() -> tuple[object, np.ndarray]:
        return normalizer_from_file(str(folder / "mean_x.npy")), read_npy(folder / changed)

    def accept(result: tuple[object, np.ndarray]) -> str:
        normalizer, array = result
        fine = np.isfinite(normalizer.mean).all() and (np.array(normalizer.std) > 0).all() and array.size == 3
        return "" if fine else f"{normalizer}"

    return Attempt(f"npy, {changed}", call, accept)


@kind("statistics-paths")
def statistics_paths(rng: random.Random, folder: Path) -> Attempt:
    name = mutated(rng, rng.choice(("x.npz", "mean_x.npy", "var_x.npy", "d.safetensors", "~/x", ".", "")))
    if rng.random() < 0.5 and name.strip("./~") and "/" not in name and "\0" not in name and len(name) < 50:
        (folder / name).write_bytes(rng.randbytes(rng.choice((0, 8, 100))))

    def call() -> None:
        raise ConfigError(f"accepted {normalizer_from_file(str(folder / name))}")

    return Attempt(repr(name), call)
