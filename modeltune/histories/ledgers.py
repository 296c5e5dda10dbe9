"""Keep every finished trial and refit on disk at once, so that a killed search can be resumed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

from modeltune.ground import (
    MARK,
    MEBIBYTE,
    HistoryError,
    count_of,
    first_line,
    flush_to_disk,
    free_space,
    irregular_in,
    is_disk_full,
    is_marked,
    is_unlocked,
    make_folder,
    mark_folder,
    open_own,
    open_regular,
    parse_json,
    refuse_link,
    remove_marked,
    sync_folder,
    try_lock,
)
from modeltune.histories.artifacts import is_run_id
from modeltune.records import Json

LEDGER_FILE = "ledger.jsonl"

GONE = "gone-"
"""What the folder of a ledger is called while it is removed."""

ASIDE = "aside-"
"""How the names begin of what was found in the place of a ledger, and of damaged ledgers."""

NO_SEARCH = (GONE, ASIDE)
"""How the names of folders begin that no run resumes, whatever they hold."""

LONGEST_LINE, LARGEST_LEDGER = 64 * MEBIBYTE, 512 * MEBIBYTE
"""Bytes; what exceeds these is not written, and is trained again when a run resumes."""


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
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        if not os.fstat(self._file.fileno()).st_nlink:
            raise HistoryError(
                f"{self.folder} was removed while a run used it, and with it the trials that had "
                "finished; remove nothing below .modeltune while a run is under way, and run it again"
            )
        try:
            if len(line) <= LONGEST_LINE and self._file.tell() + len(line) <= LARGEST_LEDGER:
                self._file.write(line)
                flush_to_disk(self._file)
        except OSError as error:
            path = self.folder / LEDGER_FILE
            free = free_space(self.folder)
            raise HistoryError(f"{path}: a finished trial cannot be kept: {error}{free}") from error
        self._known[key] = value


@dataclass(frozen=True)
class LedgerContent:
    """What a ledger holds: values by key, where they end, and what is wrong with the rest."""

    known: dict[str, Json] = field(default_factory=dict)
    end: int = 0
    damage: str | None = None

    @property
    def runs(self) -> list[str]:
        """The ids of the runs that used it."""
        return list(self.known.get("runs") or ())


def read_ledger(file: IO[bytes], until: str | None = None) -> LedgerContent:
    """Return what is in a ledger up to its end, or to the first line that no ledger has.

    A last line that a kill has cut short is no damage. After the first value that is not empty
    under the key ``until``, no more is read.
    """
    known: dict[str, Json] = {}
    file.seek(0)
    end, number = 0, 0
    if (size := os.fstat(file.fileno()).st_size) > LARGEST_LEDGER:
        return LedgerContent(damage=f"it has {size} bytes, more than any ledger")
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        try:
            key, value = _parsed(line)
        except (ValueError, KeyError, TypeError) as error:
            if not line.endswith(b"\n") and len(line) <= LONGEST_LINE:
                break
            return LedgerContent(known, end, f"line {number}: {first_line(error)}")
        known[key] = value
        end += len(line)
        if key == until and value:
            break
    return LedgerContent(known, end)


def open_ledger(folder: Path, file: IO[bytes]) -> Ledger:
    """Return the ledger in a file, and cut off what ``read_ledger`` does not read of it."""
    return _opened(folder, file, read_ledger(file))


def _opened(folder: Path, file: IO[bytes], content: LedgerContent) -> Ledger:
    file.seek(content.end)
    file.truncate()
    return Ledger(folder, file, content.known)


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
        notes: list[str] = []
        try:
            refuse_link(self._folder)
            notes += filter(None, [self._drop_others(spec, identity, folder), _set_aside(folder)])
            file = _locked(folder)
            if file is None:
                notes = [
                    "another process runs the same search; this run starts from the first trial"
                ]
                folder = folder.with_name(f"{folder.name}-{run_id}")
                file = _locked(folder)
            assert file is not None  # the second folder bears this run's id
            # A ledger may be large: it is read once, under its lock.
            content = read_ledger(file)
            notes += filter(None, [_keep_damaged(folder, file, content)])
        except OSError as error:
            if is_disk_full(error):
                free = f"{free_space(folder)}; free some space, then run again"
                raise HistoryError(f"{folder} cannot be written: {error}{free}") from error
            raise HistoryError(
                f"{folder} cannot be written ({error}); "
                "make the folder writable, or name another --modeltune-store"
            ) from error
        ledger = self.begun = _opened(folder, file, content)
        runs = list(ledger.get("runs") or ())
        if runs and ended(runs):
            file.seek(0)
            file.truncate()
            ledger, runs = open_ledger(folder, file), []
        if trials := ledger.count("trial "):
            resumed = f"resumes after {count_of(trials, 'finished trial')}"
            if refits := ledger.count("refit "):
                resumed += f" and {count_of(refits, 'refit')}"
            notes.append(resumed)
        ledger.put("search", {"spec": spec, "identity": dict(identity)})
        ledger.put("runs", [*runs, run_id])
        self.begun = ledger
        return ledger, "; ".join(notes) or None

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
            with contextlib.suppress(OSError):
                remove_gone(folder)
        for folder in _searches(self._folder):
            if folder == own:
                continue
            with _unused_ledger(folder) as ledger:
                search = ledger and ledger.known.get("search")
                if ledger is None or not search or search["spec"] != spec or ledger.damage:
                    continue
                if folder.name in ledger.runs:
                    continue  # kept under its run's name, because the user wanted it
                changed = [
                    name
                    for name in sorted(identity.keys() | search["identity"].keys())
                    if identity.get(name) != search["identity"].get(name)
                ]
                if trials := sum(key.startswith("trial ") for key in ledger.known):
                    lost = count_of(trials, "finished trial")
                    note = (
                        f"starts from the first trial, without the {lost} of an interrupted "
                        f"search: {', '.join(changed)} changed"
                    )
                with contextlib.suppress(OSError):
                    _remove(folder)
        return note


@dataclass(frozen=True)
class BegunRun:
    """A run that used a ledger: what it put under ``run <id>`` when it began, and how many trials are kept."""

    id: str
    begun: Json
    trials: int


def left_runs(folder: Path) -> Iterator[BegunRun]:
    """Yield the runs whose ledgers lie in a folder and are used by no process any more."""
    for search in _searches(folder):
        with _unused_ledger(search) as ledger:
            if ledger is None:
                continue
            trials = sum(key.startswith("trial ") for key in ledger.known)
            kept = [(run, ledger.known.get(f"run {run}")) for run in ledger.runs]
        yield from (BegunRun(run, begun, trials) for run, begun in kept if begun is not None)


@dataclass(frozen=True)
class LedgerState:
    """The runs that used a ledger, whether one uses it now, and what is wrong with it."""

    runs: Sequence[str]
    is_live: bool
    damage: str | None


def state_of(folder: Path, until: str | None = None) -> LedgerState:
    """Return the state of the ledger in a folder, which stays as it is, whoever has it open.

    Args:
        folder: the folder.
        until: as of ``read_ledger``.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with open_regular(folder / LEDGER_FILE, through_links=False) as file:
            is_free = is_unlocked(file)
            content = read_ledger(file, until)
    except OSError as error:
        if error.errno not in _IRREGULAR:
            raise
        return LedgerState((), False, error.strerror)
    return LedgerState(content.runs, not is_free, content.damage)


