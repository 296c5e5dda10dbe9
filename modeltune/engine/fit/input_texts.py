"""Hand texts to a model: as tensors of TensorFlow, or as the numbers that its spec prepared for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf, why_only_numbers
from modeltune.engine.data import Arrays, Part, RaggedArray, leaves, map_arrays
from modeltune.engine.fit.epoch_graph import Model
from modeltune.ground import DataError
from modeltune.records import Array

ToNumbers: TypeAlias = Callable[[Arrays], Arrays]
"""Returns inputs with numbers in the place of texts."""

_NUMBERS: WeakKeyDictionary[Any, ToNumbers] = WeakKeyDictionary()
"""By model what gives numbers to its texts."""

_KEPT: WeakKeyDictionary[Part, tuple[ToNumbers, Part]] = WeakKeyDictionary()
"""By part what it was with numbers last, and what gave these: every fit of a search takes the same ones."""


def give_numbers(model: Model, numbers: ToNumbers) -> None:
    """Have a model get numbers in the place of texts from now on."""
    _NUMBERS[model] = numbers


def numbers_of(model: Model) -> ToNumbers | None:
    """Return what gives numbers to the texts of a model; None where it takes them as they are."""
    return _NUMBERS.get(model)


def give_prepared_numbers(model: Any, prepared: Any) -> None:
    """Have a new model get the numbers of what it was built with, where the backend has no tensors of texts.

    Args:
        prepared: has a method ``numbers(x)`` that returns inputs with numbers in the place of texts, or
            has none, or is None.
    """
    numbers = getattr(prepared, "numbers", None)
    if callable(numbers) and isinstance(model, keras.Model) and not is_tensorflow():
        give_numbers(model, numbers)


def text_inputs(model: Model, x: Arrays) -> Arrays:
    """Return inputs whose texts, and rows of different lengths, are what the model takes.

    Raises:
        DataError: Keras has no tensors of them with the backend of this process, and nothing gives
            numbers for them.
    """
    if not _are_texts(x):
        return x
    numbers = numbers_of(model)
    if numbers is not None:
        x = numbers(x)
    if is_tensorflow():
        return map_arrays(string_tensor, x)
    for path, array in leaves(x):
        if array.dtype.kind in "OUS":
            what = "rows of different lengths" if isinstance(array, RaggedArray) else "texts"
            raise DataError(
                f"data: x{'.' if path else ''}{path} holds {what}: {why_only_numbers()}; have what is prepared "
                "give numbers for them, by a method numbers(x), or make numbers of one length of them "
                "in the data function"
            )
    return x


def with_text_inputs(model: Model, part: Part) -> Part:
    """Return a part as ``text_inputs`` has its inputs, and targets that are ragged: Keras trains on them.

    Of arrays it takes only numbers.

    Raises:
        DataError: as ``text_inputs``.
    """
    if part.stream is not None:
        return part
    if part.has_ragged_targets:
        part = replace(part, y=map_arrays(string_tensor, part.y))
    if not _are_texts(part.x):
        return part
    numbers = numbers_of(model)
    if numbers is None or is_tensorflow():
        return replace(part, x=text_inputs(model, part.x))
    kept = _KEPT.get(part)
    if kept is None or kept[0] != numbers:
        kept = _KEPT[part] = numbers, replace(part, x=text_inputs(model, part.x))
    return kept[1]


def input_tensors(model: Model, x: Arrays) -> Arrays:
    """Return a batch as tensors if one of its inputs has to be one; Keras mixes no others with arrays.

    Raises:
        DataError: as ``text_inputs``.
    """
    if not _are_texts(x):
        return x

    def tensor(array: Any) -> Any:
        is_float = isinstance(array, np.ndarray) and array.dtype.kind == "f"
        dtype = keras.config.floatx() if is_float else None
        return keras.ops.convert_to_tensor(array, dtype=dtype)

    return map_arrays(tensor, text_inputs(model, x))


def string_tensor(array: Array) -> Any:
    """Return an array of texts, or one of rows of different lengths, as a tensor; any other as it is."""
    if isinstance(array, RaggedArray):
        inner = array.values
        if isinstance(inner, RaggedArray):
            return tf.RaggedTensor.from_row_lengths(string_tensor(inner), array.lengths)
        values = tf.convert_to_tensor(inner)
        if values.dtype.is_floating:
            values = tf.cast(values, keras.config.floatx())
        return tf.RaggedTensor.from_row_lengths(values, array.lengths)
    return tf.constant(array) if array.dtype.kind in "OUS" else array


def _are_texts(x: Arrays) -> bool:
    return any(array.dtype.kind in "OUS" for _, array in leaves(x))
