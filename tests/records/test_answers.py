"""The usual metrics are those of scikit-learn on the same answers, and undefined where it has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from modeltune.records import ClassNames
from modeltune.records.answers import (
    Answers,
    UndefinedMetricError,
    usual_metric,
    usual_names,
    usual_scores,
)

RANDOM = np.random.default_rng(0)
N = 300


def binary(kind: type = np.float32) -> Answers:
    truth = RANDOM.integers(0, 2, N)
    # Rounded, so that scores are equal: those of a small forest are.
    scores: Any = np.clip(0.3 * truth + 0.7 * RANDOM.random(N), 0, 1).round(2).astype(kind)
    return Answers("binary", truth, scores, (scores > 0.5).astype(int))


def multiclass(kind: type = np.float32) -> Answers:
    truth = RANDOM.integers(0, 7, N)
    scores = RANDOM.random((N, 7)).round(1) + np.eye(7)[truth]
    shares = (scores / scores.sum(axis=1, keepdims=True)).astype(kind)
    return Answers("multiclass", truth, shares, shares.argmax(axis=1))


def multilabel() -> Answers:
    truth = RANDOM.random((N, 4)) < 0.3
    shares = np.clip(0.3 * truth + 0.7 * RANDOM.random((N, 4)), 0, 1).astype(np.float32)
    return Answers("multilabel", truth, shares, shares > 0.5)


def numbers(*columns: int) -> Answers:
    truth = RANDOM.normal(size=(N, *columns))
    predicted = truth + RANDOM.normal(size=truth.shape)
    return Answers("regression", truth, predicted, predicted)


def rate(answers: Answers) -> float:
    (tn, fp), _ = metrics.confusion_matrix(answers.truth, answers.labels)
    return float(fp / (fp + tn))


def specificity(answers: Answers) -> float:
    cells = metrics.multilabel_confusion_matrix(answers.truth, answers.labels)
    return float(np.mean(cells[:, 0, 0] / (cells[:, 0, 0] + cells[:, 0, 1])))


BINARY: dict[str, Callable[[Answers], Any]] = {
    "roc_auc": lambda a: metrics.roc_auc_score(a.truth, a.outputs),
    "average_precision": lambda a: metrics.average_precision_score(a.truth, a.outputs),
    "log_loss": lambda a: metrics.log_loss(a.truth, a.outputs),
    "brier": lambda a: metrics.brier_score_loss(a.truth, a.outputs),
    "balanced_accuracy": lambda a: metrics.balanced_accuracy_score(a.truth, a.labels),
    "mcc": lambda a: metrics.matthews_corrcoef(a.truth, a.labels),
    "false_positive_rate": rate,
    "specificity": lambda a: metrics.recall_score(a.truth, a.labels, pos_label=0),
}
MULTICLASS: dict[str, Callable[[Answers], Any]] = {
    "roc_auc": lambda a: metrics.roc_auc_score(a.truth, a.outputs, multi_class="ovr"),
    "average_precision": lambda a: metrics.average_precision_score(a.truth, a.outputs),
    "log_loss": lambda a: metrics.log_loss(a.truth, a.outputs),
    "brier": lambda a: np.square(a.scores - np.eye(7)[a.truth], dtype=float).sum(axis=1).mean(),
    "balanced_accuracy": lambda a: metrics.balanced_accuracy_score(a.truth, a.labels),
    "mcc": lambda a: metrics.matthews_corrcoef(a.truth, a.labels),
    "specificity": specificity,
    "false_positive_rate": lambda a: 1 - specificity(a),
    "top_3": lambda a: metrics.top_k_accuracy_score(a.truth, a.outputs, k=3),
    "top_5": lambda a: metrics.top_k_accuracy_score(a.truth, a.outputs, k=5),
}
MULTILABEL: dict[str, Callable[[Answers], Any]] = {
    "roc_auc": lambda a: metrics.roc_auc_score(a.truth, a.outputs),
    "roc_auc_micro": lambda a: metrics.roc_auc_score(a.truth, a.outputs, average="micro"),
    "average_precision": lambda a: metrics.average_precision_score(a.truth, a.outputs),
    "average_precision_micro": lambda a: metrics.average_precision_score(
        a.truth, a.outputs, average="micro"
    ),
    "precision_micro": lambda a: metrics.precision_score(a.truth, a.labels, average="micro"),
    "recall_micro": lambda a: metrics.recall_score(a.truth, a.labels, average="micro"),
    "f1_micro": lambda a: metrics.f1_score(a.truth, a.labels, average="micro"),
}
REGRESSION: dict[str, Callable[[Answers], Any]] = {
    "median_ae": lambda a: metrics.median_absolute_error(a.truth, a.labels),
    "ae_q90": lambda a: np.quantile(abs(a.labels - a.truth), 0.9, axis=0).mean(),
    "error_q05": lambda a: np.quantile(a.labels - a.truth, 0.05, axis=0).mean(),
    "error_q95": lambda a: np.quantile(a.labels - a.truth, 0.95, axis=0).mean(),
}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (binary(), BINARY),
        (binary(np.float64), BINARY),
        (multiclass(), MULTICLASS),
        (multiclass(np.float64), MULTICLASS),
        (multilabel(), MULTILABEL),
        (numbers(), REGRESSION),
        (numbers(3), REGRESSION),
    ],
    ids=["binary", "binary64", "multiclass", "multiclass64", "multilabel", "numbers", "columns"],
)
def test_every_usual_number_is_that_of_scikit_learn(
    answers: Answers, expected: dict[str, Callable[[Answers], Any]]
) -> None:
    measured, undefined = usual_scores(answers)
    assert not undefined
    assert set(measured) - {"ece"} == set(expected)
    for name, compute in expected.items():
        assert measured[name] == pytest.approx(compute(answers), abs=1e-9), name


def test_the_calibration_error_is_the_distance_of_confidence_from_accuracy_in_15_bins() -> None:
    answers = multiclass(np.float64)
    sure = answers.probabilities.max(axis=1)
    right = answers.labels == answers.truth
    bins = np.digitize(sure, np.linspace(0, 1, 16), right=True)
    by_hand = sum(
        (bins == one).mean() * abs(sure[bins == one].mean() - right[bins == one].mean())
        for one in np.unique(bins)
    )
    metric = usual_metric("multiclass", "ece")
    assert metric is not None
    assert metric.compute(answers) == pytest.approx(by_hand, abs=1e-12)


def test_the_value_on_each_sample_has_the_metric_as_its_mean() -> None:
    for answers in (binary(), multiclass(), multiclass(np.float64)):
        for name in ("log_loss", "brier", "top_3"):
            metric = usual_metric(answers.task, name)
            if metric is not None and metric.values is not None:
                assert metric.values(answers).mean() == pytest.approx(
                    metric.compute(answers), rel=1e-6
                )


def test_a_class_against_the_rest_is_a_binary_answer() -> None:
    answers = multiclass()
    metric = usual_metric("binary", "roc_auc")
    assert metric is not None
    assert answers.outputs is not None
    expected = metrics.roc_auc_score(answers.truth == 2, answers.outputs[:, 2])
    assert metric.compute(answers.of_class(2)) == pytest.approx(expected, abs=1e-12)
    two = binary()
    assert metric.compute(two.of_class(0)) == pytest.approx(metric.compute(two), abs=1e-6)


@pytest.mark.parametrize(
    ("answers", "name", "why"),
    [
        (binary().take(np.flatnonzero(binary().truth == 2)), "roc_auc", "no samples"),
        (
            Answers("binary", np.ones(4, int), np.ones(4), np.ones(4, int)),
            "roc_auc",
            "all 4 samples are of class 1",
        ),
        (
            Answers(
                "binary", np.ones(4, int), np.ones(4), np.ones(4, int), ClassNames(["no", "yes"])
            ),
            "specificity",
            "all 4 samples are of class 1 yes",
        ),
        (
            multiclass().take(np.flatnonzero(multiclass().truth != 8)[:2]),
            "average_precision",
            "there are no samples of class 0",
        ),
        (
            Answers("binary", np.arange(4) % 2, np.array([-1.0, 2, 0, 3]), np.arange(4) % 2),
            "log_loss",
            "the predictions are no probabilities: they go from -1 to 3",
        ),
        (
            Answers("multiclass", np.arange(3), np.full((3, 3), 0.9), np.arange(3)),
            "brier",
            "the predictions are no probabilities: those of a sample add up to 2.7",
        ),
        (multiclass(), "top_7", "there are 7 classes, all of them in the top 7"),
    ],
    ids=["empty", "area", "specificity", "a class less", "margins", "sums", "top of all"],
)
def test_what_is_not_defined_has_a_reason_and_no_number(
    answers: Answers, name: str, why: str
) -> None:
    metric = usual_metric(answers.task, name)
    assert metric is not None
    with pytest.raises(UndefinedMetricError, match=why):
        metric.compute(answers)
    measured, undefined = usual_scores(answers, (name,))
    assert name not in measured
    assert undefined[name].startswith(why)


def test_coverage_is_the_share_of_targets_within_the_quantiles_that_a_gate_asks_for() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    quantiles = np.array([[0.0, 0.5, 1.5], [2.1, 2.5, 3.0], [2.0, 3.0, 4.0], [5.0, 4.5, 4.0]])
    answers = Answers("quantiles", truth, quantiles, truth)
    assert usual_names("quantiles") == ()
    assert usual_scores(answers, ("coverage",))[0] == {"coverage": 0.75}
