"""The guarded reader: what numpy wrote comes back, and everything else is refused by name before it is unpacked."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from hades.data import arrays
from hades.data.arrays import check_statistics, read_npy, read_npz
from hades.errors import DatasetError

VALUES = np.arange(6, dtype=np.float64).reshape(2, 3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_f32(tmp_path: Path, save) -> None:
    save(tmp_path / "x.npz", a=VALUES, b=np.asfortranarray(VALUES), c=np.array(2), d=np.array([True, False]))
    read = read_npz(tmp_path / "x.npz")
    assert {name: array.dtype for name, array in read.items()} == dict.fromkeys("abcd", np.dtype("f4"))
    np.testing.assert_array_equal(read["a"], VALUES)
    np.testing.assert_array_equal(read["b"], VALUES)
    assert (read["c"].shape, read["c"], read["d"].tolist()) == ((), 2, [1, 0])
    np.save(tmp_path / "x.npy", VALUES.astype(">f8"))
    np.testing.assert_array_equal(read_npy(tmp_path / "x.npy"), VALUES)


def test_a_bomb_is_refused_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(10**5))
    monkeypatch.setattr(arrays, "MOST_BYTES", 10**5)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)  # nothing is unpacked
    with pytest.raises(DatasetError, match=r"x\.npz .*unpacks to 800,128 bytes; at most 100,000"):
        read_npz(tmp_path / "x.npz")
    (tmp_path / "y.npz").write_bytes(bytes(10**5 + 1))
    with pytest.raises(DatasetError, match=r"y\.npz has 100,001 bytes; at most 100,000"):
        read_npz(tmp_path / "y.npz")


def edit_of_directory(offset: int, form: str, value: int):
    """Change one number of the first entry of the directory, which stands behind the arrays."""

    def edit(content: bytes) -> bytes:
        entry = content.index(b"PK\x01\x02")
        changed = bytearray(content)
        struct.pack_into(form, changed, entry + offset, value)
        return bytes(changed)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content[:-30], "complete npz"),
        (lambda content: b"", "complete npz"),
        (lambda content: content.replace(VALUES.tobytes()[8:16], b"12345678"), "CRC"),
        (edit_of_directory(8, "<H", 1), "encrypted"),
        (edit_of_directory(10, "<H", 12), "compressed in a way"),
        (edit_of_directory(24, "<I", 10), "complete npz"),
        (edit_of_directory(42, "<I", 7), "complete npz"),
        (lambda content: content.replace(b"a.npy", b"a.txt"), '"a.txt" is no array'),
        (lambda content: content.replace(b"b.npy", b"a.npy"), "one name"),
    ],
)
def test_an_archive_that_was_damaged_or_changed_is_refused(tmp_path: Path, edit, message: str) -> None:
    np.savez(tmp_path / "x.npz", a=VALUES, b=VALUES)
    (tmp_path / "x.npz").write_bytes(edit((tmp_path / "x.npz").read_bytes()))
    with pytest.raises(DatasetError, match=rf"x\.npz.*{message}"):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "array",
    [np.array([{}], object), np.array(["a"]), np.array([1j]), np.zeros(2, [("x", "f4")]), np.array([0], "M8[s]")],
)
def test_what_is_no_number_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(DatasetError, match=r"x\.npy.*not plain numbers"):
        read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", [b"(2, 9)", b"(-2,-3)", b"(9**9,)", b"(999999999999999,)", b"'x'"])
def test_a_shape_that_contradicts_the_bytes_is_refused(tmp_path: Path, shape: bytes) -> None:
    file = io.BytesIO()
    np.save(file, VALUES)
    content = file.getvalue().replace(b"(2, 3)".ljust(len(shape)), shape, 1)
    at = file.getvalue().index(b"(2, 3)")
    content = file.getvalue()[:at] + shape + file.getvalue()[at + len(shape) :]
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.npy is not a complete npy"):
        read_npy(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("mean", "spread", "message"),
    [
        ([0.0, 1.0], [1.0, np.nan], "non-finite"),
        ([np.inf, 1.0], [1.0, 1.0], "non-finite"),
        ([0.0, 1.0], [1.0, -0.5], r"is -0\.5 somewhere; it must be above 0"),
        ([0.0, 1.0], [1.0, 0.0], "above 0"),
        ([0.0, 1.0], [1.0], r"shape \(2,\).*\(1,\)"),
        ([], [], "above 0"),
    ],
)
def test_statistics_that_nothing_can_be_divided_by_are_refused(mean, spread, message: str) -> None:
    with pytest.raises(DatasetError, match=f"stats.npz: .*{message}"):
        check_statistics("stats.npz", np.array(mean), np.array(spread))


def test_a_variance_of_zero_is_allowed_where_something_is_added_to_it() -> None:
    check_statistics("x", np.zeros(2), np.array([0.0, 1.0]), zero=True)
