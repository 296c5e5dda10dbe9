"""The test part sample by sample: the truth, each refit's prediction, and each metric's value."""

from __future__ import annotations

import base64
import binascii
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from modeltune.records.answers import Answers, Array, UsualMetric, usual_metric
from modeltune.records.plain_data import Json
from modeltune.records.sample_metadata import SampleMetadata, Texts

_T = TypeVar("_T")

WIDTH = 96
"""Characters in a line of packed values: baseline files are read in reviews."""

LARGEST_UNPACKED = 1 << 30
"""Bytes in memory; samples that take more are not kept, and not read."""

CLASS_METRICS = ("precision", "recall", "f1")
NUMBER_METRICS = ("mae", "mse", "rmse", "r2", "explained_variance")
"""What the report measures of an output, by the kind of its targets."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Which group each of n samples is in: by its place among the labels, int of shape (n,)."""

    labels: tuple[str, ...]
    codes: Array

    @classmethod
    def of(cls, texts: Array) -> Groups:
        """Return the groups of samples that each have the text, in the order of the texts."""
        places: dict[str, int] = {}
        codes = np.array([places.setdefault(text, len(places)) for text in texts.tolist()], int)
        labels = tuple(sorted(places))
        rank = {label: place for place, label in enumerate(labels)}
        order = np.array([rank[label] for label in places], int)
        return cls(labels, order[codes] if len(codes) else codes)

    def mask(self, label: str) -> Array:
        """Return which samples are in a group, bool of shape (n,)."""
        place = self.labels.index(label) if label in self.labels else -1
        chosen: Array = self.codes == place
        return chosen


