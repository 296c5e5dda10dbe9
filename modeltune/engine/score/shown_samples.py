"""Choose test samples for people to look at, the most wrong first, with truth and prediction."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.data import Arrays, Part, leaves, map_arrays
from modeltune.engine.score.small_images import png_of, resized
from modeltune.engine.score.task_report import (
    Output,
    OutputTask,
    classes_of,
    decisions,
    probabilities,
)
from modeltune.records import Array, Json, failure_of
from modeltune.specs import Spec

EXAMPLES_FORMAT = 1
"""The format number in a file of examples; it changes when a key changes its meaning."""

WORST, OTHERS = 24, 8
"""How many samples are kept: the most wrong ones, and others for comparison."""

SIDE = 64
"""The longest side of a kept image, in pixels."""

CHARACTERS, VALUES, TARGETS = 400, 64, 16
"""The most characters of a text, numbers of a row and targets of a sample that are kept."""

BYTES = 300_000
"""The most bytes that all samples of a run take together, as JSON."""


@dataclass(frozen=True, eq=False)
class _Answers:
    """The answers of one output for n samples.

    ``truth`` and ``predicted`` return the true and the predicted value of a sample. ``wrong``,
    ``confidence`` and ``error`` have one value per sample, or are None if the output has no such
    values. ``badness`` is the error in standard deviations of the true values.
    """

    truth: Callable[[int], Json]
    predicted: Callable[[int], Json]
    wrong: Array | None = None
    confidence: Array | None = None
    error: Array | None = None
    badness: Array | None = None


def write_examples(spec: Spec, test: Part, outputs: Sequence[Output], path: Path) -> str | None:
    """Write test samples to look at, unless there are none or the spec wants none.

    Returns:
        A note if this failed, else None. A finished refit is not lost over its examples.
    """
    path.unlink(missing_ok=True)
    try:
        document = examples(test, outputs) if spec.examples else None
        if document is not None:
            path.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    except (Exception, SystemExit) as error:  # noqa: BLE001  a stream is the user's code
        path.unlink(missing_ok=True)
        return (
            f"the run keeps no examples, because choosing them failed: {failure_of(error).reason}"
        )
    return None


def examples(part: Part, outputs: Sequence[Output]) -> Json:
    """Return samples of a part for people to look at, as JSON; equal predictions give equal samples.

    With classes, samples with a wrong class come first, the most confident at the top, then
    the largest errors, then some right samples, spread over the part. Without classes, the
    largest errors come first, then some other samples. Samples of equal rank stay in the part's
    order. Samples that count in no output are left out; so are steps that do not count.

    Returns:
        "of", the number of samples that count in some output; "wrong", how many have a wrong class
        (None without classes); and the "samples" of the "refit" whose weights are kept. None if a
        prediction is not finite, or if a stream does not yield the targets in the same order again.
    """
    if not outputs or any(
        len(output.y) != part.size
        or len(output.predicted) != part.size
        or not np.isfinite(output.predicted).all()
        for output in outputs
    ):
        return None
    answers = {output.name or "output": _answers(output) for output in outputs}
    counted = np.logical_or.reduce([output.rows for output in outputs])
    rows, wrong = _choose_rows(list(answers.values()), counted)
    samples = _gather_inputs(part, rows, outputs)
    if samples is None:
        return None
    ranges = _ranges(samples)
    entries: list[Json] = []
    left = BYTES
    for row, sample in zip(rows.tolist(), samples, strict=True):
        entry = {
            "index": row,
            "is_wrong": None if wrong is None else bool(wrong[row]),
            "x": {path: _input(array, ranges.get(path)) for path, array in sample.items()},
            "outputs": {
                output.name or "output": {
                    "task": output.task.value,
                    "truth": answer.truth(row),
                    "predicted": answer.predicted(row),
                    "confidence": _number(answer.confidence, row),
                    "error": _number(answer.error, row),
                }
                for output, answer in zip(outputs, answers.values(), strict=True)
            },
        }
        left -= len(json.dumps(entry))
        if left < 0:
            break
        entries.append(entry)
    count = None if wrong is None else int(wrong.sum())
    if not entries:
        return None
    # The run keeps the weights of its first refit.
    return {
        "format": EXAMPLES_FORMAT,
        "refit": 0,
        "of": int(counted.sum()),
        "wrong": count,
        "samples": entries,
    }


def shown_rows(part: Part, rows: Sequence[int]) -> list[Json]:
    """Return the inputs of these rows of a part, as ``examples`` shows those that it chooses.

    Of a stream they are those that it yields when it is read again.
    """
    chosen = np.array(sorted(rows), int)
    samples = _gather_inputs(part, chosen, []) if len(chosen) else None
    if samples is None:
        return []
    ranges = _ranges(samples)
    return [
        {
            "index": row,
            "x": {path: _input(array, ranges.get(path)) for path, array in sample.items()},
        }
        for row, sample in zip(chosen.tolist(), samples, strict=True)
    ]


# Which samples


def _answers(output: Output) -> _Answers:
    if output.task is OutputTask.REGRESSION:
        return _numbers(output)
    if output.task is OutputTask.OTHER:
        y, predicted = output.y, output.predicted
        return _Answers(lambda row: _targets(y[row]), lambda row: _targets(predicted[row]))
    return _decisions(output)


def _decisions(output: Output) -> _Answers:
    """Return a classifier's answers: one class per sample, several labels, or a class per place."""
    size = len(output.y)
    shares = probabilities(output, output.predicted)
    if output.is_hard or shares.min(initial=0) < 0 or shares.max(initial=1) > 1 + 1e-6:
        # These are not probabilities, so the model's confidence is unknown.
        shares = np.full(shares.shape, np.nan)
    if output.task is OutputTask.MULTICLASS:
        true, answers = classes_of(output)
        places = answers.reshape(shares.shape[:-1])[..., None]
        sure = np.take_along_axis(shares, places, -1)[..., 0]
    else:
        true = output.y.astype(bool).astype(int)
        answers = decisions(output, output.predicted).astype(int)
        sure = np.where(answers, shares, 1 - shares)
    true, answers, sure = (array.reshape(size, -1) for array in (true, answers, sure))
    counted = _counted(output, true.shape)
    missed = (true != answers) & counted
    is_labels = output.task is OutputTask.MULTILABEL and output.predicted.ndim == 2
    if true.shape[1] > 1 and not is_labels:
        share = missed.sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        return _Answers(_nothing, _nothing, error=share, badness=share)
    wrong = missed.any(axis=1)
    # With several labels, take the most confident wrong one, or the least confident if all are right.
    surest = np.where(missed, sure, -np.inf).max(axis=1, initial=-np.inf)
    confidence = np.where(wrong, surest, sure.min(axis=1, initial=np.inf))
    if is_labels:
        return _Answers(
            lambda row: np.flatnonzero(true[row])[:TARGETS].tolist(),
            lambda row: np.flatnonzero(answers[row])[:TARGETS].tolist(),
            wrong,
            confidence,
        )
    return _Answers(
        lambda row: int(true[row, 0]), lambda row: int(answers[row, 0]), wrong, confidence
    )


