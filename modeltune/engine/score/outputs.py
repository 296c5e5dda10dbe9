"""Pair a model's outputs with targets, losses, metrics and weights as Keras does, and name their task."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.engine.data import Arrays, leaves, map_arrays
from modeltune.engine.fit import Model, is_from_logits, keeps_state, string_tensor, text_inputs
from modeltune.engine.internals import Feature, keras_internals
from modeltune.engine.score.task_report import Output, OutputTask, Target
from modeltune.records import Array

BUILT_WITH = 2
"""Rows by which Keras resolves losses and metrics that it has not resolved yet."""

TARGET_ROWS = 8192
"""Rows whose targets are looked at together for places that a loss leaves out."""


@dataclass(frozen=True, eq=False)
class Use:
    """A compiled loss or metric, with the output and the targets that Keras gives it.

    ``weight`` is the path of its sample weights, None of an unweighted metric. ``share`` is
    the weight of a loss in the sum of all losses.
    """

    name: str
    function: Any
    place: int
    path: str
    weight: str | None
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Pairing:
    """What Keras pairs: the compiled losses and metrics with outputs and targets."""

    losses: Sequence[Use] = ()
    metrics: Sequence[Use] = ()

    def path_of(self, place: int) -> str | None:
        """Return where the targets of an output are: its loss decides, else its metrics."""
        uses = (*self.losses, *self.metrics)
        return next((use.path for use in uses if use.place == place), None)


@dataclass(frozen=True)
class _Leaf:
    """A leaf of a structure, by its path; it stands for an array while Keras pairs structures."""

    path: str
    shape: tuple[int, ...]


Masks: TypeAlias = Sequence[Array | None]
"""For each of a model's predictions the mask that came with it."""


def pairing_of(model: Model, y: Arrays, predicted: Arrays, sample_weight: Arrays) -> Pairing:
    """Return what Keras pairs in these structures; nothing if Keras pairs nothing in them."""
    if keras_internals.KERAS.why_not(Feature.SAMPLE_VALUES):
        return Pairing()
    try:
        few = (
            map_arrays(lambda a: keras_tensor(a[:BUILT_WITH]), one)
            for one in (y, predicted, sample_weight)
        )
        keras_internals.build_compiled(model, *map(keras.tree.lists_to_tuples, few))
        structures = [keras.tree.lists_to_tuples(_with_paths(one)) for one in (y, sample_weight)]
        flat = keras.tree.flatten(predicted)
        numbered = [_Leaf(str(place), array.shape) for place, array in enumerate(flat)]
        arguments = structures[0], keras.tree.pack_sequence_as(predicted, numbered), structures[1]
        losses, metrics = (
            [_use(call) for call in calls(model, *arguments)]
            for calls in (keras_internals.loss_calls, keras_internals.metric_calls)
        )
    except Exception:  # noqa: BLE001  losses and metrics are the user's code, or of a step of the user's
        return Pairing()
    return Pairing(
        [use for use in losses if use is not None], [use for use in metrics if use is not None]
    )


def _use(call: keras_internals.Call) -> Use | None:
    if not isinstance(call.y, _Leaf) or not isinstance(call.predicted, _Leaf):
        return None  # a loss of several outputs together
    weight = call.sample_weight
    return Use(
        call.name,
        call.function,
        int(call.predicted.path),
        call.y.path,
        weight.path if isinstance(weight, _Leaf) else None,
        1.0 if call.share is None else float(call.share),
    )


def _with_paths(arrays: Arrays, path: str = "") -> Any:
    """Return the structure with the path of each array, as ``leaves`` names it, in its place."""
    if arrays is None:
        return None
    if isinstance(arrays, Mapping):
        return {
            key: _with_paths(v, f"{path}.{key}" if path else str(key)) for key, v in arrays.items()
        }
    if isinstance(arrays, tuple | list):
        return type(arrays)(
            _with_paths(v, f"{path}.{i}" if path else str(i)) for i, v in enumerate(arrays)
        )
    return _Leaf(path, arrays.shape)


