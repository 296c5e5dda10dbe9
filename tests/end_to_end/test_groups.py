"""Gates on groups of people or things: judged, reported, reused and held to the baseline as slices are."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from modeltune.reports.json_report import SCHEMA_FILE
from tests.support.example import Example

SPEC = """
import keras
import numpy as np
import pandas as pd
import modeltune as mt

def people(regions=("north", "south", "west"), n=300):
    random = np.random.default_rng(0)
    region = np.array(regions, object)[np.arange(n) % len(regions)]
    y = random.integers(0, 2, n)
    wrong = random.random(n) < np.where(region == "south", 0.4, 0.05)
    x = np.where(wrong, 1 - y, y)[:, None].astype("float32")
    frame = pd.DataFrame({"region": region, "age": 20 + np.arange(n) % 40})
    return mt.Data(test=(x, y), metadata=frame)

def decade(metadata):
    return metadata["age"] // 10 * 10

def cost(y_true, y_pred, metadata):
    wrong = y_pred.argmax(axis=1) != y_true
    return float((metadata["age"] * wrong).sum() / metadata["age"].sum())

GATES = [
    mt.metric("accuracy").by("region") >= 0.8,
    mt.metric("accuracy").by("region").gap <= 0.1,
    mt.metric("accuracy").by("region").ratio >= 0.5,
    mt.metric("accuracy").by("decade", decade) >= mt.baseline - 0.02,
    mt.metric(cost) <= mt.baseline + 0.05,
    mt.metric(cost).by("region").gap <= 0.9,
]

@mt.spec(data=people, gates=GATES)
def shipped():
    layer = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input((1,)), layer])
    layer.set_weights([np.array([[-9.0, 9.0]]), np.array([4.0, -4.0])])
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


@pytest.fixture
def grouped(project: Example, keras_is_loaded: None) -> Example:
    return project.with_spec(SPEC)


def test_groups_are_judged_reported_reused_and_missed_when_they_are_gone(grouped: Example) -> None:
    first = grouped.run_pytest()
    first.assert_outcomes(failed=1)
    (report,) = first.reported
    by_region, gap, ratio, by_decade, _, of_cost = report["verdicts"]
    assert [v["outcome"] for v in report["verdicts"]] == [
        "failed",
        "failed",
        "passed",
        "no_baseline",
        "no_baseline",
        "passed",
    ]
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    Draft202012Validator(schema).validate(first.report)

    parts = {part["group"]: part for part in by_region["details"]["slices"]}
    assert next(iter(parts)) == "south"
    region = np.array(["north", "south", "west"], object)[np.arange(300) % 3]
    random = np.random.default_rng(0)
    random.integers(0, 2, 300)
    wrong = random.random(300) < np.where(region == "south", 0.4, 0.05)
    right = {name: float(1 - wrong[region == name].mean()) for name in parts}
    for name, part in parts.items():
        assert part["measured"] == pytest.approx(right[name], abs=1e-9)
        assert part["n"] == 100
    assert gap["measured"] == pytest.approx(max(right.values()) - min(right.values()), abs=1e-9)
    assert gap["details"]["between"]["lowest"] == "south"
    assert ratio["measured"] == pytest.approx(min(right.values()) / max(right.values()), abs=1e-9)
    assert {part["group"] for part in by_decade["details"]["slices"]} == {"20", "30", "40", "50"}
    age = 20 + np.arange(300) % 40
    for part in of_cost["details"]["slices"]:
        rows = region == part["group"]
        expected = (age * wrong)[rows].sum() / age[rows].sum()
        assert part["measured"] == pytest.approx(expected, abs=1e-9)
    # The weak group is found without being asked for, and every report has the code that selects it.
    pasted = '.on("region is south", lambda metadata: metadata["region"] == "south")'
    (weak,) = (check for check in report["checks"] if check["gate"] == "model.weak_slices")
    assert weak["outcome"] == "warned"
    assert pasted in weak["reason"]
    assert report["status"] == "failed"
    # Every report has the groups in its table of slices.
    markdown = (grouped.path / ".modeltune/report/report.md").read_text("utf-8")
    page = (grouped.path / ".modeltune/report/report.html").read_text("utf-8")
    for text in (first.output, markdown, page):
        plain = html.unescape(text).replace("\\", "")
        assert 'region "south"' in plain
        assert pasted in " ".join(plain.split())
    status, shown = grouped.run_modeltune("show", report["id"])
    assert status == 0
    assert 'decade "30"' in shown

    # A recorded run is judged again by its groups; others than it kept take a run.
    again = grouped.run_pytest("--modeltune-reuse")
    again.stdout.fnmatch_lines(["*(cached)*"])
    (kept,) = again.reported
    assert kept["verdicts"][:3] == report["verdicts"][:3]
    more = grouped.with_spec(
        SPEC.replace('accuracy").by("region").gap', 'accuracy").by("age").gap')
    )
    more.run_pytest("--modeltune-reuse").stdout.no_fnmatch_line("*(cached)*")

    # Once it is the baseline, what is new and what is gone is said.
    bounds = SPEC.replace(">= 0.8", ">= 0.3").replace("<= 0.1", "<= 0.6")
    accepting = grouped.with_spec(bounds)
    accepting.run_pytest("--modeltune-accept-new").assert_outcomes(passed=1)
    (baseline,) = grouped.path.glob("baselines/*.json")
    assert '"south"' in baseline.read_text("utf-8")
    assert "age" not in json.loads(baseline.read_text("utf-8"))["samples"].get("metadata", {})
    same = {v["gate"]: v for v in accepting.run_pytest().reported[0]["verdicts"]}
    of_cost = same["mt.metric(cost) <= mt.baseline + 0.05"]
    assert (of_cost["outcome"], of_cost["details"]["test"]) == ("passed", "paired bootstrap")
    moved = accepting.with_spec(bounds.replace('"west")', '"east")')).run_pytest()
    moved.assert_outcomes(passed=1)
    verdicts = {v["gate"]: v for v in moved.reported[0]["verdicts"]}
    said = verdicts['mt.metric("accuracy").by("region") >= 0.3']
    assert said["outcome"] == "inconclusive"
    assert '"east" new since the accepted run' in said["reason"]
    assert '"west" gone since the accepted run' in said["reason"]
    held = verdicts['mt.metric("accuracy").by("decade", decade) >= mt.baseline - 0.02']
    assert held["outcome"] == "passed"
    assert {part["regression"]["n"] for part in held["details"]["slices"]} == {70, 80}


