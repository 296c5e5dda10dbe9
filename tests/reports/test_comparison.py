"""A comparison lists what differs between two runs, and says of the rest that it is the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from modeltune.harness.run_differences import EXACT, contrast
from modeltune.histories.store import Store, open_store
from modeltune.records.runs import Artifact, Best, Run, Scores
from modeltune.records.samples import Samples, pack_samples
from modeltune.records.verdicts import Outcome
from modeltune.reports.comparison import Contrast, Difference, comparison_report
from tests.support.histories import DIGITS, runs

pytestmark = pytest.mark.filterwarnings("error")

PRINTS = {"data/test": "a" * 64, "data/train": "b" * 64, "identity/search": "mt.RandomSearch()"}
A = replace(DIGITS, fingerprints=PRINTS, validation={"kind": "Holdout", "seeds": 3})
B = replace(
    A,
    id="20261121-080000-11111111",
    created="2026-11-21T08:00:00+00:00",
    scores={
        "loss": Scores((0.21, 0.19, 0.2)),
        "accuracy": Scores((0.9612, 0.9588, 0.9589)),
        "auc": Scores((0.99,)),
    },
    verdicts=(replace(A.verdicts[0], outcome=Outcome.PASSED), *A.verdicts[1:]),
    best=Best(2, 0.97, {"units": 128, "rate": 0.001, "momentum": 0.9}),
    search={**A.search, "max_epochs": 20},
    fingerprints={**PRINTS, "data/train": "c" * 64},
    environment={"git_revision": "fedcba9876543210", "git_dirty": False, "cpus": 4},
)


def test_what_differs_is_listed_and_the_rest_is_the_same() -> None:
    by = "are these recipes different: paired t over seeds on 3 seeds"
    differences = Contrast({"accuracy": Difference(0.00002, by)}, ("the build function",))
    assert (
        comparison_report(A, B, differences)
        == """\
    run                       spec                 created           status    objective
--  ------------------------  -------------------  ----------------  --------  ---------------------
A   20261120-211000-0a1b2c3d  spec_digits.py::mlp  2026-11-20 21:10  failed    maximize val_accuracy
B   20261121-080000-11111111  spec_digits.py::mlp  2026-11-21 08:00  failed    maximize val_accuracy

metrics on test, mean ± std over refits
metric      A                B                B - A    p         question and test
----------  ---------------  ---------------  -------  --------  -----------------------------------------------------------
accuracy    0.9496 ± 0.0014  0.9596 ± 0.0014  +0.01    < 0.0001  are these recipes different: paired t over seeds on 3 seeds
parameters  48122            -                -        -         only A measured it
auc         -                0.99             -        -         only B measured it
same: loss
p: two-sided, for "there is no difference"; not adjusted for the number of metrics

best values
          A     B
--------  ----  ---
units     64    128
norm      True  -
momentum  -     0.9
same: rate

gates
                               A       B
-----------------------------  ------  ------
mt.metric("accuracy") >= 0.95  failed  passed
same: mt.metric("parameters") <= 50000, mt.metric("auc") >= 0.5, mt.metric("recall").per_class() >= 0.9

search
            A    B
----------  ---  ---
max_epochs  10   20
same: kind, objective.metric

fit: same
validation: same

data
            A             B
----------  ------------  ------------
train part  bbbbbbbbbbbb  cccccccccccc
same: train.samples, classes, test part

code that differs
  the build function

versions: none

environment
      A    B
----  ---  ---
cpus  2    4

git: 0123456789ab..fedcba987654; with uncommitted changes: A"""
    )


def test_a_run_beside_itself_is_the_same_throughout() -> None:
    assert (
        comparison_report(A, A).partition("\n\n")[2]
        == """\
