"""The one reader of arrays from foreign files: npz and npy by their own bytes, without pickle and without surprises.

Sizes are read from the directory of the zip file and from the header of each array before anything is unpacked.
"""

import io
import math
import os
import zipfile
from pathlib import Path

import numpy as np

from hades.errors import DatasetError, printable

MOST_BYTES = 2**29
"""Of a file, and of what it unpacks to."""
MOST_ARRAYS = 1000
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_content(path: str | Path, what: str = "file") -> bytes:
    """The bytes of a file of sane size.

    Raises:
        DatasetError: where there is no such file, or it is too large.
    """
    if not os.path.isfile(path):  # Path.is_file raises an OSError for a name that is too long
        raise DatasetError(f"There is no {what} at {path}.")
    try:
        size = os.path.getsize(path)
        if size > MOST_BYTES:
            raise DatasetError(f"{path} has {size:,} bytes; at most {MOST_BYTES:,} are read.")
        return Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file as f32[...], by name.

    Raises:
        DatasetError: where it is missing, damaged or too large, or holds anything but plain numbers.
    """
    content = read_content(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _check_members(members)
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    except Exception as error:  # zipfile and zlib raise many kinds, some of them undocumented
        raise _damaged(path, "npz", error) from error


def read_npy(path: str | Path) -> np.ndarray:
    """The array f32[...] of an npy file.

    Raises:
        DatasetError: as read_npz.
    """
    content = read_content(path)
    try:
        return _array(content)
    except Exception as error:  # as above
        raise _damaged(path, "npy", error) from error


def check_statistics(place: str | Path, mean: np.ndarray, spread: np.ndarray, *, zero: bool = False) -> None:
    """Check a mean and its variance or standard deviation, which may be 0 where `zero` is true.

    Raises:
        DatasetError: for other shapes, NaN, and a spread that is zero or negative.
    """
    if mean.shape != spread.shape:
        raise DatasetError(f"{place}: the mean has shape {mean.shape}, but the variance or deviation {spread.shape}.")
    if not (np.isfinite(mean).all() and np.isfinite(spread).all()):
        raise DatasetError(f"{place}: the statistics hold non-finite numbers.")
    if mean.size == 0 or spread.min() < 0 or (spread.min() == 0 and not zero):
        raise DatasetError(
            f"{place}: the variance or deviation is {spread.min(initial=0.0)} somewhere; it must be above 0. Give an "
            "entry that never changes a small one, such as 1e-8."
        )


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_ARRAYS or len({member.filename for member in members}) < len(members):
        raise ValueError(f"{len(members)} members, more than {MOST_ARRAYS} or some of one name")
    size = sum(member.file_size for member in members)
    if size > MOST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes; at most {MOST_BYTES:,} are read")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise ValueError(f'"{member.filename}" is no array')
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f'"{member.filename}" is encrypted or compressed in a way that numpy does not use')


def _array(content: bytes) -> np.ndarray:
    """The array f32[...] that the bytes of an npy file hold."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _NPY_HEADERS:
        raise ValueError(f"its version {version} is none that numpy writes for numbers")
    shape, is_fortran, dtype = _NPY_HEADERS[version](file)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"it holds {dtype}, not plain numbers")
    data = content[file.tell() :]
    if len(data) != math.prod(shape) * dtype.itemsize or any(n < 0 for n in shape):
        raise ValueError(f"{len(data):,} bytes are not an array {dtype} of shape {shape}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    with np.errstate(over="ignore"):  # beyond f32 it becomes infinite, which every user of statistics and pairs refuses
        return np.ascontiguousarray(array, np.float32).reshape(shape)


def _damaged(path: str | Path, kind: str, error: Exception) -> DatasetError:
    what = printable(f"{type(error).__name__}: {error}")
    return DatasetError(f"{path} is not a complete {kind} file of plain arrays ({what}). Copy or export it again.")