@dataclass(frozen=True, eq=False)
class Samples:
    """What was measured on each of n test samples by each refit; rows are samples in data order.

    Args:
        size: n.
        refits: how many refits there are.
        truth: by an output's prefix ("" of a single one) the true class, int of shape (n,),
            whether it has each of k labels, bool of shape (n, k), or the targets, float32 of
            shape (n, k); -1, no label or NaN of samples that do not count. Of targets too wide to be
            kept a digest, (n, 1), which has nothing predicted beside it.
        predicted: by prefix the predicted class, (refits, n), or labels or numbers, (refits, n, k).
        classes: by prefix the classes that train or test have any of; not of numbers.
        values: by metric one value per sample whose mean is the metric, (refits, n); of a
            metric that is right or wrong on each sample as bool.
        slices: by name which samples a slice has, bool of shape (n,).
        definitions: by compiled metric how Keras computes it, in words that can be compared.
        weights: by metric how much each sample counts in the mean of its values, float32 of
            shape (n,), as where some have fewer unmasked steps; all alike where it has no entry.
        outputs: by prefix the probabilities or numbers as predicted, float32 or float64 of shape
            (refits, n) or (refits, n, k); kept where a gate is judged by them.
        chart_outputs: by prefix the probabilities of the first refit, (n,) or (n, k), where no gate
            is judged by them: for the charts of reports, and no part of a baseline file.
        groups: by the name they are by which group each sample is in.
        metadata: what else is known of the samples, where a metric of the author's that is one number
            of all of them takes it.
        thresholds: by prefix from which probability on each refit says yes, float64 of shape (refits, 1),
            or (refits, k) of labels; nothing where it decides as its kind does.
        clusters: which samples belong together, as several of one patient: the number of its group of
            each, int of shape (n,). None where each is independent of the others.
        is_ordered: whether they are in the order of time, so that neighbours may be alike.
    """

    size: int
    refits: int
    truth: Mapping[str, Array] = field(default_factory=dict)
    predicted: Mapping[str, Array] = field(default_factory=dict)
    classes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    values: Mapping[str, Array] = field(default_factory=dict)
    slices: Mapping[str, Array] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Array] = field(default_factory=dict)
    outputs: Mapping[str, Array] = field(default_factory=dict)
    groups: Mapping[str, Groups] = field(default_factory=dict)
    chart_outputs: Mapping[str, Array] = field(default_factory=dict)
    metadata: SampleMetadata | None = None
    thresholds: Mapping[str, Array] = field(default_factory=dict)
    clusters: Array | None = None
    is_ordered: bool = False

    def score(self, metric: str, refit: int, rows: Array | None = None) -> float | None:
        """Return the metric over these rows (default: all), None when samples do not tell it.

        Raises:
            UndefinedMetricError: these rows give no value, as no area where one class is missing.
        """
        chosen = slice(None) if rows is None else rows
        if metric in self.values:
            values = self.values[metric][refit][chosen]
            if metric in self.weights:
                weights = self.weights[metric][chosen].astype(np.float64)
                return float(values @ weights / weights.sum()) if weights.any() else math.nan
            return float(np.mean(values, dtype=np.float64)) if len(values) else math.nan
        prefix = self.reported(metric)
        if prefix is None:
            return None
        name = metric.removeprefix(prefix)
        if (usual := self._usual(prefix, name)) is not None:
            return usual.compute(self.answers(prefix, refit, rows))
        truth, predicted = self.truth[prefix][chosen], self.predicted[prefix][refit][chosen]
        if truth.dtype == bool:
            return label_metric(name, truth, predicted)
        if name in CLASS_METRICS:
            return class_metric(name, truth, predicted)
        return number_metric(name, truth, predicted)

    def class_score(self, metric: str, refit: int, label: int) -> float | None:
        """Return the metric of one class: its row of the report, else the mean over its samples."""
        prefix = self.reported(metric)
        if prefix is None or metric in self.values:
            return self.score(metric, refit, self.of_class(metric, label))
        name = metric.removeprefix(prefix)
        if (usual := usual_metric("binary", name)) is not None:
            return usual.compute(self.answers(prefix, refit).of_class(label))
        if name not in CLASS_METRICS:
            return None
        truth, predicted = self.truth[prefix], self.predicted[prefix][refit]
        if truth.dtype == bool:
            return label_metric(name, truth[:, [label]], predicted[:, [label]])
        return class_metric(name, truth, predicted, label)

    def reported(self, metric: str) -> str | None:
        """Return the prefix of the output whose report has this metric, None when none has.

        One of the same name that the model was compiled with has its own definition.
        """
        if metric in self.definitions:
            return None
        for prefix, truth in self.truth.items():
            predicted = self.predicted.get(prefix)
            # In samples of others they need not belong together.
            if predicted is None or predicted.shape[1:] != truth.shape:
                continue
            names = CLASS_METRICS if _is_classified(truth) else NUMBER_METRICS
            if metric in {f"{prefix}{name}" for name in names}:
                return prefix
            if metric.startswith(prefix) and self._usual(prefix, metric.removeprefix(prefix)):
                return prefix
        return None

    def answers(self, prefix: str, refit: int, rows: Array | None = None) -> Answers:
        """Return what a refit answered on these rows (default: all) that count."""
        truth, labels = self.truth[prefix], self.predicted[prefix][refit]
        outputs = self.outputs[prefix][refit] if prefix in self.outputs else None
        counted = self._counted(prefix)
        if truth.dtype.kind == "f":
            if truth.shape[1:] == (1,):
                truth, labels = truth[:, 0], labels[:, 0]
            outputs = labels if outputs is None else outputs
        chosen = counted if rows is None else _both(rows, counted)
        return Answers(self.task(prefix), truth, outputs, labels).take(chosen)

    def chart_answers(self, prefix: str) -> Answers | None:
        """Return what the first refit answered on all samples that count, to draw it.

        None where its probabilities are not kept, or are not finite.
        """
        truth, predicted = self.truth[prefix], self.predicted.get(prefix)
        if predicted is None or not len(predicted) or predicted.shape[1:] != truth.shape:
            return None
        known = self
        if prefix not in self.outputs and prefix in self.chart_outputs:
            known = replace(self, outputs={prefix: self.chart_outputs[prefix][None]})
        if not known.has_outputs(prefix):
            return None
        answers = known.answers(prefix, 0)
        is_drawn = answers.outputs is not None and np.isfinite(answers.outputs).all()
        return answers if is_drawn else None

    def metadata_on(self, rows: Array | None = None) -> Any:
        """Return what is known of those of these rows (default: all) that count, as a pandas frame."""
        if self.metadata is None:
            return None
        counted = np.ones(self.size, bool)
        if len(self.truth) == 1:
            counted = self._counted(next(iter(self.truth)))
        chosen = counted if rows is None else _both(rows, counted)
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return self.metadata.frame.iloc[places].reset_index(drop=True)

    def _counted(self, prefix: str) -> Array:
        """Return which samples count, bool of shape (n,)."""
        truth = self.truth[prefix]
        if truth.dtype.kind == "f":
            return np.asarray(~np.isnan(truth.reshape(len(truth), -1)).any(axis=1))
        return np.ones(len(truth), bool) if truth.ndim > 1 else np.asarray(truth >= 0)

    def outputs_by_name(self, refit: int, rows: Array | None = None) -> dict[str, Answers]:
        """Return by output what a refit answered on these rows; nothing where not all of it is kept."""
        if not all(prefix in self.predicted and self.has_outputs(prefix) for prefix in self.truth):
            return {}
        return {
            prefix.removesuffix("_"): self.answers(prefix, refit, rows) for prefix in self.truth
        }

    def usual(self, metric: str) -> UsualMetric | None:
        """Return the usual metric of this name that the samples tell."""
        prefix = self.reported(metric)
        return None if prefix is None else self._usual(prefix, metric.removeprefix(prefix))

    def task(self, prefix: str) -> str:
        """Return the task of an output, as in ``Answers``."""
        # Asked on every resample of the samples.
        if prefix not in self._tasks:
            self._tasks[prefix] = self._task(prefix)
        return self._tasks[prefix]

    @cached_property
    def _tasks(self) -> dict[str, str]:
        return {}

    def _task(self, prefix: str) -> str:
        truth = self.truth[prefix]
        if truth.dtype.kind == "f":
            return "regression"
        if truth.ndim > 1:
            return "multilabel"
        outputs = self.outputs.get(prefix)
        if outputs is not None:
            return "binary" if outputs.ndim == 2 or outputs.shape[-1] == 2 else "multiclass"
        most = max((int(a.max(initial=0)) for a in (truth, self.predicted[prefix])), default=0)
        return "binary" if max([most, *self.classes.get(prefix, ())]) < 2 else "multiclass"

    def _usual(self, prefix: str, name: str) -> UsualMetric | None:
        """Return a usual metric that these samples tell."""
        metric = usual_metric(self.task(prefix), name)
        is_told = metric is not None and (not metric.needs_outputs or self.has_outputs(prefix))
        return metric if is_told else None

    def has_outputs(self, prefix: str) -> bool:
        """Tell whether what was predicted is kept, and belongs to the truth: in samples of others it may not."""
        truth, outputs = self.truth[prefix], self.outputs.get(prefix)
        if truth.dtype.kind == "f":
            return (
                outputs is None or outputs.shape[2:] == truth.shape[1:] or truth.shape[1:] == (1,)
            )
        if outputs is None:
            return False
        if truth.ndim > 1:
            return outputs.shape[1:] == truth.shape
        if prefix not in self._largest_classes:
            self._largest_classes[prefix] = int(truth.max(initial=0))
        most = self._largest_classes[prefix]
        return most < 2 if outputs.ndim == 2 else outputs.ndim == 3 and most < outputs.shape[2]

    @cached_property
    def _largest_classes(self) -> dict[str, int]:
        return {}

    @property
    def memory(self) -> int:
        """How many bytes the arrays take once they are unpacked."""
        arrays = (*self.truth.values(), *self.predicted.values())
        arrays += (*self.values.values(), *self.slices.values(), *self.weights.values())
        arrays += tuple(groups.codes for groups in self.groups.values())
        arrays += (*self.outputs.values(), *self.chart_outputs.values())
        arrays += tuple(self.thresholds.values())
        if self.clusters is not None:
            arrays += (self.clusters,)
        if self.metadata is not None:
            arrays += tuple(self.metadata.numbers.values())
            arrays += tuple(texts.codes for texts in self.metadata.texts.values())
        return sum(array.size * _bytes_each(array.dtype) for array in arrays)

    def of_class(self, metric: str, label: int) -> Array:
        """Return which samples are of a class, or have a label, of the output a metric is judged by.

        Raises:
            LookupError: as ``classified``.
        """
        truth = self.truth[self.classified(metric)]
        if truth.dtype != bool:
            is_of_class: Array = truth == label
            return is_of_class
        return truth[:, label] if 0 <= label < truth.shape[1] else np.zeros(len(truth), bool)

    def classified(self, metric: str) -> str:
        """Return the prefix of the output whose classes a metric is judged by.

        Raises:
            LookupError: no output is classified, or several are and the name begins with none of them.
        """
        prefixes = [prefix for prefix, truth in self.truth.items() if _is_classified(truth)]
        named = [prefix for prefix in prefixes if prefix and metric.startswith(prefix)]
        outputs = named or prefixes
        if len(outputs) != 1:
            raise LookupError("no classes" if not outputs else "several classified outputs")
        return outputs[0]


