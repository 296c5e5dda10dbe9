"""Copy the runs of one history into another, with the files that belong to them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from modeltune.ground import HistoryError, InvalidRunError, UnrecordableError
from modeltune.histories.artifacts import artifact_path, copy_to, drop, foreign_files, keep, verify
from modeltune.histories.store import Store
from modeltune.records import Artifact, Run, to_json


@dataclass(frozen=True)
class MergeReport:
    """What a merge of two histories did.

    Args:
        copied: the ids of the runs that were copied; ``present``: those that were there already.
        refused: a line for each run that was left out, with the reason.
        lost: a line for each file that was left out although its run was copied.
        lacks_files: whether a run was refused for want of its files alone.
        stopped: why the merge ended before the last run, None when it reached it.
    """

    copied: Sequence[str]
    present: Sequence[str]
    refused: Sequence[str]
    lost: Sequence[str]
    lacks_files: bool = False
    stopped: HistoryError | None = None


def merge(into: Store, other: Store, *, without_files: bool = False) -> MergeReport:
    """Copy the runs that ``into`` lacks from ``other``, one by one in the order of their creation.

    A run's files come before its row, so that another merge finishes an interrupted one: merging
    twice is merging once. Files are streamed, and checked by their digests. A run is left out whole
    when both histories hold it with different content, or when its files are gone or changed.

    Args:
        into: the history that grows. Its newest run is then the last of those copied:
            the order of a history is that of recording.
        other: the history that is read.
        without_files: also copy runs whose files are gone or changed, without those files.

    Raises:
        HistoryError: a history cannot be read at all; nothing is copied.
    """
    refused: list[str] = []
    merged = MergeReport(copied := [], present := [], refused, lost := [])
    ids = other.ids()
    refused += other.invalid.values()
    known = into.known(ids)
    try:
        for id_ in ids:
            try:
                run = other.run(id_)
                is_same = id_ not in known or to_json(into.run(id_)) == to_json(run)
            except InvalidRunError as error:
                refused.append(str(error))
                continue
            if not is_same:
                refused.append(f"run {id_} of {run.spec} differs between {into} and {other}")
                continue
            if foreign := foreign_files(run):
                refused.append(f"run {id_} of {run.spec}: {'; '.join(foreign)}")
                continue
            needed, problems = _needed_files(run, other.folder, into.folder)
            if not problems or without_files:
                problems += _bring(run, needed, other.folder, into.folder)
            if problems and not without_files:
                merged = replace(merged, lacks_files=True)
                refused.append(f"run {id_} of {run.spec}: {'; '.join(problems)}")
                continue
            lost += problems
            if id_ in known:
                present.append(id_)
                continue
            try:
                into.record(run)
            except UnrecordableError as error:
                for artifact in needed.values():
                    drop(into.folder, artifact.path)
                refused.append(str(error))
            else:
                copied.append(id_)
    except HistoryError as error:
        # The caller tells what was copied before.
        return replace(merged, stopped=error)
    return merged


def _needed_files(run: Run, source: Path, target: Path) -> tuple[dict[Path, Artifact], list[str]]:
    """Return the run's files to copy, by their paths, and why others cannot be copied."""
    needed, problems = {}, []
    for artifact in filter(None, (run.artifact, *run.files.values())):
        try:
            # There already after an earlier merge, or where both histories lie in one folder.
            if os.path.lexists(artifact_path(target, artifact, run.id)):
                present = verify(target, artifact, run.id)
                with contextlib.suppress(PermissionError):
                    # A ``modeltune gc`` beside this leaves alone what is fresh.
                    os.utime(present, follow_symlinks=False)
            else:
                needed[verify(source, artifact, run.id)] = artifact
        except (HistoryError, FileNotFoundError) as error:
            problems.append(str(error))
    return needed, problems


def _bring(run: Run, needed: dict[Path, Artifact], source: Path, target: Path) -> list[str]:
    """Copy files of a run into a folder, all or none; return the problems that prevented it."""
    with contextlib.ExitStack() as undo:
        for path, artifact in needed.items():
            copy = partial(copy_to, source, artifact, run.id)
            kept = keep(target, artifact.path, copy, artifact.refit)
            undo.callback(drop, target, artifact.path)
            if kept != artifact:
                return [f"{path} changed while it was copied"]
        undo.pop_all()
    return []
