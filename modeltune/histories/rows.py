"""A run as rows of the tables, and back, equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from modeltune.histories.schema import artifacts, runs, scores, trials, verdicts
from modeltune.records import (
    SCHEMA,
    Artifact,
    Best,
    Durations,
    Json,
    Outcome,
    Run,
    RunStatus,
    Scores,
    Summary,
    Trial,
    TrialStatus,
    Verdict,
    from_plain,
    old_verdict,
    plain,
    plain_values,
    values_from_json,
    verdict_from_json,
)


def run_row(run: Run) -> dict[str, object]:
    """Return the row of the table of runs."""
    revision, dirty = run.environment.get("git_revision"), run.environment.get("git_dirty")
    return {
        "id": run.id,
        "created": run.created,
        "spec": run.spec,
        "file": run.file,
        "status": run.status.value,
        "objective": run.objective,
        "best_trial": run.best and run.best.trial,
        "best_score": run.best and run.best.score,
        "best_values": run.best and plain_values(run.best.values),
        "data_seconds": run.durations.data,
        "search_seconds": run.durations.search,
        "validation_seconds": run.durations.validation,
        "git_revision": revision if isinstance(revision, str) else None,
        "git_dirty": dirty if isinstance(dirty, bool) else None,
        "error": run.error,
        "cached": run.cached,
        "schema": SCHEMA,
        **{name: plain(getattr(run, name)) for name in _DOCUMENTS},
        "notes": list(run.notes),
        **{name: plain(getattr(run, name)) for name in ("files", "checks", "advice", "model")},
        "metrics": list(run.scores),
        "baseline": run.baseline,
        "strict": run.strict,
    }


_DOCUMENTS = (
    "search",
    "fit",
    "validation",
    "data",
    "environment",
    "fingerprints",
    "task_report",
)


def parts(run: Run) -> list[tuple[sa.Table, list[dict[str, object]]]]:
    """Return the rows of every table that hangs on the run."""
    return [
        (
            trials,
            [
                {
                    "run": run.id,
                    "position": position,
                    "trial": trial.id,
                    "status": trial.status.value,
                    "score": trial.score,
                    "values": plain_values(trial.values),
                    "reason": trial.reason,
                    "epochs": trial.epochs,
                    "initial_epoch": trial.initial_epoch,
                    "parent": trial.parent,
                    "best_epoch": trial.best_epoch,
                    "seconds": trial.seconds,
                    "seed": trial.seed,
                    "trained_by": trial.trained_by,
                    "curve": plain(trial.curve),
                    "traceback": trial.traceback,
                }
                for position, trial in enumerate(run.trials)
            ],
        ),
        (
            scores,
            [
                {"run": run.id, "metric": metric, "refit": refit, "value": value}
                for metric, measured in run.scores.items()
                for refit, value in enumerate(measured.values)
            ],
        ),
        (
            verdicts,
            [
                {
                    "run": run.id,
                    "position": position,
                    "gate": verdict.gate,
                    "outcome": verdict.outcome.value,
                    "measured": verdict.measured,
                    "bound": verdict.bound,
                    "reason": verdict.reason,
                    "facts": plain(verdict.facts),
                    "details": plain(verdict.details),
                }
                for position, verdict in enumerate(run.verdicts)
            ],
        ),
        (artifacts, [{"run": run.id, **plain(run.artifact)}] if run.artifact else []),
    ]


def all_rows(run: Run) -> Json:
    """Return all rows of a run as plain data, in which NaN equals itself."""
    return plain([run_row(run), *(rows for _, rows in parts(run))])


def read_run(connection: sa.Connection, run_id: str) -> Run:
    """Return the run with this id."""

    def rows(table: sa.Table, order: str) -> Sequence[sa.Row[Any]]:
        query = sa.select(table).where(table.c.run == run_id).order_by(table.c[order])
        return connection.execute(query).all()

    row = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one()
    values: dict[tuple[str, str], list[float]] = {}
    for score in rows(scores, "refit"):
        values.setdefault((run_id, score.metric), []).append(score.value)
    kept = rows(artifacts, "refit")
    return Run(
        id=row.id,
        created=row.created,
        spec=row.spec,
        file=row.file,
        status=RunStatus(row.status),
        objective=row.objective,
        scores=_scores(row, values),
        verdicts=tuple(verdict_of(v, row.schema) for v in rows(verdicts, "position")),
        best=(
            None
            if row.best_trial is None
            else Best(row.best_trial, row.best_score, values_from_json(row.best_values))
        ),
        trials=tuple(_trial(trial) for trial in rows(trials, "position")),
        durations=Durations(row.data_seconds, row.search_seconds, row.validation_seconds),
        **{name: getattr(row, name) for name in _DOCUMENTS},
        artifact=(
            Artifact(kept[0].path, kept[0].sha256, kept[0].bytes, kept[0].refit) if kept else None
        ),
        files={name: Artifact(**file) for name, file in row.files.items()},
        checks=tuple(map(verdict_from_json, row.checks)),
        advice=tuple(row.advice),
        notes=tuple(row.notes),
        error=row.error,
        cached=row.cached,
        baseline=row.baseline,
        model=row.model,
        strict=row.strict,
    )


def verdict_of(row: sa.Row[Any], schema: int) -> Verdict:
    """Return the verdict of a row, by the number of the report's schema when it was recorded."""
    if schema < 2:
        outcome = Outcome(row.outcome)
        return old_verdict(row.gate, outcome, row.measured, row.bound, row.reason, row.details)
    return from_plain(Verdict, row._mapping)


