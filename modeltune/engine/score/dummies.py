"""What a perfect model and a dummy would predict, and how far a score lies between theirs. No Keras is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from modeltune.engine.score.task_report import Output, OutputTask, Target, is_one_hot
from modeltune.records import Array

CERTAIN = 30.0
"""The logit of a perfect prediction: large enough that every float32 sigmoid is 0 or 1."""


def gain(score: float, dummies: Sequence[float], perfect: float) -> float:
    """Return (score - dummy) / (perfect - dummy) of the best dummy; NaN if that scores as perfect does."""
    dummy = min(dummies, key=lambda value: abs(perfect - value))
    return (score - dummy) / (perfect - dummy) if perfect != dummy else math.nan


def dummy_predictions(
    outputs: Sequence[Output], train: Mapping[str, Target]
) -> Iterator[list[Array]]:
    """Yield what each dummy predicts, an array for each output: train's class shares; its mean, its median.

    Args:
        outputs: on the part that is scored.
        train: the targets of train by path.
    """
    constants = [_constants(output, train[output.path]) for output in outputs]
    for choice in range(max(map(len, constants))):
        chosen = [options[min(choice, len(options) - 1)] for options in constants]
        yield [_repeat(output, one) for output, one in zip(outputs, chosen, strict=True)]


def perfect_predictions(output: Output) -> Array:
    """Return the predictions of a perfect model: one-hot, 0 or 1, large logits, or the numbers."""
    if output.task in (OutputTask.REGRESSION, OutputTask.OTHER):
        exact = output.y.reshape(output.predicted.shape).astype(np.float32)
        return _logits(exact) if output.from_logits else exact
    if output.task is OutputTask.MULTICLASS and not is_one_hot(output):
        count = output.predicted.shape[-1]
        classes = output.y.reshape(output.predicted.shape[:-1]).astype(int)
        # A label that is left out, such as -1, may be no class; any prediction will do there.
        hard = np.eye(count, dtype=np.float32)[np.clip(classes, 0, count - 1)]
    else:
        hard = output.y.reshape(output.predicted.shape).astype(np.float32)
    certain: Array = (2 * hard - 1) * CERTAIN if output.from_logits else hard
    return certain


def _repeat(output: Output, constant: Array) -> Array:
    return np.broadcast_to(constant, output.predicted.shape).astype(np.float32)


def _constants(output: Output, train: Target) -> list[Array]:
    y = train.kept
    if output.task in (OutputTask.REGRESSION, OutputTask.OTHER):
        middles = [_constant_numbers(output, train, m) for m in (np.nanmean, np.nanmedian)]
        return [_logits(middle) for middle in middles] if output.from_logits else middles
    if output.task is OutputTask.MULTICLASS:
        count = output.predicted.shape[-1]
        if is_one_hot(output):
            shares = y.reshape(-1, count).mean(axis=0)
        else:
            shares = np.bincount(y.reshape(-1).astype(int), minlength=count) / y.size
        return [np.log(shares + 1e-7) if output.from_logits else shares]
    width = output.predicted.shape[-1] if output.predicted.ndim > 1 else 1
    share = y.reshape(-1, width).mean(axis=0)
    return [_logits(share) if output.from_logits else share]


def _logits(shares: Array) -> Array:
    """Return the logits of shares, those of 0 and 1 large but finite."""
    kept = np.clip(shares, 0, 1)
    logits: Array = np.log((kept + 1e-7) / (1 - kept + 1e-7))
    return logits


def _constant_numbers(output: Output, train: Target, middle: Callable[..., Array]) -> Array:
    """Return the mean or median of every number of a sample, over those that count."""
    shape = output.predicted.shape[1:]
    numbers = train.y.astype(np.float64).reshape(len(train.y), *shape)
    if train.counted is not None:
        numbers[~train.counted] = np.nan
        empty = np.isnan(numbers).all(axis=0)
        numbers[:, empty] = 0.0  # where no number counts, any will do
    return middle(numbers, axis=0)
