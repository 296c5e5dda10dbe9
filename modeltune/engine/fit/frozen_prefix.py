"""Cut a model after its frozen first layers: these run once, and the head trains on their outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.engine.data import Part
from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.feature_files import (
    are_equal,
    as_input,
    features,
    files_of,
    in_graph,
    prefix_of,
    prune,
)
from modeltune.engine.fit.layer_assets import has_assets
from modeltune.engine.fit.model_structure import calls_foreign, is_of_keras, structure
from modeltune.engine.internals import Feature, keras_internals

NOT_CONSTANT = (
    keras.layers.Lambda,
    keras.layers.Masking,  # a mask travels beside the numbers and would be lost on disk
    keras.layers.SpectralNormalization,  # updates its weights in training, frozen or not
    keras.layers.TFSMLayer,
    keras.layers.JaxLayer,
    keras.layers.TorchModuleWrapper,
)
"""Layers of Keras that run foreign code, or do more than return a function of their inputs."""

_verdicts: dict[tuple[object, ...], bool] = {}
"""Whether head and features predicted what the model does, by files and the head's structure."""


@dataclass(frozen=True, eq=False)
class Split:
    """A frozen prefix and the compiled head on its outputs; they share the full model's variables."""

    prefix: Model
    head: Model


@dataclass(frozen=True, eq=False)
class Cut:
    """What to train instead of the full model: its head, on the features of both parts."""

    head: Model
    train: Part
    validation: Part


@dataclass(frozen=True)
class Whole:
    """The model is trained whole; ``reason`` says why, None when no layer is frozen."""

    reason: str | None = None


def cut_model(
    model: Model, train: Part, validation: Part, batch_size: int, folder: Path | None
) -> Cut | Whole:
    """Return the head of a model and its features, or why a cut could change a number.

    Head and full model share variables and optimizer, so training one trains the other.
    """
    parts = split(model)
    if isinstance(parts, Whole):
        return parts
    prefix = prefix_of(parts.prefix, batch_size, is_kept=folder is not None)
    ready: list[Part] = []
    for part in (train, validation):
        outputs = features(prefix, part, folder)
        if isinstance(outputs, str):
            return Whole(outputs)
        ready.append(outputs)
    if not _predicts_the_same(model, parts.head, train, ready[0], batch_size):
        return Whole("cut in two it predicts other numbers")
    if folder is not None:
        prune(folder, {file[1:] for part in ready for file in files_of(part.x) or ()})
    return Cut(parts.head, *ready)


def split(model: Model) -> Split | Whole:
    """Cut a compiled functional or sequential model where its frozen, deterministic layers end."""
    if not freezes(model):
        return Whole()
    graph = _graph(model)
    if isinstance(graph, Whole):
        return graph
    constant = {id(tensor) for tensor in graph.inputs}
    obstacles: list[str] = []
    weighs = False
    for node in keras_internals.nodes(graph):
        if not all(id(tensor) in constant for tensor in node.input_tensors):
            continue
        if obstacle := _why_not_constant(node.operation):
            obstacles.append(obstacle)
            continue
        constant |= {id(tensor) for tensor in node.outputs}
        weighs = weighs or _weighs(node.operation)
    if not weighs:
        return Whole(obstacles[0] if obstacles else "no frozen layer leads")
    if any(id(tensor) in constant for tensor in graph.outputs):
        return Whole("an output hangs on frozen layers only")
    rest = [
        n
        for n in keras_internals.nodes(graph)
        if not all(id(tensor) in constant for tensor in n.outputs)
    ]
    frontier = list(
        {id(t): t for node in rest for t in node.input_tensors if id(t) in constant}.values()
    )
    if shared := {keras_internals.maker(t).name for t in frontier} & {
        node.operation.name for node in rest
    }:
        return Whole(f"{min(shared)} is used on both sides of a cut")
    if any(t.sparse or not _survives(t.dtype) for t in frontier):
        return Whole(f"features of dtype {frontier[0].dtype} cannot be handed on")
    inputs, _ = keras_internals.ends(graph)
    prefix = keras.Model(inputs, frontier)
    head = _head(model, graph, frontier)
    if prefix.losses:
        return Whole("a frozen layer adds a loss")
    if _ids(head.trainable_variables) != _ids(model.trainable_variables):
        return Whole("its head would train the variables in another order")
    return Split(prefix, head)


