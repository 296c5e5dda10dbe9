"""Gates print as typed and refuse what cannot be judged."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

import modeltune as mt
from modeltune.records.verdicts import Outcome
from modeltune.specs.gates import Gate, Reference, Severity, Source

accuracy = mt.metric("accuracy")


def cost(y_true: Any, y_pred: Any, price: int = 1) -> Any:
    return price * (y_true != y_pred)


@pytest.mark.parametrize(
    "typed",
    [
        'mt.metric("accuracy") >= 0.95',
        'mt.metric("accuracy") > 0.95',
        'mt.metric("loss") <= 1',
        'mt.metric("loss") < 1e-05',
        'mt.metric("accuracy").worst >= 0.9',
        'mt.metric("accuracy").std <= 0.01',
        'mt.metric("parameters", severity="warn") <= 50000',
        'mt.gap("accuracy") <= 0.05',
        'mt.gain_over_dummy("accuracy").worst >= 0.1',
        'mt.metric("a \\"b\\"") >= -0.5',
        'mt.metric("accuracy") >= mt.baseline',
        'mt.metric("accuracy") >= mt.baseline - 0.01',
        'mt.metric("accuracy") >= mt.previous * 0.98 + 0.01',
        'mt.metric("accuracy") >= (mt.baseline - 0.01) * 2',
        'mt.metric("accuracy") >= 0.98 * mt.baseline',
        'mt.metric("accuracy") >= 2 * (mt.baseline + 1) - 3',
        'mt.metric("accuracy") >= 1 + mt.baseline',
        'mt.metric("accuracy") >= mt.median(10) * 0.9',
        'mt.metric("accuracy") >= (1 + mt.median(10)) * 0.9',
        "mt.metric(cost) <= 3",
        "mt.metric(functools.partial(cost, price=2)).worst <= mt.baseline",
        'mt.metric("recall").by("region") >= 0.8',
        'mt.metric("recall").by("region", min_n=50).worst >= mt.baseline - 0.02',
        'mt.metric("recall").by("region").gap <= 0.1',
        'mt.metric(cost).by("region", cost, min_n=9).ratio >= 0.8',
        'mt.metric("recall").at(precision=0.9) >= 0.6',
        'mt.metric("recall").at(false_positive_rate=0.01).by("region").gap <= 0.1',
        'mt.metric("false_positive_rate", severity="warn").at(recall=1) <= mt.baseline + 0.01',
        "mt.metric(cost).at(threshold=0.3).worst <= 3",
        'mt.metric("accuracy").within(mt.baseline, 0.01)',
        'mt.metric("recall").by("region").within(mt.median(10), 0.05)',
    ],
)
def test_a_gate_prints_as_typed(typed: str) -> None:
    gate = eval(typed)
    assert repr(gate) == typed
    assert list(gate.problems()) == []


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        (accuracy >= 0.95, "accuracy >= 0.95"),
        (accuracy.worst >= mt.baseline - 0.01, "accuracy.worst >= mt.baseline - 0.01"),
        (mt.gap("accuracy") <= 0.05, "gap(accuracy) <= 0.05"),
        (accuracy.within(mt.baseline, 0.01), "accuracy within 0.01 of mt.baseline"),
    ],
)
def test_the_short_form_names_the_measure(gate: Gate, text: str) -> None:
    assert str(gate) == text


def test_mean_is_the_default() -> None:
    assert repr(accuracy.worst.mean >= 0.9) == 'mt.metric("accuracy") >= 0.9'


def test_a_bound_typed_first_is_the_same_gate() -> None:
    assert repr(0.95 <= accuracy) == 'mt.metric("accuracy") >= 0.95'  # noqa: SIM300
    assert repr(mt.baseline > mt.metric("loss")) == 'mt.metric("loss") < mt.baseline'


@pytest.mark.parametrize(
    ("bound", "operations"),
    [
        (mt.baseline, ()),
        (mt.baseline - 0.01, (("-", 0.01),)),
        (2 * (mt.baseline + 1), (("+", 1), ("*", 2))),
        (1 + mt.baseline * 3, (("*", 3), ("+", 1))),
    ],
)
def test_a_reference_keeps_its_arithmetic_in_order(
    bound: Reference, operations: tuple[tuple[str, float], ...]
) -> None:
    assert bound.source is Source.BASELINE
    assert bound.operations == operations


def test_a_gate_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"judged after training\. For a range write two gates"):
        bool(accuracy >= 0.9)


@pytest.mark.parametrize("between", ["gap", "ratio"])
def test_what_is_between_is_between_groups(between: str) -> None:
    with pytest.raises(AttributeError, match=rf'write \.by\("column"\)\.{between}'):
        getattr(accuracy, between)


def test_a_chained_comparison_cannot_half_work() -> None:
    with pytest.raises(TypeError, match=r"write two gates: \[m >= low, m <= high\]"):
        0.8 <= accuracy <= 0.9  # noqa: B015


@pytest.mark.parametrize(
    "compare", [lambda: accuracy == 0.9, lambda: accuracy != 0.9], ids=["==", "!="]
)
def test_equality_is_no_gate(compare: Any) -> None:
    with pytest.raises(TypeError, match="compares with >=, <=, > or <"):
        compare()


@pytest.mark.parametrize("operand", [True, "1", None, math.nan, math.inf, 10**400])
@pytest.mark.parametrize(
    "apply",
    [
        lambda operand: mt.baseline + operand,
        lambda operand: mt.baseline - operand,
        lambda operand: mt.baseline * operand,
        lambda operand: operand * mt.baseline,
    ],
    ids=["+", "-", "*", "left *"],
)
def test_a_reference_takes_only_finite_numbers(apply: Any, operand: object) -> None:
    with pytest.raises(TypeError, match=r"takes \+ - \* with a finite number"):
        apply(operand)


@pytest.mark.parametrize("runs", [0, -1, True, 2.0, "3", None])
def test_a_median_is_over_a_number_of_runs(runs: Any) -> None:
    with pytest.raises(TypeError, match="write the number of runs, 1 or more"):
        mt.median(runs)


@pytest.mark.parametrize(
    ("gate", "text"),
    [
        (accuracy >= "0.9", 'mt.metric("accuracy") >= "0.9": the bound is "0.9"; write a number'),
        (accuracy >= True, "the bound is True; write a number"),
        (accuracy >= None, "the bound is None; write a number"),
        (accuracy >= accuracy, 'the bound is mt.metric("accuracy"); write a number'),
        (accuracy >= math.nan, 'mt.metric("accuracy") >= float("nan"): no value can be judged'),
        (accuracy <= math.inf, "no value can be judged against inf"),
        (accuracy <= 10**400, "no value can be judged"),
        (mt.metric("a", severity="fatal") >= 1, 'severity is "fatal"; write "fail" or "warn"'),
        (mt.metric("a", severity=[]) >= 1, 'severity is []; write "fail" or "warn"'),  # type: ignore[arg-type]
        (mt.metric("") >= 1, "is no metric name; write a string"),
        (accuracy.within(0.9, 0.01), "0.9 is no recorded run to be the same as; write mt.baseline"),
        (
            accuracy.within(mt.baseline - 0.01, 0.01),
            "the margin says how far it may be from a run; write baseline alone",
        ),
        (accuracy.within(mt.baseline, 0), "the margin is 0; write a number above 0"),
        (accuracy.within(mt.baseline, -0.1), "the margin is -0.1; write a number above 0"),
        (accuracy.within(mt.baseline, math.nan), 'the margin is float("nan"); write a number'),
        (accuracy.within(mt.baseline, "1 %"), 'the margin is "1 %"; write'),  # type: ignore[arg-type]
        (accuracy.worst.within(mt.baseline, 0.1), ".worst is not compared with that of a run"),
        (
            accuracy.by("a").gap.within(mt.baseline, 0.1),
            "a gap between groups is held to a number; to hold each group to mt.baseline",
        ),
        (mt.metric("recall").at() >= 0.5, ".at has no condition; write one of threshold="),
        (
            mt.metric("recall").at(precision=0.9, threshold=0.3) >= 0.5,
            'mt.metric("recall").at(precision=0.9, threshold=0.3) >= 0.5: .at has 2 conditions',
        ),
        (mt.metric("recall").at(0.9) >= 0.5, ".at has 0.9 without a name; write one of"),
        (mt.metric("recall").at(fpr=0.1) >= 0.5, ".at has no condition fpr=; write one of"),
        (mt.metric("recall").at(precision=1.1) >= 0.5, "precision is 1.1; write a number from 0"),
        (mt.metric("recall").at(precision=math.nan) >= 0.5, 'precision is float("nan"); write'),
        (mt.metric("recall").at(precision="a") >= 0, 'precision is "a"; write'),  # type: ignore[arg-type]
        (
            mt.metric("f1").at(threshold=True) >= 0.5,
            "threshold is True; write a number from 0 to 1",
        ),
        (
            mt.metric("roc_auc").at(threshold=0.5) >= 0.5,
            '"roc_auc" does not depend on a threshold; .at takes accuracy, balanced_accuracy, f1',
        ),
        (mt.metric("loss").at(recall=0.5) >= 0.5, '"loss" does not depend on a threshold'),
        (mt.metric("recall").at(recall=0.5) >= 0.5, "the best recall at such a recall is that of"),
        (mt.metric(cost).at(precision=0.5) >= 0.5, "a function is computed at a threshold"),
        (mt.gap("recall").at(precision=0.5) <= 0.5, "only mt.metric(...) is computed at a point"),
        (mt.metric(3) >= 1, "3 is no metric name; write a string"),  # type: ignore[arg-type]
        (accuracy.by("") >= 1, 'the groups are by ""; write the name of a column'),
        (accuracy.by("a", 3) >= 1, "the groups are by 3; write a function"),  # type: ignore[arg-type]
        (accuracy.by("a", min_n=0) >= 1, "min_n is 0; write the fewest samples a group may have"),
        (accuracy.by("a").std <= 1, ".std of a slice is not judged"),
        (mt.gap("accuracy").by("a") <= 1, "only mt.metric(...) is measured on slices"),
        (
            accuracy.by("a").gap >= 0.1,
            "groups are alike where their gap is on the other side; write <=",
        ),
        (accuracy.by("a").ratio <= 0.1, "write >="),
        (accuracy.by("a").gap <= -0.1, "no gap is -0.1; write a bound of 0 or more"),
        (
            accuracy.by("a").ratio >= 1.1,
            "no ratio is 1.1; write a bound of 0 or more, and at most 1",
        ),
        (accuracy.by("a").gap.worst <= 0.1, ".worst of a gap between groups is not judged"),
        (
            accuracy.by("a").gap <= mt.baseline,
            "a gap between groups is held to a number; to hold each group to mt.baseline, leave out .gap",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(gate: Gate, text: str) -> None:
    ((_, problem),) = gate.problems()
    assert text in problem


@pytest.mark.parametrize(
    ("value", "severity"),
    [
        ("fail", Severity.FAIL),
        ("warn", Severity.WARN),
        (Severity.FAIL, Severity.FAIL),
        (Severity.WARN, Severity.WARN),
    ],
)
def test_a_severity_is_a_word_or_a_member(value: Any, severity: Severity) -> None:
    gate = mt.metric("a", severity=value) >= 1
    assert gate.severity is severity
    assert list(gate.problems()) == []


@pytest.mark.parametrize(
    ("outcome", "red", "red_under_strict"),
    [
        (Outcome.PASSED, False, False),
        (Outcome.WARNED, False, False),
        (Outcome.FAILED, True, True),
        (Outcome.NO_BASELINE, False, True),
        (Outcome.INCONCLUSIVE, False, True),
        (Outcome.INVALID, True, True),
        (Outcome.ERROR, True, True),
        (Outcome.WAIVED, False, False),
    ],
)
def test_which_outcomes_are_red(outcome: Outcome, red: bool, red_under_strict: bool) -> None:
    assert (outcome.is_red(), outcome.is_red(strict=True)) == (red, red_under_strict)


def test_every_outcome_is_in_the_table_of_red_ones() -> None:
    assert len(Outcome) == 8


# Metrics of the author's own


def test_values_of_a_function_are_recorded_under_its_name_with_its_options() -> None:
    assert (mt.metric(cost) <= 1).measure.metric == "cost"
    dear = mt.metric(functools.partial(cost, price=2)) <= 1
    assert dear.measure.metric == "cost(price=2)"
    assert dear.user_code == (dear.measure.function,)
    assert list(dear.problems()) == []


def no_prediction(y_true: Any) -> float:
    return 0.0


def more(y_true: Any, y_pred: Any, price: float) -> float:
    return 0.0


def with_metadata(y_true: Any, y_pred: Any, *, metadata: Any) -> float:
    return 0.0


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda y_true, y_pred: 0.0, "recorded under its name, and a lambda has none; write a def"),
        (no_prediction, "it cannot be called with (y_true, y_pred): too many positional arguments"),
        (
            more,
            "missing a required argument: 'price'; bind what else it takes by functools.partial",
        ),
        (dict, "dict is a class; write a function of (y_true, y_pred)"),
        (3, "3 is no metric name; write a string"),
        (functools.partial(more, price=2.0), None),
        (with_metadata, None),
    ],
    ids=["lambda", "one argument", "a third", "class", "number", "bound", "metadata"],
)
def test_what_is_no_metric_is_refused_where_it_is_declared(function: Any, problem: Any) -> None:
    found = [text for _, text in (mt.metric(function) >= 0).problems()]
    assert (not found) if problem is None else (len(found) == 1 and problem in found[0])


def test_two_functions_of_one_name_are_refused() -> None:
    def other() -> Any:
        def cost(y_true: Any, y_pred: Any) -> float:
            return 0.0

        return cost

    def gates(*functions: Any) -> Any:
        return mt.spec(
            data=lambda: mt.Data(), gates=[mt.metric(function) >= 0 for function in functions]
        )

    gates(cost, cost, functools.partial(cost, price=2), functools.partial(cost, price=2))
    with pytest.raises(
        mt.SpecError, match=r'gates\[0\] records another function.s values as "cost"'
    ):
        gates(cost, other())


def test_a_metric_of_an_output_is_named_with_a_slash_or_as_keras_logs_it() -> None:
    for measure in (mt.metric, mt.gap, mt.gain_over_dummy):
        by_path, as_logged = measure("price/mae"), measure("price_mae")
        assert by_path.key == as_logged.key
        assert repr(by_path) == f'mt.{by_path.subject.value}("price/mae")'
    refined = mt.metric("animal/recall", severity="warn").at(precision=0.9).worst >= 0.5
    assert repr(refined) == (
        'mt.metric("animal/recall", severity="warn").at(precision=0.9).worst >= 0.5'
    )
    assert refined.measure.metric.startswith("animal_recall")
    assert mt.metric("a/b/c").metric == "a/b/c"
