"""Whatever somebody calls a spec, metric, parameter, class or file: it is kept literally, in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import modeltune as mt
from modeltune.ground.errors import HistoryError
from modeltune.ground.own_folders import MARK
from modeltune.histories import baselines
from modeltune.histories.artifacts import keep, verify
from modeltune.histories.ledgers import LEDGER_FILE, Ledgers
from modeltune.histories.store import open_store
from modeltune.records.runs import Artifact, RunStatus
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.reports.filenames import file_name
from tests.support.hostile import HOSTILE, hostile_run


def recorded(folder: Path, text: str) -> None:
    """Record a run in which all is called so, beside one in which nothing is, and read it back."""
    run, other = hostile_run(text), hostile_run("other")
    with open_store(f"sqlite:///{folder}/history.db") as store:
        store.record(other)
        store.record(run)
        (summary,) = store.runs(text)
        assert summary.id == summary.spec == text
        assert store.run("-1") == store.whole([text])[0] == run
        assert store.run("-2") == other
        assert set(store.specs()) == {text, "other"}
    assert [path.name for path in folder.iterdir()] == ["history.db"]


def framed(folder: Path, text: str) -> None:
    """Read it as pandas frames; the names of their columns hold no lone surrogates."""
    column = text.encode("utf-8", "backslashreplace").decode()
    run = hostile_run(column)
    trials = tuple(replace(trial, reason=text, trained_by=text) for trial in run.trials)
    with open_store(f"sqlite:///{folder}/history.db") as store:
        store.record(replace(run, id=text, spec=text, file=text, error=text, trials=trials))
    history = mt.history(f"sqlite:///{folder}/history.db")
    assert history.frame()["spec"].tolist() == [text]
    assert history.frame()[column].tolist() == [0.55]
    assert history.trials("-1")["trained_by"].tolist() == [text, text]
    assert set(history.curves("-1")["metric"]) == {column}


def accepted(folder: Path, text: str) -> None:
    """Accept a run: its baseline is named after the spec, and is found under that name alone."""
    passed = Verdict(text, Outcome.PASSED, 0.9, 0.5, text)
    run = hostile_run(text, RunStatus.PASSED)
    run = replace(
        run, spec=f"{text}::{text}", verdicts=(passed,), checks=(), artifact=None, files={}
    )
    file = folder / "spec_a.py"
    path = baselines.path_of(file, run.spec)
    baselines.accept(run, None, file, why=text, before=None)
    baseline = baselines.read_baseline(path)
    assert (baseline.run, baseline.spec, baseline.why) == (text, run.spec, text)
    assert baseline.scores == run.scores
    assert (
        [kept.parent for kept in folder.glob("*/*")]
        == [folder / baselines.BASELINE_FOLDER]
        == [path.parent]
    )


def begun(folder: Path, text: str) -> None:
    """Keep a search's ledger, and go on with it."""
    for run in ("first", "second"):
        ledgers = Ledgers(folder)
        ledger, notes = ledgers.begin(text, {text: text}, run, lambda runs: ())
        assert ledger.get(f"trial {text}") == (None if run == "first" else {text: text})
        assert (notes is None) is (run == "first")
        ledger.put(f"trial {text}", {text: text})
        ledgers.close(drop=False)
    (path,) = folder.glob(f"*/{LEDGER_FILE}")
    assert {*folder.rglob("*")} == {path.parent, path, path.with_name(MARK)}


def kept(folder: Path, text: str) -> None:
    """Keep a file of such a name, or refuse to; and believe no record that names one elsewhere."""
    secret = folder.parent / "secret"
    for name in (text, f"artifacts/{text}", f"{text}/../../secret", f"../secret{text}"):
        try:
            path = verify(
                folder, keep(folder, name, lambda path: path.write_bytes(b"weights")), text
            )
        except (HistoryError, OSError, ValueError):
            continue
        assert path.resolve().is_relative_to(folder)
        assert path.resolve() != folder
    for name in (str(secret), f"{text}/../../secret", "../secret"):
        with pytest.raises(HistoryError):
            verify(folder, Artifact(name, text, 6, 0), text)


def named(folder: Path, text: str) -> None:
    """Make a file and a folder of the name that pictures and trackers give it."""
    name = file_name(text)
    (folder / name).mkdir()
    (folder / name / f"{name}.png").touch()
    assert [path.parent.parent for path in folder.glob("*/*")] == [folder]
    others = [file_name(other) for other in HOSTILE.values() if other != text]
    assert name.casefold() not in map(str.casefold, others)


SINKS: dict[str, Callable[[Path, str], None]] = {
    "history": recorded,
    "frames": framed,
    "baseline": accepted,
    "ledger": begun,
    "artifact": kept,
    "file name": named,
}
"""By where it goes, what puts it there and reads it again, in a folder of its own."""


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("sink", SINKS)
def test_it_is_kept_literally_and_nothing_leaves_its_folder(
    tmp_path: Path, sink: str, text: str
) -> None:
    folder, secret = tmp_path / "inner", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("secret")
    SINKS[sink](folder, text)
    assert {path.name for path in tmp_path.iterdir()} == {"inner", "secret"}
    assert secret.read_text() == "secret"
