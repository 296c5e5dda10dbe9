"""Whether a history and its files are as they were recorded (``modeltune doctor``); changes nothing."""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modeltune.errors import HistoryError
from modeltune.histories import pending
from modeltune.histories.artifacts import verify
from modeltune.histories.places import Place, place_of
from modeltune.histories.store import HEAD, Store, exists, open_as_it_is
from modeltune.leftovers import leftovers, project_baselines, weights_of


class Mark(enum.Enum):
    """What a finding means to the user; only WRONG asks for something to be done."""

    OK = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and how it was found."""

    mark: Mark
    text: str


def examine(url: str, also: Iterable[str] = (), *, now: float) -> Iterator[Finding]:
    """Yield what is found of a history, its files, and what lies beside them.

    Args:
        url: the history.
        also: others whose files lie in the same folder, see ``leftovers``.
        now: the time, in seconds as in ``st_mtime``.
    """
    place = place_of(url)
    if place.path:
        engine = _sqlite(place, place.path)
        yield engine
        if engine.mark is Mark.WRONG:
            # Reading a write-ahead log would write beside it, to its shared memory.
            return
    try:
        if not exists(url):
            yield _no_history(place)
            return
        opened, revision = open_as_it_is(url)
    except HistoryError as error:
        yield Finding(Mark.WRONG, f"{error}{_interrupted(place)}")
        return
    with opened as store:
        try:
            yield from _rows(store, revision)
            yield from _files(store)
        except HistoryError as error:
            yield Finding(Mark.WRONG, f"{error}{_interrupted(place)}")
    yield from _waiting(place.folder)
    yield from _accepted(place.folder)
    yield _left(url, also, now)


def _sqlite(place: Place, path: Path) -> Finding:
    # Bytes 18 and 19 of the header: 1 is a rollback journal, 2 a write-ahead log.
    header = b""
    if path.is_file():
        with path.open("rb") as file:
            header = file.read(20)
    version = sqlite3.sqlite_version
    if header[18:20] == b"\2\2":
        text = f"{place} was switched to a write-ahead log by another program"
        back = "modeltune history switches it back; run modeltune doctor again after it"
        return Finding(Mark.WRONG, f"{text}; {back}")
    unsafe = "; keep it so: in this version a write-ahead log can be damaged by two processes"
    is_unsafe = is_wal_unsafe(sqlite3.sqlite_version_info[:3])
    return Finding(Mark.OK, f"SQLite {version}, rollback journal{unsafe if is_unsafe else ''}")


def is_wal_unsafe(version: tuple[int, int, int]) -> bool:
    """Tell whether this SQLite can lose what two processes checkpoint at once.

    https://sqlite.org/wal.html#walresetbug
    """
    fixed = ((3, 44, 6), (3, 50, 7))
    return version < (3, 51, 3) and not any(
        version[:2] == each[:2] and version >= each for each in fixed
    )


def _rows(store: Store, revision: str) -> Iterator[Finding]:
    count = store.count()
    runs = "1 run" if count == 1 else f"{count} runs"
    yield Finding(Mark.OK, f"{store}: {runs}, schema {revision}")
    if revision != HEAD:
        advice = f"the next run, and any command that reads it, upgrades it to {HEAD}"
        yield Finding(Mark.NOTE, f"the schema is of an older modeltune; {advice}")
    for problem in store.problems():
        yield Finding(Mark.WRONG, f"{store}: {problem}; restore a copy")


def _files(store: Store) -> Iterator[Finding]:
    whole, size = 0, 0
    for run, kind, artifact in store.files():
        try:
            verify(store.folder, artifact)
        except HistoryError as error:
            yield Finding(Mark.WRONG, f"{kind} of run {run}: {error}")
        else:
            whole += 1
            size += artifact.bytes
    files = "1 file of a run, as it was" if whole == 1 else f"{whole} files of runs, as they were"
    yield Finding(Mark.OK, f"{files} recorded ({size} bytes)")


def _waiting(folder: Path) -> Iterator[Finding]:
    for path in pending.waiting(folder):
        try:
            found = pending.read(path)
        except HistoryError as error:
            yield Finding(Mark.WRONG, str(error))
            continue
        text = f"run {found.run.id} of {found.run.spec} waits to be recorded: modeltune flush"
        yield Finding(Mark.WRONG, text)
        for artifact in filter(None, (found.run.artifact, *found.run.files.values())):
            try:
                verify(folder, artifact)
            except HistoryError as error:
                yield Finding(Mark.WRONG, f"run {found.run.id}, which waits: {error}")


def _accepted(folder: Path) -> Iterator[Finding]:
    for path in project_baselines(folder):
        try:
            gone = [name for name in weights_of(path) if not (folder / name).is_file()]
        except (HistoryError, ValueError) as error:
            yield Finding(Mark.WRONG, str(error))
            continue
        if gone:
            text = "its model cannot be timed or scored on other data here; its scores still count"
            yield Finding(Mark.NOTE, f"{path}: {' and '.join(gone)} not there: {text}")


def _left(url: str, also: Iterable[str], now: float) -> Finding:
    try:
        found = leftovers(url, also, now=now)
    except HistoryError as error:
        return Finding(Mark.NOTE, f"what nothing needs any more was not looked for: {error}")
    if not found:
        return Finding(Mark.OK, "nothing lies beside it that nothing needs")
    size = sum(each.bytes for each in found)
    counted = "1 file or folder" if len(found) == 1 else f"{len(found)} files or folders"
    return Finding(Mark.NOTE, f"{counted}, {size} bytes, that nothing needs: modeltune gc")


def _no_history(place: Place) -> Finding:
    if any((place.folder / "artifacts").glob("*.weights.h5")):
        return Finding(
            Mark.WRONG, f"{place} is gone, though files of its runs are there; restore it"
        )
    return Finding(Mark.NOTE, f"{place}: there is no history yet; the first run of a spec makes it")


def _interrupted(place: Place) -> str:
    journal = place.path and place.path.with_name(f"{place.path.name}-journal")
    if journal and journal.exists():
        return (
            f"; beside it is {journal.name}, of a process that writes or was killed while it did: "
            "keep both together, and run modeltune history, which takes back what was half written"
        )
    return ""
