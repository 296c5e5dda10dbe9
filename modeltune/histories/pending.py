"""Finished runs that could not be recorded: they wait on disk until ``flush`` records them."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import (
    HistoryError,
    ModeltuneError,
    StoreUrl,
    UnrecordableError,
    default_store,
    sync_folder,
)
from modeltune.histories.artifacts import is_artifact_name, keep
from modeltune.histories.places import place_of
from modeltune.histories.store import Store, open_store
from modeltune.records import Json, Run, from_json, to_json

PENDING_FOLDER = "pending"
"""Lies in a store's folder, beside the artifacts."""

PENDING_FORMAT = 2
"""The number in each file; it changes when a key changes its meaning."""


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
        name = f"{PENDING_FOLDER}/{run.id}.json"
        keep(store.folder, name, lambda path: path.write_text(content, encoding="utf-8"))
    except (TypeError, ValueError) as error:
        raise HistoryError(f"run {run.id} has no place in a record: {error}") from error
    return store.folder / name


def waiting(folder: Path) -> list[Path]:
    """Return the files of the runs that wait beside a history, sorted by name."""
    # ``artifacts.keep`` begins the names of unfinished files so.
    paths = (folder / PENDING_FOLDER).glob("*.json")
    return sorted(path for path in paths if not path.name.startswith("new-"))


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
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["pending"] > PENDING_FORMAT:
            raise ValueError(f"format {content['pending']}, of a newer modeltune: upgrade it")
        if _digest(_text(content["run"])) != content["sha256"]:
            raise ValueError("it was changed since it was written")
        run = from_json(content["run"])
        if path.stem != run.id:
            raise ValueError(f"it holds run {run.id}")
        return PendingRun(path, place_of(str(content["store"])).identity, run)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error}") from error
    except (HistoryError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise HistoryError(
            f"{path} does not hold a run to be recorded ({why}); restore the file, or remove it"
        ) from error


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
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise HistoryError(
            f"{path} cannot be removed ({error}), though its run is recorded in {store}; "
            "make its folder writable and flush again, or remove it"
        ) from error
    return pending.run


def _text(run: Json) -> str:
    return json.dumps(run, allow_nan=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
