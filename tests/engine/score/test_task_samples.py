"""What a run keeps of each test sample: probabilities for gates by every refit, for charts once and bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modeltune.engine.score import task_samples as module
from modeltune.engine.score.task_report import Output, OutputTask
from modeltune.engine.score.task_samples import task_samples
from modeltune.records.samples import Samples

DRAW = np.random.default_rng(0)
SHARES = DRAW.random((40, 1)).astype(np.float32)
CLASSES = DRAW.dirichlet(np.ones(3), 40)


def kept(task: OutputTask, y: NDArray[Any], predicted: NDArray[Any], **asked: Any) -> Samples:
    samples = task_samples([Output("", "", task, False, y, predicted)], {}, {}, asked=asked)
    assert samples is not None
    return samples


YES = DRAW.integers(0, 2, 40)


@pytest.mark.parametrize(
    ("task", "y", "predicted", "drawn"),
    [
        (OutputTask.BINARY, YES, SHARES, SHARES[:, 0]),
        (OutputTask.MULTICLASS, DRAW.integers(0, 3, 40), CLASSES, CLASSES),
        (OutputTask.MULTILABEL, CLASSES > 0.4, CLASSES, CLASSES),
    ],
    ids=["binary", "multiclass", "multilabel"],
)
def test_probabilities_that_no_gate_asks_for_are_kept_to_be_drawn(
    task: OutputTask, y: NDArray[Any], predicted: NDArray[Any], drawn: NDArray[Any]
) -> None:
    samples = kept(task, y, predicted)
    assert dict(samples.outputs) == {}
    assert samples.chart_outputs[""].dtype == predicted.dtype
    assert np.array_equal(samples.chart_outputs[""], drawn)
    answers = samples.chart_answers("")
    assert answers is not None
    assert answers.task == task.value


def test_those_that_a_gate_asks_for_are_not_kept_twice() -> None:
    samples = kept(OutputTask.BINARY, YES, SHARES, roc_auc=None)
    assert np.array_equal(samples.outputs[""], SHARES.T)
    assert dict(samples.chart_outputs) == {}
    assert samples.chart_answers("") is not None


@pytest.mark.parametrize("asked", [{}, {"roc_auc": None}])
def test_too_many_for_gates_may_be_drawn_and_too_many_for_charts_are_not_kept(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, None]
) -> None:
    monkeypatch.setattr(module, "MOST_NUMBERS_KEPT", 39)
    samples = kept(OutputTask.BINARY, YES, SHARES, **asked)
    assert (dict(samples.outputs), list(samples.chart_outputs)) == ({}, [""])
    monkeypatch.setattr(module, "MOST_BYTES_DRAWN", SHARES.nbytes - 1)
    samples = kept(OutputTask.BINARY, YES, SHARES, **asked)
    assert dict(samples.chart_outputs) == {}
    assert samples.chart_answers("") is None


def test_numbers_are_kept_once_as_they_are_predicted() -> None:
    samples = kept(OutputTask.REGRESSION, SHARES, SHARES + 1)
    assert dict(samples.chart_outputs) == {}
    assert np.array_equal(samples.predicted[""], SHARES[None] + 1)
