"""Check a trained model: its predictions repeat, survive saving, and give the reported scores."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from modeltune.engine.data import Arrays, Part, concatenate, leaves, map_arrays
from modeltune.engine.fit import Model, fixed_batch, input_tensors, predict_batch, reset_states
from modeltune.engine.internals import Feature, keras_internals
from modeltune.engine.score.random_numbers import (
    draws_in_training_only,
    from_equal_numbers,
    random_states,
)
from modeltune.engine.score.scoring import PartPredictions, predict
from modeltune.engine.score.task_report import Output, OutputTask
from modeltune.ground import error_line
from modeltune.records import Area, Array, MetricPair, MetricPairs, Outcome, Verdict, check_verdict

ROWS = 256
"""Rows of test that are predicted several times."""

SINGLE_ROWS = 16
"""Rows that are predicted one by one, which costs a call for each."""

SEED = 0
"""The seed that draws the rows of an array part; of a stream, the first rows are taken."""


OF_RANDOM = "the model's predictions are random (integrity.predict_twice)"


@dataclass(frozen=True)
class Tolerance:
    """The largest harmless differences, relative to the largest prediction.

    ``same`` is for two runs of the same computation, which differ at most in the order of sums.
    ``batched`` is for a row alone and in a batch, where TensorFlow may choose other kernels at
    every layer; float32 then differs by some 1e-6, float16 by some 1e-3.
    """

    dtype: str
    same: float
    batched: float


TOLERANCES = (
    Tolerance("bfloat16", 1e-2, 1e-1),
    Tolerance("float16", 2e-3, 2e-2),
    Tolerance("float32", 1e-5, 1e-4),
)
"""The tolerances, coarsest first; the coarsest dtype that a model computes in decides."""


_verdict = functools.partial(check_verdict, Area.MODEL)


class _Repeats(enum.Enum):
    """Whether predictions of the same rows are the same; if not, what makes them others.

    ``RANDOM`` ones are the same once the random numbers are. ``LEFT_ON`` is what a layer of Keras
    draws that is to draw in training only, such as Dropout.
    """

    YES = enum.auto()
    RANDOM = enum.auto()
    LEFT_ON = enum.auto()
    NO = enum.auto()


@dataclass(frozen=True, eq=False)
class _Twice:
    """Two predictions of the same rows, their relative difference, and what it comes from.

    ``drawing`` names the layers that drew random numbers, as far as they are known.
    """

    predicted: Arrays
    difference: float
    repeats: _Repeats
    drawing: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some rows of test, and how many of them the model gets at a time."""

    x: Arrays
    size: int
    batch_size: int

    def predict_with(
        self,
        model: Model,
        most: int | None = None,
        predict: Callable[[Arrays], Arrays] | None = None,
    ) -> Arrays:
        """Return predictions for the rows, in batches of at most ``most`` rows.

        ``predict`` takes the place of the model's own way to predict a batch.
        """
        step = most or self.batch_size
        predict = predict or functools.partial(predict_batch, model)
        joined: Arrays = None
        reset_states(model)
        for start in range(0, self.size, step):
            batch = _slice(self.x, start, min(start + step, self.size))
            predicted = map_arrays(_numbers, predict(input_tensors(model, batch)))
            joined = predicted if joined is None else concatenate(joined, predicted)
        return joined

    def predict_from_equal_numbers(self, models: Sequence[Model]) -> list[Arrays]:
        """Return what each of equal models predicts for the rows, from the same random numbers."""
        few = _slice(self.x, 0, self.batch_size)
        return from_equal_numbers(
            models, few, lambda model, predict: self.predict_with(model, predict=predict)
        )


