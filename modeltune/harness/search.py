"""Search: ask the oracle for a candidate, train it, tell the oracle its score, until none is left."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from modeltune.ground import Deadline, NoTrialError, SearchError, monotonic, remove_file
from modeltune.harness.executors import Executor
from modeltune.records import (
    Best,
    Caution,
    Failure,
    HyperParameters,
    Listener,
    Note,
    Proposal,
    SearchStarted,
    Trial,
    TrialFinished,
    TrialResult,
    TrialStatus,
    TrialTask,
    own_values,
)
from modeltune.specs import Hyperband, Search, Spec

LONGEST_TRACEBACK = 16_000
"""Characters of a traceback that are kept with a trial: its beginning and its end."""


@dataclass
class SearchProgress:
    """The finished trials of a search, by number; an interrupted search leaves those it has.

    ``cut_short`` says what ended the search while its oracle could propose more. ``cautions``
    are what is to be warned of, by the trial that met it; ``exhausted`` says that the space has
    fewer candidates than the search was declared to try.
    """

    trials: list[Trial] = field(default_factory=list)
    first_failure: Failure | None = None
    cut_short: str | None = None
    cautions: dict[int, tuple[Caution, ...]] = field(default_factory=dict)
    exhausted: str | None = None

    @property
    def all_cautions(self) -> tuple[Caution, ...]:
        """All that is to be warned of, in the order of the trials."""
        found = [caution for trial in sorted(self.cautions) for caution in self.cautions[trial]]
        if self.exhausted is not None:
            found.append(Caution("search.exhausted", self.exhausted))
        return tuple(found)

    def add(self, trial: Trial, failure: Failure | None) -> None:
        """Add a finished trial; the list is in the order of proposals."""
        bisect.insort(self.trials, trial, key=lambda other: other.id)
        if failure and next(t for t in self.trials if t.status is TrialStatus.FAILED) is trial:
            self.first_failure = failure


class Proposer(Protocol):
    """What proposes candidates: an ``Oracle``, or an engine that has one."""

    def ask(self) -> Proposal | None:
        """Return the next candidate; None when it takes another score first, or all are proposed."""

    def tell(
        self,
        proposal: str,
        score: float | None,
        hyperparameters: HyperParameters,
        read: frozenset[str],
        reason: str | None,
    ) -> frozenset[str] | None:
        """End a candidate; return those that may still be continued, None when none ever is."""


@dataclass(frozen=True)
class Tuner:
    """What a search tunes with: what proposes candidates, what trains them, a folder for their states."""

    oracle: Proposer
    executor: Executor[TrialTask, TrialResult]
    scratch: Path


def search(
    spec: Spec,
    tuner: Tuner,
    listen: Listener,
    progress: SearchProgress,
    deadline: Deadline = Deadline(),
) -> Best:
    """Run the spec's search to its end, adding each finished trial to ``progress``.

    The tuner's executor holds the train and validation parts; the test part is not within reach.
    The oracle hears scores in the order of its proposals, and proposals run ahead by a fixed
    number: what it proposes depends neither on the number of slots nor on which trial ends first.

    Raises:
        SearchError: no trial completed; shows the first failure's traceback.
    """
    oracle, executor, scratch = tuner.oracle, tuner.executor, tuner.scratch
    started = monotonic()
    listen(SearchStarted(spec.id, spec.search))
    window = spec.search.window if spec.search.deterministic else executor.slots
    ids = itertools.count(1)
    open_attempts: dict[int, _Attempt] = {}  # proposed, and not yet reported to the oracle
    results: dict[int, TrialResult] = {}  # of those that have ended
    trial_ids: dict[str, int] = {}
    with_state: set[int] = set()
    told: set[str] = set()
    seeds = _Seeds(spec.search.seed)
    consecutive_failures, stop, late, is_waiting = 0, None, None, False
    while True:
        if late is None:
            late = _out_of_time(spec, started, progress, executor.slots, deadline)
            if late:
                for task in executor.withdraw():
                    del open_attempts[task.id]
        if consecutive_failures == spec.search.max_consecutive_failed_trials:
            stop = stop or f"{consecutive_failures} trials in a row failed"
        stop = stop or late
        while not stop and not is_waiting and len(open_attempts) < window:
            proposal = oracle.ask()
            if proposal is None:
                # Asked again after the next score only: an answer may draw random numbers.
                is_waiting = True
                break
            parent = trial_ids.get(proposal.parent or "")
            attempt = _Attempt(next(ids), proposal, parent, seeds.of(proposal, parent))
            trial_ids[proposal.id] = attempt.id
            seeds.used[attempt.id] = attempt.seed
            open_attempts[attempt.id] = attempt
            executor.submit(_task(spec, attempt, scratch))
        if number := _next_to_report(spec, open_attempts, results):
            attempt, trained = open_attempts.pop(number), results.pop(number)
            trial = next(trial for trial in progress.trials if trial.id == number)
            may_continue = oracle.tell(
                attempt.proposal.id,
                trial.score,
                trained.hyperparameters,
                trained.read,
                trial.reason,
            )
            if may_continue is not None:
                # Never that of a trial not proposed yet: it may be known from before an interrupt.
                with_state.add(number)
                needed = {trial for name, trial in trial_ids.items() if name in may_continue}
                needed |= {attempt.parent for attempt in open_attempts.values() if attempt.parent}
                _drop_states(scratch, with_state - needed)
                with_state &= needed
            consecutive_failures = consecutive_failures + 1 if trained.failure else 0
            is_waiting = False
            continue
        if not open_attempts:
            break
        task, trained = executor.wait()
        attempt = open_attempts[task.id]
        if trained.note is not None and trained.note not in told:
            told.add(trained.note)
            listen(Note(trained.note))
        if trained.cautions:
            progress.cautions[task.id] = trained.cautions
        missing = spec.search.objective.missing_from(trained.curve)
        if trained.failure is None and missing:
            trained = replace(trained, failure=Failure(missing))
        # One that ran out of the budget would do so again.
        failure = trained.failure
        may_retry = attempt.number < spec.search.max_retries_per_trial
        if failure is not None and failure.is_final and may_retry:
            again = attempt.again()
            listen(Note(f"trial {attempt.id} failed ({failure.reason}); trained again"))
            open_attempts[again.id] = again
            seeds.used[again.id] = again.seed
            executor.submit(_task(spec, again, scratch))
            continue
        trial = _trial(spec, task, attempt.parent, trained)
        results[task.id] = trained
        progress.add(trial, trained.failure)
        best = best_trial(spec, progress.trials)
        if best is not None:
            executor.hold_trials_to_budget()
        trained_for = sum(trial.seconds for trial in progress.trials) / executor.slots
        left = _seconds_left(spec, progress.trials, trained_for)
        listen(TrialFinished(trial, best, spec.search.planned_trials, trained_for, left))
    if stop:
        progress.cut_short = stop
        listen(Note(f"search stopped after {len(progress.trials)} trials: {stop}"))
    elif _is_exhausted(spec.search, len(progress.trials)):
        tried, planned = len(progress.trials), spec.search.planned_trials
        progress.exhausted = f"{tried} of {planned} trials: the space has no more"
    best = best_trial(spec, progress.trials)
    if best is None or best.score is None:
        # One that is cut short by time has not come to its end.
        kind = SearchError if late else NoTrialError
        raise kind(_no_completed_trial(spec, progress))
    return Best(best.id, best.score, best.values)


def _next_to_report(
    spec: Spec, open_attempts: Mapping[int, _Attempt], results: Mapping[int, TrialResult]
) -> int | None:
    """Return the next finished trial to report: the oldest; with a free order, any."""
    if not spec.search.deterministic:
        return next(iter(results), None)
    oldest = next(iter(open_attempts), None)
    return oldest if oldest in results else None


def _is_exhausted(search: Search, tried: int) -> bool:
    """Tell whether a search that nothing has stopped ended early: Hyperband tries values again."""
    planned = search.planned_trials
    return planned is not None and tried < planned and not isinstance(search, Hyperband)


def best_trial(spec: Spec, trials: Sequence[Trial]) -> Trial | None:
    """Return the completed trial with the best score, the earliest of equals, or None."""
    best, best_score = None, spec.search.objective.worst
    for trial in trials:
        if trial.score is not None and spec.search.objective.better(trial.score, best_score):
            best, best_score = trial, trial.score
    return best


@dataclass(frozen=True)
class _Attempt:
    """A proposal under way: its trial's id, parent and seed, and how often it has failed before."""

    id: int
    proposal: Proposal
    parent: int | None
    seed: int
    number: int = 0

    def again(self) -> _Attempt:
        """Return the next attempt at the same values: a promotion's seed stays its parent's."""
        seed = self.seed if self.parent is not None else _hash(self.seed, self.number)
        return replace(self, number=self.number + 1, seed=seed)


