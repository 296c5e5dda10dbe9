"""What processes that were killed left beside a history: found here, and removed by ``modeltune gc``."""

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

from modeltune.ground import HistoryError, default_store, is_unlocked, project_root, try_lock
from modeltune.histories import baselines, ledgers, pending
from modeltune.histories.artifacts import ARTIFACTS, run_of, words_in
from modeltune.histories.places import place_of
from modeltune.histories.store import Store, histories_in, open_as_it_is, unfinished_in

PATIENCE = 3600.0
"""Seconds since a file was last written before it may be one that nobody waits for."""

_LEDGER = re.compile(r"[0-9a-f]{16}(-[0-9a-f]{16})?")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs, its size in bytes, and why it is there."""

    path: Path
    bytes: int
    why: str


def leftovers(url: str, also: Iterable[str] = (), *, now: float) -> list[Leftover]:
    """Return what nothing needs any more in the folder of a history, sorted by path.

    Needed is what any history names whose files lie in this folder, what a waiting run or a
    baseline of the project names, the ledger of an interrupted search, and what a running
    process holds or has written to within ``PATIENCE``.

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
            stack.enter_context(open_as_it_is(each)[0]) for each in _histories(url, also, folder)
        ]
        found = [
            *_artifacts(folder, _named(folder, histories), now),
            *_scratch(folder / "scratch", histories, now),
        ]
    partial = [
        *unfinished_in(folder),
        *(folder / pending.PENDING_FOLDER).glob("new-*.json"),
        *(folder / "features").glob("*.npy.*.tmp"),
    ]
    found += [_leftover(path, "cut short") for path in partial if _is_old(path, now)]
    return sorted(found, key=lambda each: each.path)


def remove_leftover(leftover: Leftover, *, now: float) -> bool:
    """Remove it, and tell whether it is gone: somebody may have begun to use it since.

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
    """Return the files that a baseline names, also one that was edited.

    Raises:
        HistoryError: it cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kept = (found.get("weights"), found.get("architecture"))
        return [str(artifact["path"]) for artifact in kept if artifact]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f"{path} cannot be read ({error}); restore it from version control, or remove it"
        ) from error


def _histories(url: str, also: Iterable[str], folder: Path) -> list[str]:
    """Return the URLs of all histories whose files may lie in the folder, each once."""
    found = {place_of(each).identity: each for each in (url, *also, *histories_in(folder))}
    words = {place_of(word).identity for word in words_in(folder)}
    default = place_of(default_store())
    if default.folder == folder and default.identity in words:
        found.setdefault(default.identity, default_store())
    if missing := sorted(words - found.keys()):
        named = " ".join(f"--also {shlex.quote(history)}" for history in missing)
        raise HistoryError(
            f"{folder / ARTIFACTS} has files of {' and '.join(missing)} as well, which has to say "
            f"which it needs; add {named}, or remove histories.txt there if that is gone for good"
        )
    return list(found.values())


def _named(folder: Path, histories: Sequence[Store]) -> Set[str]:
    """Return the files that are named: by runs, runs that wait, and baselines."""
    named = set[str]()
    # Before the histories: a flush records a run first, and then it waits no more.
    for path in pending.waiting(folder):
        with contextlib.suppress(FileNotFoundError):
            run = pending.read(path).run
            named |= {file.path for file in (run.artifact, *run.files.values()) if file}
    named |= {file.path for history in histories for _, _, file in history.files()}
    for path in project_baselines(folder):
        named.update(weights_of(path))
    return named


def _artifacts(folder: Path, named: Set[str], now: float) -> Iterator[Leftover]:
    # A run that is being recorded has its files there already, and its ledger still.
    live = {
        run
        for path in (folder / "scratch").glob(f"*/{ledgers.FILE}")
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
        elif (path / ledgers.FILE).exists():
            runs, is_live = _runs_of(path)
            if is_live or path.name in runs:
                # Under a run's name it is kept because the user wanted it: --modeltune-keep-trials.
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
        # It has just ended.
        return [], True
    except OSError as error:
        raise HistoryError(f"{folder / ledgers.FILE} cannot be read: {error}") from error


def _remove_folder(path: Path) -> bool:
    if (path / ledgers.FILE).exists():
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
        return now - path.lstat().st_mtime > PATIENCE
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
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        with contextlib.suppress(OSError):
            size += each.lstat().st_size if not each.is_dir() else 0
    return Leftover(path, size, why)