def _both(rows: Array, counted: Array) -> Array:
    """Return those of these rows, as a mask or by number, that count."""
    return rows & counted if rows.dtype == bool else rows[counted[rows]]


def _is_classified(truth: Array) -> bool:
    return truth.ndim == 1 or (truth.ndim == 2 and truth.dtype == bool)


_MOST, _MOST_REFITS = 1 << 50, 10_000
"""The largest number of values and the largest label, and the largest number of refits."""

_FEW_CLASSES = 1 << 16
"""So many more classes than samples are counted without being sought first."""


def class_metric(name: str, truth: Array, predicted: Array, label: int | None = None) -> float:
    """Return precision, recall or F1 of a class, or their mean over the classes ``truth`` has.

    As scikit-learn's, with 0 where there is nothing to divide by, but from three counts: a
    bootstrap asks thousands of times, and there may be thousands of classes. Samples whose truth
    is negative do not count.
    """
    if len(truth) and truth.min() < 0:
        counted = truth >= 0
        truth, predicted = truth[counted], predicted[counted]
    if not len(truth):
        return float("nan")
    asked = 0 if label is None else label
    least = min(int(truth.min()), int(predicted.min()), asked, 0)
    classes = max(int(truth.max()), int(predicted.max()), asked) - least + 1
    if classes <= len(truth) + _FEW_CLASSES:
        labels, truth, predicted = (
            np.arange(least, least + classes),
            truth - least,
            predicted - least,
        )
    else:
        # Labels far apart, as of a hostile file: one place for each that there is.
        labels, codes = np.unique(np.concatenate([truth, predicted, [asked]]), return_inverse=True)
        classes, truth, predicted = len(labels), *np.split(codes[:-1], 2)
    right = np.bincount(truth[truth == predicted], minlength=classes)
    true, named = np.bincount(truth, minlength=classes), np.bincount(predicted, minlength=classes)
    whole = {"precision": named, "recall": true, "f1": (true + named) / 2}[name]
    scores = np.divide(right, whole, out=np.zeros(classes), where=whole > 0)
    if label is not None:
        return float(scores[np.searchsorted(labels, label)])
    return float(scores[true > 0].mean())


