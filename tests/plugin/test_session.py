"""The end of a session: what a renderer raises costs neither the others nor junit.xml."""

from __future__ import annotations

import atexit
from typing import Any

import pytest

import modeltune.ground
import modeltune.reports
from modeltune.harness.trackers import mlflow
from modeltune.plugin import session
from tests.support.example import Example, scripted_source
from tests.support.scripted_runs import scripting

RENDERERS = {
    "write": "no report.json",
    "markdown": "no report.md",
    "html": "no report.html",
    "summary_table": "no summary",
    "undecided": "no list of what is undecided",
    "annotate": "no annotations",
    "lines": "no progress",
    "failure": "no table of a red spec",
}
"""What the session calls, and what it says is missing when that raises."""


class Careless(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("renderer", RENDERERS)
def test_a_renderer_that_raises_costs_nothing_else(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, renderer: str
) -> None:
    def broken(*_: object) -> Any:
        raise Careless

    monkeypatch.setattr(modeltune.reports, renderer, broken)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    bound = 1.999 if renderer == "failure" else 0.5
    text = scripted_source(fields=f"name='s', gates=[mt.metric('accuracy') >= {bound}],")
    text = text.replace('    gates=[mt.metric("accuracy") >= 0.5],\n', "").replace("name='s', ", "")
    done = scripted.with_spec(text).run_pytest("--junitxml=junit.xml")
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    assert len(done.outcomes.keys() & {"passed", "failed"}) == 1
    (problem,) = (line for line in done.lines if line.startswith("modeltune: no "))
    assert problem == (
        f"modeltune: {RENDERERS[renderer]}: Careless: (no message: its __str__ raised ValueError)"
    )
    assert "INTERNALERROR" not in done.output
    (run,) = done.history
    assert f'value="{run.id}"' in (scripted.path / "junit.xml").read_text()
    kinds = {"json": "write", "md": "markdown", "html": "html"}
    there = {path.suffix[1:] for path in (scripted.path / ".modeltune/report").iterdir()}
    assert there == {kind for kind, function in kinds.items() if function != renderer}
    assert ("spec  " in done.output) is (renderer != "summary_table")


def test_ctrl_c_while_reports_are_made_is_a_line_and_leaves_junit_xml(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(modeltune.reports, "html", interrupted)
    done = scripted.with_spec(scripted_source()).run_pytest("--junitxml=junit.xml")
    assert done.exit_code == pytest.ExitCode.INTERRUPTED
    assert (
        "modeltune: no more reports: interrupted; the runs are recorded, and modeltune report "
        "writes them"
    ) in done.lines
    assert "Traceback" not in done.output
    assert len(done.history) == 1
    assert (scripted.path / "junit.xml").is_file()


PLUGIN = """
import sys
from types import SimpleNamespace

def pytest_terminal_summary(config):
    config.loaded_before_the_end = LATE in sys.modules

def pytest_configure(config):
    config.pluginmanager.register(SimpleNamespace(), "in its place")
    sys.modules.pop(LATE, None)

def pytest_unconfigure(config):
    print("loaded before the end:", config.loaded_before_the_end)

LATE = "hypothesis.internal.observability"
"""
"""Registers a plugin in the place of Hypothesis's own, and tells what is loaded before that is called."""


def test_what_the_end_needs_is_loaded_while_trials_are_under_way(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded at the end it would take most of the time that a Ctrl-C takes."""
    loaded = list[str]()
    monkeypatch.setattr(modeltune.reports, "page_template", lambda: loaded.append("page"))
    for renderer in ("html", "markdown"):
        monkeypatch.setattr(modeltune.reports, renderer, lambda *_: loaded.append("end") or "")
    monkeypatch.setattr(session, "HYPOTHESIS_PLUGIN", "in its place")
    project = scripted.with_spec(scripted_source()).with_files({"conftest.py": PLUGIN})
    done = project.run_pytest()
    assert loaded == ["page", "end", "end"]
    assert "loaded before the end: True" in done.lines


@pytest.mark.parametrize("options", [[], ["--full-trace"]])
def test_an_interrupt_is_shown_in_full_only_where_that_is_asked_for(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    ended = list[int]()
    monkeypatch.setattr(modeltune.ground, "end_without_collecting", lambda: ended.append(1))
    folder = scripted.with_spec(scripted_source()).write()
    with scripting(folder / "trained.txt", interrupted):
        pytester = scripted.pytester
        result = pytester.runpytest_inprocess(*options, no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert ended == [1]
    result.stdout.re_match_lines([r".*items\.py:\d+: KeyboardInterrupt$"])
    assert ("def wrap_session(" in result.stdout.str()) is bool(options)


def test_the_process_of_a_session_with_specs_ends_without_looking_for_garbage(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that a history and a predictor import, that takes half a second."""
    at_exit, ended = list[object](), list[int]()

    def end() -> None:
        ended.append(1)

    monkeypatch.setattr(modeltune.ground, "end_without_collecting", end)
    monkeypatch.setattr(atexit, "register", at_exit.append)
    plain = scripted.with_files({"test_plain.py": "def test_plain():\n    pass\n"})
    plain.run_pytest().assert_outcomes(passed=1)
    assert end not in at_exit
    plain.with_spec(scripted_source()).run_pytest().assert_outcomes(passed=2)
    assert end in at_exit
    assert not ended


@pytest.mark.parametrize("family", ["xunit1", "xunit2"])
def test_the_properties_of_a_testcase_cost_no_run(
    scripted: Example, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    from modeltune.plugin import items

    monkeypatch.setattr(items, "properties", lambda *_: 1 / 0)
    project = scripted.with_spec(scripted_source())
    done = project.run_pytest("--junitxml=junit.xml", f"-ojunit_family={family}")
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=1)
    assert "modeltune: no properties for junit.xml: ZeroDivisionError: division by zero" in (
        done.lines
    )


def test_a_page_for_mlflow_that_raises_leaves_the_rest_to_be_logged(
    scripted: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: dict[str, str | None] = {}

    def log(run: object, folder: object, uri: str, pages: Any) -> None:
        logged.update({name: page() for name, page in pages.items()})

    monkeypatch.setattr(mlflow, "log", log)
    monkeypatch.setattr(modeltune.reports, "markdown", lambda runs: runs[0].missing)
    done = scripted.with_spec(scripted_source()).run_pytest("--modeltune-mlflow=http://localhost")
    assert done.exit_code == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=1)
    assert logged["report.md"] is None
    assert str(logged["report.html"]).startswith("<!DOCTYPE html>")
    assert any(
        line.startswith("modeltune: no report.md for MLflow: AttributeError: ")
        for line in done.lines
    )


SMOKED = """
import keras
import numpy as np
import modeltune as mt

def data():
    x = np.random.default_rng(0).normal(size=(2000, 4)).astype("float32")
    return mt.Data(train=(x, (x.sum(axis=1) > 0).astype("int64")))

@mt.spec(
    data=data,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=50),
    fit=mt.Fit(epochs=50),
    validation=mt.KFold(k=5, epochs=50),
    gates=[mt.metric("accuracy") >= 1.1, mt.metric("accuracy") >= mt.baseline],
)
def net(hp):
    layers = [keras.Input((4,)), keras.layers.Dense(hp.Int("units", 2, 8)), keras.layers.Dense(2, "softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


def test_a_smoke_run_exercises_a_spec_on_few_samples_and_enforces_and_records_nothing(
    project: Example,
) -> None:
    done = project.with_spec(SMOKED).run_pytest("--modeltune-smoke", "--junitxml=junit.xml")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(
        [
            "*validating the best values: 2 refits of 1 epoch",
            "*smoke: ran end to end on few samples (256 train, 256 validation, 256 test); gates are "
            "shown and not enforced:",
            '    mt.metric("accuracy") >= 1.1 * failed',
            '    mt.metric("accuracy") >= mt.baseline * no_baseline',
            "modeltune: smoke: 1 spec ran end to end; no gate was enforced, nothing is recorded",
        ]
    )
    assert done.output.count("  trial 1/1: ") == 1
    assert not done.history
    assert not done.report
    assert not (project.path / ".modeltune").exists()
    assert (
        '<property name="modeltune.smoke" value="true"' in (project.path / "junit.xml").read_text()
    )


def test_a_spec_that_breaks_is_red_in_a_smoke_run(project: Example) -> None:
    broken = SMOKED.replace('"accuracy") >= 1.1', '"acuracy") >= 1.1')
    done = project.with_spec(broken).run_pytest("--modeltune-smoke")
    done.assert_outcomes(failed=1)
    assert "acuracy" in done.output
    assert not done.history


@pytest.mark.parametrize("other", ["--modeltune-accept", "--modeltune-reuse", "--modeltune-strict"])
def test_what_a_smoke_run_cannot_do_is_refused_beside_it(scripted: Example, other: str) -> None:
    done = scripted.with_spec(scripted_source()).run_pytest("--modeltune-smoke", other)
    assert done.exit_code == pytest.ExitCode.USAGE_ERROR
    message = f"--modeltune-smoke records and enforces nothing; leave out {other}"
    assert message in done.stderr.str()
