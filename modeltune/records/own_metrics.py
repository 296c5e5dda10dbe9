"""Call a metric of the user's: a function of truth and predictions that gives numbers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping

import numpy as np

from modeltune.records.answers import DECIDED, Answers, Array, at_threshold
from modeltune.specs import DecidedMetric, MetricFunction, plain_function

SCORES = ("y_score", "y_prob", "y_proba", "pred_decision")
"""What functions of scikit-learn call predictions that are no labels."""

SCORES_AS_LABELS = ("log_loss", "d2_log_loss_score")
"""Those that call probabilities ``y_pred``."""


def call_metric(
    function: MetricFunction,
    outputs: Mapping[str, Answers],
    metadata: object = None,
) -> float | Array:
    """Return what a metric of the user's gives: one number, or one per sample, float64 of shape (n,).

    Args:
        function: gets ``(y_true, y_pred)``: classes and probabilities, labels and probabilities, or
            numbers, without a column of its own where there is only one; a dict by output where
            there are several. A function of scikit-learn that takes labels gets those predicted. One that is
            decided at a threshold gets 0 and 1 in place of probabilities.
        outputs: the answers by output.
        metadata: what is known of the samples, for a function that has an argument of this name.

    Raises:
        TypeError: it returns something else. What it raises itself is not caught.
        UndefinedMetricError: no output is decided at a threshold.
    """
    predicted = _prediction(function)
    if isinstance(function, DecidedMetric):
        outputs, predicted = _decided(outputs, function.threshold), "labels"
        function = function.function
    names = ("truth", predicted)
    named = [{key: _array(a, name) for key, a in outputs.items()} for name in names]
    y_true, y_pred = named if len(outputs) > 1 else [next(iter(a.values())) for a in named]
    more = {"metadata": metadata} if takes_metadata(function) else {}
    returned = np.asarray(function(y_true, y_pred, **more))
    size = len(next(iter(outputs.values())).truth)
    if returned.dtype.kind not in "biuf" or returned.shape not in ((), (size,), (size, 1)):
        raise TypeError(
            f"it returned {returned.dtype} of shape {returned.shape} for {size} samples; return one "
            "number, or one per sample"
        )
    if returned.ndim == 0:
        return float(returned)
    return np.asarray(returned.reshape(-1), np.float64)


def _decided(outputs: Mapping[str, Answers], threshold: float) -> Mapping[str, Answers]:
    """Return the answers, those that are yes or no decided at a threshold."""
    decided = {
        name: at_threshold(one, threshold) for name, one in outputs.items() if one.task in DECIDED
    }
    if not decided:
        at_threshold(next(iter(outputs.values())), threshold)  # says why not
    return {**outputs, **decided}


def takes_metadata(function: MetricFunction) -> bool:
    """Tell whether a metric has an argument of the name ``metadata``."""
    function = plain_function(function)
    try:
        is_bound = "metadata" in getattr(function, "keywords", {})  # by functools.partial
        return not is_bound and "metadata" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _prediction(function: MetricFunction) -> str:
    """Return what a metric gets beside the truth: "outputs", or of scikit-learn's also "labels"."""
    plain = plain_function(function)
    while isinstance(plain, functools.partial):
        plain = plain.func
    if not str(getattr(plain, "__module__", "")).startswith("sklearn."):
        return "outputs"
    second = list(inspect.signature(plain).parameters)[1:2]
    is_score = second[:1] and second[0] in SCORES
    return "scores" if is_score or plain.__name__ in SCORES_AS_LABELS else "labels"


def _array(answers: Answers, name: str) -> Array:
    array: Array | None = getattr(answers, name)
    array = answers.labels if array is None else array  # a model that predicts classes
    return array.astype(int) if array.dtype == bool else array
