"""report.json is strict JSON with every key other programs were promised."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import typing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from modeltune.records import check_details, drops, facts, probes, verdicts
from modeltune.records.families import Family, FamilyKind
from modeltune.records.json_form import SCHEMA as NUMBER
from modeltune.records.json_form import from_json, to_json
from modeltune.records.runs import (
    Artifact,
    Best,
    Durations,
    Run,
    RunStatus,
    Scores,
    Trial,
    TrialStatus,
)
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.reports.json_report import SCHEMA_FILE, write
from modeltune.specs import gates
from modeltune.specs.behaviours import Kind
from tests.support.histories import DIGITS, runs
from tests.support.hostile import HOSTILE, hostile_run

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
    assert report["schema"] == 2
    assert datetime.fromisoformat(report["created"]).tzinfo == UTC
    assert report["runs"] == [to_json(DIGITS), to_json(other)]
    run, _ = report["runs"]
    assert from_json(run).trials[0] == DIGITS.trials[0]
    assert run.keys() >= RUN_KEYS
    assert run["scores"]["accuracy"].keys() == {"mean", "std", "values"}
    assert run["verdicts"][0].keys() == {
        "gate", "outcome", "measured", "bound", "reason", "facts", "details",
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


def test_a_report_is_kept_on_disk_and_then_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: kept.append(Path(f"/proc/self/fd/{file}").resolve())
    )
    write(tmp_path / "report.json", [to_json(DIGITS)])
    assert kept == [tmp_path / f"report.{os.getpid()}.tmp", tmp_path]


# the schema


SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())


def sealed(schema: Any) -> Any:
    """Return the schema without room for keys it does not name."""
    if isinstance(schema, list):
        return [sealed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: sealed(value) for key, value in schema.items()}
    is_object = "properties" in schema and "required" in schema
    return {**inner, "additionalProperties": False} if is_object else inner


VALIDATOR = Draft202012Validator(sealed(SCHEMA))


def of(*several: Run) -> dict[str, Any]:
    return {"schema": 2, "created": "2026-11-20T21:10:00+00:00", "runs": [*map(to_json, several)]}


DESCRIBED = {
    "run": Run, "trial": Trial, "best": Best, "artifact": Artifact, "verdict": Verdict,
    "durations": Durations, "metric_facts": facts.MetricFacts, "check_facts": facts.CheckFacts,
    "behaviour_facts": facts.BehaviourFacts, "reference": facts.ReferenceFacts,
    "slice_rule": facts.SliceRule, "between_groups": verdicts.BetweenGroups, "regression": verdicts.Regression,
    "slices": verdicts.SliceResults, "slice": verdicts.SliceResult,
    "interval": verdicts.MeasuredInterval,
    "drop": drops.Drop, "change": drops.Change, "worse_part": drops.WorsePart,
    "worse_sample": drops.WorseSample, "raised": verdicts.RaisedError, "behaviour": verdicts.BehaviourResult,
    "probe": probes.Probe, "counterexample": probes.Counterexample,
    "image_change": probes.ImageChange, "row_change": probes.RowChange,
    "value_change": probes.ValueChange, "summary_change": probes.SummaryChange,
    "overlap": check_details.Overlap, "duplicates": check_details.Duplicates,
    "constant_features": check_details.ConstantFeatures, "labels": check_details.ClassCounts,
    "drift": check_details.Drift, "distance": check_details.Distance,
    "evaluate": check_details.MetricPairs, "metric_pair": check_details.MetricPair,
    "refit": check_details.RefitScores, "bounds": check_details.WinnerAtBounds,
    "at_bound": check_details.AtBound, "family": Family,
}  # fmt: skip
"""By definition of the schema the class it describes."""

WORDS = {
    ("run", "status"): RunStatus,
    ("trial", "status"): TrialStatus,
    ("metric_facts", "quantity"): facts.Quantity,
    ("metric_facts", "comparison"): gates.Operator,
    ("metric_facts", "statistic"): gates.Statistic,
    ("reference", "source"): gates.Source,
    ("behaviour_facts", "behaviour"): Kind,
    ("check_facts", "area"): facts.Area,
    ("regression", "question"): verdicts.Question,
    ("regression", "unit"): verdicts.Unit,
    ("family", "kind"): FamilyKind,
}
"""By key the enum whose values it takes."""


def test_the_schema_is_one_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == NUMBER
    assert SCHEMA["$id"].endswith(f":{NUMBER}")
    for name, described in DESCRIBED.items():
        fields = {field.name for field in dataclasses.fields(described)}
        kind = getattr(described, "KIND", None)
        keys = fields if kind is None else fields | {"kind"}
        properties = SCHEMA["$defs"][name]["properties"]
        assert properties.keys() == keys
        assert kind is None or properties["kind"] == {"const": kind}
        # What came later under a number of the schema is missing in earlier reports of it.
        later = {
            "run": "files checks advice model strict",
            "trial": "traceback phases",
            "slice_rule": "is_grouped between",
            "slices": "between drop",
            "interval": "drop",
            "slice": "group",
            "value_change": "column",
            "reference": "other",
            "metric_facts": "margin export",
            "regression": "settle_unit samples sample_unit p_on_new_data family level look drop",
        }.get(name, "")
        assert {*SCHEMA["$defs"][name]["required"]} == keys - {*later.split()}
    for (name, key), members in WORDS.items():
        values = SCHEMA["$defs"][name]["properties"][key]["enum"]
        assert values == [member.value for member in members]
    for name, members in (("outcome", Outcome), ("severity", gates.Severity)):
        assert SCHEMA["$defs"][name]["enum"] == [member.value for member in members]


def test_every_kind_of_facts_and_details_is_described() -> None:
    kinds = {described.KIND for described in DESCRIBED.values() if hasattr(described, "KIND")}
    for union in (facts.Facts, verdicts.Details, probes.InputChange):
        assert {member.KIND for member in typing.get_args(union)} <= kinds


def test_a_written_report_is_valid(tmp_path: Path) -> None:
    write(tmp_path / "report.json", [to_json(DIGITS)])
    VALIDATOR.validate(read(tmp_path / "report.json"))


@given(st.lists(runs, max_size=2))
def test_every_report_is_valid(several: list[Run]) -> None:
    VALIDATOR.validate(json.loads(json.dumps(of(*several))))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_are_data(text: str, tmp_path: Path) -> None:
    run = hostile_run(text)
    write(tmp_path / "report.json", [to_json(run)])
    report = read(tmp_path / "report.json")
    VALIDATOR.validate(report)
    assert from_json(report["runs"][0]) == run
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 1),
        (("runs", 0, "status"), "green"),
        (("runs", 0, "scores", "loss", "mean"), "0.2"),
        (("runs", 0, "scores", "loss", "values"), [None]),
        (("runs", 0, "verdicts", 0, "measured"), "NaN"),
        (("runs", 0, "verdicts", 0, "outcome"), "skipped"),
        (("runs", 0, "trials", 1, "score"), "inf."),
        (("runs", 0, "trials", 0, "values", "units"), None),
        (("runs", 0, "best", "trial"), 1.5),
        (("runs", 0, "cached"), "no"),
        (("runs", 0, "durations", "search"), None),
        (("runs", 0, "more"), 1),
    ],
)
def test_what_is_no_report_is_refused(path: tuple[str | int, ...], value: object) -> None:
    report = json.loads(json.dumps(of(DIGITS)))
    place = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not VALIDATOR.is_valid(report)


def test_keys_may_be_added_under_the_same_number() -> None:
    report = of(DIGITS)
    report["runs"][0]["more"] = 1
    Draft202012Validator(SCHEMA).validate(report)
    del report["runs"][0]["id"]
    assert not Draft202012Validator(SCHEMA).is_valid(report)
