"""A recorded run stands for today's spec when its scores could not be others."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.harness import cached_runs
from modeltune.harness.cached_runs import find_reusable
from modeltune.histories.store import Store, open_store
from modeltune.judgement.run_status import Strictness
from modeltune.records.runs import Artifact, Run, RunStatus, Scores
from modeltune.records.verdicts import Outcome
from modeltune.specs.gates import Measure
from modeltune.specs.identity.parts import fingerprints
from modeltune.specs.spec_type import Spec
from tests.support.histories import DIGITS

PRINTS = {"data/train": "12", "data/validation": "34", "data/test": "56"}


def mlp(name: str | None = None, **fields: object) -> Spec:
    """Return a spec with these fields; at the top of this file pytest would run it."""

    @mt.spec(
        data=lambda: None,  # type: ignore[arg-type,return-value]
        search=mt.RandomSearch(mt.maximize("val_accuracy")),
        gates=[mt.metric("accuracy") >= 0.95],
    )
    def mlp(hp: object) -> None: ...

    return mlp.with_fields(name, **fields)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path / 'history.db'}") as opened:
        yield opened


def recorded(store: Store, name: str, spec: Spec | None = None, **fields: object) -> Run:
    """Record and return a run of the spec: accuracy 0.9496, failed by its gate."""
    spec = spec or mlp()
    standard = {
        "spec": spec.id,
        "fingerprints": fingerprints(spec) | PRINTS,
        "artifact": None,
        "files": {},
        "notes": (),
        "baseline": None,
    }
    run = replace(DIGITS, id=name, trials=(), **(standard | fields))  # type: ignore[arg-type]
    store.record(run)
    return run


def served(store: Store, spec: Spec | None = None, strict: bool = False) -> Run:
    run = find_reusable(spec or mlp(), store, PRINTS, Strictness(strict))
    assert isinstance(run, Run), run
    return run


def test_an_unchanged_spec_is_served_as_recorded_and_cached(store: Store) -> None:
    run = recorded(store, "one")
    again = served(store)
    # What to look at is told of today's gates.
    assert again == replace(run, cached=True, file=mlp().file, verdicts=again.verdicts, advice=())
    assert [verdict.outcome for verdict in again.verdicts] == [Outcome.FAILED]


def test_a_served_run_belongs_to_this_checkout_wherever_it_was_recorded(store: Store) -> None:
    run = recorded(store, "one", file="/another/checkout/tests/harness/test_cached_runs.py")
    # Its file says which project's settings hold, and where its report goes.
    assert served(store).file == mlp().file != run.file


def test_a_served_run_was_not_compared_with_a_baseline_that_is_gone(store: Store) -> None:
    recorded(store, "one", baseline="20261119-090000-00000000")
    assert served(store).baseline is None


def test_a_check_that_failed_stays_red_whatever_the_gates_say_today(store: Store) -> None:
    recorded(store, "one", checks=(replace(DIGITS.checks[0], outcome=Outcome.FAILED),))
    assert not served(store, mlp(gates=[])).passed


def test_samples_that_are_gone_are_noted(store: Store) -> None:
    recorded(store, "one", files={"samples": Artifact("artifacts/one.samples.json", "ab", 1, 0)})
    (note,) = served(store).notes
    assert note.startswith(f"its samples cannot be read: {store.folder / 'artifacts'}")


@pytest.mark.parametrize(
    ("gates", "status"),
    [
        ([mt.metric("accuracy") >= 0.9], RunStatus.PASSED),
        ([mt.metric("accuracy") >= 0.99], RunStatus.FAILED),
        ([], RunStatus.PASSED),
    ],
)
def test_changed_gates_are_judged_on_the_recorded_scores(
    store: Store, gates: list[object], status: RunStatus
) -> None:
    recorded(store, "one")
    again = served(store, mlp(gates=gates))
    assert again.status is status
    assert [verdict.gate for verdict in again.verdicts] == [repr(gate) for gate in gates]
    assert [verdict.measured for verdict in again.verdicts] == [pytest.approx(0.9496333)] * len(
        gates
    )


def test_strict_is_as_strict_as_on_a_new_run(store: Store) -> None:
    recorded(store, "one")
    spec = mlp(gates=[mt.metric("accuracy") >= mt.baseline])
    assert served(store, spec).passed
    assert not served(store, spec, strict=True).passed


def test_a_loss_that_was_not_finite_stays_red_without_a_gate(store: Store) -> None:
    recorded(store, "one", scores={"loss": Scores((float("nan"),))})
    assert not served(store, mlp(gates=[])).passed


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"validation": mt.Holdout(epochs=9)}, "validation changed since run one"),
        ({"search": mt.RandomSearch(mt.maximize("a"))}, "search changed since run one"),
        ({"fit": mt.Fit(epochs=9)}, "fit changed since run one"),
        (
            {"fit": mt.Fit(callbacks=[lambda: None])},
            "fit, the callbacks changed since run one",
        ),
        ({"data": lambda: 1}, "the data function changed since run one"),
        (
            {"fit": mt.Fit(callbacks=[print])},
            "fit, what is held by the callbacks changed since run one",
        ),
    ],
)
def test_a_changed_field_is_named(store: Store, fields: dict[str, Any], reason: str) -> None:
    recorded(store, "one")
    assert find_reusable(mlp(**fields), store, PRINTS) == reason


def test_changed_data_is_never_served(store: Store) -> None:
    recorded(store, "one")
    prints = PRINTS | {"data/test": "57"}
    assert find_reusable(mlp(), store, prints) == "data/test changed since run one"


def test_a_spec_without_runs_says_so(store: Store) -> None:
    recorded(store, "one", spec=mlp("mlp[other]"))
    assert find_reusable(mlp(), store, PRINTS) == "no finished run of this spec is recorded"


@pytest.mark.parametrize(
    "fields",
    [
        {"status": RunStatus.ERROR},
        {"status": RunStatus.INTERRUPTED},
        {"cached": True},
        {"search": {"cut_short": "after 3 of 9 trials"}},
        {"fingerprints": {"spec": "ab12", **PRINTS}},
    ],
)
def test_what_did_not_end_as_it_should_is_passed_over(store: Store, fields: dict[str, Any]) -> None:
    recorded(store, "bad", **fields)
    assert isinstance(find_reusable(mlp(), store, PRINTS), str)
    recorded(store, "good")
    recorded(store, "worse", **fields)
    assert served(store).id == "good"


def test_a_run_cut_short_or_of_an_older_modeltune_says_why_it_is_not_served(store: Store) -> None:
    recorded(store, "old", fingerprints={"spec": "ab12"})
    assert find_reusable(mlp(), store, PRINTS) == (
        "run old does not record its code: an older modeltune recorded it"
    )
    recorded(store, "short", search={"cut_short": "after 3 of 9 trials"})
    assert find_reusable(mlp(), store, PRINTS) == "the search of run short was cut short"


def test_of_two_the_latest_is_served_and_a_change_taken_back_finds_its_run(store: Store) -> None:
    recorded(store, "first")
    recorded(store, "second")
    recorded(store, "changed", spec=mlp(fit=mt.Fit(epochs=9)))
    assert served(store).id == "second"


@pytest.mark.parametrize("measure", [mt.gap("accuracy"), mt.gain_over_dummy("accuracy")])
def test_a_gate_on_what_was_not_measured_is_named(store: Store, measure: Measure) -> None:
    recorded(store, "one")
    spec = mlp(gates=[mt.metric("accuracy") >= 0.9, measure <= 0.5])
    assert (
        find_reusable(spec, store, PRINTS)
        == f"run one did not measure what {measure!r} <= 0.5 judges"
    )
    scores = {"accuracy": Scores((0.9,)), measure.key: Scores((0.4,))}
    recorded(store, "two", scores=scores)
    recorded(store, "three")
    assert served(store, spec).id == "two"


@pytest.mark.parametrize("measure", [mt.metric("acuracy"), mt.gap("acuracy")])
def test_a_mistyped_metric_is_told_at_once(store: Store, measure: Measure) -> None:
    recorded(store, "one")
    (verdict,) = served(store, mlp(gates=[measure >= 0.9])).verdicts
    assert verdict.outcome is Outcome.ERROR
    assert "measured: accuracy, loss, parameters" in verdict.reason


@pytest.mark.parametrize("written", [None, b"weight", b"weights"])
def test_lost_weights_are_noted_and_cost_no_verdict(store: Store, written: bytes | None) -> None:
    kept = Artifact("artifacts/one.weights.h5", "ab" * 32, len(b"weights"), 0)
    recorded(store, "one", artifact=kept, notes=("test was cut",))
    path = store.folder / kept.path
    if written is not None:
        path.parent.mkdir()
        path.write_bytes(written)
    notes = served(store).notes
    assert notes[0] == "test was cut"
    assert [str(path) in note for note in notes[1:]] == ([] if written == b"weights" else [True])


def test_what_cannot_be_compared_is_named(store: Store) -> None:
    lock = threading.Lock()
    spec = mlp(data=lambda: lock)
    recorded(store, "one", spec=spec)
    reason = find_reusable(spec, store, PRINTS)
    assert isinstance(reason, str)
    assert reason.startswith(
        "what is held by the data function is not comparable: TypeError: cannot pickle"
    )


def test_only_so_many_runs_are_looked_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached_runs, "RECENT", 3)
    recorded(store, "good")
    changed = mlp(fit=mt.Fit(epochs=9))
    recorded(store, "changed", spec=changed)
    recorded(store, "changed again", spec=changed)
    assert served(store).id == "good"
    recorded(store, "changed last", spec=changed)
    assert find_reusable(mlp(), store, PRINTS) == "fit changed since run changed last"


@pytest.mark.parametrize("module", ["harness.cached_runs", "engine.data.loading"])
def test_importing_it_loads_nothing_heavy(module: str) -> None:
    heavy = "tensorflow keras keras_tuner sklearn pandas"
    program = f"import sys, modeltune.{module}; print(*{{*{heavy!r}.split()}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
