"""Metrics of the author's own and the usual numbers, judged beside a recorded run on the same samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import modeltune as mt
from modeltune.judgement.evidence import Evidence, compare_evidence
from modeltune.judgement.gate_verdicts import judge
from modeltune.judgement.measurements import Measurements
from modeltune.judgement.significance import Bootstrap, DeLong, compare_areas
from modeltune.records.past import Past
from modeltune.records.runs import Scores
from modeltune.records.samples import Samples
from modeltune.records.verdicts import Outcome, RaisedError, Regression, Verdict
from modeltune.specs.gates import Gate

N = 200
RANDOM = np.random.default_rng(3)
TRUTH = RANDOM.integers(0, 2, N)
FINE = np.clip(0.5 * TRUTH + 0.6 * RANDOM.random(N), 0, 1)
NOISY = np.clip(0.1 * TRUTH + 0.9 * RANDOM.random(N), 0, 1)


def money(y_true: Any, y_pred: Any) -> float:
    """Return what decisions cost for each that was needed: no mean over samples."""
    lost = 5 * np.sum((y_pred < 0.5) & (y_true == 1)) + np.sum((y_pred >= 0.5) & (y_true == 0))
    return float(lost / np.sum(y_true))


def raising(y_true: Any, y_pred: Any) -> float:
    raise ZeroDivisionError("no sample of the rare kind")


def area(y_true: Any, y_pred: Any) -> float:
    """Return the area under the ROC curve by its ranks."""
    positive = int(y_true.sum())
    ranks = stats.rankdata(y_pred)[y_true == 1].sum() - positive * (positive + 1) / 2
    return float(ranks / (positive * (len(y_true) - positive)))


def samples(scores: Any, truth: Any = TRUTH, **others: Any) -> Samples:
    """Return the samples of one refit of a model with two classes."""
    labels = (scores > 0.5).astype(int)
    slices = {"first": np.arange(len(truth)) < 100}
    known: dict[str, Any] = {"outputs": {"": scores[None]}, "slices": slices, **others}
    return Samples(len(truth), 1, {"": truth}, {"": labels[None]}, {"": [0, 1]}, **known)


def verdict(gate: Gate, now: Any = NOISY, then: Any = FINE, **others: Any) -> Verdict:
    """Return the verdict on a gate beside the accepted run."""
    mine, theirs = samples(now, **others), samples(then, **others)
    function: Any = gate.measure.function
    name = gate.measure.metric
    values = []
    for one in (mine, theirs):
        answers = one.answers("", 0)
        score = None
        if function is None:
            score = one.score(name, 0)
        elif function is not raising:
            score = function(answers.truth, then if one is theirs else now)
        values.append({} if score is None else {name: Scores((float(score),))})
    past = Past("abc", "the accepted run abc", values[1], ((0, None),), theirs)
    measured = Measurements(values[0] or {name: Scores((0.5,))}, ((0, None),), mine)
    (result,) = judge([gate], measured, "spec_a.py::net", {"baseline": [past]})
    return result


@pytest.mark.parametrize(
    ("gate", "test"),
    [
        (mt.metric(money) <= mt.baseline, "paired bootstrap"),
        (mt.metric("roc_auc") >= mt.baseline - 0.01, "DeLong"),
        (mt.metric("average_precision") >= mt.baseline - 0.01, "paired bootstrap"),
        (mt.metric("mcc") >= mt.baseline - 0.01, "paired bootstrap"),
        (mt.metric("recall").at(precision=0.8) >= mt.baseline - 0.01, "paired bootstrap"),
        (mt.metric("f1").at(threshold=0.4) >= mt.baseline - 0.01, "paired bootstrap"),
        (mt.metric("ece") <= mt.baseline + 0.01, "paired bootstrap"),
        (mt.metric("false_positive_rate") <= mt.baseline + 0.01, "paired bootstrap"),
    ],
    ids=lambda value: value.measure.metric if isinstance(value, Gate) else "",
)
def test_a_drop_is_found_and_the_same_model_passes(gate: Gate, test: str) -> None:
    worse = verdict(gate)
    if gate.measure.metric != "ece":  # the calibration of both is far off
        assert worse.outcome is Outcome.FAILED, worse.reason
    assert isinstance(worse.details, Regression)
    assert worse.details.test == test
    assert verdict(gate, FINE).outcome is Outcome.PASSED


def test_the_bootstrap_calls_the_function_on_the_same_rows_of_both_sides() -> None:
    result = verdict(mt.metric(money) <= mt.baseline)
    assert isinstance(result.details, Regression)
    random = np.random.default_rng(0)
    deltas = []
    for rows in random.integers(0, N, (500, N)):
        deltas.append(money(TRUTH[rows], FINE[rows]) - money(TRUTH[rows], NOISY[rows]))
    low, high = np.quantile(deltas, [0.05, 0.95])
    assert result.details.interval == pytest.approx((low, high), abs=0.15)
    assert result.details.delta == pytest.approx(money(TRUTH, FINE) - money(TRUTH, NOISY))


def test_predictions_that_were_not_kept_are_told_of() -> None:
    gate = mt.metric(money) <= mt.baseline
    result = verdict(gate, outputs={})
    assert result.outcome is Outcome.FAILED
    assert "point estimate only" in result.reason
    assert "the predictions it is computed from are not kept with both runs" in result.reason


def test_a_metric_computed_in_another_way_is_not_comparable() -> None:
    gate = mt.metric(money) <= mt.baseline
    mine, theirs = (
        samples(FINE, definitions={"money": f"money ({digest})"}) for digest in ("1a", "2b")
    )
    scores = {"money": Scores((1.0,))}
    past = Past("abc", "the accepted run abc", scores, ((0, None),), theirs)
    measured = Measurements(scores, ((0, None),), mine)
    (result,) = judge([gate], measured, "spec_a.py::net", {"baseline": [past]})
    assert result.outcome is Outcome.INVALID
    assert "now money (1a), then money (2b)" in result.reason


def test_a_slice_is_measured_by_calling_the_function_on_it() -> None:
    gate = mt.metric(money).on("first", lambda x: x) <= 100
    result = verdict(gate)
    assert result.measured == pytest.approx(money(TRUTH[:100], NOISY[:100]))
    area = verdict(mt.metric("roc_auc").on("first", lambda x: x) >= 0.5)
    assert area.measured == pytest.approx(roc_auc_score(TRUTH[:100], NOISY[:100]))
    of_class = verdict(mt.metric("roc_auc").per_class() >= 0.5)
    assert of_class.measured == pytest.approx(roc_auc_score(TRUTH, NOISY))


def test_what_a_function_raises_on_a_slice_is_its_gates_error_with_the_place() -> None:
    result = verdict(mt.metric(raising).on("first", lambda x: x) >= 0)
    assert result.outcome is Outcome.ERROR
    assert "ZeroDivisionError: no sample of the rare kind" in result.reason
    assert isinstance(result.details, RaisedError)
    assert "in raising" in result.details.traceback


def test_an_area_without_a_class_is_an_error_on_a_slice_and_never_a_half() -> None:
    slices = {"first": TRUTH == 1}
    for gate in (
        mt.metric("roc_auc").on("first", lambda x: x) >= 0.4,
        mt.metric("roc_auc").on("first", lambda x: x) >= mt.baseline - 0.5,
    ):
        result = verdict(gate, slices=slices)
        assert result.outcome is Outcome.ERROR
        assert result.measured is None
        assert f"all {(TRUTH == 1).sum()} samples are of class 1" in result.reason


def test_too_many_resamples_without_a_value_tell_nothing() -> None:
    truth = np.zeros(40, int)
    truth[:2] = 1  # 13 % of the resamples have neither of both
    now, then = RANDOM.random(40), RANDOM.random(40)
    result = verdict(mt.metric("average_precision") >= mt.baseline, now, then, truth=truth)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "has no value on 13 % of the resamples" in result.reason


def test_mean_values_of_a_function_are_compared_as_those_of_built_in_metrics() -> None:
    right = RANDOM.random((2, N)) < 0.8
    sides = [
        Evidence(
            {"hit": Scores((float(one.mean()),))},
            ((0, None),),
            samples(FINE, values={"hit": one[None]}),
            None,
            money,
        )
        for one in right
    ]
    comparison = compare_evidence("hit", 1, sides[0], sides[1]).comparison
    assert comparison is not None
    assert comparison.test == "exact McNemar"


# DeLong's test


def variance(truth: Any, one: Any, other: Any) -> float:
    """Return DeLong's variance of a difference of areas by its definition, pair by pair."""
    kernels = []
    for scores in (one, other):
        apart = scores[truth][:, None] - scores[~truth][None, :]
        kernels.append((apart > 0) + 0.5 * (apart == 0))
    difference = kernels[0] - kernels[1]
    above, below = difference.mean(axis=1), difference.mean(axis=0)
    return float(above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below))