class _Seeds:
    """Seeds from values: a candidate's does not depend on which others were tried before it.

    The same values drawn again, as Hyperband does in a small space, get the next seed of
    those values; a promotion keeps its parent's.
    """

    def __init__(self, spec_seed: int):
        self._spec_seed = spec_seed
        self._draws: Counter[str] = Counter()
        self.used: dict[int, int] = {}

    def of(self, proposal: Proposal, parent: int | None) -> int:
        """Return the seed of the first attempt at this proposal."""
        if parent is not None:
            return self.used[parent]
        values = json.dumps(sorted(proposal.values.items()))
        seed = _hash(self._spec_seed, values, self._draws[values])
        self._draws[values] += 1
        return seed


def _hash(*facts: int | str) -> int:
    """Return a seed for Keras, from 0 to 2**31 - 1."""
    return int.from_bytes(hashlib.sha256(json.dumps(facts).encode()).digest()[:4], "big") >> 1


def _task(spec: Spec, attempt: _Attempt, scratch: Path) -> TrialTask:
    proposal, parent = attempt.proposal, attempt.parent
    return TrialTask(
        id=attempt.id,
        hyperparameters=proposal.hyperparameters,
        epochs=proposal.epochs or spec.fit.epochs,
        initial_epoch=proposal.initial_epoch,
        seed=attempt.seed,
        continue_from=_state(scratch, parent) if parent is not None else None,
        keep_state=_state(scratch, attempt.id) if isinstance(spec.search, Hyperband) else None,
    )


