"""A converted model in its own runtime, called with a model's inputs and answering in its structure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from modeltune.engine.data import Arrays, leaves
from modeltune.engine.fit import Model
from modeltune.ground import first_names
from modeltune.records import Array


@dataclass(frozen=True, eq=False)
class ExportRuntime:
    """A file that its runtime has loaded.

    Args:
        name: the runtime and its version.
        inputs: by the names of its inputs their dtypes.
        outputs: the names of its outputs.
        run: returns the outputs by name, of inputs by name with a row per sample.
    """

    name: str
    inputs: Mapping[str, np.dtype[Any]]
    outputs: Sequence[str]
    run: Callable[[Mapping[str, Array]], Mapping[str, Array]]


def input_names(model: Model) -> list[str]:
    """Return the names of a model's inputs in their order; none of a model without declared inputs."""
    return [tensor.name for tensor in getattr(model, "inputs", None) or []]


def inputs_by_name(model: Model, x: Arrays, names: Sequence[str]) -> dict[str, Array]:
    """Return a batch by the names of a file's inputs.

    Args:
        model: that the file was made of.
        x: the batch as this model takes it.
        names: those of the file's inputs.

    Raises:
        ValueError: it cannot be told which array is which input.
    """
    arrays = dict(leaves(x))
    if len(arrays) == len(names) == 1:
        return dict(zip(names, arrays.values(), strict=True))
    if arrays.keys() == set(names):
        return {name: arrays[name] for name in names}
    own = input_names(model)
    if not isinstance(x, Mapping) and len(arrays) == len(own) and set(own) == set(names):
        return dict(zip(own, arrays.values(), strict=True))
    raise ValueError(
        f"the file's inputs {first_names(list(names))} cannot be matched with the arrays "
        f"{first_names(list(arrays))}; name keras.Input(name=...) as the arrays of x"
    )


def caller_of(
    runtime: ExportRuntime, model: Model, predicted: Arrays
) -> Callable[[Arrays], Arrays]:
    """Return what predicts a batch by a file, as ``model.predict_on_batch`` does.

    Args:
        runtime: the file.
        model: that it was made of.
        predicted: any prediction of this model, for its structure.

    Raises:
        ValueError: the outputs of the file cannot be matched with those of the model.
    """
    order = _output_order(runtime.outputs, predicted)

    def run(x: Arrays) -> Arrays:
        named = inputs_by_name(model, x, list(runtime.inputs))
        cast = {
            name: np.ascontiguousarray(array, runtime.inputs[name]) for name, array in named.items()
        }
        outputs = runtime.run(cast)
        flat = [np.asarray(outputs[name]) for name in order]
        return keras.tree.pack_sequence_as(predicted, flat)

    return run


def _output_order(names: Sequence[str], predicted: Arrays) -> list[str]:
    """Return the names of a file's outputs in the order in which ``keras.tree`` flattens a prediction."""
    count = len(keras.tree.flatten(predicted))
    if count == len(names) == 1:
        return list(names)
    if isinstance(predicted, Mapping) and set(predicted) == set(names):
        return sorted(names)
    numbered = {int(match[1]): name for name in names if (match := re.search(r"(\d+)$", name))}
    is_flat = isinstance(predicted, list | tuple) and len(predicted) == count
    if is_flat and sorted(numbered) == list(range(count)):
        return [numbered[place] for place in range(count)]
    raise ValueError(
        f"the file's outputs {first_names(list(names))} cannot be matched with those of the model; return "
        "a dict of outputs by name"
    )
