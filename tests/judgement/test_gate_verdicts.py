"""Every declared gate gets one verdict, and what cannot be measured is never green."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.judgement.gate_verdicts import judge, not_measured
from modeltune.judgement.run_status import Strictness, status_of
from modeltune.records.runs import RunStatus, Scores
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.gates import Gate, Reference

NAN, INF = math.nan, math.inf
FLOAT32_342_OF_360 = 0.949999988079071


def verdict(gate: Gate, *values: float, **others: float) -> Verdict:
    scores = {"m": Scores(values)} | {name: Scores((value,)) for name, value in others.items()}
    (only,) = judge([gate], scores if values else {}, "spec_a.py::m")
    return only


def gate_of(
    comparison: str, bound: object, severity: str = "fail", statistic: str = "mean"
) -> Gate:
    return Gate(getattr(mt.metric("m", severity=severity), statistic), comparison, bound)


VALUES = {"below": 0.4, "on": 0.5, "above": 0.6}


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize("statistic", ["mean", "worst"])
@pytest.mark.parametrize("refits", [1, 3])
@pytest.mark.parametrize(
    ("comparison", "held"),
    [
        (">=", {"on", "above"}),
        (">", {"above"}),
        ("<=", {"below", "on"}),
        ("<", {"below"}),
    ],
)
@pytest.mark.parametrize("where", VALUES)
def test_a_gate_holds_on_its_side_of_the_bound(
    comparison: str, held: set[str], where: str, severity: str, statistic: str, refits: int
) -> None:
    judged = verdict(gate_of(comparison, 0.5, severity, statistic), *[VALUES[where]] * refits)
    outside = Outcome.WARNED if severity == "warn" else Outcome.FAILED
    assert judged.outcome is (Outcome.PASSED if where in held else outside)
    assert (judged.measured, judged.bound) == (VALUES[where], 0.5)


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize("bound", [0.5, mt.baseline, mt.previous - 0.1])
@pytest.mark.parametrize("statistic", ["mean", "worst", "std"])
@pytest.mark.parametrize("comparison", [">=", ">", "<=", "<"])
@pytest.mark.parametrize("values", [(NAN, 1.0), (1.0, INF), (-INF, -INF)])
def test_what_is_not_finite_fails_every_gate(
    comparison: str, statistic: str, bound: object, severity: str, values: tuple[float, ...]
) -> None:
    judged = verdict(gate_of(comparison, bound, severity, statistic), *values)
    assert judged.outcome is Outcome.FAILED
    assert judged.reason.startswith("not finite: measured ")


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize("bound", [0.5, mt.baseline])
@pytest.mark.parametrize("comparison", [">=", "<="])
def test_a_missing_metric_is_an_error_that_lists_the_others(
    comparison: str, bound: object, severity: str
) -> None:
    scores = {"loss": Scores((0.1,)), "auc": Scores((0.9,))}
    (judged,) = judge([gate_of(comparison, bound, severity)], scores, "spec_a.py::cnn")
    assert judged.outcome is Outcome.ERROR
    assert judged.reason == 'no metric "m" in spec_a.py::cnn; measured: auc, loss'


@pytest.mark.parametrize("scores", [{}, {"m": Scores(())}])
def test_nothing_measured_is_an_error(scores: dict[str, Scores]) -> None:
    (judged,) = judge([gate_of(">=", 0.5)], scores, "s")
    assert judged.outcome is Outcome.ERROR


@pytest.mark.parametrize("severity", ["fail", "warn"])
@pytest.mark.parametrize("bound", [1.0, mt.baseline])
def test_the_deviation_of_one_refit_is_an_error_not_zero(bound: object, severity: str) -> None:
    judged = verdict(gate_of("<=", bound, severity, "std"), 0.9)
    assert judged.outcome is Outcome.ERROR
    assert "validate with two or more seeds" in judged.reason


def test_the_deviation_is_that_of_a_sample() -> None:
    judged = verdict(gate_of("<=", 1.5, statistic="std"), 1.0, 3.0)
    assert judged.measured == pytest.approx(math.sqrt(2))  # ddof 0 would give 1.0
    assert judged.outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("comparison", "worst"), [(">=", 0.1), (">", 0.1), ("<=", 0.9), ("<", 0.9)]
)
def test_the_worst_refit_is_the_one_farthest_on_the_wrong_side(
    comparison: str, worst: float
) -> None:
    assert verdict(gate_of(comparison, 0.5, statistic="worst"), 0.5, 0.1, 0.9).measured == worst


def test_the_mean_over_refits_is_judged() -> None:
    assert verdict(gate_of(">=", 0.5), 0.2, 0.9).measured == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("comparison", "outcome"),
    [
        (">=", Outcome.PASSED),
        ("<=", Outcome.PASSED),
        (">", Outcome.FAILED),
        ("<", Outcome.FAILED),
    ],
)
def test_342_of_360_in_float32_is_on_a_bound_of_95_percent(
    comparison: str, outcome: Outcome
) -> None:
    judged = verdict(gate_of(comparison, 0.95), FLOAT32_342_OF_360)
    assert judged.outcome is outcome
    assert judged.reason == "m is on the bound"


def test_one_sample_less_is_below() -> None:
    judged = verdict(gate_of(">=", 0.95), 341 / 360)
    assert judged.outcome is Outcome.FAILED
    assert judged.reason == "m is 0.002778 below the bound"


def test_counts_are_compared_exactly() -> None:
    gate = mt.metric("m") <= 50_000_000
    assert verdict(gate, 50_000_000.0).outcome is Outcome.PASSED
    assert verdict(gate, 50_000_001.0).outcome is Outcome.FAILED


@pytest.mark.parametrize("bound", [mt.baseline, mt.previous * 0.9, mt.median(10) - 0.01])
def test_a_reference_without_an_accepted_run_is_open(bound: Reference) -> None:
    judged = verdict(gate_of(">=", bound), 0.7)
    assert judged.outcome is Outcome.NO_BASELINE
    assert (judged.measured, judged.bound) == (0.7, None)
    assert status_of([judged]) is RunStatus.PASSED
    assert status_of([judged], Strictness(is_strict=True)) is RunStatus.FAILED
    allowed = Strictness(is_strict=True, is_first_allowed=True)
    assert status_of([judged], allowed) is RunStatus.PASSED


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_loss_that_is_not_finite_is_red_without_any_gate(value: float) -> None:
    verdicts = judge([], {"loss": Scores((0.1, value)), "m": Scores((1.0, 1.0))}, "s")
    assert [v.outcome for v in verdicts] == [Outcome.FAILED]
    assert status_of(verdicts) is RunStatus.FAILED


def test_a_gap_is_judged_under_its_own_name() -> None:
    scores = {"accuracy": Scores((0.9,)), "gap(accuracy)": Scores((0.2,))}
    failed, passed = judge([mt.gap("accuracy") <= 0.1, mt.metric("accuracy") >= 0.9], scores, "s")
    assert (failed.outcome, failed.measured) == (Outcome.FAILED, 0.2)
    assert passed.outcome is Outcome.PASSED


def test_a_run_that_ended_early_has_an_error_for_every_gate() -> None:
    gates = [gate_of(">=", 0.5), gate_of("<=", mt.baseline, "warn")]
    verdicts = not_measured(gates, "interrupted")
    assert [v.gate for v in verdicts] == [repr(gate) for gate in gates]
    assert {v.outcome for v in verdicts} == {Outcome.ERROR}
    assert {v.reason for v in verdicts} == {"not measured: interrupted"}


# Laws

finite = st.floats(allow_nan=False, allow_infinity=False)
near = st.integers(-20, 20).map(lambda step: 0.95 + step * 2.0**-24)
some_values = st.lists(finite | near | st.integers(0, 10**9).map(float), min_size=1, max_size=4)
comparisons = st.sampled_from([">=", ">", "<=", "<"])
measures = st.sampled_from(["mean", "worst", "std"])


@given(
    values=some_values,
    bounds=st.tuples(finite | near, finite | near) | st.tuples(near, near),
    comparison=comparisons,
    statistic=measures,
)
def test_law_a_stricter_bound_never_turns_failed_into_passed(
    values: list[float], bounds: tuple[float, float], comparison: str, statistic: str
) -> None:
    wants_more = comparison in (">=", ">")
    looser, stricter = sorted(bounds, reverse=not wants_more)
    if verdict(gate_of(comparison, looser, statistic=statistic), *values).outcome is Outcome.FAILED:
        judged = verdict(gate_of(comparison, stricter, statistic=statistic), *values)
        assert judged.outcome is Outcome.FAILED


@given(
    value=st.integers(0, 10**9).map(float), steps=st.tuples(st.integers(-9, 9), st.integers(-9, 9))
)
def test_law_it_holds_around_whole_numbers(value: float, steps: tuple[int, int]) -> None:
    for comparison in (">=", ">"):
        looser, stricter = sorted(value + step / 4 for step in steps)
        if verdict(gate_of(comparison, looser), value).outcome is Outcome.FAILED:
            assert verdict(gate_of(comparison, stricter), value).outcome is Outcome.FAILED


@given(values=some_values, bound=finite | near)
def test_law_a_value_strictly_inside_is_inside_and_never_both_above_and_below(
    values: list[float], bound: float
) -> None:
    above, below = (verdict(gate_of(c, bound), *values).outcome for c in (">", "<"))
    at_least, at_most = (verdict(gate_of(c, bound), *values).outcome for c in (">=", "<="))
    assert Outcome.FAILED in (above, below)
    assert Outcome.PASSED in (at_least, at_most)
    assert above is not Outcome.PASSED or at_least is Outcome.PASSED
    assert below is not Outcome.PASSED or at_most is Outcome.PASSED


gates = st.builds(
    gate_of,
    comparisons,
    finite | st.sampled_from([mt.baseline, mt.previous - 1, mt.median(3)]),
    st.sampled_from(["fail", "warn"]),
    measures,
)
all_scores = st.dictionaries(
    st.sampled_from(["m", "loss", "n"]),
    st.lists(st.floats(), max_size=3).map(lambda values: Scores(tuple(values))),
)


@given(declared=st.lists(gates, max_size=5), scores=all_scores)
def test_law_every_declared_gate_is_reported_in_order(
    declared: list[Gate], scores: dict[str, Scores]
) -> None:
    verdicts = judge(declared, scores, "s")
    assert [v.gate for v in verdicts[: len(declared)]] == [repr(gate) for gate in declared]
    extra = [v.gate for v in verdicts[len(declared) :]]
    finite_loss = "loss" not in scores or scores["loss"].is_finite
    assert extra == ([] if finite_loss else ["loss is finite (always on)"])
    assert finite_loss or status_of(verdicts) is RunStatus.FAILED


@given(declared=st.lists(gates, min_size=1), scores=all_scores, strict=st.booleans())
def test_law_a_green_run_has_measured_every_gate(
    declared: list[Gate], scores: dict[str, Scores], strict: bool
) -> None:
    verdicts = judge(declared, scores, "s")
    if status_of(verdicts, Strictness(strict)) is RunStatus.PASSED:
        assert all(v.measured is not None and math.isfinite(v.measured) for v in verdicts)


def test_a_large_margin_is_written_out() -> None:
    (verdict,) = judge(
        [mt.metric("parameters") <= 50_000], {"parameters": Scores((14_410.0,))}, "s"
    )
    assert verdict.reason == "parameters is 35590 below the bound"
