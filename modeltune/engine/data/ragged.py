"""Hold rows of different lengths, as a RaggedTensor has them, in an array that NumPy can cut and join."""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np

from modeltune.records import Array

Shape: TypeAlias = tuple[int | None, ...]


class RaggedArray(np.ndarray):
    """Rows of one dtype, and of one shape but for their length: an array of objects of shape (n,).

    Rows that are ragged themselves are such arrays too.
    """

    __array_priority__ = 1.0
    """Above that of other arrays, so that joined ones are of this class too."""

    @property
    def inner_shape(self) -> Shape:
        """The shape of one row, with None for its length."""
        first = self._first
        return (None,) if first is None else (None, *sample_shape(first))

    @property
    def inner_dtype(self) -> np.dtype[Any]:
        """The dtype of the values in all rows."""
        first = self._first
        if first is None:
            return self.dtype
        return first.inner_dtype if isinstance(first, RaggedArray) else first.dtype

    @property
    def lengths(self) -> Array:
        """The length of each row, (n,)."""
        return np.array([len(row) for row in self], np.int64)

    @property
    def values(self) -> Array:
        """All rows one after the other, (sum of the lengths, ...); ragged if they are."""
        return np.concatenate(list(self))

    @property
    def inner_values(self) -> Array:
        """The values of all rows, however ragged, (their number, ...)."""
        if not len(self):
            return np.zeros(0)
        values = self.values
        return values.inner_values if isinstance(values, RaggedArray) else values

    @property
    def _first(self) -> Array | None:
        """The first row that has a length, by which to tell what is in one: of empty ragged ones nothing can."""
        filled = (row for row in self if len(row))
        return next(filled, self[0] if len(self) else None)


def ragged_array(tensor: Any) -> RaggedArray:
    """Return a RaggedTensor, however many of its dimensions are ragged."""
    inner, ends = tensor.values, np.asarray(tensor.row_splits)
    values: Array = ragged_array(inner) if is_ragged_tensor(inner) else np.asarray(inner)
    rows = np.empty(len(ends) - 1, object)
    for row, (start, end) in enumerate(itertools.pairwise(ends)):
        rows[row] = values[start:end]
    return rows.view(RaggedArray)


def is_ragged_tensor(value: Any) -> bool:
    """Tell whether a value is a RaggedTensor, without loading TensorFlow."""
    return type(value).__name__ == "RaggedTensor"


def sample_shape(array: Array) -> Shape:
    """Return the shape of one sample of an array, with None for a length that differs."""
    return array.inner_shape if isinstance(array, RaggedArray) else array.shape[1:]
