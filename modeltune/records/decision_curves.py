"""The binary answers of a class by falling score: what each threshold makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]

LESS_IS_BETTER = ("false_positive_rate",)
"""The metrics of decisions of which the smallest value is the best."""


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """What is taken to be of a class at each threshold there is: of samples whose score is at least it.

    Args:
        thresholds: the different scores, falling, (k,).
        right, wrong: how many samples of the class, and others, are taken at each, (k,).
        positives, negatives: how many there are.
    """

    thresholds: _Array
    right: _Array
    wrong: _Array
    positives: int
    negatives: int

    @classmethod
    def of(cls, truth: _Array, scores: _Array) -> DecisionCurve:
        """Return the curve of n samples, ``truth`` whether each is of the class, bool."""
        order = np.argsort(-scores, kind="stable")
        ranked, hit = scores[order], truth[order]
        # Equal scores are on one side of any threshold: the last of each decides.
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        right = np.cumsum(hit)[last]
        positives = int(right[-1])
        return cls(ranked[last], right, last + 1 - right, positives, len(truth) - positives)

    def scores(self, metric: str) -> _Array:
        """Return a metric of decisions at each threshold, (k,); NaN where it is not defined."""
        return decision_scores(metric, self.right, self.wrong, self.positives, self.negatives)

    def best(self, metric: str, condition: str, value: float) -> float | None:
        """Return the best value of a metric where another one is good enough; None where nowhere.

        The best is the largest, of a false positive rate the smallest. What is considered are the
        thresholds that occur, as in scikit-learn's curves, and one above all of them, at which no sample is
        taken: its recall is 0 and its precision counts as 1.
        """
        reached = self._reached(condition, value)
        values = self.scores(metric)[reached]
        if metric != "precision" and (condition != "recall" or value <= 0):
            nothing = decision_scores(
                metric, np.zeros(1), np.zeros(1), self.positives, self.negatives
            )
            values = np.append(values, nothing)
        if not len(values):
            return None
        return float(values.min() if metric in LESS_IS_BETTER else values.max())

    def nearest(self, condition: str, value: float) -> tuple[float, float] | None:
        """Return the best that a condition comes to and the threshold there; None where it is reached."""
        if self._reached(condition, value).any():
            return None
        values = self.scores(condition)
        place = int(values.argmin() if condition in LESS_IS_BETTER else values.argmax())
        return float(values[place]), float(self.thresholds[place])

    def _reached(self, condition: str, value: float) -> _Array:
        values = self.scores(condition)
        reached = values <= value if condition in LESS_IS_BETTER else values >= value
        return np.asarray(reached)


def decision_scores(
    metric: str, right: _Array, wrong: _Array, positives: int, negatives: int
) -> _Array:
    """Return a metric of decisions from counts, as scikit-learn's of the class that is decided on.

    0 where there is nothing to divide by, but where all samples are of one class: what needs the other
    one is NaN.

    Args:
        metric: one of ``DECISION_METRICS``.
        right, wrong: how many of the class, and of the others, are taken for it, of any shape.
        positives, negatives: how many there are of each.
    """
    right, wrong = right.astype(np.float64), wrong.astype(np.float64)
    left = negatives - wrong
    if metric == "accuracy":
        return _ratio(right + left, positives + negatives)
    if metric == "recall":
        return _ratio(right, positives, np.nan)
    if metric == "precision":
        return _ratio(right, right + wrong)
    if metric == "f1":
        return _ratio(2 * right, right + wrong + positives)
    if metric == "false_positive_rate":
        return _ratio(wrong, negatives, np.nan)
    if metric == "specificity":
        return _ratio(left, negatives, np.nan)
    if metric == "balanced_accuracy":
        of_class, of_others = _ratio(right, positives, np.nan), _ratio(left, negatives, np.nan)
        # As scikit-learn's, of the classes there are.
        return (
            (of_class + of_others) / 2
            if positives and negatives
            else of_class
            if positives
            else of_others
        )
    missed = positives - right
    spread = (right + wrong) * (right + missed) * (left + wrong) * (left + missed)
    return _ratio(right * left - wrong * missed, np.sqrt(spread))


def _ratio(above: _Array, below: Any, otherwise: float = 0.0) -> _Array:
    below = np.broadcast_to(np.asarray(below, np.float64), above.shape)
    some = below > 0
    return np.where(some, above / np.where(some, below, 1), otherwise)
