"""Find and remove what killed processes left beside a history (``modeltune gc``)."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from modeltune.ground import (
    HistoryError,
    StoreUrl,
    default_store,
    first_line,
    is_marked,
    is_unlocked,
    open_regular,
    project_root,
    read_json,
    remove_file,
    remove_marked,
    try_lock,
)
from modeltune.histories import baselines, ledgers, pending
from modeltune.histories.artifacts import ARTIFACTS, run_of, words_in
from modeltune.histories.places import place_of
from modeltune.histories.rows import NAMELESS
from modeltune.histories.store import Store, histories_in, open_as_it_is, unfinished_in

MIN_AGE = 3600.0
"""Seconds since a file was last written; a younger one may belong to a process that runs."""

_LEDGER = re.compile(r"[0-9a-f]{16}(-[0-9a-f]{16})?")

_FEATURES = re.compile(r"[0-9a-f]{64}-[0-9]+\.npy\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs, its size in bytes, and why it is there."""

    path: Path
    bytes: int
    why: str


def leftovers(
    url: str | StoreUrl,
    also: Iterable[str | StoreUrl] = (),
    *,
    now: float,
    warn: Callable[[str], object] = lambda line: None,
) -> list[Leftover]:
    """Return what nothing needs any more in the folder of a history, sorted by path.

    These are needed: files named by any history that keeps its files in this folder, by a waiting
    run, or by a baseline of the project; the ledger of an interrupted search; and what a running
    process holds or has written to within ``MIN_AGE``. A folder that is a link is not looked into.
    What cannot be read, see ``unreadable``, stays, with all files that it may name.

    Args:
        url: the history.
        also: others that are not files of this folder, as on a server.
        now: the time, in seconds as in ``st_mtime``.
        warn: called with a line for each run that cannot be read, all of whose files are needed.

    Raises:
        HistoryError: not every history that may name a file can be read.
    """
    folder = place_of(url).folder
    with contextlib.ExitStack() as stack:
        histories = [
            stack.enter_context(open_as_it_is(history)[0])
            for history in _histories(url, also, folder)
        ]
        unneeded = [
            *_artifacts(folder, histories, now),
            *_scratch(folder / "scratch", histories, now),
        ]
        for history in histories:
            for line in history.invalid.values():
                warn(line)
    drafts = [
        *unfinished_in(folder),
        *(path for path in _in(folder / pending.PENDING_FOLDER) if pending.is_draft(path)),
        *(path for path in _in(folder / "features") if _FEATURES.fullmatch(path.name)),
    ]
    unneeded += [_leftover(path, "cut short") for path in drafts if _is_old(path, now)]
    return sorted(unneeded, key=lambda leftover: leftover.path)


def is_shared(store: Store) -> bool:
    """Tell whether another history keeps files of its runs beside this one, or may do so."""
    beside = [place_of(url) for url in histories_in(store.folder)]
    beside += [place_of(word) for word in words_in(store.folder)]
    known = {place.identity for place in beside}
    return bool(known - {store.identity})


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
        remove_file(path)
    except OSError as error:
        raise HistoryError(f"{path} cannot be removed: {error}") from error
    return True


def unreadable(url: str | StoreUrl) -> Iterator[str]:
    """Yield a line about what is damaged beside a history: waiting runs, ledgers, baselines.

    What was set aside is among them.
    """
    folder = place_of(url).folder
    for path in pending.waiting(folder):
        try:
            pending.read_pending(path)
        except FileNotFoundError:
            continue
        except HistoryError as error:
            yield str(error)
    yield from damaged_ledgers(folder)
    yield from what_was_set_aside(folder)
    for path in project_baselines(folder):
        try:
            weights_of(path)
        except HistoryError as error:
            yield str(error)