PREDICTOR = """
import numpy as np
import pandas as pd
import modeltune as mt

def people():
    y = np.arange(200) % 2
    region = np.where(np.arange(200) % 4 < 2, "north", "south")
    x = np.where(region == "north", y, 1)[:, None]
    return mt.Data(test=(x, y), metadata=pd.DataFrame({"region": region}))

class Threshold:
    def predict(self, x):
        return (x[:, 0] > 0.5).astype(int)

@mt.spec(data=people, gates=[
    mt.metric("recall").by("region") >= 0.7,
    mt.metric("recall").by("region").gap <= 0.05,
])
def shipped():
    return Threshold()
"""


def test_groups_of_any_predictor_are_judged_and_a_recorded_run_is_judged_again(
    project: Example,
) -> None:
    first = project.with_spec(PREDICTOR).run_pytest()
    by_region, gap = first.reported[0]["verdicts"]
    assert (by_region["outcome"], by_region["measured"]) == ("failed", pytest.approx(0.5))
    assert by_region["reason"].startswith('region "south" (n=100): recall is 0.2 below the bound')
    assert (gap["outcome"], gap["measured"]) == ("failed", pytest.approx(0.5))
    again = project.with_spec(PREDICTOR.replace("0.7", "0.4")).run_pytest("--modeltune-rejudge")
    outcomes = [verdict["outcome"] for verdict in again.reported[0]["verdicts"]]
    assert outcomes == ["passed", "failed"]
    assert again.reported[0]["cached"]


WRONG = {
    "a missing column": (
        SPEC.replace('by("region") >=', 'by("regoin") >='),
        '*spec_a.py:*: shipped: groups by "regoin": the metadata of test have no such column; the columns '
        "are region, age",
    ),
    "rows that do not align": (
        SPEC.replace("metadata=frame)", "metadata=frame[:7])"),
        "*spec_a.py::shipped: data: metadata has 7 rows for the 300 samples of test; return *",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_groups_that_cannot_be_made_are_told_before_anything_is_judged(
    grouped: Example, what: str
) -> None:
    text, words = WRONG[what]
    wrong = grouped.with_spec(text).run_pytest()
    wrong.assert_outcomes(failed=1)
    wrong.stdout.fnmatch_lines([words])
    assert not wrong.reported or not wrong.reported[0]["scores"]
