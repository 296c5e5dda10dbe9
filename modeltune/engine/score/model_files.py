"""Write a model to a file of Keras, and show that the file loads and predicts what the model does."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modeltune.engine.data import Arrays
from modeltune.engine.fit import (
    Model,
    fixed_batch,
    numbers_of,
    predict_batch,
    reset_states,
    text_inputs,
)
from modeltune.engine.internals import keras_internals
from modeltune.ground import HistoryError, error_line, message_of
from modeltune.records import Array, Json
from modeltune.specs import TextNumbers

TEXTS_FILE = "texts.json"
"""The file in that of a model with the words and categories whose numbers it takes."""

MADE_UP_ROWS = 4
"""Samples to predict, made up where no data are at hand and the model takes batches of any size."""

OPEN_LENGTH = 8
"""The length of an axis that a model leaves open, in samples that are made up."""


def save_model(model: Model, path: Path, x: Arrays = None) -> tuple[str, ...]:
    """Write a compiled model to a ``.keras`` file that is loaded again and compared with it.

    Args:
        model: as it is to be found in the file.
        path: nothing is there yet.
        x: a few samples that the model takes; made up if None.

    Returns:
        Notes on what whoever loads the file needs to know.

    Raises:
        HistoryError: Keras cannot load the file, or what it loads predicts something else.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and not optimizer.built:
        # Keras warns whoever loads a file whose optimizer has no variables yet.
        optimizer.build(model.trainable_variables)
    model.save(path)
    numbers = numbers_of(model)
    foreign = sorted(set(foreign_names(_config(path))))
    samples = _made_up(model) if x is None else text_inputs(model, x)
    before = _predictions(model, samples)
    loaded = _load(model, path, foreign)
    notes = []
    if isinstance(numbers, TextNumbers):
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(TEXTS_FILE, json.dumps(numbers.to_json(), ensure_ascii=False, indent=1))
        listed = "; ".join(numbers.in_words())
        notes.append(
            f"{listed}; the file is a zip archive, in which {TEXTS_FILE} lists them in order"
        )
    if foreign:
        # Registered in a package, a function is known as "package>name".
        named = ", ".join(f"{name!r}: {name.rpartition('>')[2]}" for name in foreign)
        notes.append(f"load it with custom_objects={{{named}}}, code that is not Keras's own")
    if isinstance(before, str):
        return *notes, f"loaded again, but no predictions were compared: {before}"
    after = _predictions(loaded, samples)
    if isinstance(after, str):
        raise HistoryError(f"the model in the file cannot predict: {after}")
    if not _are_close(model, before, after):
        again = _predictions(model, samples)
        if isinstance(again, str) or _are_close(model, before, again):
            raise HistoryError("the model in the file predicts other numbers than the run's model")
        notes.append("loaded again, but no predictions were compared: they are random")
    return tuple(notes)


def foreign_names(config: Json) -> Iterator[str]:
    """Yield the classes and functions in a model's configuration that are not Keras's own."""
    is_made = isinstance(config, dict) and "module" in config and "class_name" in config
    if is_made and str(config["module"]).partition(".")[0] != "keras":
        is_function = config["class_name"] == "function" and isinstance(config["config"], str)
        yield str(config["config" if is_function else "class_name"])
    for value in config.values() if isinstance(config, dict) else config:
        if isinstance(value, dict | list):
            yield from foreign_names(value)


def _config(path: Path) -> Json:
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("config.json"))


def _load(model: Model, path: Path, foreign: list[str]) -> Model:
    own = own_code(model)
    objects = {name: own[name] for name in foreign if name in own}
    try:
        with warnings.catch_warnings():
            # Where warnings are errors the file loads all the same.
            warnings.simplefilter("ignore")
            return keras.saving.load_model(path, custom_objects=objects, safe_mode=True)
    except Exception as error:
        raise HistoryError(
            f"Keras cannot load the file again: {_reason(model, error)}; the weights alone can be "
            "exported too, to a file that ends in .weights.h5"
        ) from error


