"""Ordinary tests are lent the winner of a spec, or told why there is none."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modeltune.plugin import tuned_fixture, xdist_internals
from modeltune.plugin.tuned_fixture import Winners, with_specs_first
from tests.support.example import PARAMETRIZED, RULES, Example, scripted_source

SPECS = (
    RULES
    + """
@spec(search=None)
def net(hp):
    return compiled(hp)

@spec(search=None)
def of_code(hp):
    double = keras.layers.Lambda(lambda x: 2 * x)
    head = keras.layers.Dense(2, activation="softmax")
    model = keras.Sequential([keras.Input((2,)), double, head])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

@spec(search=None, gates=[mt.metric("accuracy") > 1])
def red(hp):
    return compiled(hp)
"""
)

ASKING = """
import pytest
from spec_a import blobs, compiled, net, of_code, red

def test_the_winner_scores_what_was_recorded(tuned):
    run = tuned.run(net)
    assert (run.spec, run.passed) == ("spec_a.py::net", True)
    x, y = blobs().train
    assert tuned(net).predict(x, verbose=0).shape == (60, 2)
    assert tuned(net) is tuned(net)

def test_a_winner_that_its_architecture_does_not_make_is_built_by_its_spec(tuned):
    x, _ = blobs().train
    assert tuned(of_code).predict(x, verbose=0).shape == (60, 2)
    assert tuned(of_code).layers[0].name.startswith("lambda")

def test_a_red_one_is_none(tuned):
    tuned(red)

def test_what_is_no_spec(tuned):
    tuned(compiled)

@pytest.mark.xfail(strict=True)
def test_an_expected_error_stays_one(tuned):
    tuned(red)
"""


def test_the_winner_of_this_session_is_lent_and_lacking_one_is_an_error(project: Example) -> None:
    example = project.with_files({"spec_a.py": SPECS, "a_test.py": ASKING})
    session = example.run_pytest("-v", "a_test.py", "spec_a.py")
    session.assert_outcomes(passed=4, failed=1, errors=2, xfailed=1)
    session.stdout.fnmatch_lines(
        [
            "spec_a.py::red FAILED*",
            "a_test.py::test_the_winner_scores_what_was_recorded PASSED*",
            "a_test.py::test_a_red_one_is_none ERROR*",
            "a_test.py::test_an_expected_error_stays_one XFAIL*",
            ">   *tuned(red)",
            'E*NoWinnerError: tuned(red): spec_a.py::red is failed: mt.metric("accuracy") > 1',
            "E*Its tables: modeltune show *",
            "E*To run it again: pytest spec_a.py::red",
            "E*tuned(<function compiled at *>): this is no spec but a function; give it *",
        ]
    )
    session.stdout.no_fnmatch_line("*modeltune/plugin*")

    # Later, out of the history: nothing is trained again while the spec is the same.
    session = example.run_pytest("a_test.py", "-k", "scores")
    session.assert_outcomes(passed=1, deselected=4)
    assert len(session.history) == 3
    changed = SPECS.replace("batch_size=20", "batch_size=10")
    session = example.with_files({"spec_a.py": changed}).run_pytest("a_test.py", "-k", "scores")
    session.assert_outcomes(errors=1, deselected=4)
    session.stdout.fnmatch_lines(
        [
            "E*tuned(net): there is no run of spec_a.py::net as it is today: * changed since run *",
            "E*To run it: pytest spec_a.py::net",
        ]
    )


def test_no_winner_is_tested_in_a_smoke_run(project: Example) -> None:
    example = project.with_files({"spec_a.py": SPECS, "a_test.py": ASKING})
    session = example.run_pytest("-rs", "--modeltune-smoke", "a_test.py")
    session.assert_outcomes(skipped=4, errors=1)
    session.stdout.fnmatch_lines(
        [
            "E*tuned(<function compiled at *>): this is no spec but a function; give it *",
            "SKIPPED * a_test.py:*: --modeltune-smoke: spec_a.py::net is only exercised, so that there is no "
            "winner to test; leave it out: pytest spec_a.py::net",
        ]
    )


OF_PARAMETERS = """
from spec_a import scripted

def test_one_of_them(tuned):
    assert tuned.run(scripted, "low").spec == "spec_a.py::scripted[low]"

def test_which_of_them(tuned):
    tuned.run(scripted)

def test_none_of_them(tuned):
    tuned.run(scripted, "middle")
"""


def test_of_a_parametrized_spec_one_is_named(scripted: Example) -> None:
    example = scripted.with_files({"spec_a.py": PARAMETRIZED, "test_a.py": OF_PARAMETERS})
    session = example.run_pytest()
    session.assert_outcomes(passed=2, failed=1, errors=2)
    session.stdout.fnmatch_lines(
        [
            "E*tuned(scripted): spec_a.py::scripted is several items; write "
            'tuned(scripted, "low") or tuned(scripted, "high")',
            "E*tuned(scripted): there is no item spec_a.py::scripted?middle?; write *",
        ]
    )
    session = example.run_pytest("test_a.py")
    session.assert_outcomes(errors=3)
    session.stdout.fnmatch_lines(["E*there is no item *: pytest spec_a.py"])


WAITING = """
import pytest
from spec_a import one, other

