"""Describe how a model is built as plain data: its layers with their shapes and parameters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import keras

from modeltune.engine.fit import Model
from modeltune.engine.internals import Feature, keras_internals
from modeltune.records import Json

MOST_LAYERS = 200
"""How many layers are listed at most; outer layers come before those inside them."""

Value = TypeVar("Value")


def describe_model(model: Model) -> dict[str, Json]:
    """Return a model's parameters and layers; raise nothing, whatever the model's code raises.

    Returns:
        "parameters", "trainable" (the number of trainable parameters), "dtype_policy" (the policies
        of the layers that have weights, the commonest first), "layers_total", and
        "layers" in the model's order, with the layers of a nested model after it. A layer has
        "name", "kind" (its class), "parameters" (those of layers inside included),
        "trainable", "depth" (0 for the model's own layers), and the "shape" of its output, with
        None for the batch and other open axes. The shape is None if the layer has no output,
        several outputs, or different ones each time it is called.
    """
    layers = list(_layers(model, 0, {id(model)}))
    deepest = max((depth for _, depth in layers), default=0)
    while deepest and sum(depth <= deepest for _, depth in layers) > MOST_LAYERS:
        deepest -= 1
    outer = [(layer, depth) for layer, depth in layers if depth <= deepest]
    return {
        "parameters": _parameters(model, "weights"),
        "trainable": _parameters(model, "trainable_weights"),
        "dtype_policy": _dtype_policies(model, [layer for layer, _ in layers]),
        "layers": [_layer(layer, depth) for layer, depth in outer[:MOST_LAYERS]],
        "layers_total": len(layers),
    }


def _dtype_policies(model: Model, layers: Sequence[Any]) -> str:
    """Return the dtype policies of a model's layers with weights; the model's own if there are none."""

    def policy(layer: Any) -> str:
        return _ask(lambda: str(layer.dtype_policy.name), "")

    inner = [layer for layer in layers if not isinstance(layer, keras.Model)]
    named = Counter(policy(layer) for layer in inner if _parameters(layer, "weights"))
    return ", ".join(name for name, _ in named.most_common() if name) or policy(model)


def _layers(model: Model, depth: int, ids: set[int]) -> Iterator[tuple[Any, int]]:
    """Yield every layer once with its depth; a layer may be in several models, or hold itself."""
    layers: list[Any] = []
    for layer in _ask(lambda: list(model.layers), layers):
        if id(layer) in ids:
            continue
        ids.add(id(layer))
        yield layer, depth
        if isinstance(layer, keras.Model):
            yield from _layers(layer, depth + 1, ids)


def _layer(layer: Any, depth: int) -> dict[str, Json]:
    return {
        "name": _ask(lambda: str(layer.name), ""),
        "kind": type(layer).__name__,
        "shape": _ask(lambda: _shape(layer), None),
        "parameters": _parameters(layer, "weights"),
        "trainable": _ask(lambda: bool(layer.trainable), False),
        "depth": depth,
    }


def _shape(layer: Any) -> list[int | None] | None:
    if keras_internals.KERAS.why_not(Feature.LAYER_SHAPES):
        return None
    outputs = keras_internals.output_shapes(layer)
    if any(shapes != outputs[0] for shapes in outputs) or len(outputs[0]) != 1:
        return None
    # A layer that was called on samples has their number as its first axis.
    return [None, *(None if length is None else int(length) for length in outputs[0][0][1:])]


def _parameters(layer: Any, kind: str) -> int:
    """Return how many numbers a layer's weights hold; 0 before it is built."""
    return _ask(lambda: sum(math.prod(weight.shape) for weight in getattr(layer, kind)), 0)


def _ask(ask: Callable[[], Value], otherwise: Value) -> Value:
    """Return what a function of a layer returns, or ``otherwise`` if it raises.

    A layer may be the user's code.
    """
    try:
        return ask()
    except Exception:  # noqa: BLE001  a description is no reason to lose a trained model
        return otherwise