def _reason(model: Model, error: Exception) -> str:
    """Say why Keras does not load a model; where it fails in a class of the user's, what that raised."""
    if any(isinstance(layer, keras.layers.Lambda) for layer in _layers(model)):
        return (
            "it holds a Lambda, which is code that Keras does not load; make it a class of layers"
        )
    _, is_wrapped, inner = message_of(error).partition("Exception encountered: ")
    return inner.splitlines()[0] if is_wrapped and inner else error_line(error)


def _layers(model: Model) -> list[Any]:
    try:
        return keras_internals.inner_layers(model)
    except AttributeError:  # a newer Keras
        return [model, *model.layers]


def own_code(model: Model) -> dict[str, Any]:
    """Return the classes and functions that a model is made of and compiled with, by name."""
    objects: list[Any] = _layers(model)
    for layer in list(objects):
        objects += [value for value in vars(layer).values() if callable(value)]
    try:
        objects += keras.tree.flatten(keras_internals.compile_arguments(model))
    except AttributeError:  # a newer Keras, or a compile() of the user's
        # One that Keras could not compile as it loaded its file has none.
        objects += [getattr(model, "optimizer", None), model.loss, *model.metrics]
    objects += [thing.fn for thing in list(objects) if hasattr(thing, "fn")]
    functions = [keras_internals.function_of(thing) for thing in objects]
    objects += [getattr(function, "func", function) for function in functions if function]
    code: dict[str, Any] = {}
    for thing in objects:
        definition = thing if hasattr(thing, "__name__") else type(thing)
        code.setdefault(definition.__name__, definition)
    return code


def _made_up(model: Model) -> Arrays:
    """Return samples in the shapes and dtypes of a model's inputs; None of a model without any."""
    if not getattr(model, "inputs", None):
        return None
    rng = np.random.default_rng(0)
    words = [
        str(word)
        for layer in _layers(model)
        if hasattr(layer, "get_vocabulary")
        for word in layer.get_vocabulary()[:100]
    ] or ["a", "b"]
    rows = fixed_batch(model) or MADE_UP_ROWS

    def sample(tensor: Any) -> Any:
        shape = (rows, *(length or OPEN_LENGTH for length in tensor.shape[1:]))
        if tensor.dtype == "string":
            return keras.ops.convert_to_tensor(rng.choice(words, shape).tolist())
        if tensor.dtype.startswith(("int", "uint", "bool")):
            return rng.integers(0, 2, shape).astype(tensor.dtype)
        return rng.random(shape).astype("float32")

    try:
        inputs = model.input
    except AttributeError:  # of a sequential model that was never called itself
        inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.tree.map_structure(sample, inputs)


def _predictions(model: Model, x: Arrays) -> list[Array] | str:
    """Return a model's predictions for a batch, or why there are none."""
    if x is None:
        return "the model does not tell what it takes"
    try:
        reset_states(model)
        predicted = predict_batch(model, x)
        arrays = [np.asarray(array) for array in keras.tree.flatten(predicted)]
    except Exception as error:  # noqa: BLE001  call() may be the user's code, or reject such samples
        return error_line(error)
    if any(array.dtype.kind not in "biufc" for array in arrays):
        return "the model predicts no numbers"
    return arrays


def _are_close(model: Model, one: list[Array], other: list[Array]) -> bool:
    half = any("16" in str(layer.compute_dtype) for layer in _layers(model))
    tolerance = 2e-2 if half else 1e-4
    return len(one) == len(other) and all(
        a.shape == b.shape
        and np.allclose(
            a, b, rtol=0, atol=tolerance * max(1e-30, np.abs(np.nan_to_num(a)).max(initial=0)),
            equal_nan=True,
        )
        for a, b in zip(one, other, strict=True)
    )  # fmt: skip
