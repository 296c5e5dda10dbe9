"""Describe a model by its graph and settings, without the names that Keras counts up."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from modeltune.engine.data import Arrays
from modeltune.engine.fit.epoch_graph import Model, overrides
from modeltune.engine.internals import keras_internals

REFERENCES = ("keras_history", "input_layers", "output_layers")
"""The keys under which a configuration names tensors: layer, node and number of the output."""


def is_of_keras(thing: Any) -> bool:
    """Tell whether the class of an object is Keras's own."""
    return type(thing).__module__.startswith("keras.")


def calls_foreign(layer: Any) -> bool:
    """Tell whether a layer holds a function of the user's, whose code is in no configuration."""
    return any(
        inspect.isfunction(value) and not value.__module__.startswith("keras.")
        for value in vars(layer).values()
    )


def structure(head: Model) -> str | None:
    """Describe the classes, settings and connections of a graph, without its sizes, as text.

    None when it runs code of the user's, which may do other things under the same name.
    """
    tensors: dict[int, str] = {}

    def kind(argument: Any) -> Any:
        if id(argument) in tensors:
            return tensors[id(argument)]
        is_plain = argument is None or isinstance(argument, bool | str)
        return argument if is_plain else type(argument).__qualname__

    names: dict[str, str] = {}
    described: list[Any] = []
    for node in keras_internals.nodes(head):
        is_layer = isinstance(node.operation, keras.layers.Layer)
        layers = keras_internals.inner_layers(node.operation) if is_layer else [node.operation]
        if not all(is_of_keras(layer) and not calls_foreign(layer) for layer in layers):
            return None
        try:
            config = node.operation.get_config()
        except (TypeError, ValueError, NotImplementedError):
            return None
        layer = {"class_name": str(type(node.operation)), "config": config}
        arguments = keras.tree.map_structure(kind, (node.arguments.args, node.arguments.kwargs))
        described.append([_without_sizes(without_names(layer, names)), arguments])
        for tensor in node.outputs:
            tensors[id(tensor)] = f"tensor {len(tensors)}"
    ends = [[tensors[id(tensor)] for tensor in end] for end in (head.inputs, head.outputs)]
    try:
        return json.dumps([described, ends], sort_keys=True)
    except (TypeError, ValueError):
        return None


def without_names(config: Any, numbers: dict[str, str]) -> Any:
    """Return a configuration with numbers in place of layer names, which Keras counts up."""
    if isinstance(config, list | tuple):
        return [without_names(item, numbers) for item in config]
    if not isinstance(config, Mapping):
        return config
    is_named = not str(config.get("class_name", "")).endswith("DTypePolicy")
    plain: dict[str, Any] = {}
    for key, value in config.items():
        if key in REFERENCES:
            plain[key] = _renumber(value, numbers)
        elif key == "config" and isinstance(value, Mapping) and is_named and "name" in value:
            inner = {k: v for k, v in value.items() if k != "name"}
            plain[key] = {"name": _number(value["name"], numbers), **without_names(inner, numbers)}
        elif key == "name" and ("inbound_nodes" in config or "layers" in config):
            plain[key] = _number(value, numbers)
        else:
            plain[key] = without_names(value, numbers)
    return plain


def _without_sizes(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return [_without_sizes(item) for item in config]
    if isinstance(config, Mapping):
        return {k: v if k in REFERENCES else _without_sizes(v) for k, v in config.items()}
    # What tells an axis, no stride or a 1 x 1 kernel stays: some are rewritten otherwise.
    return "size" if isinstance(config, int | float) and config not in (-1, 0, 1) else config


def _renumber(reference: Any, numbers: dict[str, str]) -> Any:
    if isinstance(reference, list | tuple):
        return [_renumber(item, numbers) for item in reference]
    return _number(reference, numbers) if isinstance(reference, str) else reference


def _number(name: str, numbers: dict[str, str]) -> str:
    return numbers.setdefault(name, f"#{len(numbers)}")


def fixed_batch(model: Model) -> int | None:
    """Return the batch size that a model is built for; None when it takes any."""
    inputs = keras.tree.flatten(getattr(model, "inputs", None) or [])
    shape = getattr(inputs[0], "shape", None) if inputs else None
    return shape[0] if shape else None


def keeps_state(model: Model) -> bool:
    """Tell whether a layer keeps its state from batch to batch, so that all have to be as large."""
    return any(True for _ in _stateful_layers(model))


def reset_states(model: Model) -> None:
    """Have layers that keep their state from batch to batch begin anew."""
    for layer in _stateful_layers(model):
        if hasattr(layer, "reset_state"):
            layer.reset_state()


def _stateful_layers(model: Any) -> Iterator[Any]:
    """Yield the layers that keep their state from batch to batch, those of models inside the model too."""
    layers = getattr(model, "layers", ())
    for layer in layers if isinstance(layers, list | tuple) else ():
        if getattr(layer, "stateful", False):
            yield layer
        else:
            yield from _stateful_layers(layer)


def can_predict(model: Model) -> bool:
    """Tell whether a model can be called: one with a training step of its own need not be."""
    return type(model).call is not keras.Model.call or "predict_step" in vars(type(model))


def can_evaluate(model: Model) -> bool:
    """Tell whether a model can be evaluated: it is called then, unless by a step of its own."""
    return can_predict(model) or type(model).test_step is not keras.Model.test_step


def predict_batch(model: Model, x: Arrays) -> Any:
    """Return what a model predicts for a batch of tensors.

    A model with an ``evaluate`` and a ``predict`` of its own may prepare its inputs there, as models
    with a preprocessor do: its ``predict`` is asked, unless it has a ``predict_on_batch`` of its own too,
    as those of KerasHub have.
    """
    if overrides(model, "predict_on_batch") or not (
        overrides(model, "evaluate") and overrides(model, "predict")
    ):
        return model.predict_on_batch(x)
    taken = inspect.signature(model.predict).parameters.values()
    is_quiet = any(one.name == "verbose" or one.kind is one.VAR_KEYWORD for one in taken)
    return model.predict(x, verbose=0) if is_quiet else model.predict(x)


def is_from_logits(loss: Any) -> bool:
    """Tell whether a loss says that it takes logits."""
    while loss is not None:
        if (told := getattr(loss, "from_logits", None)) is not None:
            return bool(told)
        if isinstance(loss, functools.partial):
            if "from_logits" in loss.keywords:
                return bool(loss.keywords["from_logits"])
            loss = loss.func
            continue
        try:
            return bool(loss.get_config()["from_logits"])
        except Exception:  # noqa: BLE001  no configuration, or one of the user's
            loss = getattr(loss, "fn", None)
    return False
