"""A red comparison says what changed since the run it was made with, be that in the history or in a file only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.ground.errors import HistoryError
from modeltune.harness import pipeline
from modeltune.harness.explanations import explain, metadata_columns, show_worse_samples
from modeltune.harness.run_differences import changes_since
from modeltune.histories import baselines
from modeltune.histories.baselines import Baseline
from modeltune.histories.store import open_store
from modeltune.judgement.measurements import Measurements
from modeltune.judgement.run_status import Strictness
from modeltune.records.drops import Change, Drop, WorseSample
from modeltune.records.past import Past
from modeltune.records.runs import Best, Run, Scores
from modeltune.records.tasks import EXAMPLES
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.spec_type import Spec
from tests.support import scripted_runs
from tests.support.histories import DIGITS
from tests.support.verdicts import verdict_on

OF_BASELINE = mt.metric("parameters") <= mt.baseline
OF_PREVIOUS = mt.metric("parameters") <= mt.previous
ALONE = mt.metric("parameters") <= 5


def spec(*gates: Any) -> Spec:
    @mt.spec(
        data=lambda: None,  # type: ignore[arg-type,return-value]
        search=mt.RandomSearch(mt.maximize("val_accuracy")),
        gates=list(gates),
    )
    def one(hp: Any) -> Any: ...

    return one


THEN = replace(
    DIGITS,
    id="0a1b",
    best=Best(0, 0.9, {"units": 128}),
    fingerprints={
        "identity/layers.py": "12",
        "identity/spec": "1",
        "data/train": "a",
        "data/test": "b",
    },
    environment={"versions": {"keras": "3.12"}, "git_revision": "aaaa"},
)
NOW = replace(
    THEN,
    id="2c3d",
    best=Best(0, 0.9, {"units": 16}),
    fingerprints={**THEN.fingerprints, "identity/layers.py": "34", "data/train": "c"},
    environment={"versions": {"keras": "3.13"}, "git_revision": "bbbb", "git_dirty": True},
    data={**THEN.data, "prepared": {"seconds": 3.0}},
)
CHANGES = (
    Change("code", "layers.py"),
    Change("best values", "units", "128", "16"),
    Change("data", "train part"),
    Change("versions", "keras", "3.12", "3.13"),
    Change("git", "commit", "aaaa", "bbbb"),
    Change("git", "uncommitted changes"),
)


def history(*runs: Run) -> Any:
    def run(run_id: str) -> Run:
        found = next((one for one in runs if one.id == run_id), None)
        if found is None:
            raise HistoryError("no such run")
        return found

    return SimpleNamespace(run=run)


def explained(gate: Any, kept: Any, outcome: Outcome = Outcome.FAILED, **past: Any) -> Verdict:
    one = Past("0a1b", "the accepted run 0a1b", **past)
    names = ("baseline", "previous")
    measured = Measurements({"parameters": Scores((9.0,))})
    verdicts = [verdict_on(gate, outcome, 9.0, 5.0)]
    references = {name: [one] for name in names}
    (only,) = explain(verdicts, spec(gate), NOW, measured, references, kept, Strictness())
    return only


def test_what_changed_is_code_first_and_no_time() -> None:
    assert changes_since(THEN, NOW) == CHANGES
    assert changes_since(THEN, THEN) == ()


@pytest.mark.parametrize("gate", [OF_BASELINE, OF_PREVIOUS], ids=str)
def test_a_red_comparison_says_what_changed_since_the_run_it_was_made_with(gate: Any) -> None:
    drop = explained(gate, history(THEN)).drop
    assert drop is not None
    assert (drop.reference, drop.changes, drop.untold) == ("0a1b", CHANGES, ())


def test_green_gates_and_gates_on_numbers_are_not_explained() -> None:
    assert explained(ALONE, history(THEN)).drop is None
    for outcome in (Outcome.PASSED, Outcome.INCONCLUSIVE, Outcome.WAIVED, Outcome.NO_BASELINE):
        assert explained(OF_BASELINE, history(THEN), outcome).drop is None
    assert explained(OF_BASELINE, history(THEN), Outcome.WARNED).drop is not None


def test_an_incomparable_run_is_explained_by_what_changed_alone() -> None:
    drop = explained(OF_BASELINE, history(THEN), Outcome.INVALID, problem="other data").drop
    assert drop is not None
    assert drop.changes == CHANGES


def test_of_a_baseline_file_alone_it_is_said_what_the_file_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    accepted = Baseline(
        *("0a1b", "spec_a.py::one", "", "", "", "", "maximize val_accuracy"),
        values={"units": 128},
        scores={},
        refits=(),
        validation="Holdout",
        fingerprints={"data/train": "a", "data/test": "b", "source": "5"},
        versions=THEN.environment,
    )
    monkeypatch.setattr(baselines, "read_or_none", lambda path: accepted)
    drop = explained(OF_BASELINE, history()).drop
    assert drop is not None
    assert drop.changes == (
        Change("code", "the source of the model"),
        CHANGES[2],
        CHANGES[1],
        *CHANGES[3:],
    )
    (untold,) = drop.untold
    assert "run 0a1b is not in this history, and its baseline file does not hold them" in untold
    drop = explained(OF_PREVIOUS, history(), problem="gone").drop
    assert drop is not None


def test_a_run_is_recorded_with_what_explains_its_red_gates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = mt.metric("accuracy").worst >= mt.previous
    one, store = (
        scripted_runs.scripted.with_fields(gates=[gate]),
        f"sqlite:///{tmp_path}/history.db",
    )
    with scripted_runs.scripting(tmp_path / "log"):
        first = pipeline.run(one, store=store, listen=lambda event: None)
        monkeypatch.setattr(scripted_runs, "RIGHT", np.array([[True, False, False, True]]))
        monkeypatch.setitem(scripted_runs.SCORES, "accuracy", 0.5)
        red = pipeline.run(one, store=store, listen=lambda event: None)
    with open_store(store) as kept:
        assert kept.run(red.id).verdicts == red.verdicts
    drop = red.verdicts[0].drop
    assert drop is not None
    assert (drop.reference, drop.values, drop.flips) == (first.id, "accuracy", 1)
    assert [sample.row for sample in drop.samples] == [1]
    assert not drop.changes


def test_a_run_is_not_lost_over_metadata_that_cannot_be_told() -> None:
    heard: list[str] = []

    def gone() -> None:
        raise EOFError("its process has ended")

    columns = metadata_columns(SimpleNamespace(test_columns=gone), heard.append)
    assert columns() == columns() == {}
    assert heard == ["where it got worse is told without metadata: its process has ended"]


def test_worse_samples_are_shown_beside_the_examples_unless_they_are_there(tmp_path: Path) -> None:
    weights = tmp_path / "refit.weights.h5"
    asked: list[Any] = []
    file = tmp_path / EXAMPLES
    file.write_text(json.dumps({"samples": [{"index": 3}]}))
    samples = (WorseSample(3), WorseSample(7))
    drop = Drop("0a1b", "the accepted run 0a1b", samples=samples)
    verdicts = [verdict_on(OF_BASELINE, Outcome.FAILED).with_drop(drop)]

    def shown_rows(rows: list[int]) -> list[dict[str, int]]:
        asked.append(rows)
        return [{"index": row} for row in rows]

    show_worse_samples(verdicts, weights, SimpleNamespace(shown_rows=shown_rows), asked.append)
    assert asked == [[7]]
    assert json.loads(file.read_text())["worse"] == [{"index": 7}]

    def broken(rows: list[int]) -> None:
        raise ValueError("the stream is at its end")

    show_worse_samples(verdicts, weights, SimpleNamespace(shown_rows=broken), asked.append)
    assert asked[1] == (
        "the samples that got worse are listed without their inputs: the stream is at its end"
    )
