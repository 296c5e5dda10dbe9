"""What a metric of the author's is called with, and what it may return."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from modeltune.records.answers import Answers
from modeltune.records.own_metrics import call_metric

TRUTH = np.array([0, 1, 1, 0])
SHARES = np.array([0.2, 0.9, 0.4, 0.1])
TWO = Answers("binary", TRUTH, SHARES, (SHARES > 0.5).astype(int))
COLUMNS = np.stack([1 - SHARES, SHARES], axis=1)
LABELS = np.array([[True, False], [False, False], [True, True], [False, True]])
MANY = Answers("multilabel", LABELS, COLUMNS, COLUMNS > 0.5)
NUMBERS = Answers("regression", SHARES, SHARES + 1, SHARES + 1)


def called(answers: Answers, *more: Answers) -> tuple[Any, Any]:
    got: list[Any] = []

    def metric(y_true: Any, y_pred: Any) -> float:
        got.extend((y_true, y_pred))
        return 0.0

    call_metric(metric, {str(number): one for number, one in enumerate((answers, *more))})
    return got[0], got[1]


def test_a_function_gets_the_truth_and_what_the_model_predicts() -> None:
    for answers in (TWO, NUMBERS, Answers("binary", TRUTH, COLUMNS, TWO.labels)):
        y_true, y_pred = called(answers)
        assert y_true is answers.truth
        assert y_pred is answers.outputs
    y_true, y_pred = called(MANY)
    assert y_true.tolist() == LABELS.astype(int).tolist()
    assert y_pred is COLUMNS
    y_true, y_pred = called(TWO, NUMBERS)
    assert list(y_true) == list(y_pred) == ["0", "1"]
    assert y_pred["1"] is NUMBERS.outputs


SKLEARN: Mapping[str, tuple[Any, Answers, float]] = {
    "labels": (metrics.f1_score, TWO, metrics.f1_score(TRUTH, TWO.labels)),
    "options": (
        functools.partial(metrics.fbeta_score, beta=2),
        TWO,
        metrics.fbeta_score(TRUTH, TWO.labels, beta=2),
    ),
    "scores": (metrics.roc_auc_score, TWO, metrics.roc_auc_score(TRUTH, SHARES)),
    "two columns": (
        metrics.roc_auc_score,
        Answers("binary", TRUTH, COLUMNS, TWO.labels),
        metrics.roc_auc_score(TRUTH, SHARES),
    ),
    "probabilities": (metrics.brier_score_loss, TWO, metrics.brier_score_loss(TRUTH, SHARES)),
    "called y_pred": (metrics.log_loss, TWO, metrics.log_loss(TRUTH, SHARES)),
    "numbers": (metrics.max_error, NUMBERS, 1.0),
    "several labels": (
        functools.partial(metrics.f1_score, average="micro"),
        MANY,
        metrics.f1_score(LABELS, COLUMNS > 0.5, average="micro"),
    ),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_functions_of_scikit_learn_get_labels_or_scores_as_they_take_them(name: str) -> None:
    function, answers, expected = SKLEARN[name]
    assert call_metric(function, {"": answers}) == pytest.approx(expected, abs=1e-12)


def test_a_function_may_ask_for_the_metadata_by_name() -> None:
    def metric(y_true: Any, y_pred: Any, metadata: Any = None) -> Any:
        return len(metadata["region"])

    assert call_metric(metric, {"": TWO}, {"region": "abcd"}) == 4.0


def test_one_number_or_one_for_each_sample_is_what_it_returns() -> None:
    assert call_metric(lambda y, p: np.float32(0.5), {"": TWO}) == 0.5
    values = call_metric(lambda y, p: (y == 1)[:, None], {"": TWO})
    assert isinstance(values, np.ndarray)
    assert values.tolist() == [0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("returned", [np.zeros(3), np.zeros((4, 4)), "high", None, [1, "a"]])
def test_anything_else_is_refused_with_what_it_returned(returned: Any) -> None:
    with pytest.raises(TypeError, match="for 4 samples; return one number, or one per sample"):
        call_metric(lambda y, p: returned, {"": TWO})
