"""Labelled images out of a package or out of files, split into training, validation and test examples.

Digits are those of scikit-learn: 1,797 images of 8 × 8 (the test part of UCI's optdigits; Alpaydin & Kaynak, 1998),
which come without a split. Files hold training and test examples of their own, in the format IDX of MNIST (LeCun et
al., 1998) and Fashion-MNIST (Xiao et al., 2017), or as the npz file that Keras distributes.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import math
import zlib
from pathlib import Path

import numpy as np

from hades.data.arrays import MOST_BYTES, read_content, read_npz
from hades.errors import ConfigError, DatasetError, MissingPackageError

DIGITS = "digits"
"""The name of scikit-learn's digits."""
PARTS = ("train", "validation", "test")
NPZ_NAMES = (("x_train", "y_train"), ("x_test", "y_test"))
IDX_NAMES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)
VALIDATION = 6
"""One in so many training examples of a file is kept for validation; of MNIST's 60,000, 10,000."""
MOST_CLASSES = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """N examples of one part: images u8[N, H, W] or f32[N, H, W] as read, and labels i32[N]."""

    images: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Three parts without a common example.

    Attributes:
        parts: by the names in PARTS.
        scale: the largest value of a training image, which images are divided by.
        num_classes: one more than the largest training label.
        versions: what the examples are: the version of a package, or a digest of the arrays.
    """

    parts: dict[str, Part]
    scale: float
    num_classes: int
    versions: dict[str, str]

    def shown(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Images f32[N, H, W, 1] as a policy sees them, in [0, 1] for training images, and labels i32[N]."""
        of = self.parts[part]
        return of.images[..., None].astype(np.float32) / np.float32(self.scale), of.labels


@functools.cache
def read_examples(source: str) -> Examples:
    """The examples of a source, in an order that is always the same.

    Args:
        source: "digits", an npz file, or a folder with four IDX files, each as it is or compressed by gzip.

    Raises:
        ConfigError: where the source is missing, damaged or no set of labelled images, naming the file.
        MissingPackageError: where digits are wanted and scikit-learn is not installed.
    """
    if source == DIGITS:
        return _digits()
    try:
        training, test = _npz(source) if source.endswith(".npz") else _idx_folder(source)
    except DatasetError as error:
        raise ConfigError(f"Labelled.data: {error}") from error
    training = _shuffled(training)
    count = len(training.labels) // VALIDATION
    parts = (_slice(training, count, None), _slice(training, 0, count), test)
    digest = hashlib.sha256(b"".join(x.tobytes() for p in (training, test) for x in (p.images, p.labels)))
    return _examples(source, parts, {"examples": f"sha256 {digest.hexdigest()[:16]}"})


def _digits() -> Examples:
    try:
        from sklearn.datasets import load_digits  # slow to import
    except ImportError as error:
        raise MissingPackageError(
            'The digits of Labelled(data="digits") come with scikit-learn, which is not installed: pip install '
            '"hades-rl[digits]". Or give Labelled.data the path of an npz file or of a folder of IDX files.'
        ) from error
    images, labels = load_digits(return_X_y=True)
    every = _shuffled(Part(images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.int32)))
    fifth = len(every.labels) // 5
    parts = (_slice(every, 2 * fifth, None), _slice(every, 0, fifth), _slice(every, fifth, 2 * fifth))
    return _examples(DIGITS, parts, {"scikit-learn": importlib.metadata.version("scikit-learn")})


def _examples(source: str, parts: tuple[Part, ...], versions: dict[str, str]) -> Examples:
    training = parts[0]
    scale, num_classes = float(training.images.max(initial=0)), int(training.labels.max(initial=0)) + 1
    if not scale > 0:
        raise ConfigError(f"Labelled.data: the training images of {source} are black; some value must be above 0.")
    if num_classes < 2:
        raise ConfigError(f"Labelled.data: all training labels of {source} are 0; there must be at least two classes.")
    for part in parts:
        if part.labels.max(initial=0) >= num_classes:
            raise ConfigError(
                f"Labelled.data: {source} has the label {part.labels.max()} outside its training examples, whose "
                f"labels are 0 to {num_classes - 1}."
            )
    return Examples(dict(zip(PARTS, parts, strict=True)), scale, num_classes, versions)


def _shuffled(part: Part) -> Part:
    """The examples in an order of our own, which no seed of a run changes."""
    order = np.random.default_rng(0).permutation(len(part.labels))
    return Part(part.images[order], part.labels[order])


