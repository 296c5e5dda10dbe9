"""Predict single samples, and tell in words what a prediction is and how two of them differ."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from modeltune.engine.data import Arrays, RaggedArray, map_arrays
from modeltune.engine.probe.sources import PredictionSource
from modeltune.engine.probe.transforms import (
    PREDICTION_BATCH,
    ProbeError,
    RowOfAnyLength,
    row_of,
    stack,
)
from modeltune.engine.score import (
    Output,
    OutputTask,
    Points,
    at_points,
    decisions,
    probabilities,
)
from modeltune.ground import error_line
from modeltune.records import Array
from modeltune.specs import Behaviour

FLOAT32_STEPS = 16 * 2.0**-23
"""The rounding error of a float32 prediction, as a part of its value."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model that predicts samples in batches of two fixed sizes, and knows its test rows.

    ``columns`` are the names of a row's values, where test is a frame, ``points`` from where on its outputs
    say yes, by their names.
    """

    source: PredictionSource
    x: Arrays
    columns: Sequence[str] = ()
    known: dict[int, Arrays] = field(default_factory=dict)
    points: Points = field(default_factory=dict)

    @property
    def outputs(self) -> Sequence[Output]:
        """The outputs that have targets, decided at their points."""
        return at_points(self.source.outputs, self.points)

    def rows(self, rows: Sequence[int]) -> list[Arrays]:
        """Return what the model predicts for test rows; predict each row once."""
        if missing := [row for row in dict.fromkeys(rows) if row not in self.known]:
            predicted = self.samples([self.sample(row) for row in missing])
            self.known.update(zip(missing, predicted, strict=True))
        return [self.known[row] for row in rows]

    def sample(self, row: int) -> Arrays:
        """Return a copy of one row, which a transform may change in place."""

        def copied(array: Array) -> Array:
            if isinstance(array, RaggedArray):
                return np.array(array[row]).view(RowOfAnyLength)
            return np.array(array[row, ...])

        return map_arrays(copied, self.x)

    def samples(self, samples: Sequence[Arrays]) -> list[Arrays]:
        """Return what the model predicts for each sample."""
        predicted: list[Arrays] = []
        size = self.source.batch or (1 if len(samples) == 1 else PREDICTION_BATCH)
        for start in range(0, len(samples), size):
            window = list(samples[start : start + size])
            filled = window + window[-1:] * (size - len(window))
            try:
                batch = self.source.predict(stack(filled))
            except Exception as error:
                raise ProbeError(f"the model cannot predict: {error_line(error)}") from error
            predicted += [row_of(batch, i) for i in range(len(window))]
        return predicted


def output_of(output: Output, raw: Arrays) -> Array:
    """Return one output from what the model predicted for one sample."""
    if isinstance(raw, np.ndarray):
        return raw
    if type(raw) in (dict, list, tuple):
        # As keras.tree.flatten does, without Keras: the keys of a dict are sorted.
        arrays = [raw[key] for key in sorted(raw)] if isinstance(raw, dict) else list(raw)
        if all(isinstance(array, np.ndarray) for array in arrays):
            return np.asarray(arrays[output.place])
    import keras

    return np.asarray(keras.tree.flatten(raw)[output.place])


def is_number(output: Output) -> bool:
    """Tell whether an output predicts numbers, not classes."""
    return output.task in (OutputTask.REGRESSION, OutputTask.OTHER)


def read_decision(output: Output, predicted: Array) -> Array:
    """Return the class or classes that an output names, as reports count them, or its numbers."""
    if is_number(output):
        return predicted.astype(np.float64)
    return np.asarray(decisions(output, predicted).astype(int))


def confidence(output: Output, predicted: Array) -> float | None:
    """Return the probability of the predicted class; None where an output names no single class."""
    if output.task is OutputTask.MULTICLASS and predicted.ndim == 1:
        return float(probabilities(output, predicted)[int(decisions(output, predicted))])
    if output.task is OutputTask.BINARY and predicted.size == 1:
        positive = float(probabilities(output, predicted).reshape(-1)[0])
        return positive if read_decision(output, predicted).item() else 1 - positive
    return None


def describe_change(
    output: Output, before: Array, after: Array, tolerance: Array | None
) -> tuple[bool, str]:
    """Tell whether two predictions differ, and how, in words."""
    one, other = read_decision(output, before), read_decision(output, after)
    text = f"{in_words(output, before)} -> {in_words(output, after)}"
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return True, f"{text}, not finite"
    if not is_number(output):
        return bool((one != other).any()), text
    distance, slack = np.abs(one - other), slack_of(tolerance, one, other)
    at = int(np.argmax(distance - slack))
    how = f"moved by {distance.flat[at]:.4g}, may move by {slack.flat[at]:.4g}"
    return bool((distance > slack).any()), f"{text}, {how}"


def slack_of(tolerance: Array | None, one: Array, other: Array) -> Array:
    """Return how far two predictions may be apart; a tolerance of 0 still allows for rounding."""
    rounding = FLOAT32_STEPS * np.maximum(np.abs(one), np.abs(other))
    return np.asarray(rounding if tolerance is None else tolerance + rounding)


def fell(
    behaviour: Behaviour,
    output: Output,
    score: Callable[[Array], float],
    one: Array,
    other: Array,
    tolerance: Array | None,
) -> tuple[bool, str]:
    """Tell whether a score moved against its direction, and how, in words."""
    before, after = score(one), score(other)
    label = output.class_names.label(1 if behaviour.of is None else behaviour.of)
    whose = "" if is_number(output) else f"P({label}) "
    text = f"{whose}{before:.6g} -> {after:.6g}"
    if not (math.isfinite(before) and math.isfinite(after)):
        return True, f"{text}, not finite"
    against = "down" if behaviour.direction == "up" else "up"
    allowed = np.broadcast_to(0.0 if tolerance is None else tolerance, one.shape)
    slack = float(allowed.reshape(-1)[behaviour.of or 0]) if is_number(output) else allowed.max()
    slack = float(slack) + FLOAT32_STEPS * max(abs(before), abs(after))
    wrong = before - after if against == "down" else after - before
    return wrong > slack, f"{text}, must not go {against}"


def score_of(behaviour: Behaviour, output: Output) -> Callable[[Array], float]:
    """Return what reads the number that has a direction from one prediction."""
    task, of = output.task, behaviour.of
    width = int(np.prod(output.predicted.shape[1:], dtype=int))
    if task is OutputTask.BINARY:
        if of not in (None, 0, 1):
            raise ProbeError(f"of={of}: the model says yes or no; write 0 or 1")
        return lambda p: abs((of == 0) - float(probabilities(output, p).reshape(-1)[0]))
    if of is None and width > 1:
        what = "classes" if task in (OutputTask.MULTICLASS, OutputTask.MULTILABEL) else "columns"
        raise ProbeError(
            f"the model predicts {width} {what}; say which has the direction: of=0 to of={width - 1}"
        )
    if of is not None and of >= width:
        raise ProbeError(f"of={of}: the model predicts 0 to {width - 1}")
    return lambda p: float(probabilities(output, p).reshape(-1)[of or 0])


def in_words(output: Output, predicted: Array) -> str:
    """Return a prediction in words: "7 (0.91)", "151.2", or the first of several."""
    decision = read_decision(output, predicted).reshape(-1)
    if not np.isfinite(predicted).all():
        return "nan" if np.isnan(predicted).any() else "inf"
    if len(decision) > 6:
        digest = hashlib.sha256(np.ascontiguousarray(decision).tobytes()).hexdigest()[:8]
        return f"{len(decision)} values #{digest}"
    probability = confidence(output, predicted)
    named = output.task in (OutputTask.BINARY, OutputTask.MULTICLASS)
    text = ", ".join(
        output.class_names.label(int(value)) if named else f"{value:.6g}" for value in decision
    )
    text = text if len(decision) == 1 else f"[{text}]"
    return text if probability is None else f"{text} ({probability:.2f})"
