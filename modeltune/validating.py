"""Validate: refit the best values under every seed and fold, and score each refit on test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modeltune.errors import SearchError
from modeltune.events import Listener, RefitFinished, ValidationStarted
from modeltune.executors import Executor
from modeltune.runs import Json, Scores
from modeltune.specs import Spec
from modeltune.trials import HyperParameters, RefitTask, Refitted
from modeltune.validations import Refit


@dataclass(frozen=True)
class Validated:
    """One value per refit for every metric, the report tables, and each refit's fit history."""

    scores: Mapping[str, Scores]
    tables: Mapping[str, Json]
    refits: tuple[Mapping[str, Json], ...]


def validate(
    spec: Spec,
    best: HyperParameters,
    executor: Executor[RefitTask, Refitted],
    weights: Path,
    listen: Listener,
) -> Validated:
    """Refit and score the winner; the first refit's weights are written to ``weights``.

    Which refit is kept does not depend on its score: the best of several seeds
    would promise more than the next one keeps.

    Raises:
        SearchError: a refit failed; shows its traceback.
    """
    refits = spec.validation.refits()
    listen(ValidationStarted(spec.validation, spec.refit_epochs))
    for number, refit in enumerate(refits):
        executor.submit(RefitTask(refit, best, spec.refit_epochs, weights if number == 0 else None))
    done: dict[Refit, Refitted] = {}
    metric = spec.search.objective.test_metric
    for number in range(1, len(refits) + 1):
        task, refitted = executor.wait()
        if refitted.failure is not None:
            detail = f"\n{refitted.failure.traceback}" if refitted.failure.traceback else ""
            raise SearchError(
                f"{spec.id}: validation failed at {_named(task.refit)}: {refitted.failure.reason}{detail}"
            )
        done[task.refit] = refitted
        score = refitted.scores.get(metric)
        listen(RefitFinished(task.refit, number, len(refits), metric, score, refitted.seconds))
    ordered = [done[refit] for refit in refits]
    return Validated(
        scores={
            name: Scores(tuple(refitted.scores[name] for refitted in ordered))
            for name in ordered[0].scores
        },
        tables=ordered[0].tables,
        refits=tuple(
            {
                "seed": refit.seed,
                "fold": refit.fold,
                "seconds": refitted.seconds,
                "trained_by": refitted.trained_by,
                "curve": refitted.curve,
            }
            for refit, refitted in zip(refits, ordered, strict=True)
        ),
    )


def _named(refit: Refit) -> str:
    return f"seed {refit.seed}" + ("" if refit.fold is None else f", fold {refit.fold + 1}")
