"""Check that a history and its files are as they were recorded (``modeltune doctor``); change nothing."""

from __future__ import annotations

import enum
import os
import sqlite3
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import HistoryError, NoHistoryError, StoreUrl, count_of
from modeltune.histories import pending
from modeltune.histories.artifacts import is_artifact_name, verify
from modeltune.histories.garbage import (
    damaged_ledgers,
    leftovers,
    project_baselines,
    weights_of,
    what_was_set_aside,
)
from modeltune.histories.places import Place, place_of
from modeltune.histories.store import HEAD, Store, open_as_it_is


class Mark(enum.Enum):
    """What a finding means to the user; only WRONG asks for something to be done."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """The state of one thing that the doctor looked at."""

    mark: Mark
    text: str


def diagnose(
    url: str | StoreUrl, also: Iterable[str | StoreUrl] = (), *, now: float
) -> Iterator[Finding]:
    """Yield findings about a history, its files, and what lies beside them.

    Args:
        url: the history.
        also: others whose files lie in the same folder, see ``leftovers``.
        now: the time, in seconds as in ``st_mtime``.
    """
    place = place_of(url)
    is_open = yield from _history(place, url)
    yield from _waiting_runs(place.folder, url)
    for damaged in damaged_ledgers(place.folder):
        yield Finding(Mark.WRONG, damaged)
    for aside in what_was_set_aside(place.folder):
        yield Finding(Mark.NOTE, aside)
    yield from _links(place.folder)
    yield from _accepted_models(place.folder)
    if is_open:
        yield _leftovers(url, also, now)


def _history(place: Place, url: str | StoreUrl) -> Generator[Finding, None, bool]:
    """Yield findings about the history itself; return whether it could be opened."""
    try:
        opened, revision = open_as_it_is(url)
    except NoHistoryError as error:
        yield _no_history(place, error)
        return False
    except HistoryError as error:
        yield Finding(Mark.WRONG, str(error))
        return False
    with opened as store:
        try:
            if place.path:
                yield _sqlite()
            yield from _rows(store, revision)
            yield from _files(store)
        except HistoryError as error:
            yield Finding(Mark.WRONG, str(error))
    return True


def _sqlite() -> Finding:
    unsafe = "; keep it so: in this version a write-ahead log can be damaged by two processes"
    is_unsafe = is_wal_unsafe(sqlite3.sqlite_version_info[:3])
    return Finding(
        Mark.OK, f"SQLite {sqlite3.sqlite_version}, rollback journal{unsafe if is_unsafe else ''}"
    )


def is_wal_unsafe(version: tuple[int, int, int]) -> bool:
    """Tell whether this SQLite can lose data when two processes checkpoint at once.

    https://sqlite.org/wal.html#walresetbug
    """
    fixed = ((3, 44, 6), (3, 50, 7))
    return version < (3, 51, 3) and not any(
        version[:2] == patched[:2] and version >= patched for patched in fixed
    )


def _rows(store: Store, revision: str) -> Iterator[Finding]:
    yield Finding(Mark.OK, f"{store}: {count_of(store.count(), 'run')}, schema {revision}")
    if revision != HEAD:
        advice = f"the next run, and any command that reads it, upgrades it to {HEAD}"
        yield Finding(Mark.NOTE, f"the schema is of an older modeltune; {advice}")
    for problem in store.problems():
        yield Finding(Mark.WRONG, f"{store}: {problem}; restore a copy")
    if revision == HEAD:
        for run in store.ids():
            store.whole([run])


def _files(store: Store) -> Iterator[Finding]:
    whole, size = 0, 0
    for run, kind, artifact in store.files():
        try:
            verify(store.folder, artifact, run)
        except HistoryError as error:
            yield Finding(Mark.WRONG, f"{kind} of run {run}: {error}")
        else:
            whole += 1
            size += artifact.bytes
    for line in store.invalid.values():
        yield Finding(Mark.WRONG, line)
    files = count_of(whole, "file of a run, as it was", "files of runs, as they were")
    yield Finding(Mark.OK, f"{files} recorded ({size} bytes)")


def _waiting_runs(folder: Path, url: str | StoreUrl) -> Iterator[Finding]:
    for path in pending.waiting(folder):
        try:
            run = pending.read_pending(path).run
        except FileNotFoundError:
            # A flush has sent it.
            continue
        except HistoryError as error:
            yield Finding(Mark.WRONG, str(error))
            continue
        text = f"run {run.id} of {run.spec} waits to be recorded"
        yield Finding(Mark.WRONG, f"{text}: {pending.flush_command(url)}")
        for artifact in filter(None, (run.artifact, *run.files.values())):
            try:
                verify(folder, artifact, run.id)
            except HistoryError as error:
                yield Finding(Mark.WRONG, f"run {run.id}, which waits: {error}")


def _links(folder: Path) -> Iterator[Finding]:
    """Yield the folders of a store that are links: nothing is written or removed through them."""
    for name in ("artifacts", "pending", "features", "scratch"):
        path = folder / name
        if path.is_symlink():
            advice = "nothing is written or removed through it; put a folder in its place"
            yield Finding(Mark.WRONG, f"{path} is a link to {os.readlink(path)}: {advice}")


def _accepted_models(folder: Path) -> Iterator[Finding]:
    for path in project_baselines(folder):
        try:
            named = weights_of(path)
            if foreign := [name for name in named if not is_artifact_name(name)]:
                raise ValueError(f"{path} names {foreign[0]!r:.200}, which is no file of a run")
            gone = [name for name in named if not os.path.isfile(folder / name)]
        except (HistoryError, ValueError) as error:
            yield Finding(Mark.WRONG, str(error))
            continue
        if gone:
            text = "its model cannot be timed or scored on other data here; its scores still count"
            yield Finding(Mark.NOTE, f"{path}: {' and '.join(gone)} not there: {text}")


def _leftovers(url: str | StoreUrl, also: Iterable[str | StoreUrl], now: float) -> Finding:
    try:
        unneeded = leftovers(url, also, now=now)
    except HistoryError as error:
        return Finding(Mark.NOTE, f"files that nothing needs were not looked for: {error}")
    if not unneeded:
        return Finding(Mark.OK, "all files beside it are needed")
    size = sum(leftover.bytes for leftover in unneeded)
    files = count_of(len(unneeded), "file or folder is", "files or folders are")
    return Finding(Mark.NOTE, f"{files} not needed ({size} bytes); to remove: modeltune gc")


def _no_history(place: Place, error: NoHistoryError) -> Finding:
    if any((place.folder / "artifacts").glob("*.weights.h5")):
        return Finding(
            Mark.WRONG, f"{place} is gone, though files of its runs are there; restore it"
        )
    return Finding(Mark.NOTE, str(error))
