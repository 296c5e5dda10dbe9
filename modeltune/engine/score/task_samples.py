"""What the outputs of a model did on each sample, and the metrics that gates ask for. No Keras is needed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modeltune.engine.data import Part
from modeltune.engine.score.task_report import (
    Output,
    OutputTask,
    Target,
    answers_of,
    classes_of,
    decisions,
    is_one_hot,
    task_name,
)
from modeltune.records import (
    NUMBER_METRICS,
    Answers,
    Array,
    Failure,
    Groups,
    SampleMetadata,
    Samples,
    call_metric,
    failure_of,
    takes_metadata,
    usual_metric,
    usual_scores,
)
from modeltune.specs import MetricFunction, metric_identity

NOT_COUNTED = -1
"""The class of a sample that does not count; numbers that do not count are NaN."""

FEW_COLUMNS = 16
"""Numbers of a sample that are always kept."""

MOST_NUMBERS_KEPT = 2**18
"""Of targets with more columns, numbers that are kept in all: 1 MiB, and as much for each refit."""

MOST_BYTES_DRAWN = 2**23
"""Bytes of the probabilities that one output's charts are drawn from, where no gate needs them."""

MEAN_ERRORS = ("mae", "mse")
"""Metrics of numbers that are the mean of one value for each sample."""

WHOLE_ERRORS = tuple(name for name in NUMBER_METRICS if name not in MEAN_ERRORS)
"""Those that are computed of all samples together."""


@dataclass(frozen=True, eq=False)
class TaskScores:
    """The usual numbers of the outputs on a part, and the metrics of the author's own.

    Args:
        numbers: by name.
        undefined: by name why there is none.
        values: of the author's metrics those that give one value per sample, float64 of shape (n,).
        metadata: what a metric of the author's took that gives one number, and takes on resamples.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    undefined: Mapping[str, Failure] = field(default_factory=dict)
    values: Mapping[str, Array] = field(default_factory=dict)
    metadata: SampleMetadata | None = None


def task_scores(
    outputs: Sequence[Output],
    asked: Mapping[str, MetricFunction | None] | None = None,
    metadata: Any = None,
) -> TaskScores:
    """Return the usual numbers of these outputs, and what gates ask for besides.

    Args:
        outputs: on a part.
        asked: the metrics that gates name, with the author's function of those that have one.
        metadata: the frame of what else is known of the part's samples.
    """
    asked = asked or {}
    numbers: dict[str, float] = {}
    undefined: dict[str, Failure] = {}
    values: dict[str, Array] = {}
    answers = {output.name: answers_of(output) for output in outputs}
    is_finite = all(np.isfinite(output.predicted).all() for output in outputs)
    for output in outputs:
        known, prefix = answers[output.name], output.prefix
        if known is None:
            continue
        names = tuple(n.removeprefix(prefix) for n in asked if n.startswith(prefix))
        if not np.isfinite(output.predicted).all():
            usual = [n for n in names if usual_metric(known.task, n)]
            numbers |= {f"{prefix}{name}": math.nan for name in usual}
            continue
        own, without = usual_scores(known, names)
        numbers |= {f"{prefix}{name}": value for name, value in own.items()}
        undefined |= {f"{prefix}{name}": Failure(why) for name, why in without.items()}
    told = {name: one for name, one in answers.items() if one is not None}
    kept: SampleMetadata | None = None
    for name, function in asked.items():
        if function is None:
            continue
        if not told:
            undefined[name] = Failure("there are no targets, or predictions that belong to them")
        elif not is_finite:
            numbers[name] = math.nan
        else:
            result = own_metric(function, told, of_counted(outputs, metadata))
            if isinstance(result, Failure):
                undefined[name] = result
            elif isinstance(result, float):
                numbers[name] = result
                if metadata is not None and takes_metadata(function):
                    kept = kept or SampleMetadata.of(metadata)
            else:
                values[name] = result
                numbers[name] = float(np.mean(result)) if len(result) else math.nan
    return TaskScores(numbers, undefined, values, kept)


def of_counted(outputs: Sequence[Output], metadata: Any) -> Any:
    """Return the metadata of the samples that count, which alone are judged."""
    if metadata is None or len(outputs) != 1 or outputs[0].rows.all():
        return metadata
    return metadata.iloc[np.flatnonzero(outputs[0].rows)].reset_index(drop=True)


def own_metric(
    function: MetricFunction, outputs: Mapping[str, Answers], metadata: Any = None
) -> float | Array | Failure:
    """Return what a metric of the author's gives, or what it raised."""
    try:
        return call_metric(function, outputs, metadata)
    except (Exception, SystemExit) as error:  # noqa: BLE001  the author's function: its gate's error
        return failure_of(error)


