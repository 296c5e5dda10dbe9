"""Keep every finished trial and refit on disk at once, so that a killed search can be resumed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO

from modeltune.ground import (
    HistoryError,
    count_of,
    flush_to_disk,
    is_unlocked,
    make_folder,
    sync_folder,
    try_lock,
)
from modeltune.records import Json

LEDGER_FILE = "ledger.jsonl"

GONE = "gone-"
"""What the folder of a ledger is called while it is removed."""


class Ledger:
    """An append-only file of results by key, in a folder of its own; see ``open_ledger``.

    Each line is a checksum and a JSON value, flushed to the disk before ``put`` returns. A
    line that a kill has cut short ends the file when it is opened again.
    """

    def __init__(self, folder: Path, file: IO[bytes], known: dict[str, Json]):
        self.folder = folder
        self._file = file
        self._known = known

    def get(self, key: str) -> Json:
        """Return the value put under this key last, or None."""
        return self._known.get(key)

    def position(self, key: str) -> int:
        """Return how many keys were put before this one; it is known."""
        return list(self._known).index(key)

    def count(self, prefix: str) -> int:
        """Return how many keys begin with this."""
        return sum(key.startswith(prefix) for key in self._known)

    def put(self, key: str, value: Json) -> None:
        """Add a value; once this returns, a kill or a power loss does not take it away.

        Raises:
            HistoryError: it could not be written.
        """
        text = json.dumps({"key": key, "value": value}, allow_nan=False).encode()
        try:
            self._file.write(b"%08x %s\n" % (zlib.crc32(text), text))
            flush_to_disk(self._file)
        except OSError as error:
            path = self.folder / LEDGER_FILE
            raise HistoryError(f"{path}: a finished trial cannot be kept: {error}") from error
        self._known[key] = value


def open_ledger(folder: Path, file: IO[bytes]) -> Ledger:
    """Return the ledger in a file that stands at its beginning, and cut off an unfinished line."""
    known: dict[str, Json] = {}
    end = 0
    for line in file:
        entry = _parsed(line)
        if entry is None:
            break
        known[entry["key"]] = entry["value"]
        end += len(line)
    file.seek(end)
    file.truncate()
    return Ledger(folder, file, known)


class Ledgers:
    """The ledgers beside a history, one folder per search; ``begun`` is the one in use."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.begun: Ledger | None = None

    def begin(
        self,
        spec: str,
        identity: Mapping[str, str],
        run_id: str,
        ended: Callable[[Sequence[str]], Collection[str]],
    ) -> tuple[Ledger, str | None]:
        """Open the ledger of this search, or a new one; return it and what the user should know.

        A search is another one when anything in ``identity`` differs. If some of the runs that
        used a ledger have ``ended``, only its removal was cut short: it is emptied.

        Raises:
            HistoryError: the folder cannot be written; also what ``ended`` raises.
        """
        facts = json.dumps([spec, sorted(identity.items())]).encode()
        folder = self._folder / sha256(facts).hexdigest()[:16]
        try:
            note = self._drop_others(spec, identity, folder)
            file = _locked(folder)
            if file is None:
                note = "another process runs the same search; this run starts from the first trial"
                folder = folder.with_name(f"{folder.name}-{run_id}")
                file = _locked(folder)
            assert file is not None  # the second folder bears this run's id
        except OSError as error:
            raise HistoryError(
                f"{folder} cannot be written ({error}); "
                "make the folder writable, or name another --modeltune-store"
            ) from error
        ledger = self.begun = open_ledger(folder, file)
        runs = ledger.get("runs") or []
        if runs and ended(runs):
            file.seek(0)
            file.truncate()
            ledger, runs = open_ledger(folder, file), []
        if trials := ledger.count("trial "):
            note = f"resumes after {count_of(trials, 'finished trial')}"
            if refits := ledger.count("refit "):
                note += f" and {count_of(refits, 'refit')}"
        ledger.put("search", {"spec": spec, "identity": dict(identity)})
        ledger.put("runs", [*runs, run_id])
        self.begun = ledger
        return ledger, note

    def close(self, keep_as: str | None = None, drop: bool = True) -> None:
        """Remove the ledger in use and its folder, or keep it: under a name, or to be resumed."""
        if self.begun is None:
            return
        # The lock is held until the folder is gone, so that no other process gets it before.
        with self.begun._file, contextlib.suppress(OSError):
            if keep_as is not None and drop:
                self.begun.folder.rename(self._folder / keep_as)
            elif drop:
                _remove(self.begun.folder)
        self.begun = None

    def _drop_others(self, spec: str, identity: Mapping[str, str], own: Path) -> str | None:
        """Remove interrupted searches of this spec that have become others; say what changed."""
        note = None
        for folder in self._folder.glob(f"{GONE}*"):
            # The process that removed it was killed, or is still removing it.
            shutil.rmtree(folder, ignore_errors=True)
        for path in sorted(self._folder.glob(f"*/{LEDGER_FILE}")):
            folder = path.parent
            if folder == own or folder.name.startswith(GONE):
                continue
            with _unused_ledger(folder) as ledger:
                search = ledger and ledger.get("search")
                if ledger is None or not search or search["spec"] != spec:
                    continue
                if folder.name in (ledger.get("runs") or ()):
                    continue  # kept under its run's name, because the user wanted it
                changed = [
                    name
                    for name in sorted(identity.keys() | search["identity"].keys())
                    if identity.get(name) != search["identity"].get(name)
                ]
                if trials := ledger.count("trial "):
                    lost = count_of(trials, "finished trial")
                    note = (
                        f"starts from the first trial, without the {lost} of an interrupted "
                        f"search: {', '.join(changed)} changed"
                    )
                with contextlib.suppress(OSError):
                    _remove(folder)
        return note