def check_model(
    model: Model,
    restored: Model | str,
    part: Part,
    batch_size: int,
    scores: Mapping[str, float],
    predictions: PartPredictions | None = None,
) -> tuple[Verdict, ...]:
    """Return one verdict per property that every trained model must have; raise nothing.

    Args:
        model: the refitted model, as it was scored.
        restored: a freshly built model of the same values, with the saved weights loaded, or why
            it does not take them.
        part: the test part; all of it is predicted once, a few hundred rows several times.
        batch_size: how many rows of arrays are predicted at a time.
        scores: the model's reported scores on this part, by Keras's names.
        predictions: the model's predictions on the whole part, if there are any yet.
    """

    # Each is computed inside the first check that needs it, so that this check reports its error.
    @functools.cache
    def on_part() -> PartPredictions:
        return predict(model, part, batch_size) if predictions is None else predictions

    @functools.cache
    def rows() -> _Rows:
        return _some_rows(model, part, batch_size)

    @functools.cache
    def twice() -> _Twice:
        return _predictions_twice(model, rows())

    checks: dict[str, Callable[[], Verdict]] = {
        "integrity.evaluate": lambda: _evaluate(model, part, on_part(), scores, twice()),
        "integrity.round_trip": lambda: _round_trip(model, restored, twice(), rows()),
        "integrity.predict_twice": lambda: _predict_twice(model, twice(), rows()),
        "integrity.single_row": lambda: _single_row(model, twice(), rows()),
        "integrity.probabilities": lambda: _probabilities(model, on_part()),
    }
    return tuple(_guard(name, check) for name, check in checks.items())


def _guard(gate: str, check: Callable[[], Verdict]) -> Verdict:
    try:
        return check()
    except Exception as error:  # noqa: BLE001  a model may raise anything, which the verdict names
        reason = f"the check raised {error_line(error)}"
        return _verdict(gate, Outcome.ERROR, None, None, reason)


# Reported scores


def _evaluate(
    model: Model,
    part: Part,
    predictions: PartPredictions,
    scores: Mapping[str, float],
    twice: _Twice,
) -> Verdict:
    """Compare Keras's scores with the same metrics computed in float64 from aligned predictions."""
    gate = "integrity.evaluate"
    compared: dict[str, MetricPair] = {}
    wrong: list[str] = []
    worst = 0.0
    relative = _tolerance(model).same
    for name, output, metric in _compiled_metrics(predictions):
        if name not in scores or (measured := _recompute(metric, output, relative)) is None:
            continue
        ours, allowed = measured
        difference = abs(scores[name] - ours)
        compared[name] = MetricPair(scores[name], ours)
        if difference <= allowed:
            continue
        wrong.append(f"{name} is {scores[name]:.6g} in the report and {ours:.6g}")
        worst = max(worst, difference) if math.isfinite(difference) else math.inf
    details = MetricPairs(compared)
    if wrong and twice.repeats is _Repeats.RANDOM:
        reason = f"nothing to compare: {OF_RANDOM}"
        return _verdict(gate, Outcome.PASSED, None, None, reason, MetricPairs({}))
    if wrong:
        cause = (
            "does the dataset yield the same samples each time it is read?"
            if part.stream is not None
            else "does the model have a test_step of its own, or does it predict at random?"
        )
        reason = f"{'; '.join(wrong)} from its predictions; {cause}"
        return _verdict(gate, Outcome.FAILED, worst, 0.0, reason, details)
    if not compared:
        reason = keras_internals.KERAS.why_not(Feature.INTEGRITY) or (
            "no compiled metric is an accuracy, mae, mse or rmse of the predictions"
        )
        return _verdict(gate, Outcome.PASSED, None, None, f"nothing to compare: {reason}", details)
    reason = f"the predictions give the reported {', '.join(compared)}"
    return _verdict(gate, Outcome.PASSED, 0.0, 0.0, reason, details)


def _compiled_metrics(predictions: PartPredictions) -> Iterator[tuple[str, Output, Any]]:
    """Yield Keras's unweighted metrics with their name in ``evaluate`` and what they compare."""
    if any(mask is not None for mask in predictions.masks):
        return  # Keras leaves out masked steps
    targets = dict(leaves(predictions.y))
    outputs = {output.place: output for output in predictions.outputs}
    for use in predictions.pairing.metrics:
        if use.weight is None and use.place in outputs:
            yield use.name, replace(outputs[use.place], y=targets[use.path]), use.function


