"""What every history keeps to, as tests to run against a database server of your own.

    import pytest
    from modeltune.histories.contract import StorageContract

    class TestOurServer(StorageContract):
        @pytest.fixture
        def url(self):
            ...  # make an empty database
            yield "postgresql://user@host/database"
            ...  # drop it

pytest collects it under the subclass alone.
"""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeltune.ground import HistoryError, NoHistoryError, UnrecordableError
from modeltune.histories import store as stores
from modeltune.histories.schema import VERSION_TABLE, metadata
from modeltune.histories.store import HEAD, Store, open_store
from modeltune.records import (
    DOCUMENT_KEYS,
    Area,
    Artifact,
    BehaviourFacts,
    BehaviourResult,
    Best,
    CheckFacts,
    ClassCounts,
    ConstantFeatures,
    Counterexample,
    Drift,
    Duplicates,
    Durations,
    Family,
    ImageChange,
    MeasuredInterval,
    MetricFacts,
    MetricPair,
    MetricPairs,
    Outcome,
    Overlap,
    Phase,
    Probe,
    RaisedError,
    RefitScores,
    Regression,
    RowChange,
    Run,
    RunStatus,
    Scores,
    SliceResult,
    SliceResults,
    SummaryChange,
    Trial,
    TrialStatus,
    ValueChange,
    Verdict,
    WinnerAtBounds,
    facts_of,
)
from modeltune.specs import metric

EXAMPLE = Run(
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
            'mt.metric("accuracy") >= 0.95', Outcome.FAILED, 0.94999, 0.95, "1e-05 below the bound",
            facts_of(metric("accuracy") >= 0.95),
        ),
        Verdict(
            'mt.metric("parameters") <= 50000', Outcome.PASSED, 48122.0, 50000.0, "below",
            facts_of(metric("parameters") <= 50000),
        ),
        Verdict(
            'mt.metric("auc") >= 0.5', Outcome.ERROR, None, 0.5, 'no metric "auc"',
            facts_of(metric("auc") >= 0.5),
        ),
        Verdict(
            'mt.metric("recall").per_class() >= 0.9',
            Outcome.INCONCLUSIVE,
            0.875,
            0.9,
            "class 7 has 8 of the 30 samples it takes to judge it",
            facts_of(metric("recall").per_class() >= 0.9),
            SliceResults((
                SliceResult("class 7", 8, Outcome.INCONCLUSIVE, 0.875, 0.9,
                            "class 7 has 8 of the 30 samples", 7),
                SliceResult("class 0", 36, Outcome.PASSED, 1.0, 0.9, "class 0 (n=36): above", 0),
            )),
        ),
    ),
    best=Best(1, 0.9611, {"units": 64, "rate": 0.001, "norm": True}),
    trials=(
        Trial(0, TrialStatus.FAILED, {"units": 32}, None, "OOM | killed", 0, 0, None, None, 0.5, 7,
              {}, "graph", "Traceback (most recent call last):\n  line 1, in mlp\nMemoryError: killed\n"),
        Trial(1, TrialStatus.COMPLETED, {"units": 64, "rate": 0.001, "norm": True}, 0.9611, None, 3,
              2, 0, 4, 12.34, 2**32 - 1, {"val_accuracy": (0.9, math.nan, 0.9611)}, "fit", None, (
                  Phase("fit 1", 2, 8.5, "fit", {"val_accuracy": (0.5, math.nan)}),
                  Phase("fit 2", 3, 3.75, "fit", {"val_accuracy": (0.9, math.nan, 0.9611)}),
              )),
    ),
    search={"kind": "Hyperband", "max_epochs": 10, "objective": {"metric": "val_accuracy"}},
    fit={"epochs": 10},
    validation={"seeds": 3},
    durations=Durations(0.25, 12.84, 3.0),
    data={"train": {"samples": 1437}, "classes": ["0", "1"]},
    task_report={"f1": {"macro": 0.95}},
    fingerprints={"spec": "ab12"},
    environment={"git_revision": "0123456789abcdef", "git_dirty": True, "cpus": 2},
    artifact=Artifact("artifacts/20261120-211000-0a1b2c3d.weights.h5", "e3b0" * 16, 123, 0),
    files={"samples": Artifact("artifacts/20261120-211000-0a1b2c3d.samples.json", "c442" * 16, 45, 0)},
    checks=(
        Verdict("checks.overlap", Outcome.WARNED, 2.0, 0.0, "2 rows of test are in train",
                CheckFacts(Area.DATA, "checks.overlap"), Overlap({"test in train": 0.25})),
        Verdict("search.bounds", Outcome.PASSED, 0.0, 0.0, "the winner is inside all ranges",
                CheckFacts(Area.SEARCH, "search.bounds")),
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
"""A run that has something in every field."""


_texts = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", '"', '"quoted"', "\0", "nan", "null", "it's; DROP TABLE runs", "../../x", "\ud800"]
)
_counts = st.integers(0, 2**63 - 1)
# Without -0.0, which equals 0.0 and is what SQLite makes of it.
_floats = st.floats().map(lambda value: value + 0.0)
_finite = st.floats(allow_nan=False, allow_infinity=False)
_keys = _texts.filter(lambda key: key not in DOCUMENT_KEYS)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | _finite | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=5,
)
_documents = st.dictionaries(_texts.filter(lambda key: key not in DOCUMENT_KEYS), _json, max_size=3)
_values = st.dictionaries(_texts, st.booleans() | st.integers() | _floats | _texts, max_size=3)
_curves = st.dictionaries(_texts, st.lists(_floats, max_size=3).map(tuple), max_size=2)
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
    curve=_curves,
    trained_by=_texts,
    traceback=st.none() | _texts,
    phases=st.lists(st.builds(Phase, _texts, _counts, _floats, _texts, _curves), max_size=1).map(
        tuple
    ),
)
_measured = st.none() | _floats


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_texts, inner, max_size=2)