def runs_of(folder: Path) -> tuple[list[str], bool]:
    """Return the ids of the runs that used a ledger, and whether one is using it now.

    The ledger stays as it is, whoever has it open.
    """
    with (folder / LEDGER_FILE).open("rb") as file:
        is_free = is_unlocked(file)
        runs: list[str] = []
        for entry in iter(partial(_next, file), None):
            if entry["key"] == "runs":
                runs = entry["value"]
    return runs, not is_free


def remove_ledger(folder: Path) -> bool:
    """Remove a ledger and its folder unless a run uses it; tell whether it is gone."""
    with _unused_ledger(folder) as ledger:
        if ledger is None:
            return False
        _remove(folder)
    return True


def _remove(folder: Path) -> None:
    """Remove the folder of a ledger that this process has locked.

    It is renamed first: so it is there whole or not at all, and a process that begins the same
    search meanwhile gets another folder.
    """
    doomed = folder.with_name(f"{GONE}{uuid.uuid4().hex}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _next(file: IO[bytes]) -> Json:
    return _parsed(file.readline())


@contextlib.contextmanager
def _unused_ledger(folder: Path) -> Iterator[Ledger | None]:
    """Lend the ledger in a folder, or None when another process has it open."""
    file = _locked(folder)
    if file is None:
        yield None
        return
    with file:
        yield open_ledger(folder, file)


def _locked(folder: Path) -> IO[bytes] | None:
    """Open a folder's ledger for this process alone; None when another process has it.

    The lock goes with the process, however it ends.
    """
    while True:
        make_folder(folder)
        file = (folder / LEDGER_FILE).open("a+b")
        if not try_lock(file):
            file.close()
            return None
        # The process that had it may have removed it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat((folder / LEDGER_FILE).stat(), os.fstat(file.fileno())):
                sync_folder(folder)
                file.seek(0)
                return file
        file.close()


def _parsed(line: bytes) -> Json:
    """Return the entry of a whole line, None of one that was cut short or damaged."""
    checksum, _, text = line.partition(b" ")
    if not text.endswith(b"\n"):
        return None
    text = text[:-1]
    try:
        return json.loads(text) if int(checksum, 16) == zlib.crc32(text) else None
    except ValueError:
        return None
