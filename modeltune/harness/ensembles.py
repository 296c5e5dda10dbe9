"""Average the best trials' models, and choose the average where it is proven better on validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modeltune.ground import SearchError
from modeltune.harness.executors import Executor
from modeltune.harness.validation import (
    TunedModel,
    ValidationResult,
    joined_samples,
    validate,
)
from modeltune.records import (
    HyperParameters,
    Json,
    Listener,
    Note,
    RefitResult,
    RefitTask,
    Scores,
    Trial,
    TrialStatus,
    Values,
    as_number,
    values_of_ensemble,
)
from modeltune.specs import Direction, KFold, Spec


@dataclass(frozen=True)
class EnsembleChoice:
    """The model that is judged and kept, and what its run records of how it was chosen."""

    tuned: TunedModel
    record: Mapping[str, Json]


def choose_model(
    spec: Spec,
    tuned: TunedModel,
    trials: Sequence[Trial],
    space_at: Callable[[Values], HyperParameters],
    executor: Executor[RefitTask, RefitResult],
    listen: Listener,
) -> EnsembleChoice:
    """Refit the winner and the average of the best trials, and return the one to judge.

    That is the average where it is proven better by the objective on the validation part, of folds on
    those that are held out, at the level of gates: over seeds or folds where there are enough, else
    sample by sample. Test is not looked at.

    Args:
        spec: the declared model; its validation says how many are averaged.
        tuned: the winner of the search.
        trials: all of the search.
        space_at: returns the space known so far with these values.
        executor: what trains the refits; those of the chosen model are asked for again.
        listen: told how it goes.

    Raises:
        SearchError: a refit of the winner failed. One of the average leaves the winner.
    """
    asked = spec.validation.ensemble
    assert asked is not None  # else there is nothing to choose
    members = best_distinct(spec, trials, asked)
    alone = validate(spec, tuned, executor, listen, spec.validation)
    record: dict[str, Json] = {
        "members": [{"trial": t.id, "score": t.score, "values": dict(t.values)} for t in members]
    }

    def chosen(model: TunedModel, reason: str, **facts: Json) -> EnsembleChoice:
        is_ensemble = model is not tuned
        listen(Note(f"ensemble: {reason}"))
        return EnsembleChoice(
            model, {"is_ensemble": is_ensemble, "reason": reason, **record, **facts}
        )

    if len(members) < 2:
        return chosen(
            tuned, f"not made, for {len(members)} trial has finished with values of its own"
        )
    count = f"the {len(members)} best trials" + (
        f", for no more of {asked} have finished with values of their own"
        if len(members) < asked
        else ""
    )
    listen(Note(f"ensemble: averaging {count}"))
    average = replace(
        tuned,
        hyperparameters=space_at(values_of_ensemble([trial.values for trial in members])),
        # Its architecture and examples are written beside the weights.
        weights=tuned.weights.parent / "ensemble" / tuned.weights.name,
    )
    try:
        together = validate(spec, average, executor, listen, spec.validation, may_fail=True)
    except SearchError as error:
        reason, _, _ = str(error).partition("\n")
        return chosen(tuned, f"not chosen, for it could not be refitted: {reason}")
    is_better, reason, facts = compared(spec, together, alone)
    listed = ", ".join(str(trial.id) for trial in members)
    if is_better:
        return chosen(average, f"trials {listed} averaged are chosen: {reason}", **facts)
    return chosen(tuned, f"trials {listed} averaged are not chosen: {reason}", **facts)


def best_distinct(spec: Spec, trials: Sequence[Trial], count: int) -> list[Trial]:
    """Return the best trials that have finished, best first, one of each values."""
    finished = [t for t in trials if t.status is TrialStatus.COMPLETED and t.score is not None]
    is_max = spec.search.objective.direction is Direction.MAX
    sign = -1 if is_max else 1
    # Of equals the earliest comes first, as the winner does.
    finished.sort(key=lambda trial: sign * (trial.score or 0.0))
    distinct: dict[object, Trial] = {}
    for trial in finished:
        distinct.setdefault(tuple(sorted(trial.values.items())), trial)
    return list(distinct.values())[:count]


def compared(
    spec: Spec, together: ValidationResult, alone: ValidationResult
) -> tuple[bool, str, dict[str, Json]]:
    """Tell whether the average is proven better than the winner alone, with the reason and numbers."""
    from modeltune.judgement import ALPHA, compare_evidence

    objective = spec.search.objective
    metric = objective.test_metric
    ours, theirs = _evidence(together), _evidence(alone)
    if not (ours.values(metric) and theirs.values(metric)):
        return False, f"models that are averaged do not measure {objective.metric}", {}
    sign = 1 if objective.direction is Direction.MAX else -1
    folds = spec.validation.k if isinstance(spec.validation, KFold) else None
    overlap = 0.0 if folds is None else 1 / (folds - 1)
    pair = compare_evidence(metric, sign, ours, theirs, overlap)
    numbers = (
        f"{objective.metric} {pair.candidate:.6g} beside {pair.reference:.6g} of the winner alone"
    )
    facts: dict[str, Json] = {
        "metric": objective.metric,
        "ensemble": pair.candidate,
        "winner": pair.reference,
    }
    if pair.comparison is None:
        return False, f"{numbers}, which nothing tells apart: {pair.problem or pair.lack}", facts
    comparison = pair.comparison
    p_value = comparison.p_above(0.0)
    facts |= {"p": p_value, "test": comparison.test, "n": comparison.n}
    proof = f"p {p_value:.3g}, {comparison.test} on {comparison.n} {comparison.unit.value}"
    if comparison.delta > 0 and p_value <= ALPHA:
        return True, f"{numbers} ({proof})", facts
    return False, f"{numbers}, which is not proven to be better ({proof})", facts


def _evidence(result: ValidationResult) -> Any:
    """Return what the refits of a candidate did on the validation part."""
    from modeltune.judgement import Evidence

    watched = result.watched
    first = watched[0]["scores"] if watched else ()
    names = [name for name in first if all(name in one["scores"] for one in watched)]
    return Evidence(
        {n: Scores(tuple(as_number(one["scores"][n]) for one in watched)) for n in names},
        tuple((refit["seed"], refit["fold"]) for refit in result.refits),
        joined_samples([one["samples"] for one in watched]) if watched else None,
    )