def test_delongs_variance_is_that_of_its_definition() -> None:
    truth = TRUTH == 1
    one, other = FINE.round(1), NOISY.round(1)  # with many ties
    result = compare_areas(truth, other[None], one[None])
    expected = roc_auc_score(truth, one) - roc_auc_score(truth, other)
    assert result.delta == pytest.approx(expected, abs=1e-12)
    error = math.sqrt(variance(truth, one, other))
    bound = expected - 1.2 * error
    assert result.p_above(bound) == pytest.approx(stats.norm.sf(1.2), rel=1e-9)
    low, high = result.interval(0.05)
    assert (low + high) / 2 == pytest.approx(expected)
    assert result.p_above(low) == pytest.approx(0.05)


def test_equal_predictions_have_no_variance_and_are_no_drop() -> None:
    result = compare_areas(TRUTH == 1, FINE[None], FINE[None])
    assert (result.delta, result.p_worse, result.p_above(-0.01)) == (
        0.0,
        0.5,
        pytest.approx(0, abs=1e-9),
    )
    assert result.detectable() is None


def test_the_area_of_several_refits_is_the_mean_of_theirs() -> None:
    truth = TRUTH == 1
    both = compare_areas(truth, np.array([NOISY, NOISY]), np.array([FINE, NOISY]))
    expected = (roc_auc_score(truth, FINE) - roc_auc_score(truth, NOISY)) / 2
    assert both.delta == pytest.approx(expected)


