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

from modeltune.ground import NoTrialError, sync_file, sync_folder
from modeltune.harness.executors import Executor
from modeltune.histories import Ledger, Ledgers
from modeltune.records import (
    ARCHITECTURE,
    EXAMPLES,
    Failure,
    Json,
    RefitResult,
    RefitTask,
    TrialResult,
    TrialTask,
    as_number,
    from_plain,
    plain,
    verdict_from_json,
)
from modeltune.specs import Spec, gates_identity

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Notation(Generic[_Task, _Result]):
    """How a ledger writes a kind of task and its result; ``read`` returns None when a file is gone."""

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
    """An executor that keeps every result before it hands it on, and runs no task twice."""

    def __init__(
        self, executor: Executor[_Task, _Result], ledger: Ledger, notation: Notation[_Task, _Result]
    ):
        self._executor = executor
        self._ledger = ledger
        self._notation = notation
        self._known: list[tuple[int, _Task, _Result]] = []

    @property
    def slots(self) -> int:
        """As many as the executor has."""
        return self._executor.slots

    def submit(self, task: _Task) -> None:
        """Start a task, unless its result is known."""
        key = self._notation.key(task)
        value = self._ledger.get(key)
        known = None if value is None else self._notation.read(task, value)
        if known is None:
            self._executor.submit(task)
        else:
            bisect.insort(self._known, (self._ledger.position(key), task, known), key=_position)

    def wait(self) -> tuple[_Task, _Result]:
        """Return the next task that finished, with its result; known results come first, in order."""
        if self._known:
            _, task, known = self._known.pop(0)
            return task, known
        task, result = self._executor.wait()
        self._ledger.put(self._notation.key(task), self._notation.write(task, result))
        return task, result

    def withdraw(self) -> list[_Task]:
        """Take back the tasks that have not begun; known results are still handed back."""
        return self._executor.withdraw()


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
        }
    )


def _read_trial(task: TrialTask, value: Json) -> TrialResult:
    # Its state may be gone: it has been dropped when no trial could continue from it.
    return TrialResult(
        curve=_curve(value["curve"]),
        trained_by=value["trained_by"],
        seconds=value["seconds"],
        hyperparameters=json.loads(value["hyperparameters"]),
        read=frozenset(value["read"]),
        failure=value["failure"] and Failure(**value["failure"]),
    )


TRIALS: Notation[TrialTask, TrialResult] = Notation(_trial_key, _write_trial, _read_trial)
"""A trial is the same when its number, values, epochs and seed are."""


def refit_notation(spec: Spec) -> Notation[RefitTask, RefitResult]:
    """Return how refits of this spec are written: they also depend on its validation and gates.

    A failed refit is written like any other, but trained again when it is met again.
    """
    rules = repr(spec.validation), repr(spec.gates), gates_identity(spec)

    def key(task: RefitTask) -> str:
        values = sorted(task.hyperparameters["values"].items())
        return f"refit {_digest([rules, task.refit.seed, task.refit.fold, values, task.epochs])}"

    return Notation(key, _write_refit, _read_refit)


def _write_refit(task: RefitTask, refitted: RefitResult) -> Json:
    _sync(task.weights)
    for name in (ARCHITECTURE, EXAMPLES):
        _sync(task.weights and task.weights.with_name(name))
    return plain(refitted)


def _read_refit(task: RefitTask, value: Json) -> RefitResult | None:
    if value["failure"] or (task.weights is not None and not task.weights.exists()):
        return None
    # A ledger of an earlier modeltune may lack fields, and has checks of an earlier form.
    refitted = from_plain(RefitResult, {**value, "checks": []})
    return replace(refitted, checks=tuple(map(verdict_from_json, value["checks"])))


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
