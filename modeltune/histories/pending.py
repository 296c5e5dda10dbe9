"""Finished runs that could not be recorded: they wait on disk until ``flush`` records them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import (
    MEBIBYTE,
    HistoryError,
    ModeltuneError,
    StoreUrl,
    UnrecordableError,
    default_store,
    first_line,
    read_json,
    remove_file,
    shorten,
    sync_folder,
)
from modeltune.histories.artifacts import is_artifact_name, keep
from modeltune.histories.places import place_of
from modeltune.histories.store import Store, open_store
from modeltune.records import Json, Run, from_json, to_json

PENDING_FOLDER = "pending"
"""Lies in a store's folder, beside the artifacts."""

ASIDE_SUFFIX = ".damaged"
"""How the name of a file ends that was set aside."""

PENDING_FORMAT = 2
"""The number in each file; it changes when a key changes its meaning."""

LARGEST_WAITING = 256 * MEBIBYTE
"""Bytes; a larger file is neither written nor read."""


class DamagedRunError(HistoryError):
    """A file of a waiting run was changed, cut short or forged."""


class NewerRunError(HistoryError):
    """A file of a waiting run was written by a newer modeltune."""


@dataclass(frozen=True)
class PendingRun:
    """A run that waits, and the store it was meant for, as a URL without password."""

    path: Path
    store: str
    run: Run


def spool(store: Store, run: Run) -> Path:
    """Keep a run that cannot be recorded; once this returns, it survives a power loss.

    Raises:
        HistoryError: it cannot be kept here either.
    """
    try:
        recorded = _text(to_json(run))
        content = json.dumps(
            {
                "pending": PENDING_FORMAT,
                "store": store.identity,
                "sha256": _digest(recorded),
                "run": json.loads(recorded),
            },
            allow_nan=False,
        )
        if len(content) > LARGEST_WAITING:
            raise ValueError(f"its record has more than {LARGEST_WAITING // MEBIBYTE} MiB")
        name = f"{PENDING_FOLDER}/{run.id}.json"
        keep(store.folder, name, lambda path: path.write_text(content, encoding="utf-8"))
    except (TypeError, ValueError) as error:
        raise HistoryError(f"run {run.id} has no place in a record: {error}") from error
    return store.folder / name


def waiting(folder: Path) -> list[Path]:
    """Return the files of the runs that wait beside a history, sorted by name."""
    return [path for path in _files(folder) if path.suffix == ".json" and not is_draft(path)]


def set_aside(folder: Path) -> list[Path]:
    """Return the damaged files that a flush has set aside, sorted by name."""
    return [path for path in _files(folder) if path.suffix == ASIDE_SUFFIX]


def is_draft(path: Path) -> bool:
    """Tell whether the name of a file is that of one which is not finished."""
    # ``artifacts.keep`` begins their names so.
    return bool(re.fullmatch(r"new-.*\.json", path.name))


def waiting_run(path: Path) -> str | None:
    """Return the run that a file belongs to by its name, also one set aside; None for other names."""
    match = re.fullmatch(rf"([0-9a-f]{{16}})\.json(\.\w+)?({re.escape(ASIDE_SUFFIX)})?", path.name)
    return match and match[1]


def waiting_for(url: str | StoreUrl) -> list[Path]:
    """Return the files of the runs that wait in the folder of the history at this URL."""
    return waiting(place_of(url).folder)