@pytest.mark.parametrize("few", [0, 1])
def test_an_area_of_fewer_than_two_samples_of_a_class_is_refused(few: int) -> None:
    truth = np.arange(10) < few
    with pytest.raises(ValueError, match=f"{few} samples of class 1"):
        compare_areas(truth, NOISY[None, :10], FINE[None, :10])


def test_delong_and_the_bootstrap_agree() -> None:
    areas = compare_areas(TRUTH == 1, NOISY[None], FINE[None])
    sides = [
        Evidence(
            {"auc": Scores((float(roc_auc_score(TRUTH, one)),))},
            ((0, None),),
            samples(one),
            None,
            area,
        )
        for one in (FINE, NOISY)
    ]
    boot = compare_evidence("auc", 1, sides[0], sides[1]).comparison
    assert isinstance(boot, Bootstrap)
    assert isinstance(areas, DeLong)
    assert boot.interval() == pytest.approx(areas.interval(), abs=0.01)


def right(y_true: object, y_pred: object) -> float:
    return float(np.mean(np.asarray(y_true) == (np.asarray(y_pred) > 0.5)))


def test_only_samples_on_which_both_sides_differ_tell_how_far_a_number_varies() -> None:
    hits = [(one > 0.5) == (TRUTH == 1) for one in (FINE, NOISY)]
    sides = [
        Evidence({"right": Scores((float(hit.mean()),))}, ((0, None),), samples(one), None, right)
        for one, hit in zip((FINE, NOISY), hits, strict=True)
    ]
    boot = compare_evidence("right", 1, sides[0], sides[1]).comparison
    assert isinstance(boot, Bootstrap)
    lost, won = (int(np.sum(a & ~b)) for a, b in (hits, hits[::-1]))
    # Of the mean's own distance from each sample, (sum u^2)^2 / sum u^4 by hand.
    influences = np.repeat([1, -1, 0], [lost, won, N - lost - won]) - (lost - won) / N
    by_hand = np.sum(influences**2) ** 2 / np.sum(influences**4)
    assert lost + won < N / 2
    assert boot.effective == pytest.approx(by_hand)


def test_a_precision_that_no_threshold_has_fails_and_says_what_comes_nearest() -> None:
    worst = np.where(TRUTH == 1, 0.3, 0.7)
    worst[:3], truth = 0.9, TRUTH.copy()
    truth[:3] = [1, 1, 0]
    result = verdict(mt.metric("recall").at(precision=0.9) >= 0.6, worst, worst, truth=truth)
    assert (result.outcome, result.measured) == (Outcome.FAILED, 0.0)
    assert result.reason.endswith("no threshold has a precision of 0.9: the best is 0.6667, at 0.9")
    on = verdict(
        mt.metric("recall").at(precision=0.9).on("first", lambda x: x) >= 0.6,
        worst,
        worst,
        truth=truth,
    )
    assert "at 0.9" in on.reason
    found = verdict(mt.metric("recall").at(precision=0.8) >= 1)
    assert found.outcome is Outcome.FAILED
    assert "no threshold" not in found.reason
