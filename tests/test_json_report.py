"""report.json is strict JSON with every key other programs were promised."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sample_runs import DIGITS

from modeltune.reports.json_report import write
from modeltune.runs import Scores, from_json, to_json

RUN_KEYS = {
    "id", "spec", "status", "cached", "scores", "verdicts", "best", "trials", "search", "durations",
    "data", "environment", "baseline", "files", "checks", "advice",
}  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """Parse strictly: no NaN, no Infinity."""

    def refuse(token: str) -> NoReturn:
        raise ValueError(f"{token} is no JSON")

    report: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return report


def test_the_report_holds_every_run_whole(tmp_path: Path) -> None:
    other = replace(DIGITS, id="other", spec="spec_a.py::cnn", baseline="0a1b2c")
    write(tmp_path / "report.json", [to_json(DIGITS), to_json(other)])
    report = read(tmp_path / "report.json")
    assert list(report) == ["schema", "created", "runs"]
    assert report["schema"] == 1
    assert datetime.fromisoformat(report["created"]).tzinfo == UTC
    assert report["runs"] == [to_json(DIGITS), to_json(other)]
    run, _ = report["runs"]
    assert from_json(run).trials[0] == DIGITS.trials[0]
    assert run.keys() >= RUN_KEYS
    assert run["scores"]["accuracy"].keys() == {"mean", "std", "values"}
    assert run["verdicts"][0].keys() == {
        "gate", "outcome", "measured", "bound", "reason", "details",
    }  # fmt: skip
    assert run["checks"][0].keys() == run["verdicts"][0].keys()
    assert run["files"]["samples"].keys() == {"path", "sha256", "bytes", "refit"}
    assert run["advice"] == [*DIGITS.advice]
    assert run["best"].keys() == {"trial", "score", "values"}
    assert run["trials"][0].keys() >= {"id", "status", "score", "values", "epochs", "seconds"}
    assert run["durations"].keys() == {"data", "search", "validation"}


def test_numbers_that_are_not_finite_are_text(tmp_path: Path) -> None:
    run = replace(DIGITS, scores={"loss": Scores((math.nan, math.inf))})
    write(tmp_path / "report.json", [to_json(run)])
    assert read(tmp_path / "report.json")["runs"][0]["scores"]["loss"]["values"] == ["nan", "inf"]


def test_the_last_report_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "report.json"
    write(path, [])
    before = path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(path, [{"score": math.nan}])
    assert path.read_text() == before
    write(path, [to_json(DIGITS)])
    assert len(read(path)["runs"]) == 1
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]