def keras_tensor(array: Array) -> Any:
    """Return an array as Keras hands it to a step: floats in its default type, texts as they are."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "OUS":
        return string_tensor(array)
    is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(array.dtype))
    return keras.ops.convert_to_tensor(array, dtype=keras.config.floatx() if is_float else None)


def are_broadcast(y: Any, predicted: Any) -> bool:
    """Tell whether Keras may compare every target of a batch with every prediction of it.

    Of (n,) targets and (n, 1) predictions some metrics of Keras make (n, n) values.
    """
    return len(y.shape) != len(predicted.shape) and np.prod(y.shape) == np.prod(predicted.shape)


def outputs_of(
    model: Model,
    pairing: Pairing,
    y: Arrays,
    predicted: Arrays,
    sample_weight: Arrays = None,
    masks: Masks = (),
    copies: Collection[str] = (),
) -> list[Output]:
    """Return the outputs that have targets, in the order of the model's predictions.

    What Keras does not pair, since neither a loss nor a metric is compiled for it, is paired by
    name, or by place where there are as many targets as predictions. ``copies`` are the paths of
    targets that repeat an input, as an autoencoder's do.
    """
    flat = keras.tree.flatten(predicted)
    names = _names(model, predicted)
    targets, weights = dict(leaves(y)), dict(leaves(sample_weight))
    paths = [pairing.path_of(place) for place in range(len(flat))]
    if None in paths:
        named = _paths_by_name(y, names)
        paths = [named.get(place) if p is None else p for place, p in enumerate(paths)]
    outputs = []
    for place, (name, path, array) in enumerate(zip(names, paths, flat, strict=True)):
        if path is None or path not in targets:
            continue
        use = next((use for use in pairing.losses if use.place == place), None)
        loss = _declared_loss(model, name, len(flat)) if use is None else use.function
        kind, target = _loss_name(loss), targets[path]
        task = _task_of(kind, _head(model, place), target, array, path in copies)
        output = Output(name, path, task, is_from_logits(loss), target, array, place, None, kind)
        weight = None if use is None or use.weight is None else weights.get(use.weight)
        mask = masks[place] if place < len(masks) else None
        counted = _counted_places(loss, target, array, weight, mask)
        if counted is not None and task is not OutputTask.REGRESSION:
            # Classes lie in the last dimension.
            is_of_class = counted.ndim == array.ndim > 1
            counted = np.asarray(counted.any(axis=-1)) if is_of_class else counted
        outputs.append(replace(output, counted=counted))
    return outputs


def targets_of(
    output: Output,
    pairing: Pairing,
    y: Array,
    sample_weight: Arrays = None,
    masks: Masks = (),
) -> Target:
    """Return an output's targets in another part of the data, and which of them count there."""
    use = next((use for use in pairing.losses if use.place == output.place), None)
    if use is None:
        return Target(y)
    weight = None if use.weight is None else dict(leaves(sample_weight)).get(use.weight)
    mask = masks[output.place] if output.place < len(masks) else None
    # What a loss ignores does not depend on what was predicted, so any prediction will do.
    shape = (len(y), *output.predicted.shape[1:])
    any_prediction = np.broadcast_to(np.float32(0.5), shape)
    return Target(y, _counted_places(use.function, y, any_prediction, weight, mask))


def _names(model: Model, predicted: Arrays) -> list[str]:
    """Return a name for every prediction in flattened order: a key, Keras's name, or a path."""
    if not keras.tree.is_nested(predicted):
        return [""]
    by_path = [leaf.path for leaf in keras.tree.flatten(_with_paths(predicted))]
    is_flat_dict = isinstance(predicted, Mapping) and len(predicted) == len(by_path)
    known = list(getattr(model, "output_names", None) or [])
    return by_path if is_flat_dict or len(known) != len(by_path) else known


