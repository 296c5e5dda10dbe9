"""Merging copies every run once, with its files, whenever it is interrupted, and no run by half."""

from __future__ import annotations

import gc
import itertools
import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeltune.cli import main
from modeltune.ground.errors import HistoryError
from modeltune.histories import merging
from modeltune.histories.artifacts import keep, verify
from modeltune.histories.merging import merge
from modeltune.histories.store import HEAD, Store, open_store
from modeltune.records.runs import Artifact, Run, Scores
from tests.support.histories import DATA, DIGITS, runs

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Yield two empty histories: the one that grows, and the one that is read."""
    with open_store(url(tmp_path, "into")) as into, open_store(url(tmp_path, "other")) as other:
        yield into, other


def url(folder: Path, name: str) -> str:
    """Return the URL of one of them."""
    return f"sqlite:///{folder}/{name}/history.db"


def recorded(store: Store, name: str, **fields: object) -> Run:
    """Record a run with its files, whose content is its name, and return it."""

    def kept(kind: str) -> object:
        content = f"{kind} of {name}" * 1000
        return keep(store.folder, f"artifacts/{name}.{kind}", lambda path: path.write_text(content))

    run = replace(
        DIGITS,
        id=name,
        artifact=kept("weights.h5"),  # type: ignore[arg-type]
        files={"samples": kept("samples.json")},  # type: ignore[dict-item]
        **fields,  # type: ignore[arg-type]
    )
    store.record(run)
    return run


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of the folder, as bytes."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def listed(store: Store) -> list[str]:
    """Return the runs, the first one recorded first."""
    return [run.id for run in store.runs()][::-1]


def test_every_run_is_copied_with_its_files_in_the_order_of_creation(
    stores: tuple[Store, Store],
) -> None:
    into, other = stores
    recorded(into, "own", created="2026-11-20T12:00:00+00:00")
    later = recorded(other, "later", created="2026-11-20T11:00:00+00:00")
    recorded(other, "earlier", created="2026-11-20T10:00:00+00:00")
    before = content(other.folder)

    merged = merge(into, other)

    assert (merged.copied, merged.present) == (["earlier", "later"], [])
    assert listed(into) == ["own", "earlier", "later"]
    # By repr: a curve has a NaN, equal to nothing.
    assert repr(into.run("later")) == repr(later)
    for file in (later.artifact, *later.files.values()):
        assert file is not None
        assert (
            verify(into.folder, file, later.id).read_bytes()
            == (other.folder / file.path).read_bytes()
        )
    assert content(other.folder) == before


def test_merging_twice_is_merging_once(stores: tuple[Store, Store]) -> None:
    into, other = stores
    recorded(other, "a")
    recorded(other, "b")
    merge(into, other)
    before = content(into.folder)
    again = merge(into, other)
    assert (again.copied, again.present) == ([], ["a", "b"])
    assert content(into.folder) == before
    # Nor is it anything to merge a history with itself, or back.
    assert merge(into, into).copied == merge(other, into).copied == []


laws = itertools.count()


@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn_runs=st.lists(runs, max_size=2))
def test_any_runs_there_can_be_are_copied_as_they_are(
    stores: tuple[Store, Store], drawn_runs: list[Run]
) -> None:
    into, other = stores
    names = [f"{next(laws)}{run.id}" for run in drawn_runs]
    for name, run in zip(names, drawn_runs, strict=True):
        other.record(replace(run, id=name, artifact=None, files={}))
    assert set(merge(into, other).copied) == set(names)
    for name in names:
        assert repr(into.run(name)) == repr(other.run(name))


def test_what_both_hold_otherwise_is_left_out_and_named(stores: tuple[Store, Store]) -> None:
    into, other = stores
    mine = recorded(into, "a", scores={"accuracy": Scores((0.5,))})
    recorded(other, "a")
    recorded(other, "b")
    before = content(into.folder / "artifacts")

    merged = merge(into, other)

    assert merged.copied == ["b"]
    assert merged.refused == [f"run a of {DIGITS.spec} differs between {into} and {other}"]
    assert repr(into.run("a")) == repr(mine)
    now = content(into.folder / "artifacts")
    assert {name: now[name] for name in before} == before


def lose(path: Path) -> None:
    path.unlink()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize(
    ("harm", "reason"), [(lose, "is missing"), (damage, "was changed since it was recorded")]
)
@pytest.mark.parametrize("kind", ["weights.h5", "samples.json"])
def test_a_run_whose_file_is_gone_or_changed_is_left_out_whole(
    stores: tuple[Store, Store], kind: str, harm: Callable[[Path], None], reason: str
) -> None:
    into, other = stores
    recorded(other, "a")
    recorded(other, "b")
    harm(other.folder / f"artifacts/a.{kind}")

    merged = merge(into, other)

    assert listed(into) == merged.copied == ["b"]
    (line,) = merged.refused
    assert line.startswith(f"run a of {DIGITS.spec}: {other.folder}/artifacts/a.{kind} {reason}")
    assert sorted(content(into.folder / "artifacts")) == ["b.samples.json", "b.weights.h5"]
    # What is wanted all the same is copied, without that file.
    merged = merge(into, other, without_files=True)
    assert merged.copied == ["a"]
    assert len(merged.lost) == 1
    assert len(content(into.folder / "artifacts")) == 3


def test_a_file_that_changes_while_it_is_copied_is_not_kept(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    into, other = stores
    recorded(other, "a")

    def copy(folder: Path, artifact: Artifact, run: str, target: Path) -> None:
        target.write_bytes((folder / artifact.path).read_bytes() + b"more")
        (into.folder / "artifacts/a.samples.json").write_text("of another process")

    monkeypatch.setattr(merging, "copy_to", copy)
    merged = merge(into, other)
    assert (merged.copied, listed(into)) == ([], [])
    assert merged.refused[0].endswith("a.weights.h5 changed while it was copied")
    assert content(into.folder / "artifacts") == {"a.samples.json": b"of another process"}


def test_where_space_ends_no_run_is_copied_by_half_and_the_others_are_told(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    into, other = stores
    recorded(other, "a", created="2026-01-01T00:00:00+00:00")
    recorded(other, "b")

    def full(folder: Path, name: str, *arguments: object) -> object:
        if name == "artifacts/b.samples.json":
            raise HistoryError(f"{name} cannot be written: No space left")
        return keep(folder, name, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "keep", full)
    assert main(["merge", f"{into}", f"{other}"]) == 1
    assert capsys.readouterr() == (
        f"copied 1 run from {other} into {into}\n",
        "modeltune: artifacts/b.samples.json cannot be written: No space left\n",
    )
    assert listed(into) == ["a"]
    assert sorted(content(into.folder / "artifacts")) == ["a.samples.json", "a.weights.h5"]


def test_a_file_that_is_gone_here_comes_back_from_there(stores: tuple[Store, Store]) -> None:
    into, other = stores
    run = recorded(other, "a")
    merge(into, other)
    assert run.artifact
    (into.folder / run.artifact.path).unlink()
    assert merge(into, other).present == ["a"]
    verify(into.folder, run.artifact, run.id)


def test_what_an_interrupted_merge_has_copied_is_safe_from_a_gc_beside_the_next(
    stores: tuple[Store, Store],
) -> None:
    into, other = stores
    run = recorded(other, "a")
    assert run.artifact
    copied = into.folder / run.artifact.path
    copied.parent.mkdir()
    shutil.copyfile(other.folder / run.artifact.path, copied)
    os.utime(copied, (0, 0))
    assert merge(into, other).copied == ["a"]
    # It goes by when a file was written.
    assert copied.stat().st_mtime > 0


PLANTED = (
    "conftest.py",
    "spec_digits.py",
    "history.db-journal",
    "history.db-wal",
    "pending/aaaa.json",
    "scratch/0123456789abcdef/ledger.jsonl",
    "features/x.npy",
    "artifacts/histories.txt",
    "artifacts/victim.weights.h5",
    "artifacts/B.weights.h5",
    "report/report.html",
    "../conftest.py",
    "/etc/passwd",
    "a\0b",
    "",
)
"""Names that a row of a stranger may give to a file that lies there."""


@pytest.mark.parametrize("without_files", [False, True])
def test_only_a_run_s_own_files_are_copied_and_a_run_that_names_others_is_refused(
    stores: tuple[Store, Store], without_files: bool
) -> None:
    into, other = stores
    run = recorded(other, "a")
    assert run.artifact
    for number, name in enumerate(PLANTED):
        planted = other.folder / name
        if name and "\0" not in name and not planted.exists():
            planted.parent.mkdir(exist_ok=True, parents=True)
            shutil.copyfile(other.folder / run.artifact.path, planted)
        artifact = replace(run.artifact, path=name)
        other.record(replace(run, id=f"b{number}", artifact=artifact, files={}))
        other.record(replace(run, id=f"c{number}", artifact=None, files={"samples": artifact}))
    before = content(into.folder)

    merged = merge(into, other, without_files=without_files)

    assert merged.copied == ["a"]
    assert len(merged.refused) == 2 * len(PLANTED)
    assert all("which is none that modeltune keeps" in line for line in merged.refused)
    new = content(into.folder).keys() - before.keys()
    assert new == {"artifacts/a.weights.h5", "artifacts/a.samples.json"}


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("change", [linked, piped])
def test_no_file_is_read_or_written_through_a_link_or_a_pipe(
    stores: tuple[Store, Store], change: Callable[[Path], None], side: int
) -> None:
    into, other = stores
    run = recorded(other, "a")
    assert run.artifact
    if side == 0:
        merge(into, other)
    change(stores[side].folder / run.artifact.path)
    (line,) = merge(into, other).refused
    assert re.search("a link|a pipe", line)


def test_a_draft_that_is_a_link_is_not_written_through(stores: tuple[Store, Store]) -> None:
    into, other = stores
    recorded(other, "a")
    victim = into.folder / "victim"
    victim.write_text("mine")
    (into.folder / "artifacts").mkdir()
    (into.folder / "artifacts/new-a.weights.h5").symlink_to(victim)
    assert merge(into, other).copied == ["a"]
    assert victim.read_text() == "mine"


def test_one_that_was_killed_anywhere_is_finished_by_another(tmp_path: Path) -> None:
    with open_store(url(tmp_path, "other")) as other:
        expected = [recorded(other, name) for name in ("a", "b")]
    open_store(url(tmp_path, "empty")).close()
    for step in itertools.count(1):
        shutil.copytree(tmp_path / "empty", tmp_path / f"into-{step}")
        with open_store(url(tmp_path, f"into-{step}")) as into:
            pid = os.fork()
            if not pid:
                gc.disable()  # as of ``in_child``
                killed_at(step)
                merge(into, other)
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            for run in into.runs():
                # A row implies its files.
                for file in into.run(run.id).files.values():
                    verify(into.folder, file, run.id)
            merge(into, other)
            assert [repr(into.run(run.id)) for run in expected] == list(map(repr, expected))
            names = [name for name in content(into.folder / "artifacts") if "new-" not in name]
            assert len(names) == 4
        if os.WIFEXITED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert step > 12


def killed_at(step: int) -> None:
    """Kill this process when it is about to write, sync, rename or record for the so-manieth time."""
    steps = itertools.count(1)

    def counted(act: Callable[..., object]) -> Callable[..., object]:
        def acting(*arguments: object, **named: object) -> object:
            if next(steps) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return act(*arguments, **named)

        return acting

    for name in ("fsync", "rename"):
        setattr(os, name, counted(getattr(os, name)))
    merging.copy_to = counted(merging.copy_to)  # type: ignore[attr-defined,assignment]
    Store.record = counted(Store.record)  # type: ignore[method-assign,assignment]


# The command.


def test_the_command_takes_paths_and_says_what_it_did(
    tmp_path: Path, stores: tuple[Store, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    into, other = stores
    recorded(other, "a")
    arguments = ["merge", f"{into}", url(tmp_path, "other")]
    assert main(arguments) == 0
    assert main(arguments) == 0
    damage(other.folder / "artifacts/a.weights.h5")
    recorded(other, "b", spec=f"\x1b[2J{DIGITS.spec}")
    lose(other.folder / "artifacts/b.weights.h5")
    assert main(arguments) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        f"copied 1 run from {other} into {into}",
        f"copied 0 runs from {other} into {into}, 1 was there already",
        f"copied 0 runs from {other} into {into}, 1 was there already",
    ]
    refused, advice = output.err.splitlines()
    # A terminal would obey what is in the names of another person's specs.
    assert refused.startswith(f"not copied: run b of {DIGITS.spec}: {other.folder}/artifacts/")
    assert advice == "--without-files copies these runs without the files that are gone"
    assert main([*arguments, "--without-files"]) == 0
    assert "without a file: " in capsys.readouterr().err
    assert listed(into) == ["a", "b"]


def test_there_has_to_be_something_to_merge_but_not_something_to_merge_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, new = tmp_path / "missing.db", tmp_path / "new.db"
    assert main(["merge", str(new), str(missing)]) == 1
    assert f"{missing}: there is no history yet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    with open_store(f"sqlite:///{missing}") as other:
        recorded(other, "a")
    assert main(["merge", str(new), str(missing)]) == 0


def test_what_is_read_stays_as_it_is_also_in_an_older_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older, new = tmp_path / "older.db", tmp_path / "new.db"
    shutil.copyfile(DATA / "history-0001.db", older)
    before = content(tmp_path)
    assert main(["merge", str(new), str(older)]) == 1
    assert capsys.readouterr().err == (
        f"modeltune: {older} has the schema of an older modeltune (0001, this one reads {HEAD}); "
        f"upgrade it with: modeltune history --store sqlite:///{older} (after that no older modeltune can read it)\n"
    )
    with closing(sqlite3.connect(older)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = content(tmp_path)
    assert main(["merge", str(new), str(older)]) == 1
    assert "was switched to a write-ahead log by another program" in capsys.readouterr().err
    assert content(tmp_path) == before


def test_a_run_whose_row_is_no_record_is_left_out_and_named(
    stores: tuple[Store, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    into, other = stores
    for name in ("a", "b", "c"):
        recorded(other, name)
    with closing(sqlite3.connect(other.folder / "history.db", isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET fit = ? WHERE id = 'b'", (json.dumps({"a": 1})[:-1],))
    assert main(["merge", f"{into}", f"{other}"]) == 1
    refused = capsys.readouterr().err
    assert refused.startswith(f"not copied: {other}: run b is left out: column runs.fit: ")
    assert refused.count("\n") == 1
    assert listed(into) == ["a", "c"]
    # Nor does one that is damaged here end the merge.
    with closing(sqlite3.connect(into.folder / "history.db", isolation_level=None)) as connection:
        connection.execute("UPDATE trials SET seconds = 'x' WHERE run = 'a'")
    merged = merge(into, other)
    assert [line.partition(": ")[2][:21] for line in merged.refused] == [
        "run a is left out: co", "run b is left out: co",
    ]  # fmt: skip
    assert merged.present == ["c"]
