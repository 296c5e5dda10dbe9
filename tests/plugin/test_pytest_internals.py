"""A pytest that has other names for what we use of it: specs run all the same, and one line says so."""

from __future__ import annotations

import pytest

from modeltune.plugin.pytest_internals import NAMES
from tests.support import scripted_sessions
from tests.support.scripted_runs import scripting

NOT_DRAWN = "no progress is drawn"

INSTEAD = {
    "terminal reporter": NOT_DRAWN,
    "writer": NOT_DRAWN,
    "file": NOT_DRAWN,
    "line": NOT_DRAWN,
    "begin line": "lines of a running spec may begin behind others",
    "disabled": f"{NOT_DRAWN}, lines of a running spec go to its captured output",
    "suspend": NOT_DRAWN,
    "resume": NOT_DRAWN,
    "call": "parametrized specs get their fields when they begin to run",
    "parameters": "parametrized specs get their fields when they begin to run",
}
"""What is done where a name is missing."""


def run(project: pytest.Pytester) -> pytest.RunResult:
    scripted_sessions.load()
    project.makepyfile(spec_a=scripted_sessions.PARAMETRIZED)
    with scripting(project.path / "log"):
        done = project.runpytest_inprocess("spec_a.py", "-pno:cacheprovider")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["FAILED spec_a.py::scripted[[]high[]]*"])
    return done


def notes(done: pytest.RunResult) -> list[str]:
    return [line for line in done.outlines if line.startswith("modeltune: ")]


def test_nothing_is_said_where_pytest_has_all_names(project: pytest.Pytester) -> None:
    assert notes(run(project)) == []


@pytest.mark.parametrize("word", NAMES)
def test_specs_run_and_one_line_says_what_pytest_lacks(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setitem(NAMES, word, "of_another_version")
    done = run(project)
    (note,) = notes(done)
    lacking, instead = note.removeprefix("modeltune: ").split(": ")
    assert lacking.startswith(f"pytest {pytest.__version__} has no ")
    assert lacking.endswith(".of_another_version")
    assert instead == INSTEAD[word]
    assert "INTERNALERROR" not in done.stdout.str() + done.stderr.str()
    if word != "disabled":
        assert "  validating the best values: 2 refits of 3 epochs" in done.outlines
