"""A threshold is the best of all scores of a part, and points that outputs do not have are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import modeltune as mt
from modeltune.engine.probe.predictions import read_decision
from modeltune.engine.score.operating_points import (
    MOST_TRIED,
    at_points,
    choose,
    chosen_points,
    declared_points,
    notes_on_points,
    point_problems,
    threshold_problems_of,
)
from modeltune.engine.score.task_report import Output, OutputTask, answers_of, decisions, report
from modeltune.ground import SpecError
from modeltune.records import Answers, ClassNames
from modeltune.specs.gates import Gate
from modeltune.specs.spec_type import Spec


def output(task: OutputTask, width: int = 1, name: str = "", **others: Any) -> Output:
    shape = (4, width) if width > 1 else (4,)
    y = np.zeros(shape if task is OutputTask.MULTILABEL else 4)
    return Output(name, "", task, False, y, np.full(shape, 0.5), **others)


YES_OR_NO = output(OutputTask.BINARY)
TWO = output(OutputTask.MULTICLASS, 2)
THREE = output(OutputTask.MULTICLASS, 3)
LABELS = output(OutputTask.MULTILABEL, 3)
NUMBERS = output(OutputTask.REGRESSION)
HARD = output(OutputTask.MULTICLASS, 2, is_hard=True)


def recall(y_true: Any, y_pred: Any) -> float:
    return 0.0


def cost(y_true: Any, y_pred: Any) -> float:
    return 0.0


def spec(gate: Gate) -> Spec:
    @mt.spec(data=mt.Data(test=([0], [0])), gates=[gate])
    def net() -> Any:
        return None

    return net


POINT = mt.metric("recall").at(precision=0.9) >= 0.5
OF_OWN = mt.metric(cost).at(threshold=0.5) <= 1


@pytest.mark.parametrize(
    ("gate", "outputs", "text"),
    [
        (POINT, [YES_OR_NO], ""),
        (POINT, [TWO], ""),
        (POINT, [LABELS], ""),
        (POINT, [THREE], "the task is multiclass, and only answers of yes or no"),
        (POINT, [NUMBERS], "the task is regression, and only answers of yes or no"),
        (POINT, [HARD], "the model predicts classes, and no probabilities"),
        (OF_OWN, [THREE], "the task is multiclass"),
        (OF_OWN, [output(OutputTask.BINARY, name="a"), NUMBERS], ""),
        (mt.metric("recall").at(precision=0.9).per_class() >= 0.5, [LABELS], ""),
        (mt.metric("recall").at(precision=0.9).per_class() >= 0.5, [TWO], "leave out .per_class()"),
        (mt.metric(recall).at(threshold=0.5) >= 0, [TWO], "give the function another name"),
        (mt.metric("a_recall").at(threshold=0.5) >= 0, [output(OutputTask.BINARY, name="a")], ""),
        (mt.metric("b_f1").at(threshold=0.5) >= 0, [TWO], 'no metric "b_f1.at(threshold=0.5)"'),
    ],
)
def test_a_point_that_the_outputs_do_not_have_is_refused(
    gate: Gate, outputs: list[Output], text: str
) -> None:
    found = list(point_problems(spec(gate), outputs))
    assert [text in problem for problem in found] == ([True] if text else [])
    for problem in found:
        assert problem.startswith(f"gates[0]: {gate!r}: ")


# Choosing a threshold

DRAWN = st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=30).filter(
    lambda drawn: len({label for label, _ in drawn}) == 2
)
OF_SKLEARN: dict[str, Any] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "f1": lambda t, p: metrics.f1_score(t, p, zero_division=0),
    "mcc": metrics.matthews_corrcoef,
    "precision": lambda t, p: metrics.precision_score(t, p, zero_division=0),
    "specificity": lambda t, p: metrics.recall_score(t, p, pos_label=0),
}


def binary(truth: Any, scores: Any) -> Answers:
    return Answers("binary", np.asarray(truth, int), scores, (scores > 0.5).astype(int))


def answers(drawn: Any) -> Answers:
    scores: Any = (np.array([score for _, score in drawn]) / 12).astype(np.float32)
    return binary([label for label, _ in drawn], scores)


def money(y_true: Any, y_pred: Any) -> float:
    return float(np.sum((y_pred != y_true) * (1 + 4 * y_true)))


def brute_force(one: Answers, score: Any) -> float:
    """Return the best threshold of all scores, the highest of equals."""
    assert one.outputs is not None
    best = [
        (round(score(one.truth, (one.outputs >= cut).astype(int)), 9), cut)
        for cut in np.unique(one.outputs)
    ]
    return float(max(best)[1])


@given(DRAWN, st.sampled_from(list(OF_SKLEARN)))
@settings(max_examples=40, deadline=None)
def test_a_threshold_is_the_best_of_all_scores_and_of_equals_the_highest(
    drawn: Any, name: str
) -> None:
    one = answers(drawn)
    choice = choose(mt.threshold(maximize=name), one)
    assert choice.threshold == brute_force(one, OF_SKLEARN[name])
    assert one.outputs is not None
    expected = OF_SKLEARN[name](one.truth, (one.outputs >= choice.threshold).astype(int))
    assert choice.score == pytest.approx(expected, abs=1e-9)
    assert choice.low is not None
    assert choice.low in one.outputs


@given(DRAWN)
@settings(max_examples=20, deadline=None)
def test_a_function_and_a_cost_choose_as_brute_force_does(drawn: Any) -> None:
    one = answers(drawn)
    expected = brute_force(one, lambda t, p: -money(t, p))
    assert choose(mt.threshold(cost=money), one).threshold == expected
    # A value per sample counts by its mean.
    by_sample = mt.threshold(cost=lambda t, p: (p != t) * (1 + 4 * t))
    assert choose(by_sample, one).threshold == expected


@given(DRAWN)
@settings(max_examples=20, deadline=None)
def test_another_scale_of_the_scores_chooses_the_same_samples(drawn: Any) -> None:
    one = answers(drawn)
    assert one.outputs is not None
    other = binary(one.truth, one.outputs**3)
    rule = mt.threshold(maximize="f1")
    mine, theirs = (choose(rule, side).threshold for side in (one, other))
    assert np.array_equal(one.scores >= mine, other.scores >= theirs)


def test_a_function_is_called_at_a_thousand_thresholds_at_most() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 3000)
    one = binary(truth, np.clip(0.3 * truth + 0.7 * random.random(3000), 0, 1))
    called = []

    def cost(y_true: Any, y_pred: Any) -> float:
        called.append(1)
        return money(y_true, y_pred)

    choice = choose(mt.threshold(cost=cost), one)
    assert len(called) == MOST_TRIED
    assert choice.score is not None
    best = min(money(truth, (one.scores >= cut).astype(int)) for cut in one.scores[::7])
    assert choice.score <= best * 1.02


def labels_output(**others: Any) -> Output:
    random = np.random.default_rng(1)
    y = random.random((200, 3)) < [0.3, 0.1, 0.0]
    shares = np.clip(0.3 * y + 0.7 * random.random((200, 3)), 0, 1)
    return Output("", "", OutputTask.MULTILABEL, False, y.astype(float), shares, **others)


def test_each_label_has_a_threshold_of_its_own() -> None:
    one = labels_output(class_names=ClassNames(["red", "green", "blue"]))
    rule = mt.threshold(maximize="f1")
    points = chosen_points(rule, [one], "validation")
    for label in (0, 1):
        own = choose(rule, binary(one.y[:, label], one.predicted[:, label]))
        assert points[""].thresholds[label] == own.threshold
    assert points[""].thresholds[2] == 0.5
    notes = list(notes_on_points(points, [one]))
    assert notes[-1] == (
        "the threshold of label 2 blue stays at 0.5: 0 of the 200 samples of validation have it"
    )
    assert any("of label 1 green " in note and "is unstable; resamples" in note for note in notes)
    (decided,) = at_points([one], points)
    assert np.array_equal(decisions(decided, one.predicted), one.predicted >= points[""].thresholds)
    assert report([decided])[1]["output"]["operating_point"]["rule"] == repr(rule)


@pytest.mark.parametrize(("width", "from_logits"), [(1, False), (1, True), (2, False), (2, True)])
def test_decisions_are_those_of_the_point_whatever_the_head(width: int, from_logits: bool) -> None:
    random = np.random.default_rng(2)
    share = random.random(100)
    columns = share if width == 1 else np.stack([1 - share, share], axis=1)
    raw = columns
    if from_logits:
        raw = np.log(columns / (1 - columns)) if width == 1 else np.log(columns)
    task = OutputTask.BINARY if width == 1 else OutputTask.MULTICLASS
    y = random.integers(0, 2, 100)
    one = Output("", "", task, from_logits, y, raw)
    (decided,) = at_points([one], declared_points(0.3, [one]))
    assert np.array_equal(decisions(decided, raw).astype(int), (share >= 0.3).astype(int))
    known = answers_of(decided)
    assert known is not None
    assert np.array_equal(known.labels, (share >= 0.3).astype(int))
    for row in range(3):
        assert read_decision(decided, raw[[row]] if width == 1 else raw[row]) == (share[row] >= 0.3)


def test_what_a_threshold_is_refused_for() -> None:
    rule = mt.threshold(maximize="f1")
    one_class = Output("", "", OutputTask.BINARY, False, np.ones(3), np.array([0.1, 0.5, 0.9]))
    with pytest.raises(SpecError, match="validation does not tell: all 3 samples are of class 1"):
        chosen_points(rule, [one_class], "validation")
    scores = Output("", "", OutputTask.BINARY, False, np.arange(3) % 2, np.arange(3.0))
    lack = "the predictions are no probabilities: they go from 0 to 2; end the model in a sigmoid"
    with pytest.raises(SpecError, match=lack):
        declared_points(0.3, [scores])
    with pytest.raises(SpecError, match=lack):
        chosen_points(rule, [scores], "validation")
    nan = mt.threshold(cost=lambda y_true, y_pred: float("nan"))
    with pytest.raises(SpecError, match="no finite number at any threshold"):
        choose(nan, binary([0, 1], np.array([0.2, 0.7])))


@pytest.mark.parametrize(
    ("rule", "outputs", "text"),
    [
        (mt.threshold(maximize="f1"), [YES_OR_NO], ""),
        (0.3, [LABELS, NUMBERS], ""),
        (0.3, [THREE], "the task is multiclass, and only answers of yes or no"),
        (mt.threshold(cost=cost), [NUMBERS], "the task is regression"),
        (mt.threshold(cost=cost), [HARD], "the model predicts classes, and no probabilities"),
    ],
)
def test_outputs_without_a_threshold_refuse_one(rule: Any, outputs: Any, text: str) -> None:
    @mt.spec(data=mt.Data(test=([0], [0])), threshold=rule)
    def net() -> Any:
        return None

    found = list(threshold_problems_of(net, outputs))
    assert [text in problem for problem in found] == ([True] if text else [])
