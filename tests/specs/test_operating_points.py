"""A spec's threshold prints as typed, is a part of what a run is known by, and names what is wrong with it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sklearn.metrics import f1_score, roc_auc_score

import modeltune as mt
from modeltune.specs import Spec, run_identity


def money(y_true: Any, y_pred: Any) -> float:
    return 1.0


def of_three(y_true: Any, y_pred: Any, price: float) -> float:
    return price


def spec(threshold: Any) -> Spec:
    @mt.spec(data=mt.Data(test=([0], [0])), threshold=threshold)
    def net() -> Any:
        return None

    return net


@pytest.mark.parametrize(
    "typed",
    [
        'mt.threshold(maximize="f1")',
        "mt.threshold(maximize=f1_score)",
        "mt.threshold(cost=money)",
        "0.3",
        "1",
    ],
)
def test_a_threshold_prints_as_typed(typed: str) -> None:
    assert f"threshold={typed})" in repr(spec(eval(typed)).protocol)


@pytest.mark.parametrize(
    ("threshold", "problem"),
    [
        (mt.threshold(), "threshold: mt.threshold() has neither maximize nor cost; write mt.thr"),
        (
            mt.threshold("f1", cost=money),
            'threshold: mt.threshold(maximize="f1", cost=money) has both',
        ),
        (
            mt.threshold(maximize="roc_auc"),
            'threshold.maximize: "roc_auc" does not depend on a threshold, or less of it is better; write '
            "accuracy, balanced_accuracy, f1, mcc, precision, recall, specificity, or a function",
        ),
        (mt.threshold(maximize="false_positive_rate"), "or less of it is better; write accuracy"),
        (mt.threshold(0.3), "a threshold itself is threshold=0.3"),  # type: ignore[arg-type]
        (mt.threshold(cost="money"), 'threshold.cost: "money": write a function of (y_true, y'),  # type: ignore[arg-type]
        (mt.threshold(cost=of_three), "threshold.cost: of_three: it cannot be called with (y_true"),
        (1.2, 'threshold: 1.2: write mt.threshold(maximize="f1"), mt.threshold(cost=function), or'),
        (math.nan, 'threshold: float("nan"): write mt.threshold('),
        (True, "threshold: True: write mt.threshold("),
        ("f1", 'threshold: "f1": write mt.threshold('),
        (f1_score, "threshold: f1_score: write mt.threshold("),
    ],
)
def test_what_is_no_threshold_is_refused_where_it_is_declared(threshold: Any, problem: str) -> None:
    with pytest.raises(mt.SpecError) as caught:
        spec(threshold)
    assert problem in str(caught.value)
    assert "has 1 problem:" in str(caught.value)


def test_another_rule_or_another_cost_is_another_run() -> None:
    def other(y_true: Any, y_pred: Any) -> float:
        return 2.0

    parts = [
        run_identity(spec(rule))
        for rule in (
            None,
            0.3,
            mt.threshold("f1"),
            mt.threshold(cost=money),
            mt.threshold(cost=other),
        )
    ]
    assert "threshold" not in parts[0]
    assert len({part.get("threshold") for part in parts}) == 5
    other.__name__ = "money"
    renamed = run_identity(spec(mt.threshold(cost=other)))
    assert renamed["threshold"] == parts[3]["threshold"]
    assert renamed["code of the threshold"] != parts[3]["code of the threshold"]


def test_a_function_of_scikit_learn_is_called_with_decisions() -> None:
    # It would take scores as well; what a threshold makes of them is what is chosen by.
    assert list(mt.threshold(maximize=roc_auc_score).problems()) == []
