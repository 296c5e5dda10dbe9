"""A project that wants no samples of its test data kept has none anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from modeltune.cli import main
from modeltune.records.probes import RowChange
from modeltune.reports.counterexamples import counterexample_of
from tests.support.example import Example, source

PRIVATE = "[tool.modeltune]\nexamples = false\n"

VIOLATED = "gates=[mt.invariant(flip, severity=(1.0, 2.0))], examples=True"

SPEC = source(VIOLATED).replace("@spec(", "def flip(x, severity):\n    return -9 * x\n\n\n@spec(")

SHOWN = '<th scope="col" class="n">sample</th>'


def test_no_run_of_a_project_without_examples_keeps_or_shows_a_sample(
    project: Example, capsys: pytest.CaptureFixture[str]
) -> None:
    project = project.with_spec(SPEC)
    report = project.path / ".modeltune" / "report" / "report.html"
    session = project.run_pytest()
    assert session.exit_code == 1
    (before,) = project.history()
    assert "examples" in before.files
    found = counterexample_of(before.verdicts[0])
    assert found
    assert isinstance(found.shown[0], RowChange)
    assert SHOWN in report.read_text("utf-8")
    # The row that violates it, as it is printed.
    values = str(found.shown[0].values[0].after)
    assert values in session.output
    assert main(["show", before.id]) == 0
    assert values in capsys.readouterr().out
    kept = sorted(project.path.glob(".modeltune/artifacts/*.examples.json"))

    project = project.with_files({"pyproject.toml": PRIVATE})
    assert project.run_pytest().exit_code == 1
    run = project.history()[0]
    assert run.scores == before.scores
    assert "examples" not in run.files
    found = counterexample_of(run.verdicts[0])
    assert found
    assert (found.shown, found.row) == ((), found.row or 0)
    assert sorted(project.path.glob(".modeltune/artifacts/*.examples.json")) == kept
    # Nor does a report of the earlier run, which has kept some, or a session that is served it.
    assert main(["report", before.id]) == 0
    assert main(["show", before.id]) == 0
    assert values not in capsys.readouterr().out
    assert_hidden(report, before.id, values)
    served = project.run_pytest("--modeltune-rejudge", f"--modeltune-run={before.id}")
    assert_hidden(report, before.id, values)
    assert before.id in served.output
    assert values not in served.output


def assert_hidden(report: Path, run: str, values: str) -> None:
    for suffix in (".html", ".json", ".md"):
        page = report.with_suffix(suffix).read_text("utf-8")
        assert run in page
        assert SHOWN not in page
        assert values not in page
