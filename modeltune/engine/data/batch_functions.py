"""Read what a function yields as a stream: a dataset of TensorFlow's, with another backend one of Keras's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.ground import DataError, error_line


def dataset_of(batches: Callable[[], Iterable[Any]], where: str) -> Any:
    """Return what a function yields as a stream; the function is called each time it is read.

    It is a ``tf.data.Dataset`` with TensorFlow, and ``BatchFunction`` with another backend.

    Args:
        batches: yields batches of arrays; those after the first have its dtypes, and its shapes but for the rows.
        where: what messages begin with.

    Raises:
        DataError: the function raises at once, yields nothing, or is none that yields.
    """
    name = getattr(batches, "__name__", type(batches).__name__)

    def signature(array: Any) -> Any:
        array = np.asarray(array)
        return tf.TensorSpec((None, *array.shape[1:]) if array.ndim else (), array.dtype)

    def again() -> Iterator[Any]:
        return (tuple(batch) if isinstance(batch, list) else batch for batch in batches())

    try:
        first = next(again(), None)
    except Exception as error:
        raise DataError(
            f"{where} is the function {name}, which raised {error_line(error)}; write one without arguments that "
            "yields batches, (x, y)"
        ) from error
    if first is None:
        raise DataError(f"{where} is empty; {name} yields no batch")
    if not is_tensorflow():
        return BatchFunction(again)
    specs = keras.tree.map_structure(signature, first)
    return tf.data.Dataset.from_generator(again, output_signature=specs)


class BatchFunction(keras.utils.PyDataset):  # type: ignore[misc]
    """What a function yields, in order; how many batches that are is known once it was read to its end.

    Args:
        batches: called again for the first batch, and for one before those it has yielded.
    """

    yields_in_order = True
    """By which ``is_batch_function`` knows it."""

    def __init__(self, batches: Callable[[], Iterable[Any]]):
        super().__init__()
        self._batches = batches
        self._length: int | None = None
        self._reading: Iterator[Any] | None = None
        self._next = 0

    @property
    def num_batches(self) -> int | None:
        """How many batches there are, None as long as no end was seen."""
        return self._length

    def __getitem__(self, index: int) -> Any:
        if self._reading is None or index < self._next or index == 0:
            self._reading, self._next = iter(self._batches()), 0
        skipped = index - self._next
        self._next = index + 1
        return next(itertools.islice(self._reading, skipped, None))

    def __iter__(self) -> Iterator[Any]:
        length = 0
        for batch in self._batches():
            length += 1
            yield batch
        self._length = length

    def first(self, most: int) -> BatchFunction:
        """Return the first batches, at most so many."""
        return BatchFunction(lambda: itertools.islice(iter(self._batches()), most))
