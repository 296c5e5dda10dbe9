"""Search: ask the oracle, train the candidate, tell the score, until there is nothing to ask."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modeltune.dry_run import missing_objective
from modeltune.errors import SearchError
from modeltune.events import Listener, Note, SearchStarted, TrialFinished
from modeltune.executors import Executor
from modeltune.oracles import Oracle, Proposal, own_values
from modeltune.runs import Best, Trial, TrialStatus
from modeltune.searches import Hyperband
from modeltune.specs import Spec
from modeltune.training import Failure, Trained, TrialTask


@dataclass
class Found:
    """The trials of a search so far, in the order they finished; kept when it is interrupted."""

    trials: list[Trial]
    first_failure: Failure | None = None


def search(
    spec: Spec,
    oracle: Oracle,
    executor: Executor[TrialTask, Trained],
    scratch: Path,
    listen: Listener,
    found: Found,
) -> Best:
    """Run the spec's search to its end, adding each finished trial to ``found``.

    The executor holds the train and validation parts; the test part is not within reach.

    Raises:
        SearchError: no trial completed; shows the first failure's traceback.
    """
    started = time.monotonic()
    listen(SearchStarted(spec.id, spec.search))
    ids = itertools.count(1)
    under_way: dict[int, _Attempt] = {}
    trial_ids: dict[str, int] = {}
    seeds = _Seeds(spec.search.seed)
    consecutive_failures, stop = 0, None
    while True:
        while not stop and len(under_way) < executor.slots:
            proposal = oracle.ask()
            if proposal is None:
                break
            parent = trial_ids.get(proposal.parent or "")
            attempt = _Attempt(next(ids), proposal, parent, seeds.of(proposal, parent))
            trial_ids[proposal.id] = attempt.id
            seeds.used[attempt.id] = attempt.seed
            under_way[attempt.id] = attempt
            executor.submit(_task(spec, attempt, scratch))
        if not under_way:
            break
        task, trained = executor.wait()
        attempt = under_way.pop(task.id)
        if trained.failure is None and (missing := missing_objective(spec, trained.curve)):
            trained = replace(trained, failure=Failure(missing))
        if trained.failure and attempt.number < spec.search.max_retries_per_trial:
            seed = seeds.of(attempt.proposal, attempt.parent)
            again = replace(attempt, number=attempt.number + 1, seed=seed)
            listen(Note(f"trial {attempt.id} failed ({trained.failure.reason}); trained again"))
            under_way[again.id] = again
            executor.submit(_task(spec, again, scratch))
            continue
        trial = _trial(spec, task, attempt.parent, trained)
        oracle.tell(
            attempt.proposal, trial.score, trained.hyperparameters, trained.read, trial.reason
        )
        found.trials.append(trial)
        found.first_failure = found.first_failure or trained.failure
        best = best_trial(spec, found.trials)
        trained_for = sum(trial.seconds for trial in found.trials) / executor.slots
        listen(TrialFinished(trial, best, spec.search.planned_trials, trained_for))
        seconds = time.monotonic() - started
        consecutive_failures = consecutive_failures + 1 if trained.failure else 0
        stop = stop or _reason_to_stop(spec, seconds, consecutive_failures)
    if stop:
        listen(Note(f"search stopped after {len(found.trials)} trials: {stop}"))
    best = best_trial(spec, found.trials)
    if best is None or best.score is None:
        raise SearchError(_no_completed_trial(spec, found))
    return Best(best.id, best.score, best.values)


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


class _Seeds:
    """Seeds from values: a candidate's does not depend on which others were tried before it.

    The same values drawn again, as Hyperband does in a small space, and a retry get
    the next seed of those values; a promotion keeps its parent's.
    """

    def __init__(self, spec_seed: int):
        self._spec_seed = spec_seed
        self._draws: Counter[str] = Counter()
        self.used: dict[int, int] = {}

    def of(self, proposal: Proposal, parent: int | None) -> int:
        """Return the seed of the next attempt at this proposal."""
        if parent is not None:
            return self.used[parent]
        values = json.dumps(sorted(proposal.values.items()))
        text = json.dumps([self._spec_seed, values, self._draws[values]])
        self._draws[values] += 1
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


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


def _trial(spec: Spec, task: TrialTask, parent: int | None, trained: Trained) -> Trial:
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
    values = own_values(trained.hyperparameters.values)
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
    )


def _reason_to_stop(spec: Spec, seconds: float, consecutive_failures: int) -> str | None:
    minutes = spec.search.max_minutes
    if seconds >= 60 * (minutes or math.inf):
        return f"max_minutes={minutes} are over"
    if consecutive_failures == spec.search.max_consecutive_failed_trials:
        return f"{consecutive_failures} trials in a row failed"
    return None


def _no_completed_trial(spec: Spec, found: Found) -> str:
    if not found.trials:
        return f"{spec.id}: the search proposed no trial"
    failure = found.first_failure
    assert failure is not None  # every trial has failed
    detail = f"\n{failure.traceback}" if failure.traceback else ""
    return (
        f"{spec.id}: none of {len(found.trials)} trials completed; "
        f"the first failed with {failure.reason}{detail}"
    )
