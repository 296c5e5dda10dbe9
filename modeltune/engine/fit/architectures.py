"""Write how a model is built as JSON of Keras's, with the numbers that it takes in the place of texts."""

from __future__ import annotations

import json

import keras

from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.input_texts import give_numbers, numbers_of
from modeltune.specs import TextNumbers

NUMBERS_KEY = "modeltune_text_numbers"
"""The key beside those of Keras under which the words and categories stand that numbers stand for."""


def architecture_of(model: Model) -> str:
    """Return how a model is built, as ``model_of`` reads it; Keras's ``model_from_json`` reads it too.

    Raises:
        Exception: whatever the ``get_config`` of a layer raises.
    """
    written: str = model.to_json()
    numbers = numbers_of(model)
    if not isinstance(numbers, TextNumbers):
        return written
    return json.dumps({**json.loads(written), NUMBERS_KEY: numbers.to_json()})


def model_of(architecture: str) -> Model:
    """Return a new model of an architecture, which gets numbers for texts where it was built for them.

    Raises:
        Exception: whatever Keras raises, as for code that is no data.
        ValueError: it does not say what its numbers stand for.
    """
    model = keras.models.model_from_json(architecture)
    described = json.loads(architecture).get(NUMBERS_KEY)
    if described is not None:
        give_numbers(model, TextNumbers.from_json(described))
    return model