def label_metric(name: str, truth: Array, predicted: Array) -> float:
    """Return precision, recall or F1 of labels that do not exclude each other, one in each column.

    The mean over the columns in which some sample has the label, as scikit-learn's of each, with
    0 where there is nothing to divide by.
    """
    right = np.count_nonzero(truth & predicted, axis=0)
    true, named = np.count_nonzero(truth, axis=0), np.count_nonzero(predicted, axis=0)
    whole = {"precision": named, "recall": true, "f1": (true + named) / 2}[name]
    scores = np.divide(right, whole, out=np.zeros(len(whole)), where=whole > 0)
    return float(scores[true > 0].mean()) if true.any() else math.nan


def number_metric(name: str, truth: Array, predicted: Array) -> float:
    """Return MAE, MSE, RMSE, R2 or explained variance, a uniform average over target columns.

    As scikit-learn's, R2 and explained variance of a constant target included: 1 for perfect
    predictions, 0 for others. NaN of too few rows. Rows whose truth is NaN do not count.
    """
    counted = ~np.isnan(truth).any(axis=1)
    if not counted.all():
        truth, predicted = truth[counted], predicted[counted]
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


def are_same_truth(one: Array, other: Array) -> bool:
    """Tell whether two truths are the same; NaN, of samples that do not count, equals NaN."""
    are_numbers = one.dtype.kind == other.dtype.kind == "f"
    return np.array_equal(one, other, equal_nan=are_numbers)


def join_samples(refits: Sequence[Samples]) -> Samples | None:
    """Return the samples of several refits as those of all in this order.

    None when their samples differ: a stream may come in another order each time.
    """
    first = refits[0]
    for other in refits:
        if other.size != first.size or any(
            not are_same_truth(truth, other.truth[name]) for name, truth in first.truth.items()
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
        outputs={
            name: np.concatenate([one.outputs[name] for one in refits])
            for name in first.outputs
            if all(name in one.outputs for one in refits)
        },
        thresholds={
            name: np.concatenate([one.thresholds[name] for one in refits])
            for name in first.thresholds
            if all(name in one.thresholds for one in refits)
        },
    )


