"""pytest_modeltune_run_recorded: told once, after the commit, and of no harm to a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modeltune.harness import pipeline
from modeltune.harness.cached_runs import Lookup
from tests.support.example import Example, scripted_source

LOGGING = """
def pytest_modeltune_run_recorded(run, folder, config):
    import json
    import os

    from modeltune.histories.store import open_store

    assert (folder / run.artifact.path).is_file()
    with open_store(f"sqlite:///{folder}/history.db", create=False) as store:
        is_committed = store.run(run.id).scores == run.scores
    line = [run.id, run.spec, run.status.value, is_committed, os.environ.get("PYTEST_XDIST_WORKER")]
    with (config.rootpath / "lines.txt").open("a") as file:
        file.write(json.dumps(line) + "\\n")
"""

RAISING = """
def pytest_modeltune_run_recorded(run):
    {raising}
"""


SPECS = scripted_source("mlp", "cnn")


@pytest.fixture
def project(scripted: Example) -> Example:
    """Return a project with two specs, whose conftest notes what its hook is told."""
    return scripted.with_files({"model_specs/spec_scripted.py": SPECS, "conftest.py": LOGGING})


def log_of(project: Example) -> list[list[object]]:
    """Return what the logging hook was told, line by line."""
    file = project.path / "lines.txt"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_plugin_is_told_of_each_run_once_it_is_committed(project: Example) -> None:
    done = project.run_pytest()
    assert done.exit_code == 0
    specs = [f"model_specs/spec_scripted.py::{name}" for name in ("mlp", "cnn")]
    assert [line[1:] for line in log_of(project)] == [
        [spec, "passed", True, None] for spec in specs
    ]
    assert len({line[0] for line in log_of(project)}) == 2
    assert "a plugin failed" not in done.output


def test_under_xdist_the_controller_is_told_once_of_each_run(project: Example) -> None:
    done = project.run_pytest_forked("-n1")
    assert done.exit_code == 0, done.output
    lines = log_of(project)
    assert sorted(str(line[1]) for line in lines) == [
        "model_specs/spec_scripted.py::cnn",
        "model_specs/spec_scripted.py::mlp",
    ]
    assert [line[2:] for line in lines] == [["passed", True, None]] * 2


@pytest.mark.parametrize(
    ("raising", "message"),
    [
        ("raise ValueError('no\\nway')", "ValueError: no way"),
        ("import pytest; pytest.fail('red')", "Failed: red"),
        ("raise OSError('\\x1b[31m::error::owned')", "OSError: ::error::owned"),
        ("raise SystemExit('no login')", "SystemExit: no login"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("raise ValueError('no' * 10_000)", "characters)"),
    ],
)
def test_what_a_plugin_raises_is_shown_and_the_run_stays_green(
    project: Example, raising: str, message: str
) -> None:
    conftests = {"conftest.py": RAISING.format(raising=raising), "model_specs/conftest.py": LOGGING}
    project = project.with_files(conftests)
    done = project.run_pytest("-W", "error", "-q")
    assert done.exit_code == 0
    assert len(log_of(project)) == 2, "the other plugin is told all the same"
    runs = ", ".join(str(line[0]) for line in log_of(project))
    done.stdout.fnmatch_lines(
        [f"modeltune: recorded, but a plugin failed for {runs}: *conftest.py: *"]
    )
    assert message in done.output
    assert "\x1b[31m::error" not in done.output


SERVING = """
from dataclasses import replace
from modeltune.harness import pipeline
from modeltune.harness.cached_runs import Lookup
from modeltune.histories.store import open_store

def look_up(*_):
    with open_store("sqlite:///.modeltune/history.db") as history:
        (run,) = history.runs()
        return Lookup(replace(history.run(run.id), cached=True))

pipeline.look_up = look_up
"""


def test_under_xdist_a_run_from_the_history_is_shown_as_cached(project: Example) -> None:
    project.run_pytest("-k", "mlp")
    project = project.with_files({"model_specs/conftest.py": SERVING})
    done = project.run_pytest_forked("-k", "mlp", "--modeltune-reuse", "-v", "-n1")
    done.stdout.fnmatch_lines(["*CACHED*::mlp*"])


def test_a_run_from_the_history_is_not_told_again(
    project: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = project.run_pytest("-k", "mlp")
    before = log_of(project)
    # What a script was trained on is in no file: the history has to be told that it is the same.
    cached = replace(done.history[0], cached=True)
    monkeypatch.setattr(pipeline, "look_up", lambda *_: Lookup(cached))
    data = "lambda: mt.Data(([[0.0], [1.0]] * 20, [0, 1] * 20))"
    specs = SPECS.replace("lambda: None", data)
    project = project.with_files({"model_specs/spec_scripted.py": specs})
    done = project.run_pytest("-k", "mlp", "--modeltune-reuse", "-v")
    done.stdout.fnmatch_lines(["*::mlp CACHED*"])
    assert len(before) == 1
    assert log_of(project) == before
