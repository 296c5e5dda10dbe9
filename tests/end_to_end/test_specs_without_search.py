"""A spec without a search trains its default values, by its validation alone."""

from __future__ import annotations

from modeltune.records.runs import Best
from tests.support.example import Example, source

SPEC = source(
    "search=None, validation=mt.Holdout(epochs=2, seeds=2), gates=[mt.metric('accuracy') >= 0.1]"
)


def test_the_default_values_are_validated_and_nothing_is_searched(project: Example) -> None:
    project = project.with_spec(SPEC)
    done = project.run_pytest()
    done.assert_outcomes(passed=1)
    (run,) = project.history()
    assert run.best == Best(None, None, {"rate": 0.1})
    assert run.trials == ()
    assert run.objective == "maximize val_accuracy"
    assert len(run.scores["accuracy"].values) == 2
    assert {check.gate for check in run.checks}.isdisjoint({"search.refit", "search.bounds"})
    done.stdout.fnmatch_lines(
        [
            "*::dense: no search, the default values are validated",
            "  validating the default values: 2 refits of 2 epochs",
            "  refit 1/2 (seed 0): accuracy * on test*",
        ]
    )
    done.stdout.no_fnmatch_line("*trial [0-9]*")
    # Its own weights give its recorded numbers again.
    status, printed = project.run_modeltune("replay", run.id)
    assert status == 0, printed
    status, shown = project.run_modeltune("show", run.id)
    assert status == 0
    assert "rate=0.1" in shown
    page = (project.path / ".modeltune/report/report.html").read_text()
    assert "Nothing was searched; the values are rate=0.1." in page
    assert "trial None" not in shown + page


def test_another_gate_trains_nothing_again(project: Example) -> None:
    # The objective is read off the gates, which are no part of what was trained.
    project.with_spec(SPEC).run_pytest()
    judged = project.with_spec(SPEC.replace("'accuracy') >= 0.1", "'loss') <= 9")).run_pytest(
        "--modeltune-reuse"
    )
    judged.assert_outcomes(passed=1)
    assert [run.cached for run in judged.history] == [False]
    judged.stdout.fnmatch_lines(["*passed (cached)*"])
