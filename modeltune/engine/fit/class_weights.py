"""Weigh the classes of several outputs, which Keras does for one output only, by sample weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from modeltune.engine.data import Part
from modeltune.engine.fit.epoch_graph import Model
from modeltune.ground import SpecError, typed
from modeltune.records import Array


def is_by_output(class_weight: Mapping[Any, Any] | None) -> bool:
    """Tell whether ``fit.class_weight`` has the weights of classes by the names of outputs."""
    return bool(class_weight) and all(isinstance(name, str) for name in class_weight or ())


def weighted(part: Part, model: Model, class_weight: Mapping[str, Mapping[int, float]]) -> Part:
    """Return a part whose sample weights, one for each output, are those of the classes.

    They are what ``model.fit(sample_weight=...)`` takes: 1 for an output and for a class that are not
    named, and multiplied by sample weights that the part has.

    Raises:
        SpecError: the model has no such output, a class has a negative weight or is none of its
            labels, or the part is a stream.
    """
    outputs = list(getattr(model, "output_names", None) or ())
    if part.stream is not None:
        raise SpecError(
            f"fit.class_weight: {part.name} is a stream; have it yield (x, y, sample_weight), with a "
            f"weight for each of {', '.join(map(typed, class_weight))}"
        )
    targets = _by_name(part.y, outputs)
    for name in class_weight:
        if name not in targets:
            listed = ", ".join(map(typed, targets)) or "not named"
            raise SpecError(
                f"fit.class_weight: {part.name} has no output {typed(name)}; its outputs are {listed}"
            )
    known = {} if part.sample_weight is None else _by_name(part.sample_weight, list(targets))
    weights = {}
    for name, labels in targets.items():
        weight = _of_classes(name, labels, class_weight.get(name, {}))
        weights[name] = weight if name not in known else weight * known[name]
    if isinstance(part.y, Mapping):
        return replace(part, sample_weight=weights)
    given = tuple(weights.values())
    return replace(part, sample_weight=given if isinstance(part.y, tuple | list) else given[0])


def _by_name(arrays: Any, outputs: list[str]) -> dict[str, Any]:
    """Return arrays by the output that they are for; one array is for each of them."""
    if isinstance(arrays, Mapping):
        return dict(arrays)
    if isinstance(arrays, tuple | list):
        return dict(zip(outputs, arrays, strict=False))
    return dict.fromkeys(outputs, arrays)


def _of_classes(name: str, labels: Array, weights: Mapping[int, float]) -> Array:
    """Return the weight of each label, as Keras has it: one-hot labels by the place of the largest."""
    if labels.ndim > 1:
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels
    if not weights:
        return np.ones(len(labels), "float32")
    if labels.ndim > 1 and labels.dtype.kind == "f":
        labels = labels.argmax(axis=-1)
    if not np.array_equal(labels, labels.astype("int64")):
        raise SpecError(
            f"fit.class_weight: {typed(name)} holds numbers and no classes; leave it out"
        )
    classes = labels.astype("int64")
    weight = np.ones(classes.shape, "float32")
    for label, value in weights.items():
        weight[classes == label] = value
    return weight
