"""Metrics at a point of their curve are what scikit-learn's functions give at the best threshold there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from modeltune.records.answers import Answers, UndefinedMetricError, usual_metric
from modeltune.records.decision_curves import DecisionCurve

SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=24).filter(
    lambda drawn: len({label for label, _ in drawn}) == 2
)


def rate(truth: Any, labels: Any) -> float:
    return float(1 - metrics.recall_score(truth, labels, pos_label=0))


OF_SKLEARN: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": lambda t, p: metrics.f1_score(t, p, zero_division=0),
    "false_positive_rate": rate,
    "mcc": metrics.matthews_corrcoef,
    "precision": lambda t, p: metrics.precision_score(t, p, zero_division=0),
    "recall": metrics.recall_score,
    "specificity": lambda t, p: metrics.recall_score(t, p, pos_label=0),
}


def answers(drawn: list[tuple[bool, int]], kind: type = np.float32) -> Answers:
    truth = np.array([label for label, _ in drawn], int)
    scores: Any = (np.array([score for _, score in drawn]) / 12).astype(kind)
    return Answers("binary", truth, scores, (scores > 0.5).astype(int))


def at(one: Answers, name: str) -> float:
    metric = usual_metric(one.task, name)
    assert metric is not None
    return metric.compute(one)


@given(SCORES, st.sampled_from(list(OF_SKLEARN)), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_metric_at_a_threshold_is_scikit_learns_on_the_decisions(
    drawn: Any, name: str, threshold: float
) -> None:
    one = answers(drawn)
    taken = (one.scores >= threshold).astype(int)
    expected = OF_SKLEARN[name](one.truth, taken)
    assert at(one, f"{name}.at(threshold={threshold!r})") == pytest.approx(expected, abs=1e-9)


@given(
    SCORES,
    st.sampled_from(["accuracy", "balanced_accuracy", "f1", "mcc"]),
    st.sampled_from(["precision", "recall", "specificity"]),
    st.integers(0, 20),
)
@settings(max_examples=60, deadline=None)
def test_a_metric_at_a_condition_is_the_best_over_all_thresholds(
    drawn: Any, name: str, condition: str, twentieths: int
) -> None:
    one, value, best = answers(drawn, np.float64), twentieths / 20, []
    for cut in [*np.unique(one.scores), np.inf]:
        taken = (one.scores >= cut).astype(int)
        is_nothing = cut == np.inf and condition == "precision"
        if is_nothing or OF_SKLEARN[condition](one.truth, taken) >= value:
            best.append(OF_SKLEARN[name](one.truth, taken))
    assert at(one, f"{name}.at({condition}={value!r})") == pytest.approx(max(best), abs=1e-9)


def test_points_are_those_of_scikit_learns_curves() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 400)
    scores = np.clip(0.2 * truth + 0.8 * random.random(400), 0, 1).round(2)
    one = Answers("binary", truth, scores, (scores > 0.5).astype(int))
    precision, recall, _ = metrics.precision_recall_curve(truth, scores)
    fpr, tpr, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    for value in np.linspace(0, 1, 101).tolist():
        expected = {
            f"recall.at(precision={value})": recall[precision >= value].max(),
            f"recall.at(false_positive_rate={value})": tpr[fpr <= value].max(),
            f"recall.at(specificity={value})": tpr[1 - fpr >= value - 1e-12].max(),
        }
        if value > 0:
            expected[f"precision.at(recall={value})"] = precision[recall >= value].max()
            expected[f"false_positive_rate.at(recall={value})"] = fpr[tpr >= value].min()
        for name, best in expected.items():
            assert at(one, name) == pytest.approx(float(best), abs=1e-9), name


@given(SCORES, st.sampled_from(["precision=0.7", "recall=0.6", "false_positive_rate=0.2"]))
@settings(max_examples=30, deadline=None)
def test_another_scale_of_the_scores_keeps_a_point(drawn: Any, condition: str) -> None:
    one = answers(drawn, np.float64)
    other = Answers("binary", one.truth, np.exp(one.scores) / 10, one.labels)
    assert at(one, f"f1.at({condition})") == at(other, f"f1.at({condition})")


def test_a_precision_that_no_threshold_has_leaves_nothing_recalled() -> None:
    one = answers([(False, 9), (True, 6), (False, 3)])
    assert at(one, "recall.at(precision=0.9)") == 0.0
    curve = DecisionCurve.of(one.truth == 1, one.scores)
    assert curve.nearest("precision", 0.9) == (0.5, 0.5)
    assert curve.nearest("precision", 0.5) is None


def test_points_of_labels_are_the_mean_over_the_labels() -> None:
    random = np.random.default_rng(1)
    truth = random.random((200, 3)) < 0.4
    shares = np.clip(0.3 * truth + 0.7 * random.random((200, 3)), 0, 1)
    labels = Answers("multilabel", truth, shares, shares > 0.5)
    name = "recall.at(precision=0.8)"
    of_each = [at(labels.of_class(k), name) for k in range(3)]
    assert at(labels, name) == pytest.approx(np.mean(of_each), abs=1e-12)
    with pytest.raises(UndefinedMetricError, match="of label 1: all 200 samples are of class 0"):
        at(Answers("multilabel", truth & [True, False, True], shares, shares > 0.5), name)


@pytest.mark.parametrize(
    ("scores", "name", "lack"),
    [
        ([0.2, 0.9], "recall.at(precision=0.9)", "all 2 samples are of class 1"),
        ([0.2, 0.9], "specificity.at(threshold=0.5)", "all 2 samples are of class 1"),
        ([-3.0, 2.0], "recall.at(threshold=0.5)", "no probabilities: they go from -3 to 2"),
    ],
)
def test_what_has_no_point_says_what_is_missing(scores: list[float], name: str, lack: str) -> None:
    one = Answers("binary", np.ones(2, int), np.array(scores), np.ones(2, int))
    with pytest.raises(UndefinedMetricError, match=lack):
        at(one, name)


def test_only_answers_of_yes_or_no_have_points() -> None:
    for task in ("multiclass", "regression", "quantiles"):
        assert usual_metric(task, "recall.at(precision=0.9)") is None
    for name in ("recall.at(precision=0.9", "roc_auc.at(recall=0.5)", "recall.at(fpr=0.5)"):
        assert usual_metric("binary", name) is None
