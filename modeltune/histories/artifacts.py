"""Files kept with a run: written whole or not at all, and checked before they are trusted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from modeltune.ground import HistoryError, append_durably, make_folder, write_durably
from modeltune.records import Artifact

ARTIFACTS = "artifacts"
HISTORIES = "histories.txt"
"""The file beside the artifacts that lists the histories on servers that name some of them."""

_SUFFIXES = ("weights.h5", "architecture.json", "samples.json", "examples.json")

_OF_A_RUN = re.compile(
    rf"(?:new-)?([0-9a-f]{{16}})\.(?:{'|'.join(re.escape(suffix) for suffix in _SUFFIXES)})"
)

# Names are made of run ids and refit numbers, never of a spec's or a metric's name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*")


def names_of(run_id: str) -> tuple[str, str, str, str]:
    """Return the names of a run's weights, architecture, samples and examples."""
    weights, architecture, samples, examples = (
        f"{ARTIFACTS}/{run_id}.{suffix}" for suffix in _SUFFIXES
    )
    return weights, architecture, samples, examples


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
    target = _within(folder, name)
    try:
        make_folder(target.parent)
        if os.path.lexists(target):
            raise HistoryError(f"{target} exists already; an artifact is never overwritten")
        write_durably(target, _draft(target), write)
        size, sha256 = _measured(target)
    except OSError as error:
        raise HistoryError(f"{target} cannot be written: {error}{_space(folder)}") from error
    return Artifact(path=name, sha256=sha256, bytes=size, refit=refit)


def verify(folder: Path, artifact: Artifact) -> Path:
    """Return the artifact's path once its size and sha256 are those recorded.

    Raises:
        HistoryError: when the file is missing, was changed, or lies outside ``folder``.
    """
    try:
        path = _within(folder, artifact.path)
    except ValueError as error:
        raise HistoryError(
            f"{folder}: a run names an artifact {artifact.path!r}; {error}"
        ) from error
    try:
        size, sha256 = _measured(path)
    except FileNotFoundError as error:
        raise HistoryError(
            f"{path} is missing, so its run cannot be replayed; restore it, or run the spec again"
        ) from error
    except OSError as error:
        raise HistoryError(f"{path} cannot be read: {error}") from error
    if (size, sha256) != (artifact.bytes, artifact.sha256):
        raise HistoryError(
            f"{path} was changed since it was recorded: {size} bytes with sha256 {sha256[:12]}..., "
            f"recorded {artifact.bytes} bytes with sha256 {artifact.sha256[:12]}...; "
            "restore it, or run the spec again"
        )
    return path


def drop(folder: Path, name: str) -> None:
    """Remove the file of this name, and what a killed ``keep`` left of it; ignore what cannot go."""
    target = _within(folder, name)
    for path in (target, _draft(target)):
        with contextlib.suppress(OSError):
            path.unlink()


def leave_word(folder: Path, history: str) -> None:
    """Note beside the artifacts, by its identity, that a history elsewhere names some of them."""
    beside = folder / ARTIFACTS
    if not beside.is_dir() or history in words_in(folder):
        return
    append_durably(beside / HISTORIES, f"{history}\n")


def words_in(folder: Path) -> list[str]:
    """Return the identities of histories that ``leave_word`` noted beside the artifacts.

    Raises:
        HistoryError: they cannot be read.
    """
    path = folder / ARTIFACTS / HISTORIES
    try:
        return list(filter(None, path.read_text(encoding="utf-8").splitlines()))
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


def _measured(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its sha256 in hex."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _within(folder: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no artifact name: letters, digits, dashes and a suffix")
    return folder / name


def _space(folder: Path) -> str:
    try:
        return f" ({shutil.disk_usage(folder).free} bytes free)"
    except OSError:
        return ""