def task_samples(
    outputs: Sequence[Output],
    train: Mapping[str, Target],
    slices: Mapping[str, Array],
    scores: TaskScores = TaskScores(),
    asked: Mapping[str, MetricFunction | None] | None = None,
) -> Samples | None:
    """Return what was predicted on each sample of a part; None if the outputs have no rows.

    Args:
        outputs: on the part.
        train: the targets of the train part by path; none of a part that there is not.
        slices: by name which samples a slice has, bool, or the group of each, texts.
        scores: of these outputs.
        asked: the metrics that gates name, as for ``task_scores``: what judges them is kept.
    """
    sizes = {len(output.y) for output in outputs}
    if len(sizes) != 1:
        return None
    (size,) = sizes
    asked = asked or {}
    truth: dict[str, Array] = {}
    predicted: dict[str, Array] = {}
    classes: dict[str, list[int]] = {}
    values: dict[str, Array] = {}
    weights: dict[str, Array] = {}
    probabilities: dict[str, Array] = {}
    drawn: dict[str, Array] = {}
    for output in outputs:
        if not np.isfinite(output.predicted).all():
            continue
        if output.task in (OutputTask.MULTICLASS, OutputTask.BINARY):
            true, answers = classes_of(output)
            if len(true) == size:
                truth[output.prefix] = np.where(output.rows, true, NOT_COUNTED)
                predicted[output.prefix] = answers[None]
                labels = np.unique(true[output.rows])
                if output.path in train:
                    labels = np.union1d(labels, _true_classes(output, train[output.path]))
                classes[output.prefix] = [int(label) for label in labels]
        elif output.task is OutputTask.MULTILABEL and output.predicted.ndim == 2:
            counted = output.rows[:, None]
            labels = (output.y.reshape(output.predicted.shape) > 0.5) & counted
            truth[output.prefix] = labels
            predicted[output.prefix] = (decisions(output, output.predicted) & counted)[None]
            occur = labels.any(axis=0)
            if output.path in train:
                in_train = train[output.path].kept > 0.5
                occur = occur | in_train.reshape(-1, labels.shape[1]).any(axis=0)
            classes[output.prefix] = np.flatnonzero(occur).tolist()
        elif output.task is OutputTask.REGRESSION:
            numbers = output.y.reshape(size, -1).astype(np.float32)
            numbers[~output.rows] = np.nan
            is_whole = output.counted is None or output.counted.ndim == 1
            if is_whole and names_without_samples(output, size):
                # What tells the samples apart, and their order, in place of what they are.
                truth[output.prefix] = _digests(numbers)
                for name, errors in _mean_errors(output, numbers).items():
                    values[name] = errors
            elif is_whole:
                truth[output.prefix] = numbers
                answers = output.numbers.reshape(numbers.shape)
                predicted[output.prefix] = answers.astype(np.float32)[None]
        for name, own in _usual_values(output, asked).items():
            values[name], some = _placed(output, own)
            weights |= {} if some is None else {name: some}
        if output.prefix in predicted and takes_outputs(output, asked):
            probabilities |= _kept_outputs(output, size)
        is_of_classes = output.task is not OutputTask.REGRESSION and output.prefix in predicted
        if is_of_classes and output.prefix not in probabilities:
            shares = _all_outputs(output)
            if shares is not None and shares.nbytes <= MOST_BYTES_DRAWN and len(shares) == size:
                drawn[output.prefix] = shares
    for name, own in scores.values.items():
        if len(own) == size:
            values[name] = as_kept(own)
        elif len(outputs) == 1 and len(own) == outputs[0].rows.sum():
            placed, some = _placed(outputs[0], own)
            values[name], weights[name] = placed, np.asarray(some)
    points = {o.prefix: o.point for o in outputs if o.point is not None and o.prefix in truth}
    definitions = {
        name: f"{name} ({metric_identity(function)[:16]})"
        for name, function in asked.items()
        if function is not None
    }
    return Samples(
        size,
        1,
        truth,
        predicted,
        classes,
        values,
        {name: chosen for name, chosen in slices.items() if chosen.dtype == bool},
        definitions,
        weights,
        probabilities,
        {name: Groups.of(texts) for name, texts in slices.items() if texts.dtype != bool},
        drawn,
        scores.metadata,
        {prefix: np.array([point.thresholds]) for prefix, point in points.items()},
    )


def as_they_depend(samples: Samples, part: Part, groups: Array | None) -> Samples:
    """Return the samples of a part with what is known of how they depend on each other: groups, and time.

    ``groups`` are the numbers of theirs, (n,), in the order in which they were read.
    """
    clusters = None
    if groups is not None:
        clusters = np.unique(groups, return_inverse=True)[1].reshape(-1)
    return replace(samples, clusters=clusters, is_ordered=part.is_ordered)


def as_kept(values: Array) -> Array:
    """Return a metric's value on each sample as samples keep it: bool where it is right or wrong."""
    is_right_or_wrong = bool(np.isin(values, (0, 1)).all())
    return values.astype(bool if is_right_or_wrong else np.float32)[None]