def _paths_by_name(y: Arrays, names: list[str]) -> dict[int, str]:
    """Return the paths of targets by place: a dict's by name, others where there is one for each."""
    paths = [path for path, _ in leaves(y)]
    if isinstance(y, Mapping) or len(paths) != len(names):
        return {place: name for place, name in enumerate(names) if name in paths}
    return dict(enumerate(paths))


# Losses


def _declared_loss(model: Model, name: str, count: int) -> Any:
    """Return the loss a model was compiled with for an output that Keras gave none to."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        return loss.get(name)
    if isinstance(loss, list | tuple):
        known = list(getattr(model, "output_names", None) or [])
        is_listed = len(loss) == len(known) == count and name in known
        return loss[known.index(name)] if is_listed else None
    return loss


def _plain(loss: Any) -> Any:
    """Return the function or class that says what a loss is, behind Keras's and Python's wrappers."""
    while True:
        if isinstance(loss, functools.partial):
            loss = loss.func
        elif isinstance(getattr(loss, "fn", None), Callable) and isinstance(loss, keras.Loss):  # type: ignore[arg-type]
            loss = loss.fn
        else:
            return loss


def is_loss_of_keras(loss: Any) -> bool:
    """Tell whether Keras computes a loss, also under another name, and not code of the user's."""
    plain = _plain(loss)
    kind = plain if inspect.isfunction(plain) or inspect.isclass(plain) else type(plain)
    return kind.__module__.startswith("keras.")


def _loss_name(loss: Any) -> str:
    """Return Keras's name of a loss, even if the user has given it another name or derived from it."""
    if loss is None:
        return ""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return _squeezed(str(loss))
    loss = _plain(loss)
    if inspect.isfunction(loss):
        return _squeezed(loss.__name__)
    own = loss if inspect.isclass(loss) else type(loss)
    kinds = [kind for kind in own.__mro__ if kind.__module__.startswith("keras.")]
    kind = kinds[0] if kinds and kinds[0] is not keras.Loss else own
    return _squeezed(kind.__name__)


def _squeezed(name: str) -> str:
    return name.replace("_", "").lower()


# Tasks

NUMBERS = frozenset(
    {
        "meansquarederror",
        "meanabsoluteerror",
        "meanabsolutepercentageerror",
        "meansquaredlogarithmicerror",
        "huber",
        "logcosh",
        "poisson",
        "cosinesimilarity",
        "kldivergence",
        "hinge",
        "squaredhinge",
    }
)
"""Losses of numbers: of these a sigmoid is a range, not a probability."""

NO_REPORT = frozenset({"ctc", "circle"})
"""Losses whose targets are no classes or numbers of the same place."""


def _task_of(
    loss: str, head: str | None, y: Array, predicted: Array, is_copy: bool = False
) -> OutputTask:
    """Return an output's task: its loss and last layer decide, shapes where these leave it open.

    The values of labels do not: those of a small test part could look like another task's. But
    fractions, and targets that repeat an input (``is_copy``), are no labels whatever the loss.
    """
    if y.dtype.kind not in "biuf" or loss in NO_REPORT:
        return OutputTask.OTHER
    width = predicted.shape[-1] if predicted.ndim > 1 else 1
    has_place_each = y.size == predicted.size
    is_class_each = y.size * width == predicted.size
    is_exclusive = width > 1 and ("categorical" in loss or head == "softmax")
    if is_exclusive and (has_place_each or is_class_each):
        return OutputTask.MULTICLASS
    if has_place_each and (
        loss.startswith("binary") or (head == "sigmoid" and loss not in NUMBERS)
    ):
        if is_copy or (y.dtype.kind == "f" and not (np.mod(y, 1) == 0).all()):
            return OutputTask.REGRESSION
        return OutputTask.BINARY if width == 1 else OutputTask.MULTILABEL
    if y.dtype.kind in "iub" and predicted.ndim == y.ndim + 1 and width > 1 and is_class_each:
        return OutputTask.MULTICLASS
    return OutputTask.REGRESSION if has_place_each else OutputTask.OTHER


