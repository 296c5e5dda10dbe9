"""Classes are called by their numbers and their names in every report."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modeltune.records import Json, Run
from modeltune.reports import html, show
from modeltune.reports.class_names import class_names
from modeltune.reports.reported_run import ReportedRun
from tests.support.reported_runs import searched

PER_CLASS = [
    {"class": c, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 4} for c in range(3)
]
TABLE = {
    "task": "multiclass",
    "per_class": PER_CLASS,
    "confusion": [[2, 2, 0], [0, 4, 0], [1, 1, 2]],
}


def named(run: Run, names: Json, output: str = "output") -> Run:
    return replace(run, data={**run.data, "class_names": names}, task_report={output: TABLE})


@pytest.mark.parametrize(("output", "key"), [("output", ""), ("animal", "animal")])
def test_reports_call_classes_by_number_and_name(output: str, key: str) -> None:
    run = named(searched(2, 1), {key: ["cat", "dog", "2"]}, output)
    for report in (show(run), html([ReportedRun(run)])):
        assert "1 dog" in report
        assert "2 2" not in report


def test_examples_are_called_by_name() -> None:
    run = named(searched(2, 1), {"": ["cat", "dog"]})
    answers: Json = {"output": {"truth": 1, "predicted": [0, 7], "confidence": 0.5}}
    sample: Json = {"index": 3, "is_wrong": True, "x": {}, "outputs": answers}
    page = html([ReportedRun(run, examples={"samples": [sample]})])
    assert "true <b>1 dog</b>" in page
    assert "predicted <b>0 cat, 7</b>" in page


def test_without_names_and_beyond_them_a_class_is_its_number() -> None:
    run = searched(2, 1)
    assert class_names(run, "output").label(7) == "7"
    assert class_names(named(run, {"": ["cat"]}), "output").label(1) == "1"
    assert class_names(named(run, {"other": ["cat"]}), "output").label(0) == "0"
    for damaged in ("cat", None, 3, {"": "cat"}, {"": 4}):
        assert class_names(named(run, damaged), "output").label(0) == "0"
