"""Charts of answers hold what scikit-learn computes of the same answers, in a bounded number of points."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import calibration, metrics

from modeltune.records.samples import Samples
from modeltune.reports.answer_charts import (
    ERROR_POINTS,
    MOST_OUTPUTS,
    MOST_POINTS,
    MOST_RANKED_CLASSES,
    SHARES,
    answer_charts,
    error_charts,
)
from modeltune.reports.html_charts import charts
from modeltune.reports.html_report import html
from modeltune.reports.reported_run import ReportedRun
from tests.support.reported_runs import answered, judged, regressor

TASKS = [("binary", 2), ("multiclass", 4), ("multilabel", 3)]


def drawn(reported: ReportedRun, runs: int = 1) -> tuple[dict[str, Any], list[str]]:
    """Return the charts of the only output, and what is said to be left out."""
    left_out: list[str] = []
    (group,) = answer_charts(reported, runs, left_out)
    return group, left_out


def one_against_rest(samples: Samples, label: int) -> tuple[NDArray[Any], NDArray[Any]]:
    truth, scores = samples.truth[""], samples.chart_outputs[""]
    if scores.ndim == 1:
        return truth == 1, scores
    return (truth[:, label] if truth.ndim == 2 else truth == label), scores[:, label]


def on_edges(samples: Samples, digits: int) -> Samples:
    """Return samples half of whose scores have so many digits: with one they are edges of bins and thresholds."""
    scores = samples.chart_outputs[""].astype(float)
    scores[::2] = scores[::2].round(digits)
    return replace(samples, chart_outputs={"": scores})


def points(curve: dict[str, Any]) -> set[tuple[float, float]]:
    return set(zip(curve["x"], curve["y"], strict=True))


def rounded(*columns: NDArray[Any]) -> set[tuple[float, float]]:
    rows = zip(*columns, strict=True)
    return {(float(f"{x:.5g}"), float(f"{y:.5g}")) for x, y in rows}


@pytest.mark.parametrize(("task", "classes"), TASKS)
@pytest.mark.parametrize("size", [60, 3_000])
def test_curves_have_points_of_scikit_learn_s(task: str, classes: int, size: int) -> None:
    samples = answered(task, size, classes)
    group, _ = drawn(judged(task, samples))
    labels = [1] if task == "binary" else list(range(classes))
    assert [one["name"].split()[1] for one in group["classes"]] == list(map(str, labels))
    for label, one in zip(labels, group["classes"], strict=True):
        truth, scores = one_against_rest(samples, label)
        rates = metrics.roc_curve(truth, scores, drop_intermediate=False)
        precision, recall, _ = metrics.precision_recall_curve(truth, scores)
        assert points(one["roc"]) <= rounded(*rates[:2])
        assert points(one["pr"]) <= rounded(recall, precision)
        assert one["roc"]["area"] == pytest.approx(metrics.roc_auc_score(truth, scores), rel=1e-4)
        average = metrics.average_precision_score(truth, scores)
        assert one["pr"]["area"] == pytest.approx(average, rel=1e-4)
        for curve in (one["roc"], one["pr"]):
            assert curve["x"] == sorted(curve["x"])
            assert len(curve["x"]) == len(curve["y"]) == len(curve["at"]) <= MOST_POINTS
            assert curve["at"][0] is None
        if size == 60:
            # Nothing but the inner points of straight stretches is missing.
            area = metrics.auc(one["roc"]["x"], one["roc"]["y"])
            assert area == pytest.approx(metrics.roc_auc_score(truth, scores), rel=1e-4)


def test_the_score_at_a_point_gives_the_point() -> None:
    samples = answered("binary", 60)
    group, _ = drawn(judged("binary", samples))
    (one,) = group["classes"]
    truth, scores = one_against_rest(samples, 1)
    by_score = {float(f"{score:.5g}"): score for score in scores}
    assert len(by_score) == 60
    for fpr, recall, at in zip(*(one["roc"][key] for key in ("x", "y", "at")), strict=True):
        taken = scores >= by_score[at] if at is not None else np.zeros(len(scores), bool)
        assert recall == pytest.approx(taken[truth].mean(), abs=1e-4)
        assert fpr == pytest.approx(taken[~truth].mean(), abs=1e-4)


def test_no_point_that_is_left_out_lies_far_from_the_next() -> None:
    samples = answered("binary", 20_000)
    (one,) = drawn(judged("binary", samples))[0]["classes"]
    for curve in (one["roc"], one["pr"]):
        steps = np.abs(np.diff(curve["x"])) + np.abs(np.diff(curve["y"]))
        assert steps.max() < 0.02


@pytest.mark.parametrize("digits", [1, 9])
@pytest.mark.parametrize(("task", "classes"), TASKS)
def test_bins_are_those_of_scikit_learn_s_calibration_curve(
    task: str, classes: int, digits: int
) -> None:
    samples = on_edges(answered(task, 800, classes), digits)
    group, _ = drawn(judged(task, samples))
    one = group["classes"][-1]
    truth, scores = one_against_rest(samples, 1 if task == "binary" else classes - 1)
    share, mean = calibration.calibration_curve(truth, scores, n_bins=15)
    bins = one["bins"]
    assert [v for v in bins["share"] if v is not None] == pytest.approx(share, rel=1e-4)
    assert [v for v in bins["mean"] if v is not None] == pytest.approx(mean, rel=1e-4)
    assert (sum(bins["of"]), sum(bins["others"])) == (truth.sum(), (~truth).sum())
    assert len(bins["edges"]) == 16


@pytest.mark.parametrize("digits", [1, 9])
def test_the_table_of_thresholds_is_what_scikit_learn_says_of_each(digits: int) -> None:
    samples = on_edges(answered("binary", 400), digits)
    (one,) = drawn(judged("binary", samples))[0]["classes"]
    truth, scores = one_against_rest(samples, 1)
    assert [row[0] for row in one["thresholds"]] == pytest.approx(np.arange(1, 10) / 10)
    for threshold, recall, precision, f1, rate, taken in one["thresholds"]:
        named = scores >= threshold
        assert taken == named.sum()
        assert recall == pytest.approx(metrics.recall_score(truth, named), rel=1e-4)
        if precision is not None:
            assert precision == pytest.approx(metrics.precision_score(truth, named), rel=1e-4)
        assert f1 == pytest.approx(metrics.f1_score(truth, named), rel=1e-4)
        assert rate == pytest.approx(named[~truth].mean(), rel=1e-4)


@pytest.mark.parametrize(("task", "classes"), [("binary", 2), ("multilabel", 3)])
def test_where_a_run_says_yes_is_on_its_curves_and_in_the_table(task: str, classes: int) -> None:
    samples = answered(task, 300, classes)
    labels = [1] if task == "binary" else list(range(classes))
    chosen = np.array([[0.37, 0.61, 0.42][: len(labels)]])
    group, _ = drawn(judged(task, replace(samples, thresholds={"": chosen})))
    for place, (label, one) in enumerate(zip(labels, group["classes"], strict=True)):
        truth, scores = one_against_rest(samples, label)
        point, taken = one["point"], scores >= chosen[0, place]
        assert point["threshold"] == chosen[0, place]
        assert point["recall"] == pytest.approx(metrics.recall_score(truth, taken), rel=1e-4)
        assert point["precision"] == pytest.approx(metrics.precision_score(truth, taken), rel=1e-4)
        assert point["false_positive_rate"] == pytest.approx(taken[~truth].mean(), rel=1e-4)
        row = one["thresholds"][point["row"]]
        assert (row[0], row[5]) == (chosen[0, place], taken.sum())
        assert len(one["thresholds"]) == 10
        assert "; at the threshold of this run, 0." in one["words"]["roc"]
    page = html([judged(task, replace(samples, thresholds={"": chosen}))])
    assert page.count('<tr class="point">') == len(labels)
    assert "the operating point" in page
    assert '<tr class="point">' not in html([judged(task, samples)])


def test_scores_that_are_no_probabilities_have_curves_and_deciles_but_no_reliability() -> None:
    samples = answered("binary", 300)
    logits = np.log(samples.chart_outputs[""] / (1 - samples.chart_outputs[""])) * 3
    group, _ = drawn(judged("binary", replace(samples, chart_outputs={"": logits})))
    (one,) = group["classes"]
    assert "No reliability diagram: the predictions are no probabilities." in group["note"]
    assert not one["bins"]["is_probability"]
    assert [row[0] for row in one["thresholds"]] == pytest.approx(
        np.quantile(logits, np.arange(1, 10) / 10), rel=1e-4
    )
    area = drawn(judged("binary", samples))[0]["classes"][0]["roc"]["area"]
    assert one["roc"]["area"] == area
    assert 'data-chart="reliability"' not in html(
        [judged("binary", replace(samples, chart_outputs={"": logits}))]
    )


def test_equal_scores_are_one_point() -> None:
    samples = replace(answered("binary", 50), chart_outputs={"": np.full(50, 0.5, np.float32)})
    (one,) = drawn(judged("binary", samples))[0]["classes"]
    assert points(one["roc"]) == {(0, 0), (1, 1)}
    assert one["roc"]["area"] == 0.5


def test_what_the_baseline_answered_is_beside_it() -> None:
    samples, before = answered("binary", 300), answered("binary", 300, seed=1)
    before = replace(before, truth=samples.truth)
    (own,) = drawn(judged("binary", before))[0]["classes"]
    group, _ = drawn(judged("binary", samples, before))
    (one,) = group["classes"]
    assert one["roc"]["baseline"] == {key: own["roc"][key] for key in ("x", "y", "area")}
    assert one["pr"]["baseline"] == {key: own["pr"][key] for key in ("x", "y", "area")}
    assert set(zip(*one["bins"]["baseline"].values(), strict=True)) <= set(
        zip(own["bins"]["mean"], own["bins"]["share"], strict=True)
    )
    assert f"baseline {own['roc']['area']:.4g}" in one["words"]["roc"]
    assert group["note"] == ""


def test_a_baseline_on_other_samples_is_said_and_one_of_another_task_is_not_drawn() -> None:
    samples = answered("binary", 300)
    group, _ = drawn(judged("binary", samples, answered("binary", 200, seed=1)))
    assert group["note"] == "The baseline answered other test samples."
    multiclass, multilabel = (answered(task, 300, 3) for task in ("multiclass", "multilabel"))
    group, _ = drawn(judged("multiclass", multiclass, multilabel))
    assert group["classes"][0]["roc"]["baseline"] is None


@pytest.mark.parametrize(
    "samples",
    [None, replace(answered("binary", 50), predicted={}), Samples(0, 0)],
    ids=["no samples", "nothing predicted", "nothing at all"],
)
@pytest.mark.parametrize(("task", "what"), [("binary", "curves"), ("regression", "residuals")])
def test_what_is_not_kept_is_said_and_not_drawn(
    samples: Samples | None, task: str, what: str
) -> None:
    page = html([judged(task, samples)])
    assert f"No {what}: what was predicted on each test sample is not kept." in page
    assert 'data-chart="roc"' not in page


@pytest.mark.parametrize(
    "outputs",
    [None, np.zeros((50, 3, 2), np.float32), np.full(50, math.nan, np.float32)],
    ids=["not kept", "of another shape", "not finite"],
)
def test_without_probabilities_there_are_no_curves(outputs: NDArray[Any] | None) -> None:
    kept = {} if outputs is None else {"": outputs}
    group, _ = drawn(judged("binary", replace(answered("binary", 50), chart_outputs=kept)))
    assert group["classes"] == []
    assert group["note"].startswith("No curves: no probabilities are kept.")


def test_a_class_without_samples_has_no_curve_and_is_named() -> None:
    samples = answered("multiclass", 60, 4)
    truth = np.where(samples.truth[""] == 2, 1, samples.truth[""])
    group, _ = drawn(judged("multiclass", replace(samples, truth={"": truth})))
    assert [one["name"] for one in group["classes"]] == ["class 0", "class 1", "class 3"]
    assert group["note"] == "No curves of class 2: none of 60 test samples are of it."
    only = replace(answered("binary", 40), truth={"": np.ones(40, int)})
    group, _ = drawn(judged("binary", only))
    assert group["note"] == "No curves of class 1: all of 40 test samples are of it."


def test_samples_that_do_not_count_are_in_no_curve() -> None:
    samples = answered("binary", 90)
    truth = np.where(np.arange(90) < 60, samples.truth[""], -1)
    (one,) = drawn(judged("binary", replace(samples, truth={"": truth})))[0]["classes"]
    area = metrics.roc_auc_score(truth[:60], samples.chart_outputs[""][:60])
    assert one["roc"]["area"] == pytest.approx(area, rel=1e-4)
    assert one["samples"] == 60


def test_of_many_classes_the_most_frequent_are_drawn() -> None:
    samples = answered("multiclass", 900, 300)
    frequent = np.arange(900) % 20 + 100
    truth = np.where(np.arange(900) < 600, frequent, samples.truth[""])
    group, left_out = drawn(judged("multiclass", replace(samples, truth={"": truth})))
    assert len(group["classes"]) == MOST_RANKED_CLASSES
    assert {100 <= int(one["name"].split()[1]) < 120 for one in group["classes"]} == {True}
    assert "curves are drawn of the 10 of 300 classes that test has most of" in left_out


def test_outputs_are_drawn_each_and_not_more_than_a_few() -> None:
    one = answered("binary", 40)
    names = [f"o{n}" for n in range(MOST_OUTPUTS + 2)]
    samples = replace(
        one,
        truth={f"{name}_": one.truth[""] for name in names},
        predicted={f"{name}_": one.predicted[""] for name in names},
        chart_outputs={f"{name}_": one.chart_outputs[""] for name in names},
    )
    reported = judged("binary", samples)
    run = replace(reported.run, task_report={name: {"task": "binary"} for name in names})
    left_out: list[str] = []
    groups = answer_charts(replace(reported, run=run), 1, left_out)
    assert [group["output"] for group in groups] == names[:MOST_OUTPUTS]
    assert f"{MOST_OUTPUTS} of {len(names)} outputs have charts of their answers" in left_out


def test_more_samples_and_more_runs_make_no_larger_page() -> None:
    few, many = (
        html([judged("binary", answered("binary", size), answered("binary", size, seed=1))])
        for size in (1_000, 200_000)
    )
    assert len(many) < 1.05 * len(few)
    few, many = (html([regressor(size)]) for size in (1_000, 200_000))
    assert len(many) < 1.02 * len(few)
    (one,) = drawn(judged("binary", answered("binary", 3_000)), runs=1_000)[0]["classes"]
    assert len(one["roc"]["x"]) < MOST_POINTS / 4


@pytest.mark.parametrize("column", [0, 1])
def test_quantiles_of_the_error_are_numpy_s(column: int) -> None:
    draw = np.random.default_rng(3)
    truth = draw.normal(size=(500, 2)).astype(np.float32)
    truth[7] = math.nan
    predicted = truth + draw.normal(size=truth.shape).astype(np.float32)
    samples = Samples(500, 1, {"": truth}, {"": np.nan_to_num(predicted)[None]})
    before = replace(samples, predicted={"": np.nan_to_num(predicted)[None] * 2})
    errors = error_charts(samples, before, "", column)
    assert errors is not None
    counted = ~np.isnan(truth[:, column])
    error = predicted[counted, column].astype(float) - truth[counted, column]
    assert [row[0] for row in errors["rows"]] == list(SHARES)
    assert [row[1] for row in errors["rows"]] == pytest.approx(
        np.quantile(error, SHARES), rel=1e-4, abs=1e-9
    )
    assert [row[2] for row in errors["rows"]] == pytest.approx(
        np.quantile(np.abs(error), SHARES), rel=1e-4
    )
    assert errors["y"][90] == errors["rows"][7][2]
    assert len(errors["x"]) == len(errors["y"]) == len(errors["baseline"]["y"]) == ERROR_POINTS


def test_errors_are_of_all_samples_though_some_are_drawn() -> None:
    (numbers,) = charts(regressor(2_500), 1)["numbers"]
    samples = regressor(2_500).samples
    assert samples is not None
    error = np.abs(samples.predicted[""][0] - samples.truth[""])
    assert numbers["errors"]["y"][-1] == pytest.approx(float(error.max()), rel=1e-4)
    assert len(numbers["truth"]) < 2_500
