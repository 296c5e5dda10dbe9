"""Find losses and metrics that broadcast targets against predictions: numbers come out all the same.

Three units for one target, or (n,) targets against (n, 1) predictions in a function that does not
squeeze them, are trained on and scored without a word.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras

from modeltune.engine.backends import is_tensorflow, tf
from modeltune.engine.data import leaves
from modeltune.engine.internals import keras_internals
from modeltune.engine.score.outputs import Use, is_loss_of_keras, keras_tensor
from modeltune.engine.score.scoring import PartPredictions
from modeltune.records import Caution

BROADCAST = "checks.broadcast"
"""The check that warns of them."""

TRACED_ROWS = (13, 17, 19, 23)
"""Numbers of rows to trace a function for: one that is no other dimension is told from these."""

ELEMENTWISE = frozenset(
    [
        "Add",
        "AddV2",
        "Sub",
        "Mul",
        "Div",
        "RealDiv",
        "FloorDiv",
        "DivNoNan",
        "TruncateDiv",
        "Mod",
        "FloorMod",
        "Maximum",
        "Minimum",
        "Pow",
        "SquaredDifference",
        "Xdivy",
        "Xlogy",
        "Xlog1py",
        "Equal",
        "NotEqual",
        "Less",
        "LessEqual",
        "Greater",
        "GreaterEqual",
        "LogicalAnd",
        "LogicalOr",
        "Select",
        "SelectV2",
        "Where",
    ]
)
"""Operations of TensorFlow that broadcast what they are given."""


def broadcast_cautions(predictions: PartPredictions) -> tuple[Caution, ...]:
    """Warn of each output whose targets some loss or metric broadcasts against its predictions.

    The functions are traced for some rows, not run. Those that cannot be traced are left out, and
    so are all where another backend than TensorFlow computes.
    """
    if not is_tensorflow():
        return ()
    targets, flat = dict(leaves(predictions.y)), keras.tree.flatten(predictions.predicted)
    names = {output.place: output.name for output in predictions.outputs}
    found: dict[tuple[int, str, str], list[str]] = {}
    uses = [("loss", use) for use in predictions.pairing.losses]
    uses += [("metric", use) for use in predictions.pairing.metrics]
    for kind, use in uses:
        y, predicted = keras_tensor(targets[use.path][:1]), keras_tensor(flat[use.place][:1])
        function = _function_to_trace(kind, use, y, predicted)
        if function is None:
            continue
        how = _broadcast(function, y, predicted)
        if how is not None:
            named = use.function.name if kind == "loss" else use.name
            found.setdefault((use.place, use.path, how), []).append(f"{kind} {named}")
    cautions = []
    for (place, path, how), functions in found.items():
        output = f"output {names[place]}: " if names.get(place) else ""
        y, predicted = (_shape(array) for array in (targets[path], flat[place]))
        verb = "broadcasts" if len(functions) == 1 else "broadcast"
        label = f"y.{path}" if path else "y"
        cautions.append(
            Caution(
                BROADCAST,
                f"{output}{', '.join(functions)} {verb} targets {label} of shape {y} against "
                f"predictions of shape {predicted}: {how}",
            )
        )
    return tuple(cautions)


def _shape(array: Any) -> str:
    inner = "".join(f" {size}," for size in array.shape[1:]).rstrip(",")
    return f"(n,{inner})"


def _function_to_trace(
    kind: str, use: Use, y: Any, predicted: Any
) -> Callable[[Any, Any], Any] | None:
    """Return a loss or metric as a function of targets and predictions; None of one that is sound.

    Keras's own functions broadcast only arrays of different shapes, and those of labels never do.
    """
    function: Any = use.function if kind == "loss" else keras_internals.function_of(use.function)
    is_of_keras = is_loss_of_keras(use.function if function is None else function)
    if function is None:
        if type(use.function).__module__.startswith("keras."):
            return None  # it keeps sums over thresholds or classes
        return _copied(use.function)
    if is_of_keras and (y.shape == predicted.shape or "sparse" in _name_of(function)):
        return None
    return function  # type: ignore[no-any-return]


def _copied(metric: Any) -> Callable[[Any, Any], Any] | None:
    """Return what updates a copy of a metric: one that keeps what it is given would keep symbols."""
    try:
        copied = type(metric).from_config(metric.get_config())
    except Exception:  # noqa: BLE001  a class of the user's
        return None
    return copied.update_state  # type: ignore[no-any-return]


def _name_of(function: Any) -> str:
    inner = getattr(function, "fn", None) or getattr(function, "func", function)
    return str(getattr(inner, "__name__", type(inner).__name__)).lower()


def _broadcast(function: Callable[[Any, Any], Any], y: Any, predicted: Any) -> str | None:
    """Return what a function compares with what, None where each target has its own prediction."""
    others = {*y.shape[1:], *predicted.shape[1:]}
    rows = next((rows for rows in TRACED_ROWS if rows not in others), TRACED_ROWS[0])
    specs = [tf.TensorSpec((rows, *one.shape[1:]), one.dtype) for one in (y, predicted)]
    traced = tf.function(lambda *arguments: function(*arguments), autograph=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = traced.get_concrete_function(*specs).graph
    except Exception:  # noqa: BLE001  a function of the user's, as one that cannot be traced
        return None
    return _first_broadcast(graph, rows)


def _first_broadcast(graph: Any, rows: int) -> str | None:
    """Return how the first operation that broadcasts targets against predictions does so.

    Either all rows come to lie in one dimension more than before, or all elements of the one meet
    those of the other in another shape. What targets do among themselves, such as to be compared
    with each other, is none of it.
    """
    y, predicted = graph.inputs[:2]
    of: dict[Any, frozenset[str]] = {y.ref(): frozenset("y"), predicted.ref(): frozenset("p")}
    whole = {y.ref(): "y", predicted.ref(): "p"}  # tensors that hold just the elements of one
    sizes = {"y": y.shape.num_elements(), "p": predicted.shape.num_elements()}
    for operation in graph.get_operations():
        inputs = list(operation.inputs)
        sources = frozenset[str]().union(*(of.get(one.ref(), frozenset()) for one in inputs))
        for output in operation.outputs:
            if output.ref() in of:
                continue
            of[output.ref()] = sources
            is_whole = all(one.ref() in whole for one in inputs if of.get(one.ref()))
            if len(sources) == 1 and is_whole:
                (source,) = sources
                if output.shape.num_elements() == sizes[source]:
                    whole[output.ref()] = source
        if operation.type in ELEMENTWISE and sources == {"y", "p"}:
            shown = [one for one in inputs if of.get(one.ref()) and one.shape.rank]
            result = operation.outputs[0].shape
            if shown and _count(result, rows) > max(_count(one.shape, rows) for one in shown):
                return "each target of a batch meets each prediction of it"
            kinds = {whole.get(one.ref()) for one in shown}
            if kinds == {"y", "p"} and len({tuple(one.shape) for one in shown}) > 1:
                return _how(sizes)
    return None


def _how(sizes: Any) -> str:
    if sizes["y"] < sizes["p"]:
        return "each target meets several predictions"
    return "each prediction meets several targets"


def _count(shape: Any, rows: int) -> int:
    """Return in how many dimensions all rows lie."""
    return list(shape).count(rows) if shape.rank is not None else 0