def _recompute(metric: Any, output: Output, relative: float) -> tuple[float, float] | None:
    """Return a metric's value and the difference that rounding allows, or None if unknown."""
    y, predicted = output.y, _numbers(output.predicted).astype(np.float64)
    if y.dtype.kind not in "biuf" or not y.size or not np.isfinite(predicted).all():
        return None
    noise = relative * float(max(np.abs(predicted).max(), np.abs(y).max()))
    kind = type(metric)
    if kind in (keras.metrics.SparseCategoricalAccuracy, keras.metrics.CategoricalAccuracy):
        is_one_hot = kind is keras.metrics.CategoricalAccuracy
        width = predicted.shape[-1] if predicted.ndim > 1 else 1
        if width < 2 or y.size * (1 if is_one_hot else width) != predicted.size:
            return None
        classes = predicted.reshape(-1, width)
        true = y.reshape(classes.shape).argmax(axis=1) if is_one_hot else y.reshape(-1)
        two = np.partition(classes, -2, axis=1)[:, -2:]
        return _accuracy(classes.argmax(axis=1) == true, two[:, 1] - two[:, 0] <= noise)
    if y.size != predicted.size:
        return None
    predicted, true = predicted.reshape(-1), y.reshape(-1).astype(np.float64)
    if kind is keras.metrics.BinaryAccuracy:
        above = predicted - metric.threshold
        return _accuracy((above > 0) == true, np.abs(above) <= noise)
    errors = np.abs(predicted - true)
    mse = float((errors**2).mean())
    if kind is keras.metrics.MeanAbsoluteError:
        return float(errors.mean()), 1e-4 * float(errors.mean()) + noise
    if kind is keras.metrics.RootMeanSquaredError:
        return math.sqrt(mse), 1e-4 * math.sqrt(mse) + noise
    if kind is keras.metrics.MeanSquaredError:
        return mse, 1e-4 * mse + noise * (2 * float(errors.max()) + noise)
    return None


def _accuracy(right: Array, close: Array) -> tuple[float, float]:
    # Rounding may decide either way about rows whose two best classes are nearly tied.
    return float(right.mean()), float(close.mean()) + 1e-6


# Repeated predictions


def _predictions_twice(model: Model, rows: _Rows) -> _Twice:
    predicted = rows.predict_with(model)
    before = random_states(model)
    again = rows.predict_with(model)
    tolerance = _tolerance(model).same
    difference = _difference(predicted, again)
    if difference <= tolerance:
        return _Twice(predicted, difference, _Repeats.YES)
    after = random_states(model)
    drawing = [
        layer
        for (layer, state), (_, other) in zip(before, after, strict=True)
        if not np.array_equal(state, other)
    ]
    names = tuple(layer.name for layer in drawing)
    if any(draws_in_training_only(layer) for layer in drawing):
        return _Twice(predicted, difference, _Repeats.LEFT_ON, names)
    one, other = rows.predict_from_equal_numbers([model, model])
    is_random = _difference(one, other) <= tolerance
    return _Twice(predicted, difference, _Repeats.RANDOM if is_random else _Repeats.NO, names)


def _predict_twice(model: Model, twice: _Twice, rows: _Rows) -> Verdict:
    gate, tolerance = "integrity.predict_twice", _tolerance(model)
    difference = twice.difference
    if twice.repeats is _Repeats.YES:
        reason = f"{rows.size} rows predicted twice: {_apart(difference)}"
        return _verdict(gate, Outcome.PASSED, difference, tolerance.same, reason)
    reason = f"two predictions of the same {rows.size} rows: {_apart(difference)}; "
    drawing = ", ".join(twice.drawing)
    if twice.repeats is _Repeats.RANDOM:
        reason += (
            f"the model draws random numbers{f' ({drawing})' if drawing else ''}, and nothing else "
            "changes: from equal random numbers come equal predictions. What is measured of them is "
            "random too"
        )
        return _verdict(gate, Outcome.WARNED, difference, tolerance.same, reason)
    if twice.repeats is _Repeats.LEFT_ON:
        reason += (
            f"{drawing} draws random numbers at inference, as is meant for training only: look for "
            "training=True"
        )
    else:
        reason += (
            "they are others from equal random numbers too, so that the model changes its state at "
            "inference: look for training=True, or a layer that counts its calls"
        )
    return _verdict(gate, Outcome.FAILED, difference, tolerance.same, reason)