def read_pending(path: Path) -> PendingRun:
    """Return what ``spool`` kept, equal in every field.

    Raises:
        FileNotFoundError: the file is gone; another process has recorded its run.
        HistoryError: the file is damaged, or is something else.
    """
    try:
        content = read_json(path, LARGEST_WAITING)
        if not isinstance(content, dict):
            raise ValueError(f"it is no object, but {shorten(json.dumps(content), 40)}")
        if _format_of(content) > PENDING_FORMAT:
            raise NewerRunError(
                f"{path} does not hold a run to be recorded (format {content['pending']}, of a newer "
                "modeltune: upgrade it); restore the file, or remove it"
            )
        if _digest(_text(content["run"])) != content["sha256"]:
            raise ValueError("it was changed since it was written")
        run = from_json(content["run"])
        if path.stem != run.id:
            raise ValueError(f"it holds run {run.id}")
        return PendingRun(path, place_of(str(content["store"])).identity, run)
    except FileNotFoundError:
        raise
    except OSError as error:
        kind = DamagedRunError if error.errno == errno.EINVAL else HistoryError
        raise kind(f"{path} cannot be read: {error}") from error
    except NewerRunError:
        raise
    except _NO_RUN as error:
        why = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise DamagedRunError(
            f"{path} does not hold a run to be recorded ({why}); restore the file, or remove it"
        ) from error


_NO_RUN = (HistoryError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError)


def _format_of(content: Json) -> int:
    number = content["pending"]
    if type(number) is not int:
        raise TypeError(f"format {number!r:.100}")
    return number


def flush(url: str | StoreUrl, *, is_named: bool) -> Iterator[tuple[bool, str]]:
    """Record the runs that wait beside the history at a URL; yield for each if it was, and a line.

    A file is removed once its run is recorded. Recording a run again does nothing, so a flush
    that was cut short can be repeated.

    Args:
        url: where to record.
        is_named: whether the user has named this store; if not, runs that were meant for another
            store stay.

    Raises:
        HistoryError: the store cannot be opened; nothing is recorded.
    """
    place = place_of(url)
    paths = waiting(place.folder)
    if not paths:
        return
    with open_store(url, keep=True) as store:
        for path in paths:
            try:
                run = _record(path, store, is_named)
            except FileNotFoundError:
                # Another flush has recorded it.
                continue
            except UnrecordableError as error:
                yield False, f"{error}; it can never be recorded: remove {path}"
            except DamagedRunError as error:
                yield False, f"{error}{_set_aside(path)}"
            except HistoryError as error:
                yield False, str(error)
            else:
                yield True, f"recorded: run {run.id} of {run.spec} ({run.status.value}) in {store}"


def flush_command(url: str | StoreUrl) -> str:
    """Return the command that records what waits for a store; it shows no password."""
    history = place_of(url).identity
    try:
        is_default = place_of(default_store()).identity == history
    except ModeltuneError:
        is_default = False
    return "modeltune flush" if is_default else f"modeltune flush --store {shlex.quote(history)}"


def _record(path: Path, store: Store, is_named: bool) -> Run:
    pending = read_pending(path)
    if not is_named and pending.store != store.identity:
        raise HistoryError(
            f"{path}: its run was meant for {pending.store}; to record it there: "
            f"modeltune flush --store {shlex.quote(pending.store)}"
        )
    for file in filter(None, (pending.run.artifact, *pending.run.files.values())):
        if not is_artifact_name(file.path):
            name = json.dumps(f"{file.path:.200}")
            raise UnrecordableError(f"{path}: its run names {name}, which is no file of a run")
    store.record(pending.run)
    try:
        # Another flush may have recorded the same run.
        remove_file(path)
        sync_folder(path.parent)
    except OSError as error:
        raise HistoryError(
            f"{path} cannot be removed ({error}), though its run is recorded in {store}; "
            "make its folder writable and flush again, or remove it"
        ) from error
    return pending.run


def _set_aside(path: Path) -> str:
    """Give a damaged file a name under which it waits no more; say which."""
    aside = path.with_name(f"{path.name}{ASIDE_SUFFIX}")
    number = 0
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.{number}{ASIDE_SUFFIX}")
    try:
        path.rename(aside)
    except OSError as error:
        return f"; it could not be set aside: {error}"
    with contextlib.suppress(OSError):
        sync_folder(path.parent)
    return f"; it was set aside as {aside.name}"


def _files(folder: Path) -> list[Path]:
    """Return what is in the folder of waiting runs, sorted by name; of a link nothing."""
    place = folder / PENDING_FOLDER
    return [] if place.is_symlink() else sorted(place.glob("*"))


def _text(run: Json) -> str:
    return json.dumps(run, allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
