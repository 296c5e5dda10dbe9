"""What a run tells while it goes on; reports turn these into lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from modeltune.records.runs import Run, Trial
from modeltune.specs import Refit, Search, Validation


@dataclass(frozen=True)
class PreparationFinished:
    """What models are built with was fitted on so many samples of train, ``by`` a function, in ``seconds``."""

    spec: str
    by: str
    samples: int
    seconds: float


@dataclass(frozen=True)
class SearchStarted:
    """The search begins; its declaration knows the schedule."""

    spec: str
    search: Search


@dataclass(frozen=True)
class TaskProgress:
    """A trial, by its id, or a refit is being trained, for so many ``seconds``.

    ``epoch`` of ``epochs`` are done, the last with ``value`` of the objective's metric, None
    when that is not logged as a number; ``epoch`` is None when the task has just begun. It is
    told a few times a second, not at every epoch, and again from the start after a failure.
    """

    task: int | Refit
    epoch: int | None
    epochs: int
    value: float | None
    seconds: float


@dataclass(frozen=True)
class TrialFinished:
    """A trial ended; ``best`` is the best completed one so far, ``seconds`` what all took so far.

    Of a search that was interrupted, the trials before count with the seconds they took then.
    ``left`` is how many seconds the rest should take, None where nobody knows.
    """

    trial: Trial
    best: Trial | None
    planned: int | None
    seconds: float
    left: float | None


@dataclass(frozen=True)
class ValidationStarted:
    """The winner is refitted; without a search, the default values are. ``epochs``: None where there are none."""

    validation: Validation
    epochs: int | None
    is_searched: bool = True


@dataclass(frozen=True)
class RefitFinished:
    """One refit was scored on test; ``score`` is the objective's metric there, if it has one."""

    refit: Refit
    number: int
    planned: int
    metric: str
    score: float | None
    seconds: float


@dataclass(frozen=True)
class Note:
    """Something the user should know; it is also kept with the run."""

    text: str


@dataclass(frozen=True)
class RunRecorded:
    """The run is in the history, anew or from before (``cached``); said once, however it ended."""

    run: Run


@dataclass(frozen=True)
class SmokeEnded:
    """A spec has run end to end on few samples for one epoch; the run is not recorded."""

    run: Run


@dataclass(frozen=True)
class BaselineAccepted:
    """A recorded run became the baseline of its spec, or was asked to and may not; in lines."""

    lines: tuple[str, ...]


Event: TypeAlias = (
    PreparationFinished
    | SearchStarted
    | TaskProgress
    | TrialFinished
    | ValidationStarted
    | RefitFinished
    | Note
    | RunRecorded
    | SmokeEnded
    | BaselineAccepted
)
Listener: TypeAlias = Callable[[Event], None]


def portable(event: Event) -> Event:
    """Return an event without what only the user's code can unpickle, and no line shows.

    Whoever is told of it in another process need not import Keras, and cannot import the spec file.
    """
    if isinstance(event, SearchStarted):
        objective = event.search.objective
        # It may be the member of an enumeration.
        objective = replace(objective, metric=str.__str__(objective.metric))
        search = replace(event.search, objective=objective, hyperparameters=None)
        return replace(event, search=search)
    if isinstance(event, TrialFinished):
        best = None if event.best is None else replace(event.best, values={}, curve={})
        trial = replace(event.trial, values={}, curve={}, traceback=None)
        return replace(event, trial=trial, best=best)
    return event
