"""Read what a function yields as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.ground import DataError, error_line


def dataset_of(batches: Callable[[], Iterable[Any]], where: str) -> Any:
    """Return a ``tf.data.Dataset`` of what a function yields, which is called each time it is read.

    Args:
        batches: yields batches of arrays; those after the first have its dtypes, and its shapes but for the rows.
        where: what messages begin with.

    Raises:
        DataError: the function raises at once, yields nothing, or is none that yields, or another
            backend than TensorFlow computes.
    """
    name = getattr(batches, "__name__", type(batches).__name__)
    if not is_tensorflow():
        raise DataError(
            f"{where} is the function {name}, whose batches TensorFlow reads, and Keras computes with "
            f"{keras.backend.backend()}; return a keras.utils.PyDataset"
        )

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
    specs = keras.tree.map_structure(signature, first)
    return tf.data.Dataset.from_generator(again, output_signature=specs)
