"""Gather and scatter with known indices, as NumPy indices into the flattened operand (XLA's operation semantics)."""

from collections.abc import Sequence

import numpy as np
from jax.lax import GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def gathered(
    shape: Sequence[int],
    indices: Indices,
    dimensions: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    mode: GatherScatterMode,
    out_shape: Sequence[int],
) -> Indices:
    """Index in the flattened operand of each element of the result; -1 where it lies outside."""
    window = [d for d in range(len(shape)) if d not in (*dimensions.collapsed_slice_dims, *_batching(dimensions))]
    return _elements(
        shape,
        indices,
        tuple(dimensions.offset_dims),
        window,
        tuple(dimensions.start_index_map),
        tuple(dimensions.operand_batching_dims),
        tuple(dimensions.start_indices_batching_dims),
        slice_sizes,
        mode,
        out_shape,
    )


def scattered(
    shape: Sequence[int],
    indices: Indices,
    dimensions: ScatterDimensionNumbers,
    mode: GatherScatterMode,
    updates_shape: Sequence[int],
) -> Indices:
    """Index in the flattened operand that each element of the updates goes to; -1 where it is dropped."""
    window = [d for d in range(len(shape)) if d not in (*dimensions.inserted_window_dims, *_batching(dimensions))]
    slice_sizes = [1] * len(shape)
    for place, dimension in zip(dimensions.update_window_dims, window, strict=True):
        slice_sizes[dimension] = updates_shape[place]
    return _elements(
        shape,
        indices,
        tuple(dimensions.update_window_dims),
        window,
        tuple(dimensions.scatter_dims_to_operand_dims),
        tuple(dimensions.operand_batching_dims),
        tuple(dimensions.scatter_indices_batching_dims),
        slice_sizes,
        mode,
        updates_shape,
    )


def _batching(dimensions: GatherDimensionNumbers | ScatterDimensionNumbers) -> tuple[int, ...]:
    return tuple(dimensions.operand_batching_dims)


def _elements(
    shape: Sequence[int],
    indices: Indices,
    window_places: tuple[int, ...],
    window: Sequence[int],
    indexed: tuple[int, ...],
    batching: tuple[int, ...],
    indices_batching: tuple[int, ...],
    slice_sizes: Sequence[int],
    mode: GatherScatterMode,
    whole_shape: Sequence[int],
) -> Indices:
    """Element of the flattened operand for each place of an array that has batch and window dimensions."""
    places = np.indices(tuple(whole_shape), dtype=np.int64)
    batch = tuple(places[d] for d in range(len(whole_shape)) if d not in window_places)
    at = [np.zeros(tuple(whole_shape), np.int64) for _ in shape]
    outside = np.zeros(tuple(whole_shape), bool)
    for column, dimension in enumerate(indexed):
        start = indices[(*batch, column)]
        last = shape[dimension] - slice_sizes[dimension]
        if mode == GatherScatterMode.CLIP:
            start = np.clip(start, 0, last)
        outside |= (start < 0) | (start > last)
        at[dimension] += start
    for dimension, place in zip(batching, indices_batching, strict=True):
        at[dimension] += batch[place]
    for place, dimension in zip(window_places, window, strict=True):
        at[dimension] += places[place]
    inside = np.where(outside, 0, np.stack([np.broadcast_to(a, outside.shape) for a in at]) if at else 0)
    if not len(shape):
        return np.where(outside, -1, 0)
    return np.where(outside, -1, np.ravel_multi_index(tuple(inside), tuple(shape)))
