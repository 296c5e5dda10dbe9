"""Find metrics under a name that means something else: a gate on it judges another number than it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import keras
import numpy as np

from modeltune.engine.internals import keras_internals
from modeltune.engine.score.outputs import Use, keras_tensor
from modeltune.engine.score.scoring import PartPredictions
from modeltune.engine.score.task_report import Output, OutputTask, classes_of
from modeltune.ground import typed
from modeltune.records import CLASS_METRICS, NUMBER_METRICS, Caution
from modeltune.specs import RESOURCES, Gate, KFold, Spec, Subject

MODEL_NAMES = "model.names"
"""The check that warns of them."""

OWN_MEANING = {
    "parameters": "how many numbers the weights hold",
    "artifact_bytes": "the size of the file of weights",
    "latency_ratio": "its time over that of the accepted model",
    "flops": "the floating-point operations of one prediction",
}
"""What the names of resources mean."""

SAME_AS_REPORT = {"mae": "mean_absolute_error", "mse": "mean_squared_error"}
"""Metrics of the report that are the mean of a function of Keras."""

ACCURACY = ("accuracy", "acc")
"""Names under which the share of right classes is expected."""


def name_cautions(
    spec: Spec, predictions: PartPredictions, logged: Collection[str]
) -> tuple[Caution, ...]:
    """Warn of names under which a gate, or the search, gets another number than the name says.

    Args:
        spec: its gates and its objective ask for metrics by name.
        predictions: the model's on a few rows, with the metrics it is compiled with.
        logged: the names of all metrics that an evaluation of the model gives.
    """
    uses = predictions.pairing.metrics
    asked = {gate.measure.metric for gate in spec.gates if isinstance(gate, Gate)}
    asked |= {spec.search.objective.test_metric} if spec.is_searched else set()
    texts = [*_taken(spec, logged), *_in_place_of_losses(predictions), *_twice(uses)]
    outputs = {output.place: output for output in predictions.outputs}
    for use in uses:
        output = outputs.get(use.place)
        if output is not None and use.name in asked:
            texts += [*_unlike_report(use, output), *_unlike_accuracy(use, output)]
    return tuple(Caution(MODEL_NAMES, text) for text in texts)


def _taken(spec: Spec, logged: Collection[str]) -> Iterator[str]:
    """Yield the names that we give to other numbers."""
    gates = [gate for gate in spec.gates if isinstance(gate, Gate)]
    keys = {gate.measure.key for gate in gates if gate.measure.subject is not Subject.METRIC}
    for name in logged:
        quoted = typed(name)
        if name in RESOURCES:
            yield (
                f"the model has a metric {quoted}, but a gate on it judges {OWN_MEANING[name]}, and "
                "the metric is not recorded"
            )
        elif name in keys:
            yield f"the model has a metric {quoted}, but the gate of this name judges {name}"
        elif name.startswith("val_"):
            yield (
                f"the model has a metric {quoted}: a gate on it judges this metric on the test part, "
                f"and the search may take {typed(name.removeprefix('val_'))} of the validation part "
                "for it"
            )
        elif (
            isinstance(spec.validation, KFold)
            and name.startswith("fold_")
            and name.removeprefix("fold_") in logged
        ):
            yield (
                f"the model has a metric {quoted}, but a gate on it judges "
                f"{typed(name.removeprefix('fold_'))} of the fold that is held out"
            )


def _in_place_of_losses(predictions: PartPredictions) -> Iterator[str]:
    """Yield the metrics that Keras logs under the name of a loss."""
    losses = predictions.pairing.losses
    names = {"loss", *(f"{use.name}_loss" for use in losses if len(losses) > 1)}
    for use in predictions.pairing.metrics:
        if use.name in names:
            yield (
                f"the model has a metric {typed(use.name)}, which Keras logs in the place of the "
                "loss: a gate on it, and the search, judge the metric"
            )


def _twice(uses: Collection[Use]) -> Iterator[str]:
    """Yield the names that several metrics have: Keras numbers them."""
    places: Counter[str] = Counter()
    for use in uses:
        # What Keras has numbered does not end as the metric is called.
        number = use.name.removeprefix(_unnumbered(use))
        if number:
            places[_unnumbered(use)] += 1
    for name, more in places.items():
        yield (
            f"{more + 1} metrics of the model are called {typed(name)}: a gate on it judges the "
            f"first, and Keras logs the others as {typed(f'{name}_1')}"
            f"{' and so on' if more > 1 else ''}"
        )


def _unnumbered(use: Use) -> str:
    name, _, number = use.name.rpartition("_")
    own = str(use.function.name)
    return name if number.isdigit() and not use.name.endswith(own) else use.name


def _unlike_report(use: Use, output: Output) -> Iterator[str]:
    """Yield a metric under a name of the report with another meaning: the compiled one counts."""
    name = use.name.removeprefix(output.prefix)
    metric = use.function
    if output.task is OutputTask.REGRESSION and name in NUMBER_METRICS:
        function = keras_internals.function_of(metric)
        plain = getattr(function, "func", function)
        is_same = use.weight is None and (
            getattr(plain, "__name__", "") == SAME_AS_REPORT.get(name)
            or (name == "rmse" and type(metric) is keras.metrics.RootMeanSquaredError)
            or (name == "r2" and type(metric) is keras.metrics.R2Score)
        )
        if not is_same:
            yield f"{_judged(use)}, not {name} of the report"
    elif name in CLASS_METRICS and output.task not in (OutputTask.REGRESSION, OutputTask.OTHER):
        yield f"{_judged(use)}, not the mean of the report's {name} over the classes"


def _judged(use: Use) -> str:
    return (
        f"a gate on {typed(use.name)} judges the metric of this name that the model is compiled with "
        f"({_kind(use.function)})"
    )


def _kind(metric: Any) -> str:
    function = keras_internals.function_of(metric)
    if type(metric) is keras.metrics.MeanMetricWrapper and function is not None:
        plain = getattr(function, "func", function)
        return str(getattr(plain, "__name__", type(plain).__name__))
    return type(metric).__name__


def _unlike_accuracy(use: Use, output: Output) -> Iterator[str]:
    """Yield a metric that is called accuracy and is not the share of right classes."""
    if use.function.name not in ACCURACY:
        return
    if why := _why_no_accuracy(use.function, output):
        yield f"{typed(use.name)} is not the share of samples whose class is right: {why}"


def _why_no_accuracy(metric: Any, output: Output) -> str | None:
    kinds = keras.metrics
    if output.task in (OutputTask.REGRESSION, OutputTask.OTHER):
        return "the targets are no classes"
    if type(metric) is kinds.Accuracy:
        return "keras.metrics.Accuracy asks for predictions that equal the labels"
    if type(metric) is kinds.BinaryAccuracy:
        if output.task is OutputTask.MULTICLASS:
            return "keras.metrics.BinaryAccuracy counts the columns of the classes"
        if metric.threshold != output.threshold:
            what = "logits mean yes" if output.from_logits else "predictions mean yes"
            return f"it says yes above {metric.threshold:g}, but {what} above {output.threshold:g}"
        return None
    if type(metric) in (kinds.CategoricalAccuracy, kinds.SparseCategoricalAccuracy):
        is_of_classes = output.task is OutputTask.MULTICLASS
        return (
            None if is_of_classes else "it looks for the highest of the outputs, not for yes or no"
        )
    function = keras_internals.function_of(metric)
    if type(metric).__module__.startswith("keras.") and (
        function is None or type(metric) is not kinds.MeanMetricWrapper
    ):
        return f"it is keras.metrics.{type(metric).__name__}"
    return None if function is None else _other_value(function, output)


def _other_value(function: Any, output: Output) -> str | None:
    """Return that a function of the user's gives another number on these rows; None if the same."""
    if output.counted is not None or output.task is OutputTask.MULTILABEL:
        return None  # what counts, or is right, is for its author to say
    try:
        own = float(np.mean(function(keras_tensor(output.y), keras_tensor(output.predicted))))
    except Exception:  # noqa: BLE001  a function of the user's
        return None
    true, predicted = classes_of(output)
    share = float(np.mean(true == predicted))
    if abs(own - share) < 1e-5:
        return None
    return f"of {len(output.y)} rows it is {own:.4g}, and that share {share:.4g}"