def _trial(row: sa.Row[Any]) -> Trial:
    return Trial(
        id=row.trial,
        status=TrialStatus(row.status),
        # By mapping: a row's own ``values`` would shadow a column of that name.
        values=values_from_json(row._mapping["values"]),
        score=row.score,
        reason=row.reason,
        epochs=row.epochs,
        initial_epoch=row.initial_epoch,
        parent=row.parent,
        best_epoch=row.best_epoch,
        seconds=row.seconds,
        seed=row.seed,
        curve={name: tuple(map(float, values)) for name, values in row.curve.items()},
        trained_by=row.trained_by,
        traceback=row.traceback,
    )


AT_A_GLANCE = [
    column
    for column in runs.c
    if column.name in ("metrics", "fingerprints") or not isinstance(column.type, sa.JSON)
]
"""The columns a summary reads: not the documents of a run, which may be long."""


def summaries(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> list[Summary]:
    """Return the runs of rows that have the columns of ``AT_A_GLANCE``, with their scores."""
    values: dict[tuple[str, str], list[float]] = {}
    for some in batches([row.id for row in rows]):
        measured = (
            sa.select(scores.c.run, scores.c.metric, scores.c.value)
            .where(scores.c.run.in_(some))
            .order_by(scores.c.run, scores.c.metric, scores.c.refit)
        )
        # All rows at once: one by one the driver takes several times as long.
        for run, metric, value in connection.execute(measured).all():
            values.setdefault((run, metric), []).append(value)
    return [_summary(row, values) for row in rows]


def _summary(row: sa.Row[Any], values: Mapping[tuple[str, str], list[float]]) -> Summary:
    return Summary(
        seq=row.seq,
        id=row.id,
        created=row.created,
        spec=row.spec,
        file=row.file,
        status=RunStatus(row.status),
        objective=row.objective,
        best_score=row.best_score,
        durations=Durations(row.data_seconds, row.search_seconds, row.validation_seconds),
        git_revision=row.git_revision,
        git_dirty=row.git_dirty,
        error=row.error,
        cached=row.cached,
        fingerprints=row.fingerprints,
        scores=_scores(row, values),
    )


def _scores(row: sa.Row[Any], values: Mapping[tuple[str, str], list[float]]) -> dict[str, Scores]:
    return {metric: Scores(tuple(values.get((row.id, metric), ()))) for metric in row.metrics}


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids in groups so small that a database uses its index instead of a scan."""
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


_AT_ONCE = 500
