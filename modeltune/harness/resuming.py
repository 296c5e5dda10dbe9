"""Resume an interrupted run: what its ledger holds is handed back, and only the rest is trained."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from modeltune.ground import (
    HistoryError,
    NoTrialError,
    first_line,
    free_space,
    open_regular,
    says_disk_full,
    sync_file,
    sync_folder,
)
from modeltune.harness.executors import Executor
from modeltune.histories import Ledger, Ledgers
from modeltune.records import (
    ARCHITECTURE,
    EXAMPLES,
    Caution,
    Failure,
    HyperParameters,
    Json,
    Phase,
    RefitResult,
    RefitTask,
    TrialResult,
    TrialTask,
    as_number,
    from_plain,
    plain,
    verdict_from_json,
)
from modeltune.specs import Spec, gates_identity, run_identity

_Task = TypeVar("_Task")
_Result = TypeVar("_Result", bound=TrialResult | RefitResult)


@dataclass(frozen=True)
class Notation(Generic[_Task, _Result]):
    """How a ledger writes a kind of task and its result.

    ``read`` returns None when a file is gone, and raises ValueError, LookupError, TypeError or
    AttributeError when what was written has been changed, or a file of it.
    """

    key: Callable[[_Task], str]
    write: Callable[[_Task, _Result], Json]
    read: Callable[[_Task, Json], _Result | None]


@contextlib.contextmanager
def lend_ledgers(folder: Path, keep_as: str | None) -> Iterator[Ledgers]:
    """Lend the ledgers in a folder; remove the one in use once its run is recorded to its end.

    Whatever else ends a run, an error as well as an interrupt, leaves what has finished to be
    resumed. A search whose trials have all failed has come to its end.

    Args:
        folder: the scratch folder of a store.
        keep_as: the name under which a ledger is kept whose run was recorded; None: it is removed.
    """
    ledgers, drop = Ledgers(folder), False
    try:
        yield ledgers
        drop = True
    except NoTrialError:
        drop = True
        raise
    finally:
        begun = ledgers.begun
        is_empty = begun is not None and not begun.count("trial ") + begun.count("refit ")
        ledgers.close(keep_as, drop or is_empty)


class ResumingExecutor(Generic[_Task, _Result]):
    """An executor that keeps every result before it hands it on, and runs no task twice.

    Args:
        executor: runs the tasks whose results are not known.
        ledger: keeps the results.
        notation: how they are written.
        note: told when a result that was kept cannot be used any more.
    """

    def __init__(
        self,
        executor: Executor[_Task, _Result],
        ledger: Ledger,
        notation: Notation[_Task, _Result],
        note: Callable[[str], None] = lambda text: None,
    ):
        self._executor = executor
        self._ledger = ledger
        self._notation = notation
        self._note = note
        self._known: list[tuple[int, _Task, _Result]] = []

    @property
    def slots(self) -> int:
        """As many as the executor has."""
        return self._executor.slots

    def submit(self, task: _Task) -> None:
        """Start a task, unless its result is known."""
        key = self._notation.key(task)
        known = self._read(task, self._ledger.get(key))
        if known is None:
            self._executor.submit(task)
        else:
            bisect.insort(self._known, (self._ledger.position(key), task, known), key=_position)

    def _read(self, task: _Task, value: Json) -> _Result | None:
        if value is None:
            return None
        try:
            return self._notation.read(task, value)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            kind = self._notation.key(task).partition(" ")[0]
            why = f"no {error}" if isinstance(error, KeyError) else first_line(error)
            self._note(
                f"a {kind} of the interrupted run is trained again: what was kept of it {why}"
            )
            return None

    def wait(self) -> tuple[_Task, _Result]:
        """Return the next task that finished, with its result; known results come first, in order."""
        if self._known:
            _, task, known = self._known.pop(0)
            return task, known
        task, result = self._executor.wait()
        if result.failure is not None and not result.failure.is_final:
            return task, result
        if result.failure is not None and says_disk_full(
            f"{result.failure.reason}\n{result.failure.traceback}"
        ):
            # No failure of the candidate's: it is trained again once there is space.
            raise no_space(result.failure.reason, self._ledger.folder)
        self._ledger.put(self._notation.key(task), self._notation.write(task, result))
        return task, result

    def withdraw(self) -> list[_Task]:
        """Take back the tasks that have not begun; known results are still handed back."""
        return self._executor.withdraw()

    def hold_trials_to_budget(self) -> None:
        """As the executor does."""
        self._executor.hold_trials_to_budget()


def no_space(reason: str, folder: Path) -> HistoryError:
    """Return the error that ends a run because a disk is full; it says what is free in a folder."""
    return HistoryError(
        f"a disk is full: {reason}; {folder}{free_space(folder)}: free some space, then run again"
    )


def _position(known: tuple[int, object, object]) -> int:
    return known[0]


def _trial_key(task: TrialTask) -> str:
    values = sorted(task.hyperparameters["values"].items())
    facts = [task.id, values, task.initial_epoch, task.epochs, task.seed]
    return f"trial {_digest(facts)}"


def _write_trial(task: TrialTask, trained: TrialResult) -> Json:
    _sync(task.keep_state)
    return plain(
        {
            "curve": trained.curve,
            "trained_by": trained.trained_by,
            "seconds": trained.seconds,
            "hyperparameters": json.dumps(trained.hyperparameters),
            "read": sorted(trained.read),
            "failure": trained.failure,
            "cautions": trained.cautions,
            "phases": trained.phases,
            "files": _digests(task.keep_state),
        }
    )


def _read_trial(task: TrialTask, value: Json) -> TrialResult:
    # Its state may be gone: it has been dropped when no trial could continue from it.
    if task.keep_state is not None and task.keep_state.exists():
        _check_files(value, task.keep_state)
    return TrialResult(
        curve=_curve(value["curve"]),
        trained_by=from_plain(str, value["trained_by"]),
        seconds=as_number(value["seconds"]),
        hyperparameters=_hyperparameters(from_plain(str, value["hyperparameters"])),
        read=frozenset(from_plain(tuple[str, ...], value["read"])),
        failure=None if value["failure"] is None else from_plain(Failure, value["failure"]),
        # A ledger of an earlier modeltune has none.
        cautions=from_plain(tuple[Caution, ...], value.get("cautions", [])),
        phases=from_plain(tuple[Phase, ...], value.get("phases", [])),
    )


TRIALS: Notation[TrialTask, TrialResult] = Notation(_trial_key, _write_trial, _read_trial)
"""A trial is the same when its number, values, epochs and seed are."""


def trial_notation(spec: Spec) -> Notation[TrialTask, TrialResult]:
    """Return how trials of this spec are written: those of ``TRIALS`` that have its objective."""

    def read(task: TrialTask, value: Json) -> TrialResult | None:
        result = TRIALS.read(task, value)
        if result is not None and result.failure is None:
            _ = result.curve[spec.search.objective.metric][0]
        return result

    return replace(TRIALS, read=read)


def refit_notation(spec: Spec) -> Notation[RefitTask, RefitResult]:
    """Return how refits of this spec are written: they also depend on its validation and gates.

    A failed refit is written like any other, but trained again when it is met again.
    """
    identity = run_identity(spec)
    named = ("threshold", "code of the threshold", "code of fine_tune")
    parts = [identity.get(name) for name in named]
    rules = repr(spec.validation), repr(spec.gates), gates_identity(spec), parts

    def key(task: RefitTask) -> str:
        values = sorted(task.hyperparameters["values"].items())
        return f"refit {_digest([rules, task.refit.seed, task.refit.fold, values, task.epochs])}"

    return Notation(key, _write_refit, _read_refit)


def _write_refit(task: RefitTask, refitted: RefitResult) -> Json:
    for path in _files(task):
        _sync(path)
    return {**plain(refitted), "files": _digests(*_files(task))}


def _read_refit(task: RefitTask, value: Json) -> RefitResult | None:
    if value["failure"] or (task.weights is not None and not task.weights.exists()):
        return None
    _check_files(value, *_files(task))
    # A ledger of an earlier modeltune may lack fields, and has checks of an earlier form.
    refitted = from_plain(RefitResult, {**value, "checks": []})
    if refitted.samples is not None:
        from modeltune.records import unpack_samples

        unpack_samples(refitted.samples)
    return replace(refitted, checks=tuple(map(verdict_from_json, value["checks"])))


def _files(task: RefitTask) -> tuple[Path, ...]:
    """Return the files that a refit writes, if any."""
    if task.weights is None:
        return ()
    return task.weights, *(task.weights.with_name(name) for name in (ARCHITECTURE, EXAMPLES))


def _digests(*paths: Path | None) -> dict[str, str | None]:
    """Return by name the sha256 of files, None of one that is not there."""
    return {path.name: _sha256(path) for path in paths if path is not None}


def _check_files(value: Json, *paths: Path) -> None:
    """Refuse files that are not as they were when the ledger was told of them.

    Raises:
        ValueError, LookupError, TypeError: one is not.
    """
    for path in paths:
        if _sha256(path) != value["files"][path.name]:
            raise ValueError(f"has changed: {path.name}")


def _sha256(path: Path) -> str | None:
    try:
        with open_regular(path, through_links=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"cannot be read: {error}") from error


def _hyperparameters(text: str) -> HyperParameters:
    """Return a search space with values as they were written, in which numbers may be infinite.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is none.
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    from_plain(dict[str, bool | int | float | str], plain(data["values"]))
    for entry in data["space"]:
        conditions = entry["config"]["conditions"]
        kinds = {entry["class_name"]}, {condition["class_name"] for condition in conditions}
        if not kinds[0] <= _KINDS or not kinds[1] <= {"Parent"}:
            raise ValueError("has a hyperparameter of a kind that keras-tuner does not have")
    return dict(data)


_KINDS = {"Boolean", "Choice", "Fixed", "Float", "Int"}


def _sync(path: Path | None) -> None:
    """Make a file durable before the line in the ledger that says it is there."""
    if path is None or not path.exists():
        return
    sync_file(path)
    sync_folder(path.parent)
    sync_folder(path.parent.parent)


def _curve(values: Json) -> dict[str, tuple[float, ...]]:
    return {name: tuple(map(as_number, curve)) for name, curve in values.items()}


def _digest(facts: object) -> str:
    text = json.dumps(facts, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
