"""Validate: refit the best values under every seed and fold, and score each refit on test."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modeltune.ground import SearchError
from modeltune.harness.executors import Executor
from modeltune.records import (
    Best,
    Caution,
    Failure,
    HyperParameters,
    Json,
    Listener,
    Note,
    RefitFinished,
    RefitResult,
    RefitTask,
    Scores,
    ValidationStarted,
    Verdict,
)
from modeltune.specs import Refit, Spec, Validation

if TYPE_CHECKING:
    from modeltune.records import Samples


NO_SPACE: HyperParameters = {"space": [], "values": {}}
"""The search space of a model that is trained already."""


@dataclass(frozen=True)
class TunedModel:
    """The winner of a search: its values in their space, and the file of its first refit's weights.

    An estimator ``has_epochs`` not.
    """

    best: Best
    hyperparameters: HyperParameters
    weights: Path
    has_epochs: bool = True


@dataclass(frozen=True)
class ValidationResult:
    """One value per refit for every metric, the report tables, and each refit's fit history.

    ``samples`` are what the refits did on each test sample, None when they did not see the same
    samples; ``checks`` are the verdicts on the model that is kept, ``model`` says how it is built.
    ``cautions`` are what is to be warned of in any refit, ``unmeasured`` why a metric has no value.
    ``watched`` is what each refit did on the validation part, where an ensemble may be chosen by it.
    """

    scores: Mapping[str, Scores]
    tables: Mapping[str, Json]
    refits: tuple[Mapping[str, Json], ...]
    samples: Samples | None = None
    checks: tuple[Verdict, ...] = ()
    model: Mapping[str, Json] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    unmeasured: Mapping[str, Failure] = field(default_factory=dict)
    watched: tuple[Json, ...] = ()


def validate(
    spec: Spec,
    tuned: TunedModel,
    executor: Executor[RefitTask, RefitResult],
    listen: Listener,
    validation: Validation,
    known: Collection[Refit] = (),
    *,
    may_fail: bool = False,
) -> ValidationResult:
    """Refit and score the winner, and write the first refit's weights.

    Which refit is kept does not depend on its score: the best of several seeds
    would promise more than the next one keeps.

    Args:
        spec: the declared model.
        tuned: the winner of the search; the first refit's weights go to its file.
        executor: what trains the refits.
        listen: told when refitting starts, and of each refit.
        validation: the spec's, or the same with more seeds.
        known: refits of a validation before, which the listener was told of then.
        may_fail: whether the run goes on without these refits: the executor is left with none of them.

    Raises:
        SearchError: a refit failed; shows its traceback.
    """
    refits = validation.refits()
    if not known:
        epochs = spec.refit_epochs if tuned.has_epochs else None
        listen(ValidationStarted(validation, epochs, spec.is_searched))
    for number, refit in enumerate(refits):
        weights = tuned.weights if number == 0 else None
        executor.submit(RefitTask(refit, tuned.hyperparameters, spec.refit_epochs, weights))
    done: dict[Refit, RefitResult] = {}
    metric = spec.search.objective.test_metric
    for number in range(1, len(refits) + 1):
        task, refitted = executor.wait()
        if refitted.failure is not None:
            if may_fail:
                for _ in range(len(refits) - number - len(executor.withdraw())):
                    executor.wait()
            detail = f"\n{refitted.failure.traceback}" if refitted.failure.traceback else ""
            raise SearchError(
                f"{spec.id}: validation failed at {task.refit.name}: {refitted.failure.reason}{detail}"
            )
        done[task.refit] = refitted
        score = refitted.scores.get(metric)
        if task.refit not in known:
            if refitted.note is not None:
                listen(Note(refitted.note))
            listen(RefitFinished(task.refit, number, len(refits), metric, score, refitted.seconds))
    ordered = [done[refit] for refit in refits]
    return ValidationResult(
        scores={
            name: Scores(tuple(refitted.scores[name] for refitted in ordered))
            for name in ordered[0].scores
            if all(name in refitted.scores for refitted in ordered)
        },
        tables=ordered[0].tables,
        refits=tuple(
            {
                "seed": refit.seed,
                "fold": refit.fold,
                "seconds": refitted.seconds,
                "trained_by": refitted.trained_by,
                "curve": refitted.curve,
                **({"thresholds": refitted.thresholds} if refitted.thresholds else {}),
                **(
                    {"phases": [vars(phase) for phase in refitted.phases]}
                    if refitted.phases
                    else {}
                ),
            }
            for refit, refitted in zip(refits, ordered, strict=True)
        ),
        samples=joined_samples([refitted.samples for refitted in ordered]),
        checks=ordered[0].checks,
        model=ordered[0].model,
        cautions=tuple(caution for refitted in ordered for caution in refitted.cautions),
        unmeasured={
            name: failure for refitted in ordered for name, failure in refitted.unmeasured.items()
        },
        watched=tuple(refitted.watched for refitted in ordered if refitted.watched),
    )


def joined_samples(packed: Sequence[Json]) -> Samples | None:
    """Return packed samples of several refits as those of all; None where any has none, or others."""
    if not all(packed):
        return None
    from modeltune.records import join_samples, unpack_samples

    return join_samples([unpack_samples(refit) for refit in packed])