def _head(model: Model, place: int) -> str | None:
    """Return the activation of an output's last layer; None of a model that does not show it."""
    try:
        return keras_internals.activation_of(keras.tree.flatten(model.outputs)[place])
    except Exception:  # noqa: BLE001  a model of the user's, or a layer with several inputs
        return None


# What counts


def mask_reader(model: Model, x: Arrays) -> Callable[[Arrays], Masks] | None:
    """Return what gives the masks that come with a model's predictions; None when none comes."""
    if keras_internals.KERAS.why_not(Feature.SAMPLE_VALUES):
        return None
    try:
        outputs = getattr(model, "outputs", None)
        if not outputs:
            # Its call is the user's, so one row has to be predicted to see what it returns.
            some = None if keeps_state(model) else 1  # with a state, all batches are as large
            row = map_arrays(lambda array: array[:some], x)
            row = map_arrays(_batch_tensor, text_inputs(model, row))
            outputs = model(row, training=False)
        if all(keras_internals.mask_of(one) is None for one in keras.tree.flatten(outputs)):
            return None
    except Exception:  # noqa: BLE001  its own predict_step may call it in another way
        return None

    def read(x: Arrays) -> list[Any]:
        return [
            keras_internals.mask_of(one) for one in keras.tree.flatten(model(x, training=False))
        ]

    # A graph runs only what the masks are made of.
    in_graph = tf.function(read, reduce_retracing=True) if is_tensorflow() else read

    def masks(x: Arrays) -> Masks:
        found = in_graph(map_arrays(_batch_tensor, text_inputs(model, x)))
        return [None if mask is None else _numbers(mask).astype(bool) for mask in found]

    return masks


def _batch_tensor(value: Any) -> Any:
    return keras_tensor(value) if isinstance(value, np.ndarray) else value


def _numbers(tensor: Any) -> Array:
    array: Array = keras.ops.convert_to_numpy(tensor)
    return array


def join_masks(batches: Sequence[Masks]) -> Masks:
    """Return the masks of all batches together."""
    return [
        None if masks[0] is None else np.concatenate([m for m in masks if m is not None])
        for masks in zip(*batches, strict=True)
    ]


def _counted_places(
    loss: Any, y: Array, predicted: Array, weight: Array | None, mask: Array | None
) -> Array | None:
    """Return which places count, None when all do."""
    shown = [mask, _not_ignored(loss, y, predicted), None if weight is None else weight != 0]
    masks = []
    for one in shown:
        if one is None:
            continue
        one = one.reshape(one.shape[:-1]) if one.ndim > 1 and one.shape[-1] == 1 else one
        if one.shape == predicted.shape[: one.ndim]:
            masks.append(one.astype(bool))
    if all(one.all() for one in masks):
        return None
    rank = max(one.ndim for one in masks)
    shape = predicted.shape[:rank]
    counted: Array = np.logical_and.reduce(
        [np.broadcast_to(one.reshape(one.shape + (1,) * (rank - one.ndim)), shape) for one in masks]
    )
    return counted


def _not_ignored(loss: Any, y: Array, predicted: Array) -> Array | None:
    """Return the mask that a loss puts on its values, as with ``ignore_class``; None of none."""
    if not isinstance(loss, keras.Loss) or not len(y):
        return None
    if keras_internals.KERAS.why_not(Feature.SAMPLE_VALUES):
        return None

    def mask_on(rows: slice) -> Any:
        return keras_internals.mask_of(
            loss.call(keras_tensor(y[rows]), keras_tensor(predicted[rows]))
        )

    try:
        if mask_on(slice(0, 1)) is None:
            return None
        masks = [
            mask_on(slice(start, start + TARGET_ROWS)) for start in range(0, len(y), TARGET_ROWS)
        ]
        return np.concatenate([_numbers(mask) for mask in masks])
    except Exception:  # noqa: BLE001  a loss of the user's
        return None