def first_refit(samples: Samples) -> Samples:
    """Return what the first refit did on each sample."""

    def first(of_refits: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[:1] for name, array in of_refits.items()}

    return replace(
        samples,
        refits=1,
        predicted=first(samples.predicted),
        values=first(samples.values),
        outputs=first(samples.outputs),
        thresholds=first(samples.thresholds),
    )


def pack_samples(samples: Samples) -> Json:
    """Return samples as JSON data: sorted, in short lines, most of it compressed."""
    data: dict[str, Json] = {
        "size": samples.size,
        "refits": samples.refits,
        "truth": {name: _pack(array) for name, array in sorted(samples.truth.items())},
        "predicted": {name: _pack(array) for name, array in sorted(samples.predicted.items())},
        "classes": {name: list(labels) for name, labels in sorted(samples.classes.items())},
        "values": {name: _pack(array) for name, array in sorted(samples.values.items())},
        "slices": {name: _pack(array) for name, array in sorted(samples.slices.items())},
        "definitions": dict(sorted(samples.definitions.items())),
    }
    if samples.weights:
        weights = sorted(samples.weights.items())
        data["weights"] = {name: _pack(array) for name, array in weights}
    if samples.outputs:
        outputs = sorted(samples.outputs.items())
        data["outputs"] = {name: _pack(array, is_exact=True) for name, array in outputs}
    if samples.groups:
        groups = sorted(samples.groups.items())
        data["groups"] = {name: _pack(one.codes) for name, one in groups}
        data["group_labels"] = {name: list(one.labels) for name, one in groups}
    if samples.chart_outputs:
        shown = sorted(samples.chart_outputs.items())
        data["chart_outputs"] = {name: _pack(array, is_exact=True) for name, array in shown}
    if samples.thresholds:
        points = sorted(samples.thresholds.items())
        data["thresholds"] = {name: _pack(array, is_exact=True) for name, array in points}
    if samples.clusters is not None:
        data["clusters"] = {"": _pack(samples.clusters)}
    if samples.is_ordered:
        data["is_ordered"] = True
    if samples.metadata is not None:
        numbers, texts = (
            sorted(samples.metadata.numbers.items()),
            sorted(samples.metadata.texts.items()),
        )
        data["metadata"] = {name: _pack(array, is_exact=True) for name, array in numbers}
        data["metadata_texts"] = {name: _pack(one.codes) for name, one in texts}
        data["metadata_labels"] = {name: list(one.labels) for name, one in texts}
    return data


def unpack_samples(data: Mapping[str, Json], largest: int = LARGEST_UNPACKED) -> Samples:
    """Return what ``pack_samples`` wrote.

    What it takes is computed from what it says of itself before anything is unpacked.

    Args:
        data: JSON data, which anybody may have written.
        largest: bytes that the arrays may take in memory.

    Raises:
        ValueError, KeyError, TypeError: it is not what ``pack_samples`` writes, or takes more.
    """
    size, refits = (_count(data[name]) for name in ("size", "refits"))
    if refits > _MOST_REFITS:
        raise ValueError(f"samples of {refits} refits")
    begins = {
        "truth": (size,),
        "predicted": (refits, size),
        "values": (refits, size),
        "slices": (size,),
        "weights": (size,),
        "outputs": (refits, size),
        "groups": (size,),
        "chart_outputs": (size,),
        "metadata": (size,),
        "metadata_texts": (size,),
        "thresholds": (refits,),
        "clusters": (size,),
    }
    arrays: dict[str, dict[str, Array]] = {}
    left = largest
    # Older ones have none of these.
    later = ("weights", "outputs", "groups", "chart_outputs", "metadata", "metadata_texts")
    packed = {**{name: {} for name in (*later, "thresholds", "clusters")}, **data}
    for kind, begin in begins.items():
        arrays[kind] = {}
        for name, array in _typed(packed[kind], dict, kind).items():
            shape = tuple(map(_count, _typed(array["shape"], list, "shape")))
            if shape[: len(begin)] != begin:
                raise ValueError(f"{shape} values for {size} samples")
            left -= math.prod(shape) * _bytes_each(_kind(array))
            if left < 0:
                raise ValueError(f"its samples take more than {largest} bytes when unpacked")
            arrays[kind][name] = _unpack(array, shape)
    labels = _typed(data.get("group_labels", {}), dict, "group_labels")
    groups = {
        name: Groups(*_labelled(codes, labels[name]))
        for name, codes in arrays.pop("groups").items()
    }
    named = _typed(data.get("metadata_labels", {}), dict, "metadata_labels")
    clusters = arrays.pop("clusters").get("")
    if clusters is not None and (clusters.ndim != 1 or clusters.dtype.kind not in "iu"):
        raise ValueError(f"clusters of shape {clusters.shape} and type {clusters.dtype}")
    numbers, codes_by_name = arrays.pop("metadata"), arrays.pop("metadata_texts")
    if any(column.ndim != 1 for column in numbers.values()):
        raise ValueError("a column of metadata with several values for a sample")
    texts = {name: Texts(*_labelled(codes, named[name])) for name, codes in codes_by_name.items()}
    return Samples(
        size,
        refits,
        groups=groups,
        clusters=clusters,
        is_ordered=data.get("is_ordered") is True,
        metadata=SampleMetadata(numbers, texts) if "metadata" in data else None,
        classes={
            name: [_label(label) for label in _typed(labels, list, "classes")]
            for name, labels in _typed(data["classes"], dict, "classes").items()
        },
        definitions={
            name: _typed(text, str, "definition")
            for name, text in _typed(data["definitions"], dict, "definitions").items()
        },
        **arrays,
    )


