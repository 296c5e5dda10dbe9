"""Find out what a ``fit`` of the user's did besides training: changed data, or trained another model."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from modeltune.engine.fit.cautions import caution
from modeltune.engine.fit.epoch_graph import Model
from modeltune.records import Array

OWN_FIT = "model.own_fit"
"""The check that warns of either."""

LARGEST_COMPARED = 16 * 2**20
"""Bytes of an array that are read before and after a fit; of a larger one, rows evenly spaced."""

DATA = ("x", "y", "sample_weight", "validation_data")
"""The arguments of ``fit`` that hold data."""


class OwnFitEffects:
    """What a model and its data were before a ``fit`` of the user's, to be compared afterwards.

    Args:
        name: the class of the ``HyperModel``.
        model: what its ``fit`` is given to train.
        arguments: those of ``fit``. Arrays are compared; tensors and datasets cannot change in place.
    """

    def __init__(self, name: str, model: Model, arguments: Mapping[str, Any]):
        self._name = name
        self._model = model
        self._arrays = {
            key: [leaf for leaf in keras.tree.flatten(arguments[key]) if _is_array(leaf)]
            for key in DATA
            if key in arguments
        }
        self._data = {key: list(map(_digest, arrays)) for key, arrays in self._arrays.items()}
        self._weights = [_digest(keras.ops.convert_to_numpy(weight)) for weight in model.weights]

    def warn(self) -> None:
        """Warn of data that have changed, and of a model that has not."""
        changed = [
            key
            for key, arrays in self._arrays.items()
            if any(
                _digest(array) != before
                for array, before in zip(arrays, self._data[key], strict=True)
            )
        ]
        if changed:
            caution(
                OWN_FIT,
                f"{self._name}.fit changes {' and '.join(changed)} in place, so that whatever is "
                "trained after it in the same process gets other data",
            )
        model = self._model
        if model.built and not model.trainable_variables:
            return  # there is nothing to train
        if len(model.weights) == len(self._weights) and all(
            _digest(keras.ops.convert_to_numpy(weight)) == before
            for weight, before in zip(model.weights, self._weights, strict=True)
        ):
            caution(
                OWN_FIT,
                f"{self._name}.fit leaves the weights of the model it is given as they were: if it "
                "trains another one, the search scores that one, but refits are scored, and kept, "
                "as the model that was given",
            )


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray)


def _digest(array: Array) -> int:
    """Return a checksum of an array, of evenly spaced rows where it is large."""
    if array.nbytes > LARGEST_COMPARED and array.ndim:
        rows = max(LARGEST_COMPARED * len(array) // array.nbytes, 1)
        array = array[np.linspace(0, len(array) - 1, rows).astype(int)]
    return zlib.crc32(array.tobytes())
