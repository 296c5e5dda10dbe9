"""Points of a curve are refused where the outputs have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.engine.score.operating_points import point_problems
from modeltune.engine.score.task_report import Output, OutputTask
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