def _slice(part: Part, start: int, stop: int | None) -> Part:
    return Part(part.images[start:stop], part.labels[start:stop])


def _npz(path: str) -> tuple[Part, Part]:
    arrays = read_npz(path)
    missing = [name for pair in NPZ_NAMES for name in pair if name not in arrays]
    if missing:
        raise DatasetError(f"{path} has no array {missing[0]}; it must have x_train, y_train, x_test and y_test.")
    one, two = (
        _part(f"{images} of {path}", arrays[images], f"{labels} of {path}", arrays[labels])
        for images, labels in NPZ_NAMES
    )
    return _alike(path, one, two)


def _idx_folder(folder: str) -> tuple[Part, Part]:
    if not Path(folder).is_dir():
        raise DatasetError(
            f"There is no folder {folder} with the files {', '.join(n for pair in IDX_NAMES for n in pair)}. Known by "
            f'name is "{DIGITS}"; other data is a folder of IDX files or a path that ends in .npz.'
        )
    one, two = (_part(*_idx(Path(folder), images, 3), *_idx(Path(folder), labels, 1)) for images, labels in IDX_NAMES)
    return _alike(folder, one, two)


def _idx(folder: Path, name: str, axes: int) -> tuple[str, np.ndarray]:
    """The path and the array u8[...] of an IDX file, which may be compressed."""
    plain, packed = folder / name, folder / f"{name}.gz"
    path = packed if packed.is_file() and not plain.is_file() else plain
    content = read_content(path, "IDX file")
    if path == packed:
        content = _unpacked(path, content)
    header = 4 + 4 * axes
    if content[:4] != bytes((0, 0, 8, axes)):
        raise DatasetError(
            f"{path} begins with {content[:4].hex(' ') or 'nothing'}; an IDX file of bytes with {axes} "
            f"{'axes' if axes > 1 else 'axis'} begins with 00 00 08 {axes:02x}."
        )
    shape = tuple(int.from_bytes(content[4 * i : 4 * i + 4], "big") for i in range(1, axes + 1))
    if len(content) < header or len(content) - header != math.prod(shape):
        raise DatasetError(
            f"{path} states the sizes {' × '.join(map(str, shape))}, which are {math.prod(shape):,} bytes, but "
            f"{max(len(content) - header, 0):,} follow: copy it again."
        )
    return str(path), np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _unpacked(path: Path, content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        unpacked = unpacker.decompress(content, MOST_BYTES)
    except zlib.error as error:
        raise DatasetError(f"{path} is no gzip file ({error}): copy it again.") from error
    if not unpacker.eof:
        raise DatasetError(f"{path} is cut off, or unpacks to more than {MOST_BYTES:,} bytes.")
    return unpacked


def _part(images_from: str, images: np.ndarray, labels_from: str, labels: np.ndarray) -> Part:
    """One part after checks; bytes stay bytes, and other whole numbers up to 255 become some."""
    if images.ndim != 3 or 0 in images.shape:
        raise DatasetError(f"{images_from} has the shape {images.shape}; images must be N × height × width.")
    if labels.shape != images.shape[:1]:
        raise DatasetError(
            f"{labels_from} has the shape {labels.shape}, but {images_from} has {len(images):,} images: there must be "
            "one label each."
        )
    if not np.isfinite(images).all() or images.min() < 0:
        raise DatasetError(f"{images_from} holds values that are negative or not finite.")
    if not ((labels >= 0) & (labels < MOST_CLASSES) & (labels == np.floor(labels))).all():
        odd = labels[~((labels >= 0) & (labels < MOST_CLASSES) & (labels == np.floor(labels)))][0]
        raise DatasetError(
            f"{labels_from} has the label {odd:g}; labels must be whole numbers from 0 to {MOST_CLASSES - 1}."
        )
    if images.max() <= 255 and (images == np.floor(images)).all():
        images = images.astype(np.uint8)  # a compiled program holds all of them
    return Part(images, labels.astype(np.int32))


def _alike(source: str, training: Part, test: Part) -> tuple[Part, Part]:
    sizes = [part.images.shape[1:] for part in (training, test)]
    if sizes[0] != sizes[1]:
        raise DatasetError(f"The images of {source} are {sizes[0]} for training, but {sizes[1]} for the test.")
    if len(training.labels) < VALIDATION:
        raise DatasetError(
            f"{source} has {len(training.labels)} training examples; at least {VALIDATION} are needed, one of which "
            "is kept for validation."
        )
    return training, test
