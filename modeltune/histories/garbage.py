"""Find and remove what killed processes left beside a history (``modeltune gc``)."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import (
    HistoryError,
    StoreUrl,
    default_store,
    is_unlocked,
    project_root,
    try_lock,
)
from modeltune.histories import baselines, ledgers, pending
from modeltune.histories.artifacts import ARTIFACTS, run_of, words_in
from modeltune.histories.places import place_of
from modeltune.histories.store import Store, histories_in, open_as_it_is, unfinished_in

MIN_AGE = 3600.0
"""Seconds since a file was last written; a younger one may belong to a process that runs."""

_LEDGER = re.compile(r"[0-9a-f]{16}(-[0-9a-f]{16})?")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs, its size in bytes, and why it is there."""

    path: Path
    bytes: int
    why: str


def leftovers(
    url: str | StoreUrl, also: Iterable[str | StoreUrl] = (), *, now: float
) -> list[Leftover]:
    """Return what nothing needs any more in the folder of a history, sorted by path.

    These are needed: files named by any history that keeps its files in this folder, by a waiting
    run, or by a baseline of the project; the ledger of an interrupted search; and what a running
    process holds or has written to within ``MIN_AGE``.

    Args:
        url: the history.
        also: others that are not files of this folder, as on a server.
        now: the time, in seconds as in ``st_mtime``.

    Raises:
        HistoryError: not everything that may name a file can be read.
    """
    folder = place_of(url).folder
    with contextlib.ExitStack() as stack:
        histories = [
            stack.enter_context(open_as_it_is(history)[0])
            for history in _histories(url, also, folder)
        ]
        unneeded = [
            *_artifacts(folder, _named_files(folder, histories), now),
            *_scratch(folder / "scratch", histories, now),
        ]
    drafts = [
        *unfinished_in(folder),
        *(folder / pending.PENDING_FOLDER).glob("new-*.json"),
        *(folder / "features").glob("*.npy.*.tmp"),
    ]
    unneeded += [_leftover(path, "cut short") for path in drafts if _is_old(path, now)]
    return sorted(unneeded, key=lambda leftover: leftover.path)


def remove_leftover(leftover: Leftover, *, now: float) -> bool:
    """Remove a leftover and tell whether it is gone: a process may have begun to use it since.

    Raises:
        HistoryError: it cannot be removed.
    """
    path = leftover.path
    try:
        if path.is_dir() and not path.is_symlink():
            return _remove_folder(path)
        if not _is_old(path, now):
            return False
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HistoryError(f"{path} cannot be removed: {error}") from error
    return True


def project_baselines(folder: Path) -> Iterator[Path]:
    """Yield the baseline files of the projects that a store's folder and this process are in."""
    roots = {project_root(folder), project_root(Path.cwd())}
    if folder.name == ".modeltune":
        # As beside specs of a project that has no pyproject.toml.
        roots.add(folder.parent)
    for root in sorted(roots):
        if not (root / "pyproject.toml").is_file() and root != folder.parent:
            continue
        for place, folders, files in os.walk(root):
            here = Path(place)
            folders[:] = [name for name in folders if not _is_foreign(here / name)]
            if here.name == baselines.BASELINE_FOLDER:
                yield from (
                    here / name for name in sorted(files) if re.search(r"\.py\..*\.json$", name)
                )


