"""Describe how a model is built, as plain data: its layers with their shapes and parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import keras

from modeltune.engine.fit import Model
from modeltune.records import Json

MOST_LAYERS = 200
"""How many layers are listed: of a deeper model its outer ones first."""

Value = TypeVar("Value")


def described(model: Model) -> dict[str, Json]:
    """Return a model's parameters and layers; nothing of it is raised, whatever its code does.

    Keys are "parameters", "trainable" (how many of them are), "layers" in the model's order, a
    nested model's own behind it, and "layers_total". A layer has "name", "kind" (its class),
    "shape" of its output (the batch and other open axes None; null where it has none, several,
    or others each time it is called), "parameters" with those of layers inside, "trainable",
    and "depth", 0 of the model's own.
    """
    found = list(_layers(model, 0, {id(model)}))
    deepest = max((depth for _, depth in found), default=0)
    while deepest and sum(depth <= deepest for _, depth in found) > MOST_LAYERS:
        deepest -= 1
    outer = [(layer, depth) for layer, depth in found if depth <= deepest]
    return {
        "parameters": _parameters(model, "weights"),
        "trainable": _parameters(model, "trainable_weights"),
        "layers": [_layer(layer, depth) for layer, depth in outer[:MOST_LAYERS]],
        "layers_total": len(found),
    }


def _layers(model: Model, depth: int, seen: set[int]) -> Iterator[tuple[Any, int]]:
    """Yield every layer once with its depth; a layer may be in several models, or hold itself."""
    layers: list[Any] = []
    for layer in _tried(lambda: list(model.layers), layers):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer, depth
        if isinstance(layer, keras.Model):
            yield from _layers(layer, depth + 1, seen)


def _layer(layer: Any, depth: int) -> dict[str, Json]:
    return {
        "name": _tried(lambda: str(layer.name), ""),
        "kind": type(layer).__name__,
        "shape": _tried(lambda: _shape(layer), None),
        "parameters": _parameters(layer, "weights"),
        "trainable": _tried(lambda: bool(layer.trainable), False),
        "depth": depth,
    }


def _shape(layer: Any) -> list[int | None] | None:
    # Keras has no public name for the calls of a shared layer, of which ``output`` is the first.
    outputs = [
        [tuple(tensor.shape) for tensor in keras.tree.flatten(node.output_tensors)]
        for node in layer._inbound_nodes
    ]
    if not outputs:
        outputs = [[tuple(layer.compute_output_shape(**layer._build_shapes_dict))]]
    if any(each != outputs[0] for each in outputs) or len(outputs[0]) != 1:
        return None
    # Called on samples, it knows their number.
    return [None, *(None if length is None else int(length) for length in outputs[0][0][1:])]


def _parameters(layer: Any, kind: str) -> int:
    """Return how many numbers a layer's weights hold; 0 before it is built."""
    return _tried(lambda: sum(math.prod(weight.shape) for weight in getattr(layer, kind)), 0)


def _tried(ask: Callable[[], Value], otherwise: Value) -> Value:
    """Return what a layer says, which may be the user's code, or ``otherwise`` when it raises."""
    try:
        return ask()
    except Exception:  # noqa: BLE001  a description is no reason to lose a trained model
        return otherwise
