"""pytest_modeltune_run_recorded: told once, after the commit, and of no harm to a run."""

from __future__ import annotations

import ast
import json
from dataclasses import replace

import pytest

from modeltune.harness import pipeline
from modeltune.histories.store import open_store
from modeltune.records.runs import Run
from tests.support.readme import blocks
from tests.support.scripted_projects import OPTIONS, project

LOGGING = """
def pytest_modeltune_run_recorded(run, folder, config):
    import json
    import os

    from modeltune.histories.store import open_store

    assert (folder / run.artifact.path).is_file()
    with open_store(f"sqlite:///{folder}/history.db", create=False) as store:
        is_committed = store.run(run.id).scores == run.scores
    line = [run.id, run.spec, run.status.value, is_committed, os.environ.get("PYTEST_XDIST_WORKER")]
    with (config.rootpath / "told.txt").open("a") as file:
        file.write(json.dumps(line) + "\\n")
"""

RAISING = """
def pytest_modeltune_run_recorded(run):
    {raising}
"""


def told(pytester: pytest.Pytester) -> list[list[object]]:
    """Return what the logging hook was told, line by line."""
    file = pytester.path / "told.txt"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def recorded(pytester: pytest.Pytester) -> Run:
    """Return the newest run of the project."""
    with open_store(f"sqlite:///{pytester.path}/.modeltune/history.db", create=False) as store:
        return store.run("-1")


def test_a_plugin_is_told_of_each_run_once_it_is_committed(pytester: pytest.Pytester) -> None:
    project(pytester, LOGGING)
    done = pytester.runpytest_inprocess(*OPTIONS)
    assert done.ret == 0
    specs = [f"spec_scripted.py::{name}" for name in ("mlp", "cnn")]
    assert [line[1:] for line in told(pytester)] == [[spec, "passed", True, None] for spec in specs]
    assert len({line[0] for line in told(pytester)}) == 2
    assert "not told" not in done.stdout.str()


def test_under_xdist_the_controller_is_told_once_of_each_run(pytester: pytest.Pytester) -> None:
    project(pytester, LOGGING)
    done = pytester.runpytest_subprocess(*OPTIONS, "-n1")
    assert done.ret == 0, done.stdout.str()
    lines = told(pytester)
    assert sorted(str(line[1]) for line in lines) == [
        "spec_scripted.py::cnn",
        "spec_scripted.py::mlp",
    ]
    assert [line[2:] for line in lines] == [["passed", True, None]] * 2


@pytest.mark.parametrize(
    ("raising", "said"),
    [
        ("raise ValueError('no\\nway')", "ValueError: no way"),
        ("import pytest; pytest.fail('red')", "Failed: red"),
        ("raise OSError('\\x1b[31m::error::owned')", "OSError: [31m::error::owned"),
    ],
)
def test_what_a_plugin_raises_is_shown_and_the_run_stays_green(
    pytester: pytest.Pytester, raising: str, said: str
) -> None:
    root = project(pytester, RAISING.format(raising=raising))
    (root / "model_specs/conftest.py").write_text(LOGGING, encoding="utf-8")
    done = pytester.runpytest_inprocess(*OPTIONS, "-W", "error", "-q")
    assert done.ret == 0
    assert len(told(pytester)) == 2, "the other plugin is told all the same"
    runs = ", ".join(str(line[0]) for line in told(pytester))
    done.stdout.fnmatch_lines([f"modeltune: recorded, but not told of {runs}: *conftest.py: *"])
    assert said in done.stdout.str()
    assert "\x1b[31m::error" not in done.stdout.str()


def test_a_run_from_the_history_is_not_told_again(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(pytester, LOGGING)
    pytester.runpytest_inprocess(*OPTIONS, "-k", "mlp")
    before = told(pytester)
    # What a script was trained on is in no file: the history has to be told that it is the same.
    cached = replace(recorded(pytester), cached=True)
    monkeypatch.setattr(pipeline, "reused", lambda *_: cached)
    spec_file = pytester.path / "model_specs/spec_scripted.py"
    data = "lambda: mt.Data(([[0.0], [1.0]] * 20, [0, 1] * 20))"
    spec_file.write_text(spec_file.read_text().replace("lambda: None", data))
    done = pytester.runpytest_inprocess(*OPTIONS, "-k", "mlp", "--modeltune-reuse", "-v")
    done.stdout.fnmatch_lines(["*::mlp CACHED*"])
    assert len(before) == 1
    assert told(pytester) == before


def test_the_logger_in_the_readme_is_told_scores_curves_and_gates(
    pytester: pytest.Pytester,
) -> None:
    (example,) = [text for text in blocks("python") if "pytest_modeltune_run_recorded" in text]
    fake = """
logged = []
class Run:
    def __init__(self, **named):
        logged.append(named)
        self.summary = {}
    def __enter__(self):
        return self
    def __exit__(self, *error):
        logged.append(self.summary)
    def log(self, values):
        logged.append(values)
def init(**named):
    return Run(**named)
"""
    root = project(pytester, example)
    (root / "wandb.py").write_text(fake, encoding="utf-8")
    end = """
def pytest_unconfigure(config):
    import wandb
    (config.rootpath / "logged.txt").write_text("\\n".join(map(repr, wandb.logged)))
"""
    (root / "model_specs/conftest.py").write_text(end, encoding="utf-8")
    pytester.syspathinsert(root)
    done = pytester.runpytest_inprocess(*OPTIONS, "-k", "mlp")
    assert done.ret == 0
    assert "not told" not in done.stdout.str(), done.stdout.str()
    first, *curves, summary = map(ast.literal_eval, (root / "logged.txt").read_text().splitlines())
    run = recorded(pytester)
    assert first["name"] == "spec_scripted.py::mlp"
    assert first["config"] == run.best.values
    assert summary == {
        "accuracy": 0.75,
        "artifact_bytes": 7000.0,
        'mt.metric("accuracy") >= 0.5': "passed",
    }
    assert curves == [
        {"epoch": epoch, f"trial {trial.id}/{metric}": value}
        for trial in run.trials
        for metric, values in trial.curve.items()
        for epoch, value in enumerate(values, start=trial.initial_epoch + 1)
    ]