def weights_of(path: Path) -> list[str]:
    """Return the files that a baseline names, even when it was edited.

    Raises:
        HistoryError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kept = (content.get("weights"), content.get("architecture"))
        return [str(artifact["path"]) for artifact in kept if artifact]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f"{path} cannot be read ({error}); restore it from version control, or remove it"
        ) from error


def _histories(
    url: str | StoreUrl, also: Iterable[str | StoreUrl], folder: Path
) -> list[str | StoreUrl]:
    """Return the URLs of all histories whose files may lie in the folder, each once."""
    histories: dict[str, str | StoreUrl] = {
        place_of(known).identity: known for known in (url, *also, *histories_in(folder))
    }
    words = {place_of(word).identity for word in words_in(folder)}
    default = place_of(default_store())
    if default.folder == folder and default.identity in words:
        histories.setdefault(default.identity, default_store())
    if missing := sorted(words - histories.keys()):
        named = " ".join(f"--also {shlex.quote(history)}" for history in missing)
        raise HistoryError(
            f"{folder / ARTIFACTS} also holds files of {' and '.join(missing)}, and only that history "
            f"knows which it needs; add {named}, or remove histories.txt there if it is gone for good"
        )
    return list(histories.values())


def _named_files(folder: Path, histories: Sequence[Store]) -> Set[str]:
    """Return the files that runs, waiting runs and baselines name."""
    named = set[str]()
    # Before the histories: a flush first records a run, and then removes its waiting file.
    for path in pending.waiting(folder):
        with contextlib.suppress(FileNotFoundError):
            run = pending.read_pending(path).run
            named |= {file.path for file in (run.artifact, *run.files.values()) if file}
    named |= {file.path for history in histories for _, _, file in history.files()}
    for path in project_baselines(folder):
        named.update(weights_of(path))
    return named


def _artifacts(folder: Path, named: Set[str], now: float) -> Iterator[Leftover]:
    # A run that is being recorded already has its files there, and still has its ledger.
    live = {
        run
        for path in (folder / "scratch").glob(f"*/{ledgers.LEDGER_FILE}")
        for runs, is_live in [_runs_of(path.parent)]
        if is_live
        for run in runs
    }
    for path in (folder / ARTIFACTS).glob("*"):
        run = run_of(path)
        if run is None or run in live or not _is_old(path, now):
            continue
        if path.name.startswith("new-"):
            yield _leftover(path, "cut short")
        elif path.relative_to(folder).as_posix() not in named:
            yield _leftover(path, f"run {run} is not recorded")


def _scratch(folder: Path, histories: Sequence[Store], now: float) -> Iterator[Leftover]:
    for path in folder.glob("*"):
        if path.is_symlink() or not path.is_dir():
            continue
        if path.name.startswith(ledgers.GONE):
            yield _leftover(path, "a search whose removal was cut short")
        elif path.name.startswith(("tmp", "data-")):
            lock = path / "lock"
            if (lock.exists() and _is_free(lock)) or (not lock.exists() and _is_old(path, now)):
                yield _leftover(path, "data of a process that is gone")
        elif (path / ledgers.LEDGER_FILE).exists():
            runs, is_live = _runs_of(path)
            if is_live or path.name in runs:
                # Under its run's name the user wanted it kept: --modeltune-keep-trials.
                continue
            ended = [run for history in histories for run in history.ended(runs)]
            if ended:
                yield _leftover(path, f"the search of run {ended[0]}, which is recorded")
            elif not runs and _is_old(path, now):
                yield _leftover(path, "a search that was cut short before it began")
        elif _LEDGER.fullmatch(path.name) and _is_old(path, now):
            yield _leftover(path, "a search without its ledger")


def _runs_of(folder: Path) -> tuple[Sequence[str], bool]:
    try:
        return ledgers.runs_of(folder)
    except FileNotFoundError:
        # Its run has just ended.
        return [], True
    except OSError as error:
        raise HistoryError(f"{folder / ledgers.LEDGER_FILE} cannot be read: {error}") from error


def _remove_folder(path: Path) -> bool:
    if (path / ledgers.LEDGER_FILE).exists():
        return ledgers.remove_ledger(path)
    with contextlib.ExitStack() as stack:
        if (path / "lock").exists():
            lock = stack.enter_context((path / "lock").open())
            if not try_lock(lock):
                return False
        shutil.rmtree(path)
    return True


def _is_free(lock: Path) -> bool:
    """Tell whether no process holds this lock."""
    try:
        with lock.open("rb") as file:
            return is_unlocked(file)
    except FileNotFoundError:
        return False


def _is_old(path: Path, now: float) -> bool:
    try:
        return now - path.lstat().st_mtime > MIN_AGE
    except FileNotFoundError:
        return False


def _is_foreign(folder: Path) -> bool:
    """Tell a folder of tools rather than of the project's own files."""
    return (
        folder.name.startswith(".")
        or folder.name in ("node_modules", "__pycache__")
        or (folder / "pyvenv.cfg").is_file()
    )


def _leftover(path: Path, why: str) -> Leftover:
    size = 0
    for entry in (path, *path.rglob("*")) if path.is_dir() else (path,):
        with contextlib.suppress(OSError):
            size += entry.lstat().st_size if not entry.is_dir() else 0
    return Leftover(path, size, why)
