"""Files kept with a run: written whole or not at all, and checked before they are trusted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from modeltune.ground import (
    MEBIBYTE,
    HistoryError,
    InvalidRunError,
    append_durably,
    free_space,
    make_folder,
    open_regular,
    read_bounded,
    remove_file,
    write_durably,
)
from modeltune.records import LARGEST_ARCHITECTURE, Artifact, Run

ARTIFACTS = "artifacts"
HISTORIES = "histories.txt"
"""The file beside the artifacts that lists the histories on servers that name some of them."""

LARGEST_LIST = MEBIBYTE
"""Bytes of ``HISTORIES``."""

_SUFFIXES = ("weights.h5", "architecture.json", "samples.json", "examples.json")

_ENDING = "|".join(
    [
        *map(re.escape, _SUFFIXES),
        r"export-[a-z][a-z0-9_]{0,31}\.(?:tflite|onnx|samples\.json)",
    ]
)
"""What follows the id in the name of a run's file, as a pattern; of exports by their names."""

_LARGEST = {
    "architecture.json": LARGEST_ARCHITECTURE,
    "samples.json": 1536 * MEBIBYTE,
    "examples.json": 16 * MEBIBYTE,
}
"""Bytes of the files that are read whole; a row that says more is a stranger's.

Samples take at most ``LARGEST_UNPACKED`` in memory, and less than half as much again as text.
"""

_OF_A_RUN = re.compile(rf"(?:new-)?([0-9a-f]{{16}})\.(?:{_ENDING})")

_RUN_ID = re.compile(r"[0-9a-z]+(?:-[0-9a-z]+)*")
"""Of a run that has files; lower case only, since some file systems take "A" and "a" for one name."""

LONGEST_ID = 64

# What modeltune writes for a run: its files, and the run itself while it waits to be recorded.
_NAME = re.compile(
    rf"{ARTIFACTS}/(?:{_RUN_ID.pattern})\.(?:{_ENDING})"
    rf"|pending/(?:{_RUN_ID.pattern})\.json"
)


def is_run_id(text: object) -> bool:
    """Tell whether a text can be the id of a run that has files: it names no other folder."""
    return isinstance(text, str) and len(text) <= LONGEST_ID and bool(_RUN_ID.fullmatch(text))


def is_artifact_name(name: str) -> bool:
    """Tell whether a file of some run can have this name below the store's folder."""
    return bool(_NAME.fullmatch(name))


def names_of(run_id: str) -> tuple[str, str, str, str]:
    """Return the names of a run's weights, architecture, samples and examples.

    Raises:
        HistoryError: no file can be named by this id.
    """
    if not is_run_id(run_id):
        raise HistoryError(f"{run_id!r:.100} is no id of a run with files: a-z, 0-9 and dashes")
    weights, architecture, samples, examples = (
        f"{ARTIFACTS}/{run_id}.{suffix}" for suffix in _SUFFIXES
    )
    return weights, architecture, samples, examples


def name_of_export(run_id: str, export: str, ending: str) -> str:
    """Return the name of a file of an export: ``ending`` is ``.tflite``, ``.onnx`` or ``.samples.json``.

    Raises:
        HistoryError: no file can be named by this id.
    """
    if not is_run_id(run_id):
        raise HistoryError(f"{run_id!r:.100} is no id of a run with files: a-z, 0-9 and dashes")
    return f"{ARTIFACTS}/{run_id}.export-{export}{ending}"


def export_files_in(folder: Path, run_id: str) -> list[str]:
    """Return the names of the files that exports of a run have left in the store's folder."""
    paths = (folder / ARTIFACTS).glob(f"*{run_id}.export-*") if is_run_id(run_id) else ()
    named = sorted({f"{ARTIFACTS}/{path.name.removeprefix('new-')}" for path in paths})
    return [
        name
        for name in named
        if _NAME.fullmatch(name) and name.startswith(f"{ARTIFACTS}/{run_id}.")
    ]


def foreign_files(run: Run) -> list[str]:
    """Return a line for each file that a run names and that is none of its own."""
    files = filter(None, (run.artifact, *run.files.values()))
    return sorted({line for file in files if (line := _foreign(file, run.id))})


def artifact_path(folder: Path, artifact: Artifact, run_id: str) -> Path:
    """Return where a run's file is, by what its row or its baseline says: the only way to a path.

    Whoever wrote the row may be a stranger, so the name has to be one of the run's own.

    Raises:
        InvalidRunError: it is not.
        HistoryError: the folder of artifacts is a link that leads elsewhere.
    """
    if problem := _foreign(artifact, run_id):
        raise InvalidRunError(f"{folder}: run {run_id:.100} is refused: {problem}")
    return _within(folder, artifact.path)


def run_of(path: Path) -> str | None:
    """Return the run that a file belongs to by its name, finished or not; None for any other file."""
    match = _OF_A_RUN.fullmatch(path.name)
    return match and match[1]


