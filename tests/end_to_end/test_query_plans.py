"""No query that a run waits for reads through all runs or trials there are, nor most of a command's.

What asks for all of them has to: it is listed here as well. SQLite's plans are looked at, not its time: they are the same for three runs and for 100 000,
for the tables hold no statistics. benchmarks/history.py measures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

import modeltune as mt
from modeltune.harness.cached_runs import find_reusable
from modeltune.harness.recording import drop_lost
from modeltune.histories.find_references import look_of, references
from modeltune.histories.store import Store, open_store
from modeltune.specs.spec_type import Spec
from tests.support.histories import DIGITS

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Yield a history of a few runs."""
    folder = tmp_path_factory.mktemp("plans")
    with open_store(f"sqlite:///{folder}/history.db") as opened:
        for number in range(5):
            opened.record(replace(DIGITS, id=f"run-{number}", spec=spec().id))
        yield opened


def spec() -> Spec:
    """Return a spec that looks back in every way there is."""

    @mt.spec(
        data=lambda: None,  # type: ignore[arg-type,return-value]
        search=mt.RandomSearch(mt.maximize("val_accuracy")),
        gates=[
            mt.metric("accuracy") >= mt.baseline,
            mt.metric("accuracy") >= mt.previous,
            mt.metric("accuracy") >= mt.median(3),
        ],
    )
    def mlp(hp: object) -> None: ...

    return mlp


def read_through(store: Store, act: Callable[[], object]) -> list[str]:
    """Return the statements that look at every row of a table, and what they do."""
    statements: list[tuple[str, object]] = []

    def note(_: object, __: object, statement: str, parameters: object, *___: object) -> None:
        statements.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert statements
    scans = []
    with store.reading() as connection:
        for statement, parameters in statements:
            if statement.startswith(("BEGIN", "PRAGMA")):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()  # type: ignore[arg-type]
            steps = [row[3] for row in plan]
            # In the order of its key, a table is left as soon as it has given enough rows.
            is_cut = "LIMIT" in statement and "WHERE" not in statement
            is_cut &= not any("FOR ORDER BY" in step for step in steps)
            whole = r"SCAN (runs|trials|scores|verdicts|artifacts)\b"
            if not is_cut and any(re.match(whole, step) for step in steps):
                scans.append(f"{statement}: {'; '.join(steps)}")
    return scans


ACTS: dict[str, Callable[[Store], object]] = {
    "recording": lambda store: store.record(replace(DIGITS, id="one more", spec=spec().id)),
    "recording again": lambda store: store.record(replace(DIGITS, id="run-0", spec=spec().id)),
    "references": lambda store: references(spec(), store, {}, "run-4"),
    "reuse": lambda store: find_reusable(spec(), store, {}),
    "counter-examples": lambda store: list(store.counterexamples(spec().id)),
    "history": lambda store: store.runs(None, 50),
    "history of a spec": lambda store: store.runs(spec().id, 50),
    "history up to a run": lambda store: store.runs(spec().id, 50, until="run-3"),
    "trends": lambda store: store.latest([spec().id, "other"], 40),
    "verdicts": lambda store: store.verdicts(["run-1", "run-2"]),
    "ended": lambda store: store.ended(["run-1", "nobody"]),
    "files of killed runs": lambda store: drop_lost(store, ["run-1", "nobody"], Path()),
    "count of a spec": lambda store: store.count(spec().id),
    "by index": lambda store: store.run("-2"),
    "reads of a test part": lambda store: store.reads_of("data/test", "ab"),
    "looks": lambda store: look_of(spec(), store, "run-4", {}, None),
    "late decision": lambda store: store.revise(replace(DIGITS, id="run-3", spec=spec().id)),
    "by id": lambda store: store.run("run-1"),
    "by start": lambda store: store.run("one"),
}


@pytest.mark.parametrize("act", ACTS)
def test_it_is_answered_by_an_index(store: Store, act: str) -> None:
    assert read_through(store, lambda: ACTS[act](store)) == []


def test_what_asks_for_all_reads_through_all(store: Store) -> None:
    for act in (store.count, store.specs, store.ids, store.files):
        assert read_through(store, act), act
