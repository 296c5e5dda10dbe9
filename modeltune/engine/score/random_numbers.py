"""Find what a model draws at random when it predicts, and predict from equal random numbers."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.engine.data import RANDOM_STATES, Arrays, map_arrays
from modeltune.engine.fit import SEED_STATE, Model, predict_batch, string_tensor
from modeltune.engine.internals import Feature, keras_internals
from modeltune.records import Array

FIXED_SEED = 0
"""The seed of what has no state of its own, such as operations of TensorFlow."""


def random_states(model: Model) -> list[tuple[Any, Array]]:
    """Return each layer with a random state of its own, and the value of that state."""
    if keras_internals.KERAS.why_not(Feature.INTEGRITY):
        return []
    states = []
    layers = keras_internals.inner_layers(model)
    for variable in _own_states(model):
        owners = [one for one in layers if any(v is variable for v in one.variables)]
        owner = min(owners, key=lambda one: len(one.variables))
        states.append((owner, np.asarray(variable).copy()))
    return states


def draws_in_training_only(layer: Any) -> bool:
    """Tell whether the random numbers of a layer are drawn by Keras, and not by code of the user's.

    No layer of Keras draws at inference.
    """
    kind = next(one for one in type(layer).__mro__ if one.__module__.startswith("keras."))
    return kind is not keras.layers.Layer and not issubclass(kind, keras.Model)


def from_equal_numbers(
    models: Sequence[Model],
    x: Arrays,
    predict_all: Callable[[Model, Callable[[Arrays], Arrays]], Arrays],
) -> list[Arrays]:
    """Return what ``predict_all`` does with each model, all from the same random numbers.

    Args:
        models: equal but for the values of their variables.
        x: a batch of the inputs.
        predict_all: gets a model, and what predicts a batch with it.
    """
    random_before, numpy_before = random.getstate(), np.random.get_state()
    first: list[Array] = []
    predictions: list[Arrays] = []
    try:
        for model in models:
            keras.utils.set_random_seed(FIXED_SEED)
            predict, states = _traced(model, x)
            first = first or [keras.ops.convert_to_numpy(state).copy() for state in states]
            for state, value in zip(states, first, strict=True):
                state.assign(value)
            predictions.append(predict_all(model, predict))
    finally:
        random.setstate(random_before)
        np.random.set_state(numpy_before)
    return predictions


def _traced(model: Model, x: Arrays) -> tuple[Callable[[Arrays], Arrays], list[Any]]:
    """Return what predicts a batch, traced anew, and the random states that it reads.

    Traced anew, it draws from the generator that Keras has now, and operations of TensorFlow get
    the seeds of now, which are no variables.
    """
    if is_tensorflow():
        function = tf.function(lambda x: model.predict_step((x,)), autograph=False)

        def predict(x: Arrays) -> Arrays:
            return function(map_arrays(_tensor, x))

        try:
            variables = function.get_concrete_function(map_arrays(_tensor, x)).variables
        except Exception:  # noqa: BLE001  what only runs eagerly is not traced
            pass
        else:
            return predict, [v for v in variables if any(s in v.name for s in RANDOM_STATES)]
    return functools.partial(predict_batch, model), _own_states(model)


def _own_states(model: Model) -> list[Any]:
    return [variable for variable in model.variables if variable.path.endswith(SEED_STATE)]


def _tensor(array: Any) -> Any:
    tensor = array if isinstance(array, tf.RaggedTensor) else string_tensor(array)
    return tensor if isinstance(tensor, tf.RaggedTensor) else tf.convert_to_tensor(tensor)