def _round_trip(model: Model, restored: Model | str, twice: _Twice, rows: _Rows) -> Verdict:
    gate, tolerance = "integrity.round_trip", _tolerance(model)
    if isinstance(restored, str):
        reason = (
            f"a newly built model does not take the saved weights: {restored}; does its build "
            "function draw random numbers?"
        )
        return _verdict(gate, Outcome.FAILED, None, tolerance.same, reason)
    how = ""
    if twice.repeats is _Repeats.YES:
        difference = _difference(twice.predicted, rows.predict_with(restored))
    elif twice.repeats is _Repeats.RANDOM:
        difference = _difference(*rows.predict_from_equal_numbers([model, restored]))
        if difference > tolerance.same:
            return _not_repeatable(gate, tolerance.same)
        how = " and equal random numbers"
    else:
        return _not_repeatable(gate, tolerance.same)
    if difference <= tolerance.same:
        reason = f"{rows.size} rows predicted with the saved weights{how}: {_apart(difference)}"
        return _verdict(gate, Outcome.PASSED, difference, tolerance.same, reason)
    reason = (
        "a newly built model with the saved weights gives other predictions: "
        f"{_apart(difference)}; does the model keep state outside its weights, or does its build "
        "function draw random numbers?"
    )
    return _verdict(gate, Outcome.FAILED, difference, tolerance.same, reason)


def _single_row(model: Model, twice: _Twice, rows: _Rows) -> Verdict:
    gate, tolerance = "integrity.single_row", _tolerance(model)
    if twice.repeats is _Repeats.RANDOM:
        reason = f"not compared: {OF_RANDOM}"
        return _verdict(gate, Outcome.PASSED, None, tolerance.batched, reason)
    if twice.repeats is not _Repeats.YES:
        return _not_repeatable(gate, tolerance.batched)
    fixed = fixed_batch(model)
    if fixed not in (None, 1):
        reason = f"the model takes only batches of exactly {fixed} rows, never a single row"
        return _verdict(gate, Outcome.PASSED, None, tolerance.batched, reason)
    few = min(SINGLE_ROWS, rows.size)
    alone = _Rows(_slice(rows.x, 0, few), few, 1).predict_with(model)
    together = map_arrays(lambda array: array[:few], twice.predicted)
    if any(len(array) != rows.size for _, array in leaves(twice.predicted)):
        # Ragged predictions: which values are of these rows is not known any more.
        together = _Rows(_slice(rows.x, 0, few), few, few).predict_with(model)
    # Use the scale of all rows, not of this small subset.
    difference = _difference(together, alone, twice.predicted)
    if difference <= tolerance.batched:
        reason = f"{few} rows predicted one by one and together: {_apart(difference)}"
        return _verdict(gate, Outcome.PASSED, difference, tolerance.batched, reason)
    reason = (
        f"{few} rows predicted one by one and together: {_apart(difference)}; a row's prediction "
        "depends on its batch: look for BatchNormalization with training=True, or statistics "
        "over axis 0"
    )
    return _verdict(gate, Outcome.FAILED, difference, tolerance.batched, reason)


def _not_repeatable(gate: str, bound: float) -> Verdict:
    reason = "unknown: the model's predictions differ each time (integrity.predict_twice)"
    return _verdict(gate, Outcome.INCONCLUSIVE, None, bound, reason)


