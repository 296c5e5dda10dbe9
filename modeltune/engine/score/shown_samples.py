"""Choose test samples to look at, the most wrong first, and say what each is and was taken for."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from modeltune.engine.data import Arrays, Part, leaves, map_arrays
from modeltune.engine.score.scoring import (
    Output,
    OutputTask,
    Predictions,
    classes_of,
    probabilities,
)
from modeltune.records import Array, Json

EXAMPLES_FORMAT = 1
"""The number in a file of examples; it changes when a key changes its meaning."""

WORST, OTHERS = 24, 8
"""How many samples are kept: the most wrong, and for comparison right ones."""

SIDE = 64
"""The longest side of a kept image, in pixels."""

CHARACTERS, VALUES, TARGETS = 400, 64, 16
"""How much is kept of a text, of a row of numbers, and of the targets of one sample."""

BYTES = 300_000
"""The most that all samples of a run take, as JSON."""


@dataclass(frozen=True, eq=False)
class _Answers:
    """What one output said of each of n samples.

    ``wrong``, ``confidence`` and ``error`` have one value per sample, or are None where there is
    no such thing; ``badness`` is an error in standard deviations of what is true. ``truth`` and
    ``predicted`` return those of a sample.
    """

    truth: Callable[[int], Json]
    predicted: Callable[[int], Json]
    wrong: Array | None = None
    confidence: Array | None = None
    error: Array | None = None
    badness: Array | None = None


def examples(part: Part, predictions: Predictions) -> Json:
    """Return a part's samples to look at as JSON data, the same of the same predictions.

    Wrong classes come first, the surest of them at the top, then the largest errors, then some
    right ones, spread over the part; samples of equal rank stand in the part's order. Without
    classes the largest errors come first, then some of the other samples.

    Returns:
        "of" how many samples they are, how many of these are "wrong" (null without classes), and
        the "samples" of the "refit" whose weights are kept. None when a prediction is not
        finite, or when a stream does not yield the targets again in the order in which they
        were predicted.
    """
    outputs = predictions.outputs
    if not outputs or any(
        len(output.y) != part.size
        or len(output.predicted) != part.size
        or not np.isfinite(output.predicted).all()
        for output in outputs
    ):
        return None
    answers = {output.name or "output": _answers(output) for output in outputs}
    rows, wrong = _chosen(list(answers.values()), part.size)
    samples = _gathered(part, rows, outputs)
    if samples is None:
        return None
    ranges = _ranges(samples)
    shown: list[Json] = []
    left = BYTES
    for row, sample in zip(rows.tolist(), samples, strict=True):
        entry = {
            "index": row,
            "is_wrong": None if wrong is None else bool(wrong[row]),
            "x": {path: _shown(array, ranges.get(path)) for path, array in sample.items()},
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
        shown.append(entry)
    count = None if wrong is None else int(wrong.sum())
    if not shown:
        return None
    # The kept refit is the first one.
    return {
        "format": EXAMPLES_FORMAT,
        "refit": 0,
        "of": part.size,
        "wrong": count,
        "samples": shown,
    }


# Which samples


def _answers(output: Output) -> _Answers:
    if output.task is OutputTask.REGRESSION:
        return _numbers(output)
    if output.task is OutputTask.OTHER:
        y, predicted = output.y, output.predicted
        return _Answers(lambda row: _targets(y[row]), lambda row: _targets(predicted[row]))
    return _decisions(output)


def _decisions(output: Output) -> _Answers:
    """Return what a classifier decided: one class per sample, its labels, or a class per place."""
    size = len(output.y)
    shares = probabilities(output, output.predicted)
    if shares.min(initial=0) < 0 or shares.max(initial=1) > 1 + 1e-6:
        # Scores of some other kind say nothing of how sure the model was.
        shares = np.full(shares.shape, np.nan)
    if output.task is OutputTask.MULTICLASS:
        true, found, _ = classes_of(output)
        sure = shares.max(axis=-1)
    else:
        true = output.y.astype(bool).astype(int)
        found = (output.predicted > output.threshold).astype(int)
        sure = np.where(found, shares, 1 - shares)
    true, found, sure = (array.reshape(size, -1) for array in (true, found, sure))
    missed = true != found
    is_labels = output.task is OutputTask.MULTILABEL and output.predicted.ndim == 2
    if true.shape[1] > 1 and not is_labels:
        share = missed.mean(axis=1)
        return _Answers(_nothing, _nothing, error=share, badness=share)
    wrong = missed.any(axis=1)
    # Of several labels the surest wrong one; of a sample that is right, the one nearest to wrong.
    surest = np.where(missed, sure, -np.inf).max(axis=1, initial=-np.inf)
    confidence = np.where(wrong, surest, sure.min(axis=1, initial=np.inf))
    if is_labels:
        return _Answers(
            lambda row: np.flatnonzero(true[row])[:TARGETS].tolist(),
            lambda row: np.flatnonzero(found[row])[:TARGETS].tolist(),
            wrong,
            confidence,
        )
    return _Answers(
        lambda row: int(true[row, 0]), lambda row: int(found[row, 0]), wrong, confidence
    )


def _numbers(output: Output) -> _Answers:
    """Return a regression's numbers; several columns have each its own unit, pixels all the same."""
    size = len(output.y)
    true = output.y.reshape(size, -1).astype(np.float64)
    predicted = output.predicted.reshape(size, -1).astype(np.float64)
    apart = np.abs(predicted - true)
    is_table = 1 < true.shape[1] <= TARGETS
    spread = true.std(axis=0) if is_table else np.asarray(true.std())
    badness = (apart / np.where(spread > 0, spread, 1)).mean(axis=1)
    return _Answers(
        lambda row: _targets(true[row]),
        lambda row: _targets(predicted[row]),
        error=badness if is_table else apart.mean(axis=1),
        badness=badness,
    )