metrics on test: same
best values: same
gates: same
search: same
fit: same
validation: same
data: same
code: same
versions: none
environment: same
git: same commit 0123456789ab; with uncommitted changes: A and B"""
    )


@settings(derandomize=True, deadline=None, max_examples=100)
@given(a=runs, b=runs)
def test_any_two_runs_are_compared(a: Run, b: Run) -> None:
    assert comparison_report(a, b, Contrast(code=None, notes=("x",))).startswith("    run")


# What it takes samples and identities to tell.


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"sqlite:///{tmp_path}/history.db")


def test_three_seeds_are_compared_as_recipes_and_resources_are_exact(store: Store) -> None:
    refits = [{"seed": seed, "fold": None} for seed in range(3)]
    a = replace(A, files={}, validation={"kind": "Holdout", "refits": refits})
    b = replace(a, scores={"accuracy": Scores((0.9612, 0.9586, 0.9591)), EXACT[0]: Scores((1.0,))})
    metrics = contrast(a, b, store).metrics
    by = "are these recipes different: paired t over seeds on 3 seeds"
    assert metrics["accuracy"].by == by
    assert metrics["accuracy"].p is not None
    assert 0 < metrics["accuracy"].p < 0.001
    assert metrics[EXACT[0]] == Difference(None, "exact")


def test_the_order_of_the_two_does_not_change_p(store: Store) -> None:
    a = with_outcomes(A, store, 40)
    b = with_outcomes(B, store, 30)
    forth, back = (contrast(x, y, store).metrics["accuracy"] for x, y in ((a, b), (b, a)))
    assert forth == back
    assert forth.by == "are these models different: exact McNemar on 50 samples"
    # Ten lost, none won: 2 / 2**10.
    assert forth.p == pytest.approx(2 / 2**10)


def with_outcomes(run: Run, store: Store, right: int) -> Run:
    """Return a run of one refit that is right on the first so many of 50 samples."""
    outcomes = np.arange(50) < right
    samples = Samples(50, 1, values={"accuracy": outcomes[None]})
    name = f"artifacts/{run.id}.samples.json"
    file = store.folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(pack_samples(samples)))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    kept = Artifact(name, sha256, file.stat().st_size, 0)
    return replace(run, scores={"accuracy": Scores((right / 50,))}, files={"samples": kept})


def test_what_cannot_be_compared_says_why(store: Store) -> None:
    a = replace(A, files={})
    other = {"accuracy": Scores((0.1, 0.2, 0.3))}
    moved = replace(a, scores=other, fingerprints={**PRINTS, "data/test": "0"})
    folds = replace(a, scores=other, validation={"kind": "KFold", "k": 3})
    single = replace(a, scores={"accuracy": Scores((0.5,))})
    reasons = [contrast(a, b, store).metrics["accuracy"].by for b in (moved, folds, single)]
    assert reasons == [
        "not compared: measured on different test data",
        "not compared: validated by Holdout and by KFold(k=3)",
        "not compared: one value each, and no samples that measure it",
    ]


def test_samples_that_are_gone_are_noted(store: Store) -> None:
    differences = contrast(A, replace(A, files={}), store)
    (note,) = differences.notes
    assert note.startswith("the samples of A cannot be read: ")
    assert "is missing" in note
    assert note in comparison_report(A, A, differences)


def test_code_is_told_apart_from_declarations_and_versions(store: Store) -> None:
    a = replace(A, files={}, environment={"versions": {"keras": "3.14"}})
    today = {
        **PRINTS,
        "identity/search": "mt.GridSearch()",
        "identity/the build function": "1",
        "identity/the version of keras": "3.15",
        "identity/the version of pillow": "11",
        "identity/what is held by the data function": "not comparable: TypeError: a lock [1]",
        "gates/code of the gates (slices.py)": "2",
    }
    assert contrast(a, replace(a, fingerprints=today), store).code == (
        "the build function",
        "the version of pillow",
        "what is held by the data function (cannot be compared)",
        "code of the gates (slices.py)",
    )
    assert contrast(a, replace(a, fingerprints={}), store).code is None