def _some_rows(model: Model, part: Part, batch_size: int) -> _Rows:
    """Return some rows of test, in whole batches if there are enough rows."""
    fixed = fixed_batch(model)
    if part.stream is None:
        size = min(fixed or batch_size, part.size)
        count = max(ROWS // size * size, size) if size <= ROWS or fixed else ROWS
        count = min(count, part.size // size * size)
        drawn = np.random.default_rng(SEED).choice(part.size, count, replace=False)
        return _Rows(part.take(np.sort(drawn)).x, count, min(size, count))
    rows, size, first = None, 0, 0
    for x, _, _ in part.batches(batch_size):
        count = len(next(leaves(x))[1])
        if rows is None:
            rows, size, first = x, count, count
        elif _row_shapes(x) != _row_shapes(rows) or count != first:
            break  # a batch padded to another length, or the shorter last batch
        else:
            rows, size = concatenate(rows, x), size + count
        if size >= ROWS:
            break
    # A single batch may have more rows than needed.
    kept = size if fixed else min(size, ROWS)
    return _Rows(_slice(rows, 0, kept), kept, min(first, kept))


def _row_shapes(x: Arrays) -> list[tuple[int, ...]]:
    return [array.shape[1:] for _, array in leaves(x)]


def _tolerance(model: Model) -> Tolerance:
    all_known = keras_internals.KERAS.why_not(Feature.INTEGRITY) is None
    layers = keras_internals.inner_layers(model) if all_known else [model, *model.layers]
    dtypes = {getattr(layer, "compute_dtype", None) for layer in layers}
    return next((t for t in TOLERANCES if t.dtype in dtypes), TOLERANCES[-1])


def _difference(one: Arrays, other: Arrays, scale_of: Arrays = None) -> float:
    """Return the largest difference relative to the largest value, for each output by its own scale.

    It is infinite when a value is not finite, or when the shapes differ.
    """
    worst = 0.0
    scales = dict(leaves(one if scale_of is None else scale_of))
    for (path, a), (_, b) in zip(leaves(one), leaves(other), strict=True):
        if a.shape != b.shape:
            return math.inf
        if not a.size or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            continue
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return math.inf
        scale = max(float(np.abs(scales[path]).max()), float(np.abs(b).max()))
        worst = max(worst, float(np.abs(a - b).max()) / scale)
    return worst


def _apart(difference: float) -> str:
    if not difference:
        return "no difference"
    return f"they differ by {difference:.2g} of the largest prediction"


# Probabilities


def _probabilities(model: Model, predictions: PartPredictions) -> Verdict:
    gate = "integrity.probabilities"
    wrong: list[str] = []
    shares: list[str] = []
    slack = 1e-3 if _tolerance(model).dtype == "float32" else 1e-2
    if not predictions.outputs:  # without targets
        for path, array in leaves(predictions.predicted):
            name = f"output {path}" if path else "the output"
            wrong += _not_finite(name, _numbers(array))
    for output in predictions.outputs:
        name = f"output {output.name}" if output.name else "the output"
        values = _numbers(output.predicted)
        if lines := _not_finite(name, values):
            wrong += lines
            continue
        if not _is_probability(output):
            continue
        shares.append(name)
        outside = (values < -1e-6) | (values > 1 + slack)
        if outside.any():
            wrong.append(
                f"{name} is {values[outside][0]:.4g}, no probability: end the model with softmax or "
                "sigmoid, or compile its loss with from_logits=True"
            )
        elif output.task is OutputTask.MULTICLASS:
            sums = values.sum(axis=-1).reshape(len(values), -1)
            off = (np.abs(sums - 1) > slack).any(axis=1)
            if off.any():
                worst = sums.reshape(-1)[np.abs(sums - 1).argmax()]
                wrong.append(
                    f"{name} sums to {worst:.4g} over the classes, not to 1, in {off.sum()} of "
                    f"{len(off)} rows: end the model with softmax"
                )
    if wrong:
        return _verdict(gate, Outcome.FAILED, float(len(wrong)), 0.0, "; ".join(wrong))
    if shares:
        reason = "probabilities are finite, between 0 and 1, and sum to 1 over exclusive classes"
    else:
        reason = "all predictions are finite; none is a probability"
    return _verdict(gate, Outcome.PASSED, 0.0, 0.0, reason)


def _not_finite(name: str, values: Array) -> list[str]:
    finite = np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if finite.all():
        return []
    return [
        f"{name} is not finite in {(~finite).sum()} of {len(finite)} rows, first in row "
        f"{int(finite.argmin())}"
    ]


def _is_probability(output: Output) -> bool:
    """Tell by its loss whether an output holds probabilities: hinge and mse take any number."""
    if output.from_logits or output.task in (OutputTask.REGRESSION, OutputTask.OTHER):
        return False
    return "crossentropy" in output.loss


def _numbers(array: Any) -> Array:
    """Return predictions as numbers; of a RaggedTensor all its values, one row after the other."""
    numbers = np.asarray(getattr(array, "flat_values", array))
    # bfloat16 is not one of NumPy's own types, so its kind is not "f".
    return numbers if numbers.dtype.kind in "biu" else numbers.astype(np.float64)


def _slice(arrays: Arrays, start: int, end: int) -> Arrays:
    return map_arrays(lambda array: array[start:end], arrays)
