"""Turn the events of a run into lines that show its progress; prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from modeltune.records import (
    FITTED,
    BaselineAccepted,
    Event,
    Note,
    PreparationFinished,
    RefitFinished,
    Run,
    SearchStarted,
    SmokeEnded,
    TaskProgress,
    Trial,
    TrialFinished,
    TrialStatus,
    ValidationStarted,
)
from modeltune.reports.tables import clean, distinct, number, text_table
from modeltune.specs import Hyperband, NoSearch, Refit, Scoring, Search


def lines(event: Event) -> Iterator[str]:
    """Yield the lines that report one event."""
    if isinstance(event, PreparationFinished):
        yield (
            f"{clean(event.spec)}: prepared by {clean(event.by)} on {event.samples} samples of train, "
            f"{duration(event.seconds)}"
        )
    elif isinstance(event, SearchStarted):
        yield f"{clean(event.spec)}: {search_plan(event.search)}"
        if isinstance(event.search, Hyperband):
            yield from _schedule(event.search)
    elif isinstance(event, TrialFinished):
        yield _trial(event)
    elif isinstance(event, ValidationStarted):
        refits = len(event.validation.refits())
        count = f"{refits} {_plural('refit', refits)}"
        if event.epochs is not None:
            count += f" of {event.epochs} {_plural('epoch', event.epochs)}"
            if (tuned := event.validation.fine_tune) is not None:
                more = (
                    f"{tuned.epochs} {_plural('epoch', tuned.epochs)}"
                    if isinstance(tuned.epochs, int)
                    else "some"
                )
                count += f", then {more} of fine-tuning"
        which = "best" if event.is_searched else "default"
        if isinstance(event.validation, Scoring):
            yield f"  scoring {refits} trained {_plural('model', refits)}"
        else:
            yield f"  validating the {which} values: {count}"
    elif isinstance(event, RefitFinished):
        score = (
            "" if event.score is None else f": {clean(event.metric)} {number(event.score)} on test"
        )
        yield (
            f"  refit {event.number}/{event.planned} ({event.refit.name}){score}"
            f", {duration(event.seconds)}"
        )
    elif isinstance(event, BaselineAccepted):
        yield from (f"  {clean(line)}" for line in event.lines)
    elif isinstance(event, SmokeEnded):
        yield from _smoke(event.run)
    elif isinstance(event, Note):
        yield f"  note: {clean(event.text)}"


def _smoke(run: Run) -> Iterator[str]:
    samples = run.data.get("samples")
    parts = samples.items() if isinstance(samples, Mapping) else ()
    counted = ", ".join(f"{count} {clean(name)}" for name, count in parts)
    # What a reason advises, such as to accept the run, is not for one that is gone.
    rows = [
        [verdict.gate, *distinct(verdict.measured, verdict.bound), verdict.outcome.value]
        for verdict in run.verdicts
    ]
    gates = text_table(["gate", "measured", "bound", "outcome"], rows).splitlines()
    end = "; gates are shown and not enforced:" if gates else "; there are no gates"
    yield f"  smoke: ran end to end on few samples ({counted}){end}"
    yield from (f"    {line}" for line in gates)


class Stage(Enum):
    """The stage that a running spec has reached."""

    PREPARING = "preparing"
    """Its data are loaded and checked, and its default candidate is rehearsed."""
    SEARCHING = "searching"
    VALIDATING = "validating"
    JUDGING = "judging"


@dataclass(frozen=True)
class RunProgress:
    """What the events so far tell about a running spec; times are seconds of one clock.

    Args:
        began, changed: when the run and its stage began.
        running: the trials and refits under way, each with when it began.
        done, planned: trials, or refits; ``planned`` is None where nobody knows.
        ends: when the search should be over.
    """

    spec: str
    began: float
    changed: float
    stage: Stage = Stage.PREPARING
    metric: str = ""
    running: Mapping[int | Refit, tuple[TaskProgress, float]] = field(default_factory=dict)
    done: int = 0
    planned: int | None = None
    best: Trial | None = None
    ends: float | None = None


def follow(known: RunProgress, event: Event, now: float) -> RunProgress:
    """Return what is known after an event."""
    if isinstance(event, SearchStarted):
        search = event.search
        return replace(
            known,
            stage=Stage.SEARCHING,
            changed=now,
            metric=search.objective.metric,
            planned=search.planned_trials,
        )
    if isinstance(event, TaskProgress):
        running = {**known.running, event.task: (event, now - event.seconds)}
        if isinstance(event.task, Refit) and known.stage is Stage.JUDGING:
            # More seeds may decide a gate: there are more refits, and it is not known how many.
            known = replace(known, stage=Stage.VALIDATING, changed=now, planned=None)
        return replace(known, running=running)
    if isinstance(event, TrialFinished):
        return replace(
            known,
            running=_without(known, event.trial.id),
            done=known.done + 1,
            best=event.best,
            ends=None if event.left is None else now + event.left,
        )
    if isinstance(event, ValidationStarted):
        planned = len(event.validation.refits())
        stage = Stage.VALIDATING
        return replace(known, stage=stage, changed=now, running={}, done=0, planned=planned)
    if isinstance(event, RefitFinished):
        running = _without(known, event.refit)
        is_last = event.number == event.planned
        return replace(
            known,
            stage=Stage.JUDGING if is_last else Stage.VALIDATING,
            changed=now if is_last else known.changed,
            running=running,
            done=event.number,
            planned=event.planned,
        )
    return known


def _without(
    known: RunProgress, task: int | Refit
) -> dict[int | Refit, tuple[TaskProgress, float]]:
    return {other: started for other, started in known.running.items() if other != task}


def live(known: RunProgress, now: float) -> Iterator[str]:
    """Yield a line for the run of a spec, and one for each trial or refit under way."""
    facts = [_stage(known, now)]
    if known.best is not None and known.stage is Stage.SEARCHING:
        facts.append(f"best {number(known.best.score)} (trial {known.best.id})")
    if known.running:
        facts.append(f"{len(known.running)} running")
    if known.stage is Stage.SEARCHING and known.ends is not None and known.ends > now:
        facts.append(f"{duration(known.ends - now)} left")
    yield f"{clean(known.spec)}: {', '.join(facts)}"
    for event, began in _running(known):
        reached = "starting" if event.epoch is None else f"epoch {event.epoch}/{event.epochs}"
        value = "" if event.value is None else f", {clean(known.metric)} {number(event.value)}"
        yield f"  {_task_name(event)}: {reached}{value}, {duration(now - began)}"


def heartbeat(known: RunProgress, now: float) -> str:
    """Return one line that says how far a run is, for a log that has been silent for a while."""
    facts = [_stage(known, now)]
    if known.best is not None:
        facts.append(f"best {number(known.best.score)} (trial {known.best.id})")
    for event, began in _running(known):
        reached = "starting" if event.epoch is None else f"at epoch {event.epoch}/{event.epochs}"
        facts.append(f"{_task_name(event)} {reached} for {duration(now - began)}")
    return f"{clean(known.spec)}: running for {duration(now - known.began)}: {', '.join(facts)}"


def _stage(known: RunProgress, now: float) -> str:
    if known.stage is Stage.SEARCHING:
        return f"{known.done}/{known.planned} trials" if known.planned else f"{known.done} trials"
    if known.stage is Stage.VALIDATING:
        counted = f"{known.done}/{known.planned}" if known.planned else f"{known.done}"
        return f"{counted} {_plural('refit', known.planned or known.done)}"
    return f"{known.stage.value}, {duration(now - known.changed)}"


def _running(known: RunProgress) -> list[tuple[TaskProgress, float]]:
    """Return trials by their number, refits by seed and fold."""

    def place(task: int | Refit) -> tuple[int, int]:
        return (task, 0) if isinstance(task, int) else (task.seed, task.fold or 0)

    return [known.running[task] for task in sorted(known.running, key=place)]


def _task_name(event: TaskProgress) -> str:
    if isinstance(event.task, int):
        return f"trial {event.task}"
    return f"refit ({event.task.name})"


def search_plan(search: Search) -> str:
    """Return one line: which search, how many trials, for what objective."""
    name = type(search).__name__
    objective = f"{search.objective.direction.value} {clean(search.objective.metric)}"
    if isinstance(search, NoSearch):
        if search.is_given:
            return "trained already, nothing is searched or trained"
        return "no search, the default values are validated"
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
        result = f"failed: {clean(trial.reason or 'no reason given')}"
    else:
        result = number(trial.score)
        if trial.trained_by != FITTED:
            result += f" in {trial.epochs} {_plural('epoch', trial.epochs)}"
        if trial.parent is not None:
            result += f" (continues trial {trial.parent})"
    best = (
        "" if event.best is None else f", best {number(event.best.score)} (trial {event.best.id})"
    )
    left = f", {duration(event.left)} left" if event.left else ""
    return f"  trial {which}: {result}{best}{left}"


def _schedule(search: Hyperband) -> Iterator[str]:
    for rung in search.schedule:
        how = (
            f"from epoch {rung.initial_epoch} to {rung.epochs}"
            if rung.round
            else f"to epoch {rung.epochs}"
        )
        trials = f"{rung.trials} {_plural('trial', rung.trials)}"
        yield f"  bracket {rung.bracket}, round {rung.round}: {trials} {how}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