def _chosen(answers: list[_Answers], size: int) -> tuple[Array, Array | None]:
    """Return the rows to show in their order, and which of all rows are wrong, if any can be."""
    judged = [answer.wrong for answer in answers if answer.wrong is not None]
    wrong = np.logical_or.reduce(judged) if judged else None
    sure, bad = np.full(size, -np.inf), np.zeros(size)
    for answer in answers:
        if answer.wrong is not None and answer.confidence is not None:
            known = np.nan_to_num(answer.confidence, nan=0.0)
            sure = np.maximum(sure, np.where(answer.wrong, known, -np.inf))
        if answer.badness is not None:
            bad = np.maximum(bad, answer.badness)
    # Sorted by the last key first, and stable: equal rows stay in order.
    ranked = np.lexsort((-bad, -sure))
    worst = ranked[: WORST if wrong is None else min(WORST, int(wrong.sum()))]
    others = np.setdiff1d(np.arange(size), worst) if wrong is None else np.flatnonzero(~wrong)
    spread = np.linspace(0, len(others) - 1, min(OTHERS, len(others))).astype(int)
    return np.concatenate([worst, others[spread]]), wrong


def _gathered(part: Part, rows: Array, outputs: list[Output]) -> list[dict[str, Array]] | None:
    """Return these samples, by input, None when a stream yields other targets than before."""
    if part.stream is None:
        return [_sample(part.x, row) for row in rows.tolist()]
    found: dict[int, dict[str, Array]] = {}
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
            # A copy, for the batch is not to stay in memory.
            found[row] = {name: array.copy() for name, array in _sample(x, row - start).items()}
        start += size
    return [found[row] for row in rows.tolist()] if start == part.size else None


def _sample(x: Arrays, row: int) -> dict[str, Array]:
    return dict(leaves(map_arrays(lambda array: np.asarray(array[row]), x)))


# What a sample is


def _shown(array: Array, scale: tuple[float, float] | None) -> Json:
    """Return one input of one sample: an image, a text, a row of values, or what is known of it."""
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
    """Return of each input with images what is black and what is white in all of them."""
    found: dict[str, tuple[float, float]] = {}
    for sample in samples:
        for path, array in sample.items():
            if _is_image(array):
                low, high = found.get(path, (math.inf, -math.inf))
                found[path] = min(low, float(array.min())), max(high, float(array.max()))
    return {path: _range(low, high) for path, (low, high) in found.items()}


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
        size = [max(1, round(side * SIDE / longest)) for side in array.shape[:2]]
        scaled = tf.image.resize(scaled[None], size, method="area")[0].numpy()
    png = tf.io.encode_png(np.clip(np.rint(scaled * 255), 0, 255).astype(np.uint8)).numpy()
    height, width = scaled.shape[:2]
    encoded = base64.b64encode(png).decode("ascii")
    return {"kind": "image", "png": encoded, "width": width, "height": height}


def _targets(values: Array) -> Json:
    """Return a number or text, a list of few, None of many."""
    flat = np.asarray(values).reshape(-1)
    if len(flat) > TARGETS:
        return None
    listed = [_value(value) for value in flat]
    return listed[0] if len(listed) == 1 else listed


def _nothing(row: int) -> Json:
    """Return no truth and no prediction: there are too many places to list."""
    return None


def _number(values: Array | None, row: int) -> float | None:
    found: float | None = None if values is None else _value(values[row])
    return found


def _value(value: Any) -> Json:
    """Return a number to six digits, None of one that is not finite; anything else as text."""
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
