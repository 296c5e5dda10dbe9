"""Pad rows of different lengths where the backend of Keras has no tensors of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from modeltune.engine.data.loading import LoadedData, Part, leaves, map_arrays
from modeltune.engine.data.ragged import RaggedArray, sample_shape
from modeltune.ground import DataError
from modeltune.records import Array


def padded(loaded: LoadedData, backend: str) -> LoadedData:
    """Return data whose inputs of rows of different lengths end with zeros: all parts have one length.

    Args:
        backend: whose tensors they are to be, for the note about it.

    Raises:
        DataError: rows are ragged in several dimensions, or those of targets are ragged.
    """
    lengths: dict[str, int] = {}
    for part in loaded.parts:
        for name, array in _ragged(part):
            if name.startswith("y") or None in array.inner_shape[1:]:
                what = "targets" if name.startswith("y") else "rows ragged in several dimensions"
                raise DataError(
                    f"data: {part.name} {name} holds {what} of different lengths, of which Keras has no tensors with "
                    f"{backend}; pad them to one length in the data function, and weigh the padding 0"
                )
            lengths[name] = max(lengths.get(name, 1), *array.lengths.tolist(), 1)
    if not lengths:
        return loaded
    listed = ", ".join(f"{name} to {length}" for name, length in lengths.items())
    note = (
        f"Keras has no tensors of rows of different lengths with {backend}: with zeros at their end "
        f"they are padded, {listed}; mask them (Embedding(..., mask_zero=True), Masking())"
    )
    train, validation, test = (
        _padded_part(part, lengths) for part in (loaded.train, loaded.validation, loaded.test)
    )
    notes = (*loaded.notes, note)
    return replace(loaded, train=train, validation=validation, test=test, notes=notes)


def _ragged(part: Part) -> Iterator[tuple[str, RaggedArray]]:
    for kind, arrays in (("x", part.x), ("y", part.y)):
        for path, array in leaves(arrays):
            if isinstance(array, RaggedArray):
                yield f"{kind}.{path}" if path else kind, array


def _padded_part(part: Part, lengths: dict[str, int]) -> Part:
    names = {id(array): name for name, array in _ragged(part)}

    def pad(array: Array) -> Array:
        if not isinstance(array, RaggedArray):
            return array
        shape: tuple[Any, ...] = (len(array), lengths[names[id(array)]], *array.inner_shape[1:])
        whole = np.zeros(shape, array.inner_dtype)
        for row, values in enumerate(array):
            whole[row, : len(values)] = values
        return whole

    x = map_arrays(pad, part.x)
    shapes = {f"x.{path}" if path else "x": sample_shape(array) for path, array in leaves(x)}
    return replace(part, x=x, shapes={**part.shapes, **shapes})
