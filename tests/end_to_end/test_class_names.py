"""Wherever a run names a class, it names it as its data do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

import modeltune as mt
from modeltune.records import SliceResults
from modeltune.reports import html, show
from modeltune.reports.reported_run import ReportedRun
from tests.support.small_models import dense, spec_of
from tests.support.verdicts import details_of

X = np.random.default_rng(0).normal(size=(120, 3)).astype("float32")
Y = np.arange(120) % 2
Y[100:103] = 2


def net(hp: Any) -> Any:
    return dense(keras.layers.Dense(3, activation="softmax"), shape=(3,))


def negated(x: Any) -> Any:
    return -x


def named() -> mt.Data:
    parts = ((X[:60], Y[:60]), (X[60:90], Y[60:90]), (X[90:], Y[90:]))
    return mt.Data(*parts, class_names=["cat", "dog", "owl"])


def test_gates_slices_checks_and_probes_call_classes_by_name(tmp_path: Path) -> None:
    gates = [
        mt.metric("recall").per_class(min_n=5) >= 0.99,
        mt.invariant(negated),
        mt.directional(0, "up", by=3.0, of=1),
    ]
    spec = spec_of(net, named(), search=None, gates=gates, fit=mt.Fit(class_weight={0: 1, 2: 1}))
    run = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db")
    recall, invariant, directional = run.verdicts[:3]
    slices = details_of(recall, SliceResults).slices
    assert {part.slice for part in slices} == {
        "class 0 cat",
        "class 1 dog",
        "class 2 owl",
    }
    assert recall.reason.startswith(("class 0 cat (n=", "class 1 dog (n="))
    assert any("class 2 owl has 3 of the 5 samples" in part.reason for part in slices)
    assert re.search(r": \d (cat|dog|owl) \(0.* -> \d (cat|dog|owl) \(0", invariant.reason)
    assert "P(1 dog) " in directional.reason
    checks = {check.gate: check.reason for check in run.checks}
    assert "train has no row of class 2 owl (3 test rows)" in checks["checks.labels"]
    assert "weights for 2 owl, but train" in checks["checks.weights"]
    for report in (show(run), html([ReportedRun(run)])):
        assert "class 2 owl" in report
    again = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db", rejudge=True)
    assert [verdict.reason for verdict in again.verdicts] == [v.reason for v in run.verdicts]
