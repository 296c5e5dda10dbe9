"""The models of one protocol are ranked, with what is really different, and the best one leaves as a file."""

from __future__ import annotations

import pytest
from skops import io as files

from tests.support.example import Example

SPEC = """
import numpy as np
import modeltune as mt
from sklearn.dummy import DummyClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

def points():
    y = np.arange(600) % 3
    x = np.random.default_rng(0).normal(size=(600, 2)) + 2.0 * y[:, None]
    return mt.Data(train=(x, y))

on_points = mt.spec(
    data=points,
    search=mt.GridSearch(mt.maximize("val_accuracy")),
    validation=mt.Holdout(seeds=1),
    gates=[mt.metric("accuracy") >= 0.5],
)

@on_points
def guess(hp):
    return DummyClassifier(strategy=hp.Choice("strategy", ["prior"]))

@on_points
def bayes(hp):
    return GaussianNB(var_smoothing=hp.Choice("smoothing", [1e-9]))
"""
ADDED = """
@on_points
def neighbours(hp):
    return KNeighborsClassifier(hp.Choice("k", [15]))
"""


def test_adding_a_model_runs_it_alone_and_the_protocol_says_which_are_really_different(
    project: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.with_spec(SPEC).run_pytest().assert_outcomes(passed=1, failed=1)
    session = project.with_spec(SPEC + ADDED).run_pytest_forked("--modeltune-reuse")
    session.assert_outcomes(passed=2, failed=1)
    cached = {run["spec"]: run["cached"] for run in session.reported}
    assert cached == {
        "spec_a.py::guess": True,
        "spec_a.py::bayes": True,
        "spec_a.py::neighbours": False,
    }

    place = session.lines.index("spec_a.py::on_points: accuracy on test")
    best, second, last = session.lines[place + 3 : place + 6]
    assert best.startswith("best  spec_a.py::")
    assert "cannot tell (are these models different: exact McNemar on 120 samples)" in second
    assert last.split()[0] == "spec_a.py::guess"
    assert "yes (are these models different: exact McNemar on 120 samples)" in last
    page = (project.path / ".modeltune/report/report.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("### `spec_a.py::on_points: accuracy on test`\n\n")
    assert rest.splitlines()[2].startswith("| best | `spec_a.py::")
    page = (project.path / ".modeltune/report/report.html").read_text(encoding="utf-8")
    assert '<h2 id="ranking-1">spec_a.py::on_points: accuracy on test</h2>' in page

    status, printed = project.run_modeltune("best", "on_points", "--export", "best.skops")
    assert status == 0, printed
    assert printed.splitlines()[0] == "spec_a.py::on_points: accuracy on test"
    assert printed.splitlines()[3].split()[:2] == best.split()[:2]
    assert "written: best.skops (" in printed
    winner = files.load(project.path / "best.skops", trusted=[])
    assert best.split()[1].endswith(
        {"GaussianNB": "bayes"}.get(type(winner).__name__, "neighbours")
    )
    status, printed = project.run_modeltune("best", "on_digits")
    assert status == 1
    assert '"on_digits" is no protocol; recorded are runs of: spec_a.py::on_points' in printed