def damaged_ledgers(folder: Path) -> Iterator[str]:
    """Yield a line about each ledger of interrupted searches that is damaged."""
    for path in _in(folder / "scratch"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if path.is_symlink() or path.name.startswith(ledgers.NO_SEARCH):
                continue
            if damage := ledgers.state_of(path).damage:
                yield (
                    f"{path / ledgers.LEDGER_FILE} is damaged ({damage}); the next run of its search "
                    "sets it aside, or remove it"
                )


def what_was_set_aside(folder: Path) -> Iterator[str]:
    """Yield a line about each ledger and waiting run that was set aside: only the user removes it."""
    scratch = (path for path in _in(folder / "scratch") if path.name.startswith(ledgers.ASIDE))
    for path in (*pending.set_aside(folder), *scratch):
        yield (
            f"{path} was set aside, for modeltune could not go on with it; look at it, then remove it"
        )


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
        content = read_json(path, baselines.LARGEST_READ)
        kept = (content.get("weights"), content.get("architecture"))
        return [str(artifact["path"]) for artifact in kept if artifact]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HistoryError(
            f"{path} cannot be read ({first_line(error)}); restore it from version control, or remove it"
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


def _named_files(folder: Path, histories: Sequence[Store]) -> tuple[Set[str], Set[str]] | None:
    """Return the files that runs, waiting runs and baselines name, and the runs that keep all theirs.

    None when it cannot be known: what may name a file of any run cannot be read.
    """
    named, runs = set[str](), set[str]()
    # Before the histories: a flush first records a run, and then removes its waiting file.
    for path in (*pending.waiting(folder), *pending.set_aside(folder)):
        try:
            run = pending.read_pending(path).run
        except FileNotFoundError:
            continue
        except HistoryError:
            if (known := pending.waiting_run(path)) is None:
                return None
            runs.add(known)
        else:
            named |= {file.path for file in (run.artifact, *run.files.values()) if file}
    named |= {file.path for history in histories for _, _, file in history.files()}
    for history in histories:
        if any(run.startswith(NAMELESS) for run in history.invalid):
            return None
        runs.update(history.invalid)
    for path in project_baselines(folder):
        try:
            named.update(weights_of(path))
        except HistoryError:
            return None
    return named, runs


def _artifacts(folder: Path, histories: Sequence[Store], now: float) -> Iterator[Leftover]:
    if (needed := _named_files(folder, histories)) is None:
        return
    named, kept = needed
    # A run that is being recorded already has its files there, and still has its ledger.
    live = {
        run
        for path in _in(folder / "scratch")
        if (path / ledgers.LEDGER_FILE).is_file() and (state := _state_of(path)).is_live
        for run in state.runs
    }
    for path in _in(folder / ARTIFACTS):
        run = run_of(path)
        if run is None or run in live | kept or not _is_old(path, now):
            continue
        if path.name.startswith("new-"):
            yield _leftover(path, "cut short")
        elif path.relative_to(folder).as_posix() not in named:
            yield _leftover(path, f"run {run} is not recorded")


def _scratch(folder: Path, histories: Sequence[Store], now: float) -> Iterator[Leftover]:
    for path in _in(folder):
        if path.is_symlink() or not path.is_dir():
            continue
        if path.name.startswith(ledgers.ASIDE):
            # It may hold the only copy of what somebody wants back: ``what_was_set_aside`` names it.
            continue
        is_ours = is_marked(path)
        if path.name.startswith(ledgers.GONE):
            if is_ours:
                yield _leftover(path, "a search whose removal was cut short")
        elif path.name.startswith(("tmp", "data-")):
            lock = path / "lock"
            is_locked = os.path.lexists(lock)
            if is_ours and (
                (is_locked and _is_free(lock)) or (not is_locked and _is_old(path, now))
            ):
                yield _leftover(path, "data of a process that is gone")
        elif os.path.lexists(path / ledgers.LEDGER_FILE):
            state = _state_of(path)
            if state.is_live or state.damage or path.name in state.runs:
                # Under its run's name the user wanted it kept: --modeltune-keep-trials.
                continue
            ended = [run for history in histories for run in history.ended(state.runs)]
            if ended:
                yield _leftover(path, f"the search of run {ended[0]}, which is recorded")
            elif is_ours and not state.runs and _is_old(path, now):
                yield _leftover(path, "a search that was cut short before it began")
        elif is_ours and _LEDGER.fullmatch(path.name) and _is_old(path, now):
            yield _leftover(path, "a search without its ledger")


def _in(folder: Path) -> list[Path]:
    """Return what is in a folder of a store; nothing in one that is a link, and leads out of it."""
    return [] if folder.is_symlink() else sorted(folder.glob("*"))


def _state_of(folder: Path) -> ledgers.LedgerState:
    try:
        return ledgers.state_of(folder)
    except FileNotFoundError:
        # Its run has just ended.
        return ledgers.LedgerState((), True, None)
    except OSError as error:
        raise HistoryError(f"{folder / ledgers.LEDGER_FILE} cannot be read: {error}") from error


def _remove_folder(path: Path) -> bool:
    if os.path.lexists(path / ledgers.LEDGER_FILE):
        return ledgers.remove_ledger(path)
    if path.name.startswith(ledgers.GONE):
        return ledgers.remove_gone(path)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileNotFoundError):
            lock = stack.enter_context(open_regular(path / "lock", through_links=False))
            if not try_lock(lock):
                return False
        return remove_marked(path)


def _is_free(lock: Path) -> bool:
    """Tell whether no process holds this lock."""
    try:
        with open_regular(lock, through_links=False) as file:
            return is_unlocked(file)
    except OSError:
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
    is_folder = path.is_dir() and not path.is_symlink()
    for entry in (path, *path.rglob("*")) if is_folder else (path,):
        with contextlib.suppress(OSError):
            status = entry.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return Leftover(path, size, why)
