"""Turn a run's events into the lines a user follows it by; nothing is printed here."""

from __future__ import annotations

from collections.abc import Iterator

from modeltune.events import (
    BaselineAccepted,
    Event,
    Note,
    RefitFinished,
    SearchStarted,
    TrialFinished,
    ValidationStarted,
)
from modeltune.reports.tables import clean, number
from modeltune.runs import TrialStatus
from modeltune.searches import Hyperband, Search


def lines(event: Event) -> Iterator[str]:
    """Yield the lines that tell one event."""
    if isinstance(event, SearchStarted):
        yield f"{event.spec}: {search_plan(event.search)}"
        if isinstance(event.search, Hyperband):
            yield from _schedule(event.search)
    elif isinstance(event, TrialFinished):
        yield _trial(event)
    elif isinstance(event, ValidationStarted):
        refits = len(event.validation.refits())
        yield f"  validating the best values: {refits} {_plural('refit', refits)} of {event.epochs} {_plural('epoch', event.epochs)}"
    elif isinstance(event, RefitFinished):
        fold = "" if event.refit.fold is None else f", fold {event.refit.fold + 1}"
        score = "" if event.score is None else f": {event.metric} {number(event.score)} on test"
        yield (
            f"  refit {event.number}/{event.planned} (seed {event.refit.seed}{fold}){score}"
            f", {duration(event.seconds)}"
        )
    elif isinstance(event, BaselineAccepted):
        yield from (f"  {clean(line)}" for line in event.lines)
    elif isinstance(event, Note):
        yield f"  note: {clean(event.text)}"


def search_plan(search: Search) -> str:
    """Return one line: which search, how many trials, for what objective."""
    name = type(search).__name__
    objective = f"{search.objective.direction.value} {search.objective.metric}"
    if isinstance(search, Hyperband):
        return (
            f"{name}, {search.planned_trials} trials, {search.planned_epochs} epochs, {objective}"
        )
    if search.planned_trials is None:
        return f"{name}, every combination once, {objective}"
    return f"{name}, up to {search.planned_trials} trials, {objective}"


def duration(seconds: float) -> str:
    """Return seconds for reading: 0.8s, 42s, 3m 05s, 2h 07m."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest}s"
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    return f"{minutes // 60}h {minutes % 60:02d}m"


def _trial(event: TrialFinished) -> str:
    trial = event.trial
    which = f"{trial.id}/{event.planned}" if event.planned else f"{trial.id}"
    if trial.status is TrialStatus.FAILED:
        said = f"failed: {clean(trial.reason or 'no reason given')}"
    else:
        said = f"{number(trial.score)} in {trial.epochs} {_plural('epoch', trial.epochs)}"
        if trial.parent is not None:
            said += f" (continues trial {trial.parent})"
    best = (
        "" if event.best is None else f", best {number(event.best.score)} (trial {event.best.id})"
    )
    left = ""
    if event.planned and trial.id < event.planned:
        left = f", {duration(event.seconds / trial.id * (event.planned - trial.id))} left"
    return f"  trial {which}: {said}{best}{left}"


def _schedule(search: Hyperband) -> Iterator[str]:
    for rung in search.schedule:
        how = (
            f"from epoch {rung.initial_epoch} to {rung.epochs}"
            if rung.round
            else f"to epoch {rung.epochs}"
        )
        yield f"  bracket {rung.bracket}, round {rung.round}: {rung.trials} trials {how}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
