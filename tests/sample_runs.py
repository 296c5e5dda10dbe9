"""Runs for tests: one full example, and a Hypothesis strategy for every Run there can be."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from modeltune.gates import Outcome, Verdict
from modeltune.runs import (
    Artifact,
    Best,
    Durations,
    Run,
    RunStatus,
    Scores,
    Trial,
    TrialStatus,
)

DIGITS = Run(
    id="20261120-211000-0a1b2c3d",
    created="2026-11-20T21:10:00+00:00",
    spec="spec_digits.py::mlp",
    file="model_specs/spec_digits.py",
    status=RunStatus.FAILED,
    objective="maximize val_accuracy",
    scores={
        "loss": Scores((0.21, 0.19, 0.2)),
        "accuracy": Scores((0.9512, 0.9488, 0.9489)),
        "parameters": Scores((48122.0,)),
    },
    verdicts=(
        Verdict(
            'mt.metric("accuracy") >= 0.95', Outcome.FAILED, 0.94999, 0.95, "1e-05 below the bound"
        ),
        Verdict('mt.metric("parameters") <= 50000', Outcome.PASSED, 48122.0, 50000.0, "below"),
        Verdict('mt.metric("auc") >= 0.5', Outcome.ERROR, None, 0.5, 'no metric "auc"'),
        Verdict(
            'mt.metric("recall").per_class() >= 0.9',
            Outcome.INCONCLUSIVE,
            0.875,
            0.9,
            "class 7 has 8 of the 30 samples it takes to judge it",
            {
                "slice": "class 7",
                "n": 8,
                "slices": [
                    {"slice": "class 7", "n": 8, "outcome": "inconclusive", "measured": 0.875,
                     "bound": 0.9, "reason": "class 7 has 8 of the 30 samples"},
                    {"slice": "class 0", "n": 36, "outcome": "passed", "measured": 1.0,
                     "bound": 0.9, "reason": "class 0 (n=36): above"},
                ],
            },
        ),
    ),
    best=Best(1, 0.9611, {"units": 64, "rate": 0.001, "norm": True}),
    trials=(
        Trial(0, TrialStatus.FAILED, {"units": 32}, None, "OOM | killed", 0, 0, None, None, 0.5, 7,
              {}, "graph"),
        Trial(1, TrialStatus.COMPLETED, {"units": 64, "rate": 0.001, "norm": True}, 0.9611, None, 3,
              2, 0, 4, 12.34, 2**32 - 1, {"val_accuracy": (0.9, math.nan, 0.9611)}, "fit"),
    ),
    search={"kind": "Hyperband", "max_epochs": 10, "objective": {"metric": "val_accuracy"}},
    fit={"epochs": 10},
    validation={"seeds": 3},
    durations=Durations(0.25, 12.84, 3.0),
    data={"train": {"samples": 1437}, "classes": ["0", "1"]},
    task_report={"f1": {"macro": 0.95}},
    fingerprints={"spec": "ab12"},
    environment={"git_revision": "0123456789abcdef", "git_dirty": True, "cpus": 2},
    artifact=Artifact("artifacts/20261120.weights.h5", "e3b0" * 16, 123, 0),
    files={"samples": Artifact("artifacts/20261120.samples.json", "c442" * 16, 45, 0)},
    checks=(
        Verdict("checks.overlap", Outcome.WARNED, 2.0, 0.0, "2 rows of test are in train",
                {"rows": [3, 5]}),
        Verdict("search.bounds", Outcome.PASSED, 0.0, 0.0, "the winner is inside all ranges"),
    ),
    advice=("validate with 5 seeds",),
    notes=("test was cut from train", "second\nline"),
    model={
        "parameters": 48122,
        "layers": [
            {"name": "dense", "kind": "Dense", "shape": [None, 64], "parameters": 4160,
             "trainable": True},
        ],
    },
    baseline="20261119-090000-00000000",
)  # fmt: skip


_texts = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", '"', '"quoted"', "\0", "nan", "null", "it's; DROP TABLE runs", "../../x", "\ud800"]
)
_counts = st.integers(0, 2**63 - 1)
# Without -0.0, which equals 0.0 and is what SQLite makes of it.
_floats = st.floats().map(lambda value: value + 0.0)
_finite = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _finite | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)
_documents = st.dictionaries(_texts, _json, max_size=3)
_values = st.dictionaries(_texts, st.booleans() | st.integers() | _floats | _texts, max_size=3)
_trials = st.builds(
    Trial,
    id=_counts,
    status=st.sampled_from(TrialStatus),
    values=_values,
    score=st.none() | _floats,
    reason=st.none() | _texts,
    epochs=_counts,
    initial_epoch=_counts,
    parent=st.none() | _counts,
    best_epoch=st.none() | _counts,
    seconds=_floats,
    seed=_counts,
    curve=st.dictionaries(_texts, st.lists(_floats, max_size=3).map(tuple), max_size=2),
    trained_by=_texts,
)
_verdicts = st.builds(
    Verdict,
    gate=_texts,
    outcome=st.sampled_from(Outcome),
    measured=st.none() | _floats,
    bound=st.none() | _floats,
    reason=_texts,
    details=_documents,
)
_files = st.builds(Artifact, path=_texts, sha256=_texts, bytes=_counts, refit=st.integers(0, 9))
runs = st.builds(
    Run,
    id=_texts,
    created=_texts,
    spec=_texts,
    file=_texts,
    status=st.sampled_from(RunStatus),
    objective=_texts,
    scores=st.dictionaries(
        _texts, st.builds(Scores, st.lists(_floats, min_size=1, max_size=3).map(tuple)), max_size=3
    ),
    verdicts=st.lists(_verdicts, max_size=2).map(tuple),
    best=st.none() | st.builds(Best, trial=_counts, score=_floats, values=_values),
    trials=st.lists(_trials, max_size=3).map(tuple),
    search=_documents,
    fit=_documents,
    validation=_documents,
    durations=st.builds(Durations, data=_floats, search=_floats, validation=_floats),
    data=_documents,
    task_report=_documents,
    fingerprints=st.dictionaries(_texts, _texts, max_size=2),
    environment=_documents,
    artifact=st.none() | _files,
    files=st.dictionaries(_texts, _files, max_size=2),
    checks=st.lists(_verdicts, max_size=2).map(tuple),
    advice=st.lists(_texts, max_size=2).map(tuple),
    notes=st.lists(_texts, max_size=3).map(tuple),
    error=st.none() | _texts,
    cached=st.booleans(),
    baseline=st.none() | _texts,
    model=_documents,
    strict=st.booleans(),
)