@pytest.mark.parametrize("number", range(4))
def test_each(tuned, number):
    assert tuned.run(one).spec == "spec_a.py::one"
    assert tuned.run(other).spec == "spec_a.py::other"
"""


@pytest.mark.parametrize("mode", ["load", "loadfile"])
def test_workers_of_xdist_wait_for_the_specs_of_others(scripted: Example, mode: str) -> None:
    specs = scripted_source("one", "other", fields="escalate=None,")
    example = scripted.with_files({"spec_a.py": specs, "a_test.py": WAITING})
    session = example.run_pytest_forked("-n2", f"--dist={mode}", "a_test.py", "spec_a.py")
    session.assert_outcomes(passed=6)
    assert len(session.history) == 2


def test_a_spec_that_no_worker_runs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        assert now[0] < 100
        if now[0] > 50:
            winners.tell_end("other")

    monkeypatch.setattr(tuned_fixture, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(xdist_internals, "is_still_to_run", lambda config, place: False)
    config: Any = SimpleNamespace(getoption=lambda *names: str(tmp_path / "gw0"))
    session: Any = SimpleNamespace(is_xdist_worker=True, made=[])
    item: Any = SimpleNamespace(nodeid="spec", run=None)
    request: Any = SimpleNamespace(config=config, session=SimpleNamespace(items=[item]))
    winners = Winners(session, config)
    winners.tell_begin("other")
    winners.wait_for(item, request)
    # As long as another spec ran, this one might have come behind it.
    assert 49 + tuned_fixture.PATIENCE_SECONDS <= now[0] < 51 + tuned_fixture.PATIENCE_SECONDS
    assert item.run is None


def test_tests_that_use_it_come_behind_the_specs_and_nothing_else_moves() -> None:
    class Item:
        def __init__(self, name: str, *fixturenames: str) -> None:
            self.name, self.fixturenames = name, fixturenames

    asks, plain, spec = Item("asks", "tuned"), Item("plain", "tmp_path"), Item("spec")
    items: list[object] = [asks, plain, spec, Item("later", "tuned"), Item("last")]
    ordered = with_specs_first(items, [spec])  # type: ignore[arg-type, list-item]
    assert [item.name for item in ordered] == ["plain", "spec", "asks", "later", "last"]
    assert with_specs_first(items, []) == items  # type: ignore[arg-type]


OF_PREDICTORS = """
import numpy as np
import modeltune as mt

def data():
    return mt.Data(test=(np.arange(20.0).reshape(-1, 1), np.arange(20) % 2))

class Rule:
    def predict(self, x):
        return x[:, 0].astype(int) % 2

@mt.spec(data=data, gates=[mt.metric("accuracy") >= 1])
def rule():
    return Rule()

@mt.spec(data=data, gates=[mt.metric("accuracy") >= 1])
def table():
    return mt.Predictions(np.arange(20) % 2)
"""

ASKING_FOR_PREDICTORS = """
import sys
import numpy as np
from spec_a import rule, table

def test_other_samples(tuned):
    assert tuned(rule).predict(np.array([[21.0], [22.0]])).tolist() == [1, 0]
    assert tuned.run(rule).scores["accuracy"].mean == 1

def test_predictions(tuned):
    assert tuned.run(table).passed
    tuned(table)
"""


def test_a_predictor_is_lent_as_it_is_built_today_and_predictions_are_none(
    example: Example,
) -> None:
    asking = example.with_files({"spec_a.py": OF_PREDICTORS, "a_test.py": ASKING_FOR_PREDICTORS})
    session = asking.run_pytest("a_test.py", "spec_a.py")
    session.assert_outcomes(passed=3, errors=1)
    refusal = (
        "E*tuned(table): table returns predictions that were made elsewhere, which predict no other "
        "samples; return what made them, an object with predict(x)"
    )
    session.stdout.fnmatch_lines([refusal])
    # Later, out of the history; one that predicts otherwise is another, which has no run.
    session = asking.run_pytest("a_test.py")
    session.assert_outcomes(passed=1, errors=1)
    session.stdout.fnmatch_lines([refusal])
    changed = OF_PREDICTORS.replace("astype(int) % 2", "astype(int) % 3 % 2")
    session = asking.with_files({"spec_a.py": changed}).run_pytest("a_test.py", "-k", "other")
    session.assert_outcomes(errors=1, deselected=1)
    session.stdout.fnmatch_lines(
        ["E*tuned(rule): there is no run of spec_a.py::rule as it is today*"]
    )
