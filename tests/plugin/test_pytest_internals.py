"""A pytest that has other names for what we use of it: specs run all the same, and one line says so."""

from __future__ import annotations

import pytest

from modeltune.plugin.pytest_internals import PYTEST_NAMES
from tests.support.example import PARAMETRIZED, Example, Session

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
    **dict.fromkeys(
        ("indices", "ids", "calls", "fixtures"),
        "a spec that another plugin repeats has a history for each repetition",
    ),
    **dict.fromkeys(
        ("failure", "traceback", "place"), "other plugins find no message of a red spec"
    ),
    **dict.fromkeys(("junit", "property"), "junit.xml has no properties of runs"),
}
"""What is done where a name is missing."""


def run(scripted: Example) -> Session:
    done = scripted.with_spec(PARAMETRIZED).run_pytest("-pno:cacheprovider", "--junitxml=junit.xml")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["FAILED spec_a.py::scripted[[]high[]]*"])
    return done


def notes(done: Session) -> list[str]:
    return [line for line in done.lines if line.startswith("modeltune: ")]


def test_nothing_is_said_where_pytest_has_all_names(scripted: Example) -> None:
    assert notes(run(scripted)) == []


@pytest.mark.parametrize("word", PYTEST_NAMES)
def test_specs_run_and_one_line_says_what_pytest_lacks(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setitem(PYTEST_NAMES, word, "of_another_version")
    done = run(scripted)
    (note,) = notes(done)
    lacking, instead = note.removeprefix("modeltune: ").split(": ")
    assert lacking.startswith(f"pytest {pytest.__version__} has no ")
    assert lacking.endswith(".of_another_version")
    assert instead == INSTEAD[word]
    assert "INTERNALERROR" not in done.output + done.stderr.str()
    if word != "disabled":
        assert "  validating the best values: 2 refits of 3 epochs" in done.lines