def _labelled(codes: Array, labels: Json) -> tuple[tuple[str, ...], Array]:
    named = tuple(_typed(label, str, "label") for label in _typed(labels, list, "labels"))
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise ValueError(f"codes of shape {codes.shape} and type {codes.dtype}")
    if len(codes) and not 0 <= codes.min() <= codes.max() < len(named):
        raise ValueError(f"code {codes.max()} of {len(named)} labels")
    return named, codes


MOST_PRESSED = 1 << 16
"""Bytes of an array that are made as small as can be."""


def _pack(array: Array, is_exact: bool = False) -> Json:
    if array.dtype == bool:
        kind, content = "bool", np.packbits(array.reshape(-1)).tobytes()
    elif array.dtype.kind in "iu":
        # The fewest bytes that hold every class.
        small = np.min_scalar_type(int(array.max(initial=0)))
        if array.min(initial=0) < 0:
            small = np.dtype(np.int64)
        kind, content = small.str, array.astype(small).tobytes()
    else:
        # Of predictions as they are, 0.7 as a float64 and as a float32 are two numbers.
        kind = "<f8" if is_exact and array.dtype == np.float64 else "<f4"
        content = array.astype(kind).tobytes()
    # The last tenth of what can be left out takes thirty times as long.
    level = 9 if len(content) <= MOST_PRESSED else 6
    text = base64.b64encode(zlib.compress(content, level)).decode()
    lines = [text[start : start + WIDTH] for start in range(0, len(text), WIDTH)]
    return {"type": kind, "shape": list(array.shape), "zlib": lines}


def _unpack(data: Mapping[str, Json], shape: tuple[int, ...]) -> Array:
    count, kind = math.prod(shape), _kind(data)
    is_bool = kind.kind == "b"
    expected = -(-count // 8) if is_bool else count * kind.itemsize
    try:
        packed = base64.b64decode("".join(data["zlib"]), validate=True)
        unpacker = zlib.decompressobj()
        # One byte more, for 0 would mean any number of bytes.
        content = unpacker.decompress(packed, expected + 1)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(str(error)) from error
    if len(content) != expected or not unpacker.eof:
        raise ValueError(f"not the {expected} bytes of {count} values")
    if is_bool:
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=count)
        return bits.astype(bool).reshape(shape)
    array = np.frombuffer(content, kind).reshape(shape)
    return array.astype(np.int64) if kind.kind in "iu" else array


def _kind(data: Mapping[str, Json]) -> np.dtype[Any]:
    name = data["type"]
    if not isinstance(name, str) or not re.fullmatch("bool|[<>|]?[iu][1248]|[<>]?f[48]", name):
        raise ValueError(f"values of type {name!r:.100}")
    return np.dtype(name)


def _bytes_each(kind: np.dtype[Any]) -> int:
    """Return how many bytes a value of this type takes once it is unpacked."""
    return {"i": 8, "u": 8, "b": 1}.get(kind.kind, kind.itemsize)


def _count(value: Json) -> int:
    if not 0 <= _typed(value, int, "count") <= _MOST:
        raise ValueError(f"{value} is no count")
    return int(value)


def _label(value: Json) -> int:
    if not -_MOST <= _typed(value, int, "class") <= _MOST:
        raise ValueError(f"{value} is no class")
    return int(value)


def _typed(value: Json, kind: type[_T], what: str) -> _T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r:.100} is no {what}")
    return value
