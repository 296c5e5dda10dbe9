"""A project that wants no samples of its test data kept has none anywhere."""

from __future__ import annotations

from modeltune.cli import main
from modeltune.reports.counterexamples import counterexample_of
from tests.support.example import Example, source

PRIVATE = "[tool.modeltune]\nexamples = false\n"

VIOLATED = "gates=[mt.invariant(flip, severity=(1.0, 2.0))], examples=True"

SPEC = source(VIOLATED).replace("@spec(", "def flip(x, severity):\n    return -9 * x\n\n\n@spec(")

SHOWN = '<th scope="col" class="n">sample</th>'


def test_no_run_of_a_project_without_examples_keeps_or_shows_a_sample(project: Example) -> None:
    project = project.with_spec(SPEC)
    report = project.path / ".modeltune" / "report" / "report.html"
    assert project.run_pytest().exit_code == 1
    (before,) = project.history()
    assert "examples" in before.files
    found = counterexample_of(before.verdicts[0])
    assert found
    assert found.shown
    assert SHOWN in report.read_text("utf-8")
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
    # Nor does a report of the earlier run, which has kept some.
    assert main(["report", before.id]) == 0
    assert SHOWN not in report.read_text("utf-8")