_IRREGULAR = (errno.ELOOP, errno.EINVAL, errno.EISDIR)
"""What ``open_regular`` says about what is no regular file."""


def remove_ledger(folder: Path) -> bool:
    """Remove a ledger and its folder unless a run uses it; tell whether it is gone."""
    with _unused_ledger(folder) as ledger:
        return ledger is not None and _remove(folder)


def remove_gone(folder: Path) -> bool:
    """Remove what is left of a ledger's folder whose removal was cut short; tell whether it is gone."""
    if re.fullmatch(f"{GONE}[0-9a-f]{{32}}", folder.name):
        # The mark goes last, and then the empty folder.
        with contextlib.suppress(OSError):
            folder.rmdir()
            return True
    return remove_marked(folder)


def _remove(folder: Path) -> bool:
    """Remove the folder of a ledger that this process has locked; tell whether it was ours.

    It is renamed first: so it is there whole or not at all, and a process that begins the same
    search meanwhile gets another folder.
    """
    if not is_marked(folder):
        return False
    doomed = folder.with_name(f"{GONE}{uuid.uuid4().hex}")
    folder.rename(doomed)
    return remove_marked(doomed)


def _searches(folder: Path) -> list[Path]:
    """Return the folders of searches that have a ledger, sorted."""
    places = sorted(path.parent for path in folder.glob(f"*/{LEDGER_FILE}"))
    return [place for place in places if not place.name.startswith(NO_SEARCH)]


