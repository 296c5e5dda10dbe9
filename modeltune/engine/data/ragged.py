"""Hold rows of different lengths, as a RaggedTensor has them, in an array that NumPy can cut and join."""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import numpy as np

from modeltune.records import Array

Shape: TypeAlias = tuple[int | None, ...]


class RaggedArray(np.ndarray):
    """Rows of one dtype, and of one shape but for their length: an array of objects of shape (n,)."""

    __array_priority__ = 1.0
    """Above that of other arrays, so that joined ones are of this class too."""

    @property
    def inner_shape(self) -> Shape:
        """The shape of one row, with None for its length."""
        return (None, *self[0].shape[1:]) if len(self) else (None,)

    @property
    def lengths(self) -> Array:
        """The length of each row, (n,)."""
        return np.array([len(row) for row in self], np.int64)

    @property
    def values(self) -> Array:
        """All rows one after the other, (sum of the lengths, ...)."""
        return np.concatenate(list(self))


def ragged_array(tensor: Any) -> RaggedArray:
    """Return a RaggedTensor whose rows alone have different lengths."""
    values, ends = np.asarray(tensor.values), np.asarray(tensor.row_splits)
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
