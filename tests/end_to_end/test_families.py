"""Specs of a session that share one error rate, and commits that do: as a user sets and types it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from modeltune.records.runs import RunStatus
from tests.support import scripted_runs
from tests.support.example import Example, scripted_source

SPECS = """
import modeltune as mt

held = mt.spec(
    data=lambda: None,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
    validation=mt.Holdout(seeds=1),
    gates=[mt.metric("accuracy") >= mt.baseline - 0.01],
    FIELDS
)

@held
def one(hp):
    raise NotImplementedError

@held
def two(hp):
    raise NotImplementedError
"""


def with_family(project: Example, family: str, fields: str = "") -> Example:
    settings = f'[tool.modeltune]\nfamily = "{family}"\n'
    return project.with_files(
        {"pyproject.toml": settings, "spec_a.py": SPECS.replace("FIELDS", fields)}
    )


def let_right(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """Have every model be right on all of 100 test samples but the first few."""
    monkeypatch.setattr(scripted_runs, "RIGHT", np.arange(100)[None] >= lost)
    monkeypatch.setattr(scripted_runs, "SCORES", {"accuracy": 1 - lost / 100})


def test_two_specs_share_the_error_rate_and_the_end_of_the_session_decides(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_right(monkeypatch, lost=0)
    with_family(scripted, "session").run_pytest("--modeltune-accept-new").assert_outcomes(passed=2)
    # Five lost of five: p = 1/32, which would fail each spec alone.
    let_right(monkeypatch, lost=5)

    shared = with_family(scripted, "session").run_pytest()

    shared.assert_outcomes(passed=2)
    assert shared.exit_code == 0
    (verdict,) = shared.reported[0]["verdicts"]
    assert verdict["outcome"] == "inconclusive"
    assert (
        "p = 0.031 (0.025 or less fails: 2 specs share the session's error rate)"
        in verdict["reason"]
    )
    assert verdict["details"]["family"] == {"kind": "session", "specs": 2}

    discovered = with_family(scripted, "fdr").run_pytest(
        "--modeltune-accept", "--junitxml=models.xml"
    )

    # Both fail by Benjamini and Hochberg, which neither knew when it ended.
    discovered.assert_outcomes(passed=2, errors=2)
    assert discovered.exit_code == 1
    assert [run["status"] for run in discovered.reported] == ["failed", "failed"]
    assert [run.status for run in discovered.history[:2]] == [RunStatus.FAILED] * 2
    assert [run.verdicts[0].outcome.value for run in discovered.history[:2]] == ["failed"] * 2
    discovered.stdout.fnmatch_lines(
        ["*not accepted: run * decide at its end whether mt.metric*fails; where it does not: *"]
    )
    suite = ET.parse(scripted.path / "models.xml").getroot()[0]
    assert suite.attrib["errors"] == "2"


def test_looks_at_one_baseline_share_an_error_rate_and_a_repeated_run_is_none(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_right(monkeypatch, lost=0)
    sequential = with_family(scripted, "spec", "sequential=True,")
    sequential.run_pytest("spec_a.py::one", "--modeltune-accept-new").assert_outcomes(passed=1)
    let_right(monkeypatch, lost=6)  # p = 1/64: enough for the first look, 0.0219, not for a second

    first, again = (sequential.run_pytest("spec_a.py::one") for _ in range(2))

    first.assert_outcomes(failed=1)
    again.assert_outcomes(failed=1)
    assert [s.reported[0]["verdicts"][0]["details"]["look"] for s in (first, again)] == [1, 1]

    changed = with_family(scripted, "spec", "sequential=True, fit=mt.Fit(batch_size=7),")
    second = changed.run_pytest("spec_a.py::one")

    second.assert_outcomes(passed=1)
    (verdict,) = second.reported[0]["verdicts"]
    assert verdict["outcome"] == "inconclusive"
    assert "(0.0072 or less fails: look 2 at this baseline)" in verdict["reason"]


def test_a_first_look_of_a_history_without_the_accepted_run_says_so(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_right(monkeypatch, lost=0)
    sequential = with_family(scripted, "spec", "sequential=True,")
    sequential.run_pytest("spec_a.py::one", "--modeltune-accept-new")

    elsewhere = sequential.run_pytest("spec_a.py::one", "--modeltune-store=sqlite:///other.db")

    (run,) = elsewhere.reported
    assert any(
        "this history has neither the accepted run nor an earlier look" in n for n in run["notes"]
    )


def test_verdicts_of_a_test_part_are_counted_and_warned_of_once_it_is_used_up(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = {"data/train": "0123", "data/test": "4567"}
    loaded = {"samples": {"validation": 40}}, prints
    monkeypatch.setattr(scripted_runs.Script, "load", lambda *_: loaded)
    settings = "[tool.modeltune]\ntest_reads = 1\n"
    project = scripted.with_spec(scripted_source("one", "two")).with_files(
        {"pyproject.toml": settings}
    )

    session = project.run_pytest()

    session.assert_outcomes(passed=2)
    assert [run["data"]["test_reads"] for run in session.reported] == [1, 2]
    session.stdout.fnmatch_lines(
        [
            "warned: spec_a.py::two: checks.test_reads: this test part gives verdict number 2 of 1 that were planned *"
        ]
    )
    assert "checks.test_reads: spec_a.py::one" not in session.output