def _predicts_the_same(model: Model, head: Model, part: Part, ready: Part, batch_size: int) -> bool:
    """Tell whether the head predicts from a batch's features what the model predicts from its x.

    The answer holds for all heads that differ only in sizes, as long as the features are in
    the same files: how TensorFlow rewrites a graph, and might do so across the cut, depends
    on the kinds of operations in it.
    """
    files, kind = files_of(ready.x), structure(head)
    known = None if files is None or kind is None else (*files, kind)
    if known is not None and known in _verdicts:
        return _verdicts[known]
    rows = np.arange(min(batch_size, part.size))
    in_one, in_two = in_graph(model)(part.take(rows).x), in_graph(head)(ready.take(rows).x)
    verdict = are_equal(in_one, in_two)
    if known is not None:
        _verdicts[known] = verdict
    return verdict


def _graph(model: Model) -> Model | Whole:
    """Return the functional graph of a model, or why there is none that can be cut."""
    is_sequential = type(model) is keras.Sequential
    functional = keras_internals.functional_of(model) if is_sequential else model
    name = type(model).__name__
    if not keras_internals.is_functional(functional):
        return Whole(f"{name} is no functional or sequential model")
    if changed := [n for n in ("train_step", "test_step", "call", "fit") if n in vars(model)]:
        return Whole(f"its {changed[0]} was replaced")
    if model.jit_compile:
        return Whole("it is compiled by XLA")
    if model.run_eagerly or tf.config.functions_run_eagerly():
        return Whole("it runs eagerly")
    return functional


def _head(model: Model, graph: Model, frontier: list[Any]) -> Model:
    _, outputs = keras_internals.ends(graph)
    # Keras tells the full model's layers and inputs of the nodes it makes anew for the head,
    # which does not look there again, while `layer.output` of a layer with two is an error.
    with keras_internals.connections_kept(graph):
        head = keras.Model(as_input(frontier), outputs)
    # The optimizer has been wrapped for mixed precision when the full model was compiled.
    compiled = {**keras_internals.compile_arguments(model), "optimizer": model.optimizer}
    head.compile(**compiled, auto_scale_loss=False)
    return head


def freezes(model: Model) -> bool:
    """Tell whether a model has both frozen and trainable weights; False where the cut is off."""
    is_off = not is_tensorflow() or keras_internals.KERAS.why_not(Feature.FROZEN_PREFIX)
    if is_off or not model.trainable_variables:
        return False
    return any(
        keras_internals.own_variables(layer) and not layer.trainable
        for layer in keras_internals.inner_layers(model)
    )


def _weighs(operation: Any) -> bool:
    """Tell whether an operation has weights, so that running it once can save time."""
    return not isinstance(operation, keras.layers.Normalization) and bool(
        getattr(operation, "weights", ())
    )


def _why_not_constant(operation: Any) -> str | None:
    """Return why an operation may give other outputs for the same inputs later; None if it cannot."""
    if not isinstance(operation, keras.layers.Layer):
        return None if is_of_keras(operation) else f"{operation.name} is not of Keras"
    for layer in keras_internals.inner_layers(operation):
        named = layer.name if layer is operation else f"{layer.name} in {operation.name}"
        if not is_of_keras(layer) or isinstance(layer, NOT_CONSTANT) or calls_foreign(layer):
            return f"{named} ({type(layer).__name__}) is not known to be constant"
        if has_assets(layer):
            return f"{named} keeps a vocabulary besides its variables"
        if getattr(layer, "mask_zero", False):
            return f"{named} makes a mask"
        # Also below base(x, training=False): a functional model overrides that when it trains.
        if keras_internals.draws(layer):
            return f"{named} draws random numbers"
        if getattr(layer, "stateful", False):
            return f"{named} keeps a state between batches"
        if layer.activity_regularizer is not None:
            return f"{named} adds a loss"
        adapted = isinstance(layer, keras.layers.Normalization)
        if keras_internals.own_variables(layer) and layer.trainable and not adapted:
            return f"{named} is trainable"
    return None


def _survives(dtype: str) -> bool:
    """Tell whether NumPy files can hold a dtype and Keras's array adapter leaves it as it is."""
    return dtype in ("float16", keras.config.floatx()) or dtype.startswith(("int", "uint", "bool"))


def _ids(variables: list[Any]) -> list[int]:
    return [id(variable) for variable in variables]