def _numbers(output: Output) -> _Answers:
    """Return a regression's answers; each column of a table has its own unit, all pixels share one."""
    size = len(output.y)
    true = output.y.reshape(size, -1).astype(np.float64)
    predicted = output.numbers.reshape(size, -1).astype(np.float64)
    counted = _counted(output, true.shape)
    apart = np.where(counted, np.abs(predicted - true), 0)
    is_table = 1 < true.shape[1] <= TARGETS
    known = np.where(counted, true, np.nan)
    spread = np.ones(true.shape[1])
    if is_table:
        columns = counted.any(axis=0)
        spread[columns] = np.nanstd(known[:, columns], axis=0)
    elif counted.any():
        spread[:] = np.nanstd(known)
    many = np.maximum(counted.sum(axis=1), 1)
    badness = (apart / np.where(spread > 0, spread, 1)).sum(axis=1) / many
    return _Answers(
        lambda row: _targets(true[row]),
        lambda row: _targets(predicted[row]),
        error=badness if is_table else apart.sum(axis=1) / many,
        badness=badness,
    )


def _counted(output: Output, shape: tuple[int, ...]) -> Array:
    """Return which places count, with a row per sample and a column per place."""
    if output.counted is None:
        return np.ones(shape, bool)
    counted = output.counted.reshape(len(output.counted), -1)
    return np.repeat(counted, shape[1] // counted.shape[1], axis=1)


def _choose_rows(answers: list[_Answers], counted: Array) -> tuple[Array, Array | None]:
    """Return the rows to show, in order, and which of all rows are wrong (None without classes).

    ``counted`` tells which rows can be shown.
    """
    size = len(counted)
    judged = [answer.wrong for answer in answers if answer.wrong is not None]
    wrong = np.logical_or.reduce(judged) if judged else None
    sure, bad = np.full(size, -np.inf), np.zeros(size)
    for answer in answers:
        if answer.wrong is not None and answer.confidence is not None:
            known = np.nan_to_num(answer.confidence, nan=0.0)
            sure = np.maximum(sure, np.where(answer.wrong, known, -np.inf))
        if answer.badness is not None:
            bad = np.maximum(bad, answer.badness)
    # lexsort sorts by the last key first and is stable: equal rows stay in order.
    ranked = np.lexsort((-bad, -sure))
    ranked = ranked[counted[ranked]]
    worst = ranked[: WORST if wrong is None else min(WORST, int(wrong.sum()))]
    rest = np.setdiff1d(np.arange(size), worst) if wrong is None else np.flatnonzero(~wrong)
    others = rest[counted[rest]]
    spread = np.linspace(0, len(others) - 1, min(OTHERS, len(others))).astype(int)
    return np.concatenate([worst, others[spread]]), wrong


def _gather_inputs(
    part: Part, rows: Array, outputs: Sequence[Output]
) -> list[dict[str, Array]] | None:
    """Return the inputs of these rows, or None if a stream yields other targets than before."""
    if part.stream is None:
        return [_sample(part.x, row) for row in rows.tolist()]
    samples: dict[int, dict[str, Array]] = {}
    start = 0
    for x, y, _ in part.batches(1):
        size = len(next(leaves(x))[1])
        targets = dict(leaves(y))
        if any(
            not np.array_equal(targets[output.path], output.y[start : start + size])
            for output in outputs
        ):
            return None
        for row in rows[(rows >= start) & (rows < start + size)].tolist():
            # Copy the sample, so that its whole batch does not stay in memory.
            samples[row] = {name: array.copy() for name, array in _sample(x, row - start).items()}
        start += size
    return [samples[row] for row in rows.tolist()] if start == part.size else None


def _sample(x: Arrays, row: int) -> dict[str, Array]:
    return dict(leaves(map_arrays(lambda array: np.asarray(array[row]), x)))


# What a sample is


def _input(array: Array, scale: tuple[float, float] | None) -> Json:
    """Return one input of a sample as an image, a text, a row of values, or a summary."""
    if scale is not None and _is_image(array):
        return _image(array, *scale)
    if array.dtype.kind in "SUO" and array.size == 1:
        return {"kind": "text", "text": _text(array.reshape(-1)[0])}
    if array.ndim < 2 and array.size <= VALUES:
        return {"kind": "row", "values": [_value(v) for v in array.reshape(-1)]}
    facts = (array.min(), array.max(), array.mean()) if _is_numeric(array) else (None,) * 3
    return {
        "kind": "array",
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        **dict(zip(("min", "max", "mean"), map(_value, facts), strict=True)),
    }


def _is_numeric(array: Array) -> bool:
    return array.dtype.kind in "buif" and array.size > 0


def _is_image(array: Array) -> bool:
    has_colours = array.ndim == 3 and array.shape[2] in (1, 3, 4)
    return _is_numeric(array) and (array.ndim == 2 or has_colours) and min(array.shape[:2]) >= 4


def _ranges(samples: list[dict[str, Array]]) -> dict[str, tuple[float, float]]:
    """Return, for each input with images, the values of black and white in all its images."""
    ranges: dict[str, tuple[float, float]] = {}
    for sample in samples:
        for path, array in sample.items():
            if _is_image(array):
                low, high = ranges.get(path, (math.inf, -math.inf))
                ranges[path] = min(low, float(array.min())), max(high, float(array.max()))
    return {path: _range(low, high) for path, (low, high) in ranges.items()}


def _range(low: float, high: float) -> tuple[float, float]:
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and 128 <= high <= 255:
        return 0.0, 255.0
    return low, high


def _image(array: Array, low: float, high: float) -> Json:
    pixels = array.astype(np.float64).reshape(*array.shape[:2], -1)
    scaled = (pixels - low) / ((high - low) or 1)
    longest = max(array.shape[:2])
    if longest > SIDE:
        scaled = resized(
            scaled, *(max(1, round(side * SIDE / longest)) for side in array.shape[:2])
        )
    png = png_of(np.clip(np.rint(scaled * 255), 0, 255).astype(np.uint8))
    height, width = scaled.shape[:2]
    encoded = base64.b64encode(png).decode("ascii")
    return {"kind": "image", "png": encoded, "width": width, "height": height}


def _targets(values: Array) -> Json:
    """Return one target as it is, a few as a list, and None for many."""
    flat = np.asarray(values).reshape(-1)
    if len(flat) > TARGETS:
        return None
    listed = [_value(value) for value in flat]
    return listed[0] if len(listed) == 1 else listed


def _nothing(row: int) -> Json:
    """Return None for truth and prediction: there are too many places to list."""
    return None


def _number(values: Array | None, row: int) -> float | None:
    number: float | None = None if values is None else _value(values[row])
    return number


def _value(value: Any) -> Json:
    """Return a number to six digits, None if it is not finite, and anything else as text."""
    if value is None or isinstance(value, bool | np.bool_):
        return value if value is None else bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.6g}") if math.isfinite(value) else None
    return _text(value)


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]}…"
