"""A confusion matrix is recorded by its cells where there are many classes, and read as it was."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from modeltune.records import confusion
from modeltune.records.confusion import Confusion, confusion_from_json, confusion_to_json
from modeltune.records.documents import document_from_json


def cells(matrix: Any) -> list[tuple[int, int, int]]:
    return [(int(i), int(j), int(matrix[i, j])) for i, j in zip(*np.nonzero(matrix), strict=True)]


def drawn(classes: int, samples: int = 500) -> Any:
    rng = np.random.default_rng(classes)
    true, predicted = rng.integers(0, classes, (2, samples))
    return metrics.confusion_matrix(true, predicted, labels=range(classes))


@pytest.mark.parametrize("classes", [2, 30, 31, 400])
def test_a_matrix_is_read_as_it_was(classes: int) -> None:
    matrix = drawn(classes)
    written = json.loads(json.dumps(confusion_to_json(cells(matrix), classes)))
    assert isinstance(written, list) == (classes <= 30)
    document_from_json("task_report", {"output": {"confusion": written}})
    read = confusion_from_json(written)
    assert read is not None
    assert (read.corner(classes), read.totals(3)) == (
        matrix.tolist(),
        matrix.sum(axis=1)[:3].tolist(),
    )
    assert read.corner(2) == matrix[:2, :2].tolist()
    # As runs recorded it before.
    assert confusion_from_json(matrix.tolist()) == read


def test_a_matrix_of_thousands_of_classes_takes_little_room() -> None:
    written = confusion_to_json([(n, n, 1) for n in range(5000)], 5000)
    assert len(json.dumps({"confusion": written}, indent=1)) < 200_000


def test_cells_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confusion, "MOST_CELLS", 2)
    read = confusion_from_json(confusion_to_json([(0, 1, 3), (1, 1, 9), (2, 0, 1), (40, 7, 5)], 50))
    assert read == Confusion(50, {(1, 1): 9, (40, 7): 5}, left_out=4)


def test_the_worst_rows_are_those_with_the_most_wrong_predictions() -> None:
    counts = {(0, 0): 9, (0, 1): 1, (1, 1): 90, (1, 0): 3, (1, 2): 4, (2, 2): 5}
    matrix = Confusion(3, counts)
    assert list(matrix.wrong()) == [(1, 2, 4), (1, 0, 3), (0, 1, 1)]
    rows = [(row.true, row.samples, row.right, row.others) for row in matrix.worst_rows(9)]
    assert rows == [(1, 97, 90, [(2, 4), (0, 3)]), (0, 10, 9, [(1, 1)])]
    assert len(matrix.worst_rows(1)) == 1


SOUND: dict[str, Any] = {"classes": 40, "true": [1], "predicted": [2], "counts": [3]}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [[1, 2], [3]],
        [[1, "x"], [0, 0]],
        {},
        SOUND | {"true": [40]},
        SOUND | {"counts": [3, 4]},
        SOUND | {"predicted": [-1]},
        SOUND | {"classes": "40"},
        SOUND | {"counts": 3},
    ],
)
def test_anything_else_is_no_matrix(data: Any) -> None:
    assert confusion_from_json(data) is None


@pytest.mark.parametrize("wrong", [{"true": ["x"]}, {"classes": None}, {"counts": 3}])
def test_a_report_with_cells_of_another_type_does_not_validate(wrong: Any) -> None:
    with pytest.raises(ValueError, match="has under confusion what no run records"):
        document_from_json("task_report", {"output": {"confusion": SOUND | wrong}})
