"""The files of datasets and policies: safetensors with a JSON header, no pickle, read and written with numpy alone.

The format is described in docs/dataset_format.md. What a header means is checked by those who read it.
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hades.errors import DatasetError, printable
from hades.text import json_text

FORMAT_VERSION = 1
HEADER, DIGEST = "hades", "sha256"
"""Names under `__metadata__`: the header's JSON, and what `_digest` makes of it and the tensors."""
CONTENTS = {
    "dataset": "hades.load_dataset reads it, and hades.train_policy trains a policy from it",
    "policy": "hades.load_policy reads it",
}
"""Kinds of content of a file, with what to do with one; a header without `content` is a dataset's."""


class TensorFile(NamedTuple):
    """A file's header, tensors, and whether the digest that it states, if it states one, is that of both."""

    source: str
    metadata: dict[str, Any]
    tensors: dict[str, np.ndarray]
    is_intact: bool

    def check_intact(self) -> None:
        """Raise DatasetError where the file was changed after it was written."""
        if not self.is_intact:
            raise DatasetError(
                f"{self.source} was changed or damaged after it was written: the SHA-256 of its header and tensors is "
                "another one than it states. Copy or export it again."
            )


def tensor_bytes(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """The content of a file."""
    header = json_text({"format_version": FORMAT_VERSION, **metadata}, sort_keys=True)
    arrays = {name: np.ascontiguousarray(array, "<f4") for name, array in sorted(tensors.items())}
    table: dict[str, Any] = {"__metadata__": {HEADER: header, DIGEST: _digest(header, arrays)}}
    end = 0
    for name, array in arrays.items():
        table[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # readers may map the tensors, which starts them at a multiple of 8 bytes
    return b"".join((struct.pack("<Q", len(text)), text, *(array.tobytes() for array in arrays.values())))


def parse_tensors(body: bytes, source: str, content: str) -> TensorFile:
    """Parse the bytes of a file that holds what `content` names.

    Args:
        body: of the file.
        source: where it comes from, for messages.
        content: one of CONTENTS.

    Raises:
        DatasetError: where the file is damaged, of a newer format, or holds something else.
    """
    try:
        text, digest, tensors = _parse(body)
        metadata = _json(text)
        version = metadata.pop("format_version")
        if type(version) is not int:
            raise TypeError(f"its format_version is {printable(repr(version))}")
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError, struct.error) as error:
        what = printable(f"{type(error).__name__}: {error}")
        raise DatasetError(
            f"{source} is not a complete hades {content} file ({what}). It may be truncated or written by another "
            "program: copy or export it again."
        ) from error
    if version > FORMAT_VERSION:
        raise DatasetError(
            f"{source} has {content} format {printable(str(version))}, but this hades reads up to {FORMAT_VERSION}: "
            "pip install -U hades-rl."
        )
    if version < 1:
        raise DatasetError(
            f"{source} has {content} format {printable(str(version))}; formats begin at 1. Export the file again."
        )
    held = metadata.get("content", "dataset")
    if held != content:
        remedy = CONTENTS.get(held) if isinstance(held, str) else None
        raise DatasetError(
            f"{source} holds a {printable(str(held))}, not a {content}: {remedy or 'give another file'}."
        )
    return TensorFile(source, metadata, tensors, digest is None or digest == _digest(text, tensors))


def _parse(content: bytes) -> tuple[str, str | None, dict[str, np.ndarray]]:
    """The header's text, the digest (None in older files) and the tensors of a file.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, struct.error: where the content is no such file.
    """
    (length,) = struct.unpack("<Q", content[:8])
    if length > len(content) - 8:
        raise ValueError(f"its table of tensors is to have {length:,} bytes, but it has {len(content):,} in all")
    entries, body = _json(content[8 : 8 + length].decode()), content[8 + length :]
    extra, end, tensors = entries.pop("__metadata__"), 0, {}
    for name, entry in sorted(entries.items(), key=lambda item: tuple(item[1]["data_offsets"])):
        dtype, shape, (begin, after) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if dtype != "F32" or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"{name} is {dtype} of shape {shape}; tensors are F32")
        if begin != end or after - begin != 4 * math.prod(shape) or after > len(body):
            raise ValueError(
                f"{name} lies at {begin} to {after} of {len(body)} bytes, which its shape {shape} contradicts"
            )
        tensors[name], end = np.frombuffer(body[begin:after], "<f4").reshape(shape), after
    if end != len(body):
        raise ValueError(f"{len(body) - end} bytes follow the last tensor")
    return extra[HEADER], extra.get(DIGEST), tensors


def _digest(header: str, tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the header's text and, in the order of their names, each tensor's name, shape and bytes."""
    digest = hashlib.sha256(header.encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"\n{name} {list(array.shape)}\n".encode() + array.tobytes())
    return digest.hexdigest()


def _json(text: str) -> dict[str, Any]:
    """A JSON object without duplicate names; NaN and infinities, which older files hold, become None."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a name occurs twice in its header")
        return dict(pairs)

    def finite(text: str) -> float | None:
        return value if math.isfinite(value := float(text)) else None

    value = json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=lambda _: None)
    if not isinstance(value, dict):
        raise TypeError(f"its header is no JSON object but {printable(repr(value), 50)}")
    return value
