"""Slices are bars whose intervals are those of a share or of a mean, and none where there is neither."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

import modeltune as mt
from modeltune.records.runs import Run
from modeltune.records.samples import Groups, Samples
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults, Verdict
from modeltune.reports.html_report import html
from modeltune.reports.reported_run import ReportedRun
from modeltune.reports.slice_bars import slice_groups
from modeltune.specs.gates import Gate
from tests.support.reported_runs import searched
from tests.support.verdicts import verdict_on

DRAW = np.random.default_rng(0)
RIGHT = DRAW.random(80) < 0.8
ERRORS = DRAW.exponential(size=80).astype(np.float32)
DARK = np.arange(80) < 30
SAMPLES = Samples(
    80,
    1,
    truth={"": np.arange(80) % 2},
    predicted={"": np.arange(80)[None] % 3 % 2},
    values={"accuracy": RIGHT[None], "distance": ERRORS[None]},
    slices={"dark": DARK, "bright": ~DARK},
)


def is_dark(x: Any) -> Any:
    return DARK


def on_slices(gate: Gate, *results: SliceResult) -> Verdict:
    return verdict_on(gate, Outcome.PASSED, 0.5, 0.4, "", SliceResults(results))


def result(name: str, n: int, measured: float | None, label: int | None = None) -> SliceResult:
    return SliceResult(name, n, Outcome.PASSED, measured, 0.4, "", label)


def run_with(*verdicts: Verdict) -> Run:
    return replace(searched(2, 1), verdicts=verdicts)


def test_the_recall_of_a_class_has_wilson_s_interval() -> None:
    gate = mt.metric("recall").per_class(min_n=5) >= 0.4
    (group,) = slice_groups(
        run_with(on_slices(gate, result("class 0", 40, 0.55, 0), result("class 1", 40, 1.0, 1))),
        SAMPLES,
    )
    for bar, right in zip(group.bars, (22, 40), strict=True):
        interval = stats.binomtest(right, 40).proportion_ci(0.95, method="wilson")
        assert (bar.low, bar.high) == pytest.approx((interval.low, interval.high), rel=1e-5)
    assert group.title == repr(gate)
    assert group.ends == (0.0, 1.0)


def test_the_precision_of_a_class_has_wilson_s_interval_over_what_is_named_so() -> None:
    gate = mt.metric("precision").per_class(min_n=5) >= 0.2
    named = np.count_nonzero(SAMPLES.predicted[""][0] == 1)
    right = np.count_nonzero((SAMPLES.predicted[""][0] == 1) & (SAMPLES.truth[""] == 1))
    results = [result("class 0", 40, 0.5, 0), result("class 1", 40, right / named, 1)]
    (group,) = slice_groups(run_with(on_slices(gate, *results)), SAMPLES)
    interval = stats.binomtest(right, named).proportion_ci(0.95, method="wilson")
    bar = group.bars[1]
    assert (bar.low, bar.high) == pytest.approx((interval.low, interval.high), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "true_value", "is_label"),
    [
        ("f1", 0.75, False),
        ("f1", 0.75, True),
        ("precision", 0.75, False),
        ("precision", 0.75, True),
        ("specificity", 0.5 / 0.6, False),
    ],
)
def test_the_truth_is_seldom_outside_the_interval_of_a_number_of_a_class(
    name: str, true_value: float, is_label: bool
) -> None:
    """Class 1 and named so: 0.3, only one of both: 0.1 each way."""
    random = np.random.default_rng(0)
    gate = mt.metric(name).per_class(min_n=5) >= 0.2
    outside = 0
    for _ in range(200):
        kind = random.choice(4, 100, p=[0.5, 0.1, 0.1, 0.3])
        truth, named = kind >= 2, kind % 2 == 1
        samples = Samples(
            100,
            1,
            truth={"": truth[:, None] if is_label else truth.astype(int)},
            predicted={"": named[None, :, None] if is_label else named[None].astype(int)},
        )
        place = 0 if is_label else 1
        measured = samples.class_score(name, 0, place)
        results = [result("class", int(truth.sum()), measured, place)] * 2
        (group,) = slice_groups(run_with(on_slices(gate, *results)), samples)
        assert group.bars[0].low is not None
        assert group.bars[0].high is not None
        outside += not group.bars[0].low <= true_value <= group.bars[0].high
    assert outside <= 20  # of 10 expected; more than 20 in one of a thousand


def test_a_class_that_nothing_is_named_has_no_interval_of_its_precision() -> None:
    never = replace(SAMPLES, predicted={"": np.zeros((1, 80), int)})
    gate = mt.metric("precision").per_class(min_n=5) >= 0.2
    results = [result("class 0", 40, 0.5, 0), result("class 1", 40, 0.0, 1)]
    (group,) = slice_groups(run_with(on_slices(gate, *results)), never)
    assert (group.bars[1].low, group.bars[1].high) == (None, None)
    assert group.bars[0].low is not None


def test_a_mean_of_numbers_has_the_interval_of_its_standard_error() -> None:
    mean = float(ERRORS[DARK].mean(dtype=float))
    dark = on_slices(mt.metric("distance").on("dark", is_dark) <= 2, result("dark", 30, mean))
    bright = on_slices(mt.metric("distance").on("bright", is_dark) <= 2, result("bright", 50, 9.0))
    # Gates on one slice each stand beside each other, by their metric.
    (group,) = slice_groups(run_with(dark, bright), SAMPLES)
    assert group.title == "distance"
    reach = 1.959964 * stats.sem(ERRORS[DARK].astype(float))
    assert group.bars[0].low == pytest.approx(mean - reach)
    assert group.bars[0].high == pytest.approx(mean + reach)
    assert group.ends[0] == 0.0
    assert group.ends[1] >= 9.0


@pytest.mark.parametrize("size", [400, 4_000])
def test_another_metric_of_a_group_has_an_interval_that_the_truth_is_seldom_outside(
    size: int,
) -> None:
    draw = np.random.default_rng(1)
    gate = mt.metric("recall").by("region", min_n=5) >= 0.4
    inside = widths = 0.0
    for _ in range(20):
        truth = draw.integers(0, 2, size)
        # Right of nine in ten, of either class: so is the mean recall.
        predicted = np.where(draw.random(size) < 0.9, truth, 1 - truth)
        region = np.where(np.arange(size) % 2, "north", "south")
        samples = Samples(
            size,
            1,
            {"": truth},
            {"": predicted[None]},
            {"": [0, 1]},
            groups={"region": Groups.of(region)},
        )
        south = region == "south"
        measured = samples.score("recall", 0, south)
        found = replace(result('region "south"', int(south.sum()), measured), group="south")
        (group,) = slice_groups(run_with(on_slices(gate, found, found)), samples)
        low, high = group.bars[0].low, group.bars[0].high
        assert low is not None
        assert high is not None
        inside += low <= 0.9 <= high
        widths += high - low
    assert inside >= 16
    assert widths / 20 == pytest.approx(2 * 1.96 * math.sqrt(0.09 / (size / 2)), rel=0.15)


@pytest.mark.parametrize(
    ("gate", "measured", "samples"),
    [
        (mt.metric("roc_auc").per_class(min_n=5) >= 0.4, 0.5, SAMPLES),
        (mt.metric("recall").per_class(min_n=5) >= 0.4, 0.5, None),
        (mt.metric("recall").per_class(min_n=5) >= 0.4, math.nan, SAMPLES),
        (mt.metric("accuracy").per_class(min_n=5) >= 0.4, 0.5, replace(SAMPLES, weights={"accuracy": np.ones(80, np.float32)})),
    ],
    ids=["no share", "not kept", "not finite", "weighted"],
)  # fmt: skip
def test_what_is_no_mean_over_kept_samples_has_no_interval(
    gate: Gate, measured: float, samples: Samples | None
) -> None:
    results = [result(f"class {label}", 40, measured, label) for label in range(2)]
    (group,) = slice_groups(run_with(on_slices(gate, *results)), samples)
    assert [(bar.low, bar.high) for bar in group.bars] == [(None, None)] * 2


def test_a_bar_is_drawn_and_said_in_words() -> None:
    gate = mt.metric("recall").per_class(min_n=5) >= 0.4
    results = [result("<b>x</b>", 40, 0.55, 0), result("class 1", 40, None, 1)]
    page = html([ReportedRun(run_with(on_slices(gate, *results)), samples=SAMPLES)])
    assert 'aria-label="0.55, between 0.398 and 0.693; bound 0.4"' in page
    assert '<td data-name="interval" data-key="">0.398 to 0.693</td>' in page
    assert page.count('<svg class="bar') == 1
    assert "<b>x</b>" not in page


@pytest.mark.parametrize("value", [0.0, -2.5, 1e308, -1e308])
def test_whatever_is_measured_has_a_scale(value: float) -> None:
    results: list[Any] = [result(f"class {label}", 40, value, label) for label in range(2)]
    gate = mt.metric("accuracy").per_class(min_n=5) >= 0.4
    page = html([ReportedRun(run_with(on_slices(gate, *results)))])
    assert page.count('<svg class="bar') == 2
    assert "nan" not in page.split('<svg class="bar')[1][:200]