def _state(scratch: Path, trial: int) -> Path:
    return scratch / "states" / f"{trial}.npz"


def _drop_states(scratch: Path, spent: Set[int]) -> None:
    """Remove the states no trial will continue from."""
    for trial in spent:
        remove_file(_state(scratch, trial))


def _trial(spec: Spec, task: TrialTask, parent: int | None, trained: TrialResult) -> Trial:
    """Turn what was observed into the record: the score is the objective at its best epoch."""
    objective = spec.search.objective
    score, best_epoch = None, None
    if trained.failure is None:
        score = objective.worst
        for epoch, value in enumerate(
            trained.curve[objective.metric], start=task.initial_epoch + 1
        ):
            if objective.better(value, score):
                score, best_epoch = value, epoch
    values = own_values(trained.hyperparameters["values"])
    return Trial(
        id=task.id,
        status=TrialStatus.FAILED if trained.failure else TrialStatus.COMPLETED,
        values={name: value for name, value in values.items() if name in trained.read},
        score=score,
        reason=trained.failure.reason if trained.failure else None,
        epochs=max((len(values) for values in trained.curve.values()), default=0),
        initial_epoch=task.initial_epoch,
        parent=parent,
        best_epoch=best_epoch,
        seconds=trained.seconds,
        seed=task.seed,
        curve=trained.curve,
        trained_by=trained.trained_by,
        traceback=_shorten(trained.failure.traceback) if trained.failure else None,
        phases=trained.phases,
    )


def _shorten(traceback: str | None) -> str | None:
    """Return a traceback without its middle when it is too long: the error stands at its end."""
    if traceback is None or len(traceback) <= LONGEST_TRACEBACK:
        return traceback
    beginning, end = LONGEST_TRACEBACK // 4, 3 * LONGEST_TRACEBACK // 4
    left_out = f"({len(traceback) - beginning - end} characters left out)"
    return f"{traceback[:beginning]}\n... {left_out} ...\n{traceback[-end:]}"


def _out_of_time(
    spec: Spec, started: float, progress: SearchProgress, slots: int, deadline: Deadline
) -> str | None:
    """Return why no other trial may begin, or None when there is time for one."""
    minutes = spec.search.max_minutes
    if monotonic() - started >= 60 * (minutes or math.inf):
        return f"max_minutes={minutes} are over"
    if monotonic() >= deadline.end:
        return f"the budget of {deadline.budget} is overdrawn"
    # A budget too short for one trial is overdrawn: without a trial there is nothing to judge.
    best = best_trial(spec, progress.trials)
    if best and deadline.is_near(_seconds_to_finish(spec, best, slots)):
        return f"the budget of {deadline.budget} leaves time for validation only"
    return None


def _seconds_to_finish(spec: Spec, best: Trial, slots: int) -> float:
    """Return how long one more trial like the best, and then its refits, should take."""
    rounds = math.ceil(len(spec.validation.refits()) / slots)
    tuned = spec.validation.fine_tune
    # Which of the epochs train more layers, and how much longer those take, is not known.
    more = tuned.epochs if tuned is not None and isinstance(tuned.epochs, int) else 0
    # An ensemble is refitted besides the winner.
    epochs = (spec.refit_epochs + more) * (1 + (spec.validation.ensemble or 0))
    return best.seconds + best.seconds / max(best.epochs, 1) * epochs * rounds


def _seconds_left(spec: Spec, trials: Sequence[Trial], seconds: float) -> float | None:
    """Estimate the seconds of the trials to come from those so far; None when that is unknown."""
    done, planned = len(trials), spec.search.planned_trials
    if isinstance(spec.search, Hyperband) and done < (planned or 0):
        # Its trials are of unequal length.
        done, planned = sum(trial.epochs for trial in trials), spec.search.planned_epochs
    return seconds / done * max(planned - done, 0) if done and planned else None


def _no_completed_trial(spec: Spec, progress: SearchProgress) -> str:
    if not progress.trials:
        why = f": {progress.cut_short}" if progress.cut_short else ""
        return f"{spec.id}: the search proposed no trial{why}"
    failure = progress.first_failure
    assert failure is not None  # every trial has failed
    detail = f"\n{failure.traceback}" if failure.traceback else ""
    return (
        f"{spec.id}: none of {len(progress.trials)} trials completed; "
        f"the first failed with {failure.reason}{detail}"
    )