def takes_outputs(output: Output, asked: Mapping[str, MetricFunction | None]) -> bool:
    """Tell whether gates are judged by the probabilities of an output and not by its classes alone."""
    for name, function in asked.items():
        if function is not None:
            return True
        own = name.removeprefix(output.prefix) if name.startswith(output.prefix) else ""
        usual = usual_metric(task_name(output), own)
        if usual is not None and usual.needs_outputs:
            return True
    return False


def _kept_outputs(output: Output, size: int) -> dict[str, Array]:
    """Return the probabilities of an output, sample by sample, unless they are too many."""
    if output.task is OutputTask.REGRESSION:
        numbers = output.numbers.reshape(size, -1)
        kept = numbers[:, 0] if numbers.shape[1] == 1 else numbers
    else:
        shares = _all_outputs(output)
        if shares is None:
            return {}
        kept = shares
    is_small = kept.size <= MOST_NUMBERS_KEPT and len(kept) == size
    return {output.prefix: kept[None]} if is_small else {}


def _all_outputs(output: Output) -> Array | None:
    """Return the probabilities of a classified output, those of samples that do not count among them.

    None of a predictor that names classes and gives no probabilities.
    """
    known = answers_of(replace(output, counted=None))
    assert known is not None
    return known.outputs


def _usual_values(output: Output, asked: Mapping[str, MetricFunction | None]) -> dict[str, Array]:
    """Return the value on each sample of those usual metrics that are means, where gates ask for them."""
    values: dict[str, Array] = {}
    known: Answers | None = None
    for name, function in asked.items():
        if function is not None or not name.startswith(output.prefix):
            continue
        usual = usual_metric(task_name(output), name.removeprefix(output.prefix))
        if usual is None or usual.values is None:
            continue
        known = known or answers_of(output)
        if known is None or len(known.truth) != output.rows.sum():
            continue  # several places in each sample
        try:
            values[name] = usual.values(known)
        except ValueError:  # it is not defined, as ``task_scores`` says
            continue
    return values


def _placed(output: Output, values: Array) -> tuple[Array, Array | None]:
    """Return values of the samples that count at their places, and how much each sample counts."""
    rows = output.rows
    if rows.all():
        return as_kept(values), None
    whole = np.zeros(len(rows), np.float64)
    whole[rows] = values
    return as_kept(whole), rows.astype(np.float32)


def names_without_samples(output: Output, rows: int) -> list[str]:
    """Return the metrics of the report that the samples of a test part of so many rows do not tell.

    There are some where the numbers of a regression are too many to be kept sample by sample.
    """
    width = output.y.size // max(1, len(output.y))
    if output.task is not OutputTask.REGRESSION or width <= FEW_COLUMNS:
        return []
    whole = rows * width > MOST_NUMBERS_KEPT
    return [f"{output.prefix}{name}" for name in WHOLE_ERRORS] if whole else []


def note_on_width(
    outputs: Sequence[Output], asked: Mapping[str, MetricFunction | None] | None = None
) -> Iterator[str]:
    """Yield what is not kept of which output, and what its gates are then judged by."""
    for output in outputs:
        name = f"of output {output.name} " if output.name else ""
        if names := names_without_samples(output, len(output.y)):
            width = output.y.size // len(output.y)
            yield (
                f"the {width} numbers {name}that each of {len(output.y)} test samples has are not kept, "
                f"but its mean errors: more than {MOST_NUMBERS_KEPT} numbers would take too much room. "
                f"Gates on {', '.join(names)} compare refits, not samples, and have no slices; those on "
                f"{', '.join(f'{output.prefix}{name}' for name in MEAN_ERRORS)} and on compiled metrics "
                "are judged as ever"
            )
        elif takes_outputs(output, asked or {}) and output.predicted.size > MOST_NUMBERS_KEPT:
            yield (
                f"the {output.predicted.size} numbers {name}that were predicted on test are not kept: "
                f"more than {MOST_NUMBERS_KEPT} would take too much room. Gates that are judged by "
                "them compare refits, not samples, and have no slices"
            )


def _digests(numbers: Array) -> Array:
    """Return a number for each row that is another one for other values, float32 of shape (n, 1)."""
    # So many bits are exact in a float32.
    return np.array([[zlib.crc32(row.tobytes()) & 0xFFFFFF] for row in numbers], np.float32)


def _mean_errors(output: Output, numbers: Array) -> dict[str, Array]:
    """Return the errors of each sample whose means are metrics of the report; none where not all count."""
    if np.isnan(numbers).any():
        return {}
    errors = output.numbers.reshape(numbers.shape).astype(np.float64) - numbers
    means = {"mae": np.abs(errors).mean(axis=1), "mse": np.square(errors).mean(axis=1)}
    return {f"{output.prefix}{name}": means[name].astype(np.float32)[None] for name in MEAN_ERRORS}


def _true_classes(output: Output, target: Target) -> Array:
    """Return the classes that occur among an output's targets in another part."""
    other = replace(output, y=target.kept)
    if output.task is OutputTask.BINARY or not is_one_hot(other):
        return np.unique(other.y.reshape(-1).astype(int))
    return np.unique(other.y.argmax(-1))
