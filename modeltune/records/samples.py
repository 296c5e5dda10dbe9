"""The test part sample by sample: the truth, each refit's prediction, and each metric's value."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modeltune.records.plain_data import Json

Array: TypeAlias = NDArray[Any]

WIDTH = 96
"""Characters in a line of packed values: baseline files are read in reviews."""

CLASS_METRICS = ("precision", "recall", "f1")
NUMBER_METRICS = ("mae", "mse", "rmse", "r2", "explained_variance")
"""What the report measures of an output, by the kind of its targets."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What was measured on each of n test samples by each refit; rows are samples in data order.

    Args:
        size: n.
        refits: how many refits there are.
        truth: by an output's prefix ("" of a single one) the true class, int of shape (n,),
            or the targets, float32 of shape (n, k).
        predicted: by prefix the predicted class, (refits, n), or numbers, (refits, n, k).
        classes: by prefix the classes that train or test have any of; not of numbers.
        values: by metric one value per sample whose mean is the metric, (refits, n); of a
            metric that is right or wrong on each sample as bool.
        slices: by name which samples a slice has, bool of shape (n,).
        definitions: by compiled metric how Keras computes it, in words that can be compared.
    """

    size: int
    refits: int
    truth: Mapping[str, Array] = field(default_factory=dict)
    predicted: Mapping[str, Array] = field(default_factory=dict)
    classes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    values: Mapping[str, Array] = field(default_factory=dict)
    slices: Mapping[str, Array] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)

    def score(self, metric: str, refit: int, rows: Array | None = None) -> float | None:
        """Return the metric over these rows (default: all), None when samples do not tell it."""
        chosen = slice(None) if rows is None else rows
        if metric in self.values:
            values = self.values[metric][refit][chosen]
            return float(np.mean(values, dtype=np.float64)) if len(values) else math.nan
        prefix = self.reported(metric)
        if prefix is None:
            return None
        truth, predicted = self.truth[prefix][chosen], self.predicted[prefix][refit][chosen]
        name = metric.removeprefix(prefix)
        if name in CLASS_METRICS:
            return class_metric(name, truth, predicted)
        return number_metric(name, truth, predicted)

    def class_score(self, metric: str, refit: int, label: int) -> float | None:
        """Return the metric of one class: its row of the report, else the mean over its samples."""
        prefix = self.reported(metric)
        if prefix is None or metric in self.values:
            return self.score(metric, refit, self.truth[self.classified(metric)] == label)
        name = metric.removeprefix(prefix)
        if name not in CLASS_METRICS:
            return None
        truth, predicted = self.truth[prefix], self.predicted[prefix][refit]
        return class_metric(name, truth, predicted, label)

    def reported(self, metric: str) -> str | None:
        """Return the prefix of the output whose report has this metric, None when none has.

        One of the same name that the model was compiled with has its own definition.
        """
        if metric in self.definitions:
            return None
        for prefix, truth in self.truth.items():
            names = CLASS_METRICS if truth.ndim == 1 else NUMBER_METRICS
            if metric in {f"{prefix}{name}" for name in names}:
                return prefix
        return None

    def classified(self, metric: str) -> str:
        """Return the prefix of the output whose classes a metric is judged by.

        Raises:
            LookupError: no output is classified, or several are and the name begins with none of them.
        """
        prefixes = [prefix for prefix, truth in self.truth.items() if truth.ndim == 1]
        named = [prefix for prefix in prefixes if prefix and metric.startswith(prefix)]
        outputs = named or prefixes
        if len(outputs) != 1:
            raise LookupError("no classes" if not outputs else "several classified outputs")
        return outputs[0]


def class_metric(name: str, truth: Array, predicted: Array, label: int | None = None) -> float:
    """Return precision, recall or F1 of a class, or their mean over the classes ``truth`` has.

    As scikit-learn's, with 0 where there is nothing to divide by, but from one count of all
    pairs: a bootstrap asks thousands of times.
    """
    if not len(truth):
        return float("nan")
    least = int(truth.min())
    if least < 0:  # as labels that ignore_class=-1 leaves out of a loss
        truth, predicted = truth - least, predicted - least
        label = None if label is None else label - least
    classes = int(max(truth.max(), predicted.max(), label or 0)) + 1
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    confusion = counts.reshape(classes, classes)
    right, true, named = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    whole = {"precision": named, "recall": true, "f1": (true + named) / 2}[name]
    scores = np.divide(right, whole, out=np.zeros(classes), where=whole > 0)
    if label is not None:
        return float(scores[label])
    # Predictions of a label that is left out count as wrong, but it has no score of its own.
    counted = scores[(true > 0) & (np.arange(classes) >= max(0, -least))]
    return float(counted.mean()) if len(counted) else float("nan")


def number_metric(name: str, truth: Array, predicted: Array) -> float:
    """Return MAE, MSE, RMSE, R2 or explained variance, a uniform average over target columns.

    As scikit-learn's, R2 and explained variance of a constant target included: 1 for perfect
    predictions, 0 for others. NaN of too few rows.
    """
    if len(truth) < (2 if name in ("r2", "explained_variance") else 1):
        return float("nan")
    truth, error = truth.astype(np.float64), predicted.astype(np.float64) - truth
    if name == "mae":
        return float(np.abs(error).mean())
    if name in ("mse", "rmse"):
        mse = float(np.square(error).mean())
        return mse if name == "mse" else math.sqrt(mse)
    if name == "explained_variance":
        error = error - error.mean(axis=0)
    left = np.square(error).sum(axis=0)
    whole = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    constant = np.where(left == 0, 1.0, 0.0)
    return float(np.where(whole > 0, 1 - left / np.where(whole > 0, whole, 1), constant).mean())


def join_samples(refits: Sequence[Samples]) -> Samples | None:
    """Return the samples of several refits as those of all in this order.

    None when their samples differ: a stream may come in another order each time.
    """
    first = refits[0]
    for other in refits:
        if other.size != first.size or any(
            not np.array_equal(truth, other.truth[name]) for name, truth in first.truth.items()
        ):
            return None
    return replace(
        first,
        refits=sum(one.refits for one in refits),
        predicted={
            name: np.concatenate([one.predicted[name] for one in refits])
            for name in first.predicted
            if all(name in one.predicted for one in refits)
        },
        values={
            name: np.concatenate([one.values[name] for one in refits])
            for name in first.values
            if all(name in one.values for one in refits)
        },
    )


def pack_samples(samples: Samples) -> Json:
    """Return samples as JSON data: sorted, in short lines, most of it compressed."""
    return {
        "size": samples.size,
        "refits": samples.refits,
        "truth": {name: _pack(array) for name, array in sorted(samples.truth.items())},
        "predicted": {name: _pack(array) for name, array in sorted(samples.predicted.items())},
        "classes": {name: list(labels) for name, labels in sorted(samples.classes.items())},
        "values": {name: _pack(array) for name, array in sorted(samples.values.items())},
        "slices": {name: _pack(array) for name, array in sorted(samples.slices.items())},
        "definitions": dict(sorted(samples.definitions.items())),
    }


def unpack_samples(data: Mapping[str, Json]) -> Samples:
    """Return what ``pack_samples`` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not what ``pack_samples`` writes.
    """
    arrays = {
        name: {key: _unpack(value) for key, value in data[name].items()}
        for name in ("truth", "predicted", "values", "slices")
    }
    samples = Samples(
        data["size"],
        data["refits"],
        classes=data["classes"],
        definitions=data["definitions"],
        **arrays,
    )
    shapes = (
        *(
            (array, (samples.size,))
            for array in (*samples.truth.values(), *samples.slices.values())
        ),
        *(
            (array, (samples.refits, samples.size))
            for array in (*samples.predicted.values(), *samples.values.values())
        ),
    )
    for array, shape in shapes:
        if array.shape[: len(shape)] != shape:
            raise ValueError(f"{array.shape} values for {samples.size} samples")
    return samples


def _pack(array: Array) -> Json:
    if array.dtype == bool:
        kind, content = "bool", np.packbits(array.reshape(-1)).tobytes()
    elif array.dtype.kind in "iu":
        # The fewest bytes that hold every class.
        small = np.min_scalar_type(int(array.max(initial=0)))
        if array.min(initial=0) < 0:
            small = np.dtype(np.int64)
        kind, content = small.str, array.astype(small).tobytes()
    else:
        kind, content = "<f4", array.astype("<f4").tobytes()
    text = base64.b64encode(zlib.compress(content, 9)).decode()
    lines = [text[start : start + WIDTH] for start in range(0, len(text), WIDTH)]
    return {"type": kind, "shape": list(array.shape), "zlib": lines}


def _unpack(data: Mapping[str, Json]) -> Array:
    shape = tuple(data["shape"])
    count = math.prod(shape)
    kind = np.dtype(data["type"])
    if kind.kind not in "biuf":
        raise ValueError(f"values of type {kind}")
    try:
        content = zlib.decompress(base64.b64decode("".join(data["zlib"]), validate=True))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if kind.kind == "b":
        if len(content) != -(-count // 8):
            raise ValueError(f"{len(content)} bytes for {count} values")
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=count)
        return bits.astype(bool).reshape(shape)
    return (
        np.frombuffer(content, kind).reshape(shape).astype(np.int64 if kind.kind in "iu" else kind)
    )
