"""Keep what has finished on disk the moment it finishes, so that a killed search goes on."""

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
    flush_to_disk,
    is_unlocked,
    make_folder,
    sync_folder,
    try_lock,
)
from modeltune.records import Json

FILE = "ledger.jsonl"

GONE = "gone-"
"""What the folder of a ledger is called while it is removed."""


class Ledger:
    """An append-only file of results by key, in a folder of their own.

    Each line is a checksum and a JSON value, flushed to the disk before ``put`` returns. A
    line that a kill has cut short ends the file when it is opened again.
    """

    def __init__(self, folder: Path, file: IO[bytes]):
        self.folder = folder
        self._file = file
        self._known: dict[str, Json] = {}
        end = 0
        for line in file:
            entry = _parsed(line)
            if entry is None:
                break
            self._known[entry["key"]] = entry["value"]
            end += len(line)
        file.seek(end)
        file.truncate()

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
            path = self.folder / FILE
            raise HistoryError(f"{path}: a finished trial cannot be kept: {error}") from error
        self._known[key] = value


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

        A search is another one when anything in ``identity`` differs. Its ledger is dropped
        when of the runs made from it some have ``ended``: then only its removal was cut short.

        Raises:
            HistoryError: the folder cannot be written; also what ``ended`` raises.
        """
        folder = (
            self._folder
            / sha256(json.dumps([spec, sorted(identity.items())]).encode()).hexdigest()[:16]
        )
        try:
            said = self._drop_others(spec, identity, folder)
            file = _locked(folder)
            if file is None:
                said = "another process is at the same search; this one starts from the beginning"
                folder = folder.with_name(f"{folder.name}-{run_id}")
                file = _locked(folder)
            assert file is not None  # the second folder bears this run's id
        except OSError as error:
            raise HistoryError(
                f"{folder} cannot be written ({error}); "
                "make the folder writable, or name another --modeltune-store"
            ) from error
        ledger = self.begun = Ledger(folder, file)
        runs = ledger.get("runs") or []
        if runs and ended(runs):
            file.seek(0)
            file.truncate()
            ledger, runs = Ledger(folder, file), []
        if trials := ledger.count("trial "):
            refits = ledger.count("refit ")
            counted = f"finished trials {trials}" + (f", refits {refits}" if refits else "")
            said = f"goes on where it was interrupted: {counted}"
        ledger.put("search", {"spec": spec, "identity": dict(identity)})
        ledger.put("runs", [*runs, run_id])
        self.begun = ledger
        return ledger, said

    def close(self, keep_as: str | None = None, drop: bool = True) -> None:
        """Remove the ledger in use and its folder, keep it under a name, or leave it to go on."""
        if self.begun is None:
            return
        # Nobody else may be at it before it is gone from here.
        with self.begun._file, contextlib.suppress(OSError):
            if keep_as is not None and drop:
                self.begun.folder.rename(self._folder / keep_as)
            elif drop:
                _remove(self.begun.folder)
        self.begun = None

    def _drop_others(self, spec: str, identity: Mapping[str, str], own: Path) -> str | None:
        """Remove interrupted searches of this spec that have become others; say what changed."""
        said = None
        for folder in self._folder.glob(f"{GONE}*"):
            # Whoever removed it was killed, or is at it still.
            shutil.rmtree(folder, ignore_errors=True)
        for path in sorted(self._folder.glob(f"*/{FILE}")):
            folder = path.parent
            if folder == own or folder.name.startswith(GONE):
                continue
            with _reading(path) as ledger:
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
                    said = (
                        f"starts anew, without the {trials} finished trials of an interrupted "
                        f"search: {', '.join(changed)} changed"
                    )
                with contextlib.suppress(OSError):
                    _remove(folder)
        return said


def runs_of(folder: Path) -> tuple[list[str], bool]:
    """Return the ids of the runs a ledger has served, and whether one is at it now.

    The ledger is left as it is, whoever has it open.
    """
    with (folder / FILE).open("rb") as file:
        is_free = is_unlocked(file)
        runs: list[str] = []
        for entry in iter(partial(_next, file), None):
            if entry["key"] == "runs":
                runs = entry["value"]
    return runs, not is_free


def remove_ledger(folder: Path) -> bool:
    """Remove a ledger and its folder, unless a run is at it; tell whether it is gone."""
    with _reading(folder / FILE) as ledger:
        if ledger is None:
            return False
        _remove(folder)
    return True


def _remove(folder: Path) -> None:
    """Remove the folder of a ledger that this process has locked.

    Under a name of its own first: a ledger is there whole or not at all, and who begins the
    same search meanwhile has another folder.
    """
    doomed = folder.with_name(f"{GONE}{uuid.uuid4().hex}")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _next(file: IO[bytes]) -> Json:
    return _parsed(file.readline())


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Ledger | None]:
    """Lend a ledger that nobody else has open, or None."""
    file = _locked(path.parent)
    if file is None:
        yield None
        return
    with file:
        yield Ledger(path.parent, file)


def _locked(folder: Path) -> IO[bytes] | None:
    """Open a folder's ledger for this process alone; None when another process has it.

    The lock goes with the process, however it ends.
    """
    while True:
        make_folder(folder)
        file = (folder / FILE).open("a+b")
        if not try_lock(file):
            file.close()
            return None
        # Whoever had it may have removed it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat((folder / FILE).stat(), os.fstat(file.fileno())):
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