def keep(folder: Path, name: str, write: Callable[[Path], object], refit: int = 0) -> Artifact:
    """Write the file ``folder/name`` so that it exists whole and on disk, or not at all.

    ``write`` gets a path with the same suffix in the same folder (Keras insists on
    ``.weights.h5``). When this returns, the file survives a power loss: record its
    row afterwards, never before. What ``write`` raises passes through, OSError as
    HistoryError; no partial file stays.

    Raises:
        HistoryError: when it cannot be written, or exists: artifacts are never overwritten.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no artifact name: artifacts/, a run's id and a suffix")
    target = _within(folder, name)
    try:
        make_folder(target.parent)
        if os.path.lexists(target):
            raise HistoryError(f"{target} exists already; an artifact is never overwritten")
        write_durably(target, _draft(target), write)
        size, sha256 = _measure(target)
    except OSError as error:
        raise HistoryError(f"{target} cannot be written: {error}{free_space(folder)}") from error
    return Artifact(path=name, sha256=sha256, bytes=size, refit=refit)


def verify(folder: Path, artifact: Artifact, run_id: str) -> Path:
    """Return the path of a run's file once its size and sha256 are those recorded.

    Raises:
        HistoryError: the file is missing, was changed, is no regular file, or is not the run's own.
    """
    path = artifact_path(folder, artifact, run_id)
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Nothing larger than was recorded is read.
        digest = None
        if size == artifact.bytes:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    _check(path, size, digest, artifact)
    return path


def contents(folder: Path, artifact: Artifact, run_id: str) -> bytes:
    """Return what a run's file holds: exactly the bytes whose sha256 was recorded.

    Raises:
        HistoryError: as ``verify`` does, and of a file that is larger than any of its kind.
    """
    path = artifact_path(folder, artifact, run_id)
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        # Samples of an export are as those of its run.
        _, _, ending = re.sub(r"\.export-\w+\.", ".", path.name).partition(".")
        largest = _LARGEST.get(ending, size)
        content = file.read(size) if size == artifact.bytes and size <= largest else None
    if size == artifact.bytes and content is None:
        raise HistoryError(
            f"{path} has {size} bytes, more than the {largest} that modeltune writes; remove it"
        )
    _check(path, size, None if content is None else hashlib.sha256(content).hexdigest(), artifact)
    assert content is not None  # its digest is the recorded one
    return content


def copy_to(folder: Path, artifact: Artifact, run_id: str, target: Path) -> None:
    """Copy a run's file to a path where nothing is; at most as many bytes as were recorded.

    Raises:
        HistoryError: the file is missing or is not the run's own; OSError: it cannot be written.
    """
    left = artifact.bytes
    with _opened(artifact_path(folder, artifact, run_id)) as source, target.open("xb") as file:
        while left > 0 and (part := source.read(min(left, 1 << 20))):
            file.write(part)
            left -= len(part)


def drop(folder: Path, name: str) -> None:
    """Remove the file of this name, and what a killed ``keep`` left of it; ignore what cannot go."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no artifact name: artifacts/, a run's id and a suffix")
    target = _within(folder, name)
    for path in (target, _draft(target)):
        with contextlib.suppress(OSError):
            remove_file(path)


def leave_word(folder: Path, history: str) -> None:
    """Note beside the artifacts, by its identity, that a history elsewhere names some of them."""
    beside = folder / ARTIFACTS
    if not beside.is_dir() or beside.is_symlink() or history in words_in(folder):
        return
    append_durably(beside / HISTORIES, f"{history}\n")


def words_in(folder: Path) -> list[str]:
    """Return the identities of histories that ``leave_word`` noted beside the artifacts.

    Raises:
        HistoryError: they cannot be read.
    """
    path = folder / ARTIFACTS / HISTORIES
    try:
        text = read_bounded(path, LARGEST_LIST).decode()
        return list(filter(None, text.splitlines()))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise HistoryError(
            f"{path}, which names histories whose files are there, cannot be read ({error}); "
            "make it readable, or remove it if there are none"
        ) from error


def _draft(target: Path) -> Path:
    """Return the name of a file while it is written; ``run_of`` and ``modeltune gc`` know it."""
    return target.with_name(f"new-{target.name}")


def _foreign(artifact: Artifact, run_id: str) -> str | None:
    own = f"{ARTIFACTS}/{run_id}."
    if is_run_id(run_id) and artifact.path.startswith(own) and _NAME.fullmatch(artifact.path):
        return None
    # As in JSON: a name of a stranger may have anything in it.
    name = json.dumps(f"{artifact.path:.200}")
    return f"it names the file {name}, which is none that modeltune keeps for a run of its id"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """Lend a run's file, opened to be read."""
    try:
        with open_regular(path, through_links=False) as file:
            yield file
    except FileNotFoundError as error:
        raise HistoryError(
            f"{path} is missing, so its run cannot be replayed; restore it, or run the spec again"
        ) from error
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error}") from error


def _check(path: Path, size: int, sha256: str | None, artifact: Artifact) -> None:
    """Raise HistoryError unless these are the recorded size and sha256 of a file."""
    if sha256 != artifact.sha256:
        now = f" with sha256 {sha256[:12]}..." if sha256 else ""
        raise HistoryError(
            f"{path} was changed since it was recorded: {size} bytes{now}, "
            f"recorded {artifact.bytes} bytes with sha256 {artifact.sha256[:12]}...; "
            "restore it, or run the spec again"
        )


def _measure(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its sha256 in hex."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _within(folder: Path, name: str) -> Path:
    """Return the path of a file below the store's folder.

    Raises:
        HistoryError: the folder in between is a link: it may lead anywhere.
    """
    path = folder / name
    if path.parent.is_symlink():
        raise HistoryError(
            f"{path.parent} is a symbolic link; files of runs are kept in the store's own folder: "
            "replace the link by the folder it leads to"
        )
    return path