_facts = (
    st.builds(MetricFacts, metric=_texts, output=st.none() | _texts)
    | st.builds(BehaviourFacts, key=_texts, demand=_texts)
    | st.builds(CheckFacts, name=_texts)
)
_changes = (
    st.builds(ImageChange, input=_texts, before=_json, after=_json)
    | st.builds(
        RowChange,
        input=_texts,
        values=st.lists(st.builds(ValueChange, before=_json, after=_json), max_size=2).map(tuple),
    )
    | st.builds(SummaryChange, input=_texts, before=_json, after=_json)
)
_counterexamples = st.builds(
    Counterexample,
    text=_texts,
    before=_json,
    after=_json,
    shown=st.lists(_changes, max_size=2).map(tuple),
)
_regressions = st.builds(
    Regression,
    test=_texts,
    reference=_texts,
    level=st.none() | _finite,
    family=st.none() | st.builds(Family),
    look=st.none() | st.integers(1, 1000),
)
_slices = st.builds(
    SliceResult,
    slice=_texts,
    measured=_measured,
    reason=_texts,
    regression=st.none() | _regressions,
)
_details = (
    _regressions
    | st.builds(SliceResults, st.lists(_slices, max_size=2).map(tuple))
    | st.builds(MeasuredInterval)
    | st.builds(
        BehaviourResult,
        probe=st.builds(Probe, counterexample=st.none() | _counterexamples),
    )
    | st.builds(RaisedError, traceback=_texts)
    | st.builds(Overlap, shares=st.dictionaries(_texts, _floats, max_size=2))
    | st.builds(Duplicates)
    | st.builds(ConstantFeatures)
    | st.builds(ClassCounts, outputs=_nested(_nested(_nested(st.integers()))))
    | st.builds(Drift, not_compared=st.lists(_texts, max_size=2).map(tuple))
    | st.builds(MetricPairs, metrics=_nested(st.builds(MetricPair)))
    | st.builds(RefitScores)
    | st.builds(WinnerAtBounds)
)
_verdicts = st.builds(
    Verdict,
    gate=_texts,
    outcome=st.sampled_from(Outcome),
    measured=_measured,
    bound=_measured,
    reason=_texts,
    facts=st.none() | _facts,
    details=st.none() | _details,
)
_files = st.builds(Artifact, path=_texts, sha256=_texts, bytes=_counts, refit=st.integers(0, 9))
any_run = st.builds(
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
    best=st.none()
    | st.builds(Best, trial=_counts, score=_floats, values=_values)
    | st.builds(Best, trial=st.none(), score=st.none(), values=_values),
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
"""Every run there can be."""

_numbers = itertools.count()

WRITERS = 8

_WRITE_AT_ONCE = """
import multiprocessing, sys
from dataclasses import replace
from pathlib import Path
from typing import Any
import alembic.command
from modeltune.histories.contract import EXAMPLE
from modeltune.histories.store import open_store

def write(writer):
    start.wait()
    for number in range(3):
        with open_store(sys.argv[1]) as store:
            store.record(replace(EXAMPLE, id=f"{writer}-{number}"))

forked = multiprocessing.get_context("fork")
start = forked.Barrier(int(sys.argv[2]))
writers = [forked.Process(target=write, args=(number,)) for number in range(int(sys.argv[2]))]
for writer in writers:
    writer.start()
for writer in writers:
    writer.join()
sys.exit(any(writer.exitcode for writer in writers))
"""


class StorageContract:
    """Claims about a history; a subclass says where: its fixture ``url`` gives an empty place."""

    @pytest.fixture
    def url(self) -> str:
        """Return the URL of a place in which there is nothing yet, another one for each test."""
        raise NotImplementedError("give your subclass of StorageContract a fixture named url")

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        """Yield an empty history."""
        with open_store(url) as opened:
            yield opened

    # A record is what was recorded.

    def test_a_run_read_back_equals_the_recorded_one_in_every_field(self, store: Store) -> None:
        run = replace(EXAMPLE, trials=EXAMPLE.trials[:1])  # the other has a NaN, equal to nothing
        store.record(run)
        assert store.run(run.id) == run

    def test_a_value_keeps_its_kind(self, store: Store) -> None:
        values: dict[str, float | str] = {
            "a": float("inf"),
            "b": "inf",
            "c": 1,
            "d": 1.0,
            "e": True,
            "f": "1",
            "g": float("nan"),
        }
        best = Best(trial=1, score=float("-inf"), values=values)
        store.record(replace(EXAMPLE, best=best))
        assert repr(store.run("-1").best) == repr(best)

    @settings(
        derandomize=True,
        deadline=None,
        max_examples=40,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.function_scoped_fixture,
            # Each subclass runs it; what is drawn depends on none of them.
            HealthCheck.differing_executors,
        ],
    )
    @given(run=any_run)
    def test_every_run_survives_the_store(self, store: Store, run: Run) -> None:
        run = replace(run, id=f"{next(_numbers)}{run.id}")
        store.record(run)
        # By repr: it finds NaN equal to itself, and tells 1 from True, and one order from another.
        assert repr(store.run(run.id)) == repr(run)
        assert repr(store.runs(spec=run.spec, limit=1)[0].scores) == repr(run.scores)

    def test_recording_again_is_no_second_run(self, store: Store) -> None:
        store.record(EXAMPLE)
        store.record(EXAMPLE)
        assert [summary.id for summary in store.runs()] == [EXAMPLE.id]

    def test_another_run_of_the_same_id_is_refused(self, store: Store) -> None:
        store.record(EXAMPLE)
        with pytest.raises(HistoryError) as refused:
            store.record(replace(EXAMPLE, scores={"accuracy": Scores((1.0,))}))
        assert str(refused.value) == f"{store}: another run is already recorded as {EXAMPLE.id}"
        assert store.run(EXAMPLE.id).scores == EXAMPLE.scores

    def test_what_is_decided_later_takes_the_place_of_the_verdicts_alone(
        self, store: Store
    ) -> None:
        run = replace(EXAMPLE, trials=EXAMPLE.trials[:1])
        store.record(run)
        later = tuple(replace(verdict, reason="decided later") for verdict in run.verdicts)
        revised = replace(run, verdicts=later, status=RunStatus.FAILED)
        store.revise(replace(revised, scores={}, notes=("another",)))
        store.revise(replace(revised, id="nobody"))
        assert store.run(run.id) == revised
        assert len(store.runs()) == 1

    def test_the_runs_that_were_judged_on_a_test_part_are_counted(self, store: Store) -> None:
        assert store.reads_of("data/test", "ab") == 0
        # Nine were judged before the history was begun, or by runs that are out of its reach.
        store.record(some_run("a", fingerprints={"data/test": "ab"}, data={"test_reads": 10}))
        others: dict[str, dict[str, object]] = {
            "failed": {"status": RunStatus.FAILED},
            "early": {"status": RunStatus.ERROR},
            "cached": {"cached": True},
            "elsewhere": {"fingerprints": {"data/test": "cd"}},
        }
        for name, fields in others.items():
            store.record(some_run(name, **{"fingerprints": {"data/test": "ab"}, **fields}))
        assert store.reads_of("data/test", "ab") == 11
        assert store.reads_of("data/test", "cd") == 1

    @pytest.mark.parametrize(
        "field",
        [{"search": {"x": object()}}, {"best": Best(2**70, 1.0, {})}],
        ids=["an object", "a number too large"],
    )
    def test_what_cannot_be_recorded_is_said_and_leaves_nothing(
        self, store: Store, field: dict[str, object]
    ) -> None:
        with pytest.raises(UnrecordableError, match="run a has no place in a record"):
            store.record(some_run("a", **field))
        assert store.runs() == []

    def test_eight_processes_may_make_and_write_one_history_at_once(self, url: str) -> None:
        command = [sys.executable, "-c", _WRITE_AT_ONCE, url, str(WRITERS)]
        subprocess.run(command, check=True, timeout=120)
        with open_store(url, create=False) as store:
            summaries = store.runs()
            assert all(store.run(summary.id).trials for summary in summaries[:WRITERS])
        written = {f"{writer}-{number}" for writer in range(WRITERS) for number in range(3)}
        assert sorted(summary.id for summary in summaries) == sorted(written)
        assert len({summary.seq for summary in summaries}) == len(written)

    # Runs are found by what a person types.

    def test_a_run_is_meant_by_id_start_or_index(self, store: Store) -> None:
        for name in ("aa0123", "alpha", "beta-1", "beta-2", "beta-20"):
            store.record(some_run(name))
        meant = {
            # Also where "aa" is a letter that comes after "z".
            "aa": "aa0123",
            "aa01": "aa0123",
            "beta-1": "beta-1",
            "al": "alpha",
            "beta-2": "beta-2",
            "-1": "beta-20",
            "-4": "alpha",
        }
        assert {reference: store.run(reference).id for reference in meant} == meant

    def test_a_reference_to_no_one_run_says_what_was_found(self, store: Store) -> None:
        store.record(some_run("beta-1"))
        store.record(some_run("beta-2"))
        holds = f"{store} holds 2 runs"
        newest = (
            f"{holds}, the newest beta-2 of spec_digits.py::mlp; `modeltune history` lists them"
        )
        for reference, message in {
            **{
                text: f'no run "{text}": {newest}' for text in ("gamma", "", "BETA-1", "b%", "b_ta")
            },
            "beta": '"beta" begins more than one run: beta-2 (spec_digits.py::mlp), '
            "beta-1 (spec_digits.py::mlp); type more",
            "-3": f"no run -3: {holds}, counted from -1, the newest",
            "-0": f"no run -0: {holds}, counted from -1, the newest",
        }.items():
            with pytest.raises(HistoryError) as refused:
                store.run(reference)
            assert str(refused.value) == message

    def test_runs_are_listed_newest_first_by_recording_not_by_clock(self, store: Store) -> None:
        store.record(some_run("a", created="2030-01-01T00:00:00+00:00"))
        store.record(some_run("b", spec="spec_digits.py::cnn"))
        store.record(some_run("c", created="2020-01-01T00:00:00+00:00"))
        mlp = "spec_digits.py::mlp"
        assert [summary.id for summary in store.runs()] == ["c", "b", "a"]
        assert [summary.id for summary in store.runs(limit=2)] == ["c", "b"]
        assert [summary.id for summary in store.runs(spec=mlp, limit=5)] == ["c", "a"]
        assert [summary.id for summary in store.runs(until="b")] == ["b", "a"]
        assert [summary.id for summary in store.runs(mlp, 1, until="b")] == ["a"]
        assert store.runs(until="d") == []
        assert [[run.id for run in store.latest([mlp, "x"], 1)[spec]] for spec in (mlp, "x")] == [
            ["c"],
            [],
        ]
        assert store.runs(spec="mlp") == []
        assert store.specs() == ["spec_digits.py::cnn", mlp]

    def test_a_summary_has_the_scores_and_the_commit(self, store: Store) -> None:
        store.record(EXAMPLE)
        (summary,) = store.runs()
        assert list(summary.scores) == ["loss", "accuracy", "parameters"]
        assert summary.scores == EXAMPLE.scores
        assert (summary.git_revision, summary.git_dirty) == ("0123456789abcdef", True)

    def test_what_is_read_in_one_go_is_of_one_moment_by_one_connection(
        self, url: str, store: Store
    ) -> None:
        store.record(some_run("a"))
        made: list[object] = []
        with open_store(url, create=False) as reader:
            sa.event.listen(reader._engine, "connect", lambda *new: made.append(new))
            for _ in range(2):
                with reader.reading(), reader.reading():
                    begun = [reader.count(), len(reader.runs())]
                    assert begun == [reader.count()] * 2
            with pytest.raises(OSError, match="of the caller's own"), reader.reading():
                raise OSError("of the caller's own")
            assert reader.run("-1").id == "a"
        # That of opening it.
        assert made == []

    def test_an_ended_run_is_recorded_and_does_not_go_on(self, store: Store) -> None:
        store.record(some_run("a"))
        store.record(some_run("b", status=RunStatus.INTERRUPTED))
        store.record(some_run("c", status=RunStatus.ERROR))
        assert store.ended(["a", "b", "c", "d"]) == ["a"]

    # What is there is never made worse.

    def test_reading_makes_no_history(self, url: str) -> None:
        for _ in range(2):
            with pytest.raises(NoHistoryError, match="there is no history yet; the first run of"):
                open_store(url, create=False)

    def test_migrations_make_the_tables_the_store_uses(self, store: Store) -> None:
        def columns(metadata: sa.MetaData) -> dict[str, object]:
            return {
                name: {(column.name, column.nullable, column.primary_key) for column in table.c}
                | {(index.name, *index.columns.keys()) for index in table.indexes}
                for name, table in metadata.tables.items()
            }

        made = sa.MetaData()
        made.reflect(store._engine)
        made.remove(made.tables[VERSION_TABLE])
        assert columns(made) == columns(metadata)

    @pytest.mark.parametrize("create", [True, False], ids=["recording", "reading"])
    def test_a_history_of_a_newer_modeltune_is_refused_and_left_alone(
        self, url: str, store: Store, create: bool
    ) -> None:
        store.record(EXAMPLE)
        _execute(store, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        before = _contents(store)
        with pytest.raises(HistoryError) as refused:
            open_store(url, create=create)
        assert str(refused.value) == (
            f"{store} was written by a newer modeltune (schema 9999; this one knows up to {HEAD}); "
            "upgrade modeltune, or name another --modeltune-store"
        )
        assert _contents(store) == before

    def test_a_history_that_does_not_say_its_schema_is_refused_and_left_alone(
        self, url: str, store: Store
    ) -> None:
        for harm in (
            f"UPDATE {VERSION_TABLE} SET version_num = 'x'",
            f"DELETE FROM {VERSION_TABLE}",
        ):
            _execute(store, harm)
            before = _contents(store)
            with pytest.raises(HistoryError, match="does not say which schema it has"):
                open_store(url)
            assert _contents(store) == before

    def test_a_damaged_row_hides_no_run_before_it(self, store: Store, tmp_path: Path) -> None:
        mlp, cnn = "spec_digits.py::mlp", "spec_digits.py::cnn"
        for name in "abcde":
            store.record(some_run(name))
        store.record(some_run("f", spec=cnn))
        _execute(store, "UPDATE runs SET status = 'splendid' WHERE id IN ('b', 'd', 'e', 'f')")
        assert [run.id for run in store.runs(mlp, 1)] == ["c"]
        assert [run.id for run in store.runs(limit=2)] == ["c", "a"]
        latest = store.latest([mlp, cnn], 1)
        assert {spec: [run.id for run in found] for spec, found in latest.items()} == {
            mlp: ["c"],
            cnn: [],
        }
        assert store.find_spec(cnn, tmp_path) == cnn

    def test_a_damaged_row_is_named_and_no_traceback_of_ours(self, store: Store) -> None:
        store.record(EXAMPLE)
        _execute(store, "UPDATE runs SET status = 'splendid'")
        with pytest.raises(HistoryError) as refused:
            store.run("-1")
        assert str(refused.value) == (
            f"{store}: run {EXAMPLE.id} is left out: column runs.status: 'splendid' is not a valid "
            "RunStatus; its row was damaged or forged"
        )


def some_run(name: str, **fields: object) -> Run:
    """Return the example under another id."""
    return replace(EXAMPLE, id=name, **fields)  # type: ignore[arg-type]


def _execute(store: Store, statement: str) -> None:
    with stores._writing(store._engine) as connection:
        connection.exec_driver_sql(statement)


def _contents(store: Store) -> dict[str, list[str]]:
    """Return every row of every table."""
    with store._engine.connect() as connection:
        tables = sa.inspect(connection).get_table_names()
        return {
            name: sorted(map(repr, connection.exec_driver_sql(f'SELECT * FROM "{name}"')))
            for name in tables
        }