@contextlib.contextmanager
def _unused_ledger(folder: Path) -> Iterator[LedgerContent | None]:
    """Lend what is in a folder's ledger; None when another process has it open, or it is none."""
    try:
        file = open_regular(folder / LEDGER_FILE, through_links=False)
    except OSError:
        yield None
        return
    with file:
        if folder.is_symlink() or not try_lock(file) or not _is_still(folder, file):
            yield None
            return
        content = read_ledger(file)
        if "search" in content.known:
            # One that an earlier modeltune has begun has no mark.
            with contextlib.suppress(OSError):
                mark_folder(folder)
        yield content


def _locked(folder: Path) -> IO[bytes] | None:
    """Open a folder's ledger for this process alone; None when another process has it.

    The lock goes with the process, however it ends.
    """
    while True:
        make_folder(folder)
        # The process that had it may remove it meanwhile.
        try:
            mark_folder(folder)
            file = open_own(folder / LEDGER_FILE)
        except FileNotFoundError:
            continue
        if not try_lock(file):
            file.close()
            return None
        if _is_still(folder, file):
            sync_folder(folder)
            return file
        file.close()


def _is_still(folder: Path, file: IO[bytes]) -> bool:
    """Tell whether a folder's ledger is still the open file."""
    try:
        return os.path.samestat((folder / LEDGER_FILE).lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _set_aside(folder: Path) -> str | None:
    """Rename what has the name of a ledger's folder and is none; say so."""
    if not os.path.lexists(folder):
        return None
    problem = irregular_in(folder) if folder.is_dir() else None
    if folder.is_symlink() or not folder.is_dir():
        why = "it is no folder"
    elif problem is not None:
        why = f"{problem.relative_to(folder)} in it is a link, a pipe or a device"
    elif (state := _state_if_there(folder)) and state.damage and not state.runs:
        why = f"{LEDGER_FILE} in it is no ledger: {state.damage}"
    elif (
        state is None
        and any(path.name != MARK for path in folder.iterdir())
        and not is_marked(folder)
    ):
        why = "modeltune did not make it"
    else:
        return None
    aside = folder.with_name(f"{ASIDE}{uuid.uuid4().hex[:8]}-{folder.name}")
    folder.rename(aside)
    return f"{folder} cannot be resumed ({why}); it was set aside as {aside.name}"


def _state_if_there(folder: Path) -> LedgerState | None:
    try:
        return state_of(folder, until="runs")
    except FileNotFoundError:
        return None


def _keep_damaged(folder: Path, file: IO[bytes], content: LedgerContent) -> str | None:
    """Copy a damaged ledger beside its folder before it is cut off at the damage; say so."""
    if content.damage is None:
        return None
    aside = folder.with_name(f"{ASIDE}{uuid.uuid4().hex[:8]}-{folder.name}.jsonl")
    file.seek(0)
    with open_own(aside) as copy:
        shutil.copyfileobj(file, copy)
        flush_to_disk(copy)
    sync_folder(aside.parent)
    return (
        f"{folder / LEDGER_FILE} is damaged ({content.damage}): what it holds before that counts, "
        f"and all of it was set aside as {aside.name}"
    )


def _parsed(line: bytes) -> tuple[str, Json]:
    """Return key and value of a whole line.

    Raises:
        ValueError, KeyError, TypeError: the line was cut short, damaged or forged.
    """
    checksum, _, text = line.partition(b" ")
    if not text.endswith(b"\n"):
        raise ValueError("it is cut short")
    if not re.fullmatch(b"[0-9a-f]{8}", checksum) or int(checksum, 16) != zlib.crc32(text[:-1]):
        raise ValueError("its checksum does not fit")
    entry = parse_json(text[:-1])
    key, value = entry["key"], entry["value"]
    if not isinstance(key, str) or not _IS_VALUE.get(key, _is_any)(value):
        raise ValueError(f"{key!r:.100} has a value that no ledger has")
    return key, value


def _is_any(value: Json) -> bool:
    return True


def _is_search(value: Json) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("spec"), str):
        return False
    identity = value.get("identity")
    return isinstance(identity, dict) and all(isinstance(part, str) for part in identity.values())


def _are_runs(value: Json) -> bool:
    return isinstance(value, list) and all(map(is_run_id, value))


_IS_VALUE: dict[str, Callable[[Json], bool]] = {"search": _is_search, "runs": _are_runs}
