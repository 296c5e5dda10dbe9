"""A run as rows of the tables, and back, equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import sqlalchemy as sa

from modeltune.ground import first_line
from modeltune.histories.schema import (
    Flag,
    Number,
    Unreadable,
    Words,
    artifacts,
    runs,
    scores,
    trials,
    verdicts,
)
from modeltune.records import (
    DOCUMENTS,
    SCHEMA,
    Artifact,
    Best,
    Durations,
    Json,
    Outcome,
    Phase,
    Run,
    RunStatus,
    Scores,
    Summary,
    Trial,
    TrialStatus,
    Verdict,
    document_from_json,
    from_plain,
    old_verdict,
    plain,
    plain_values,
    reader_of,
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
                    "phases": plain(trial.phases) or None,
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


class InvalidRowError(Exception):
    """A row that is not as modeltune writes it: of which run, which column, and what is wrong."""

    def __init__(self, run: str, column: str, why: str):
        super().__init__(f"column {column}: {why}")
        self.run = run


def read_run(connection: sa.Connection, run_id: str) -> Run:
    """Return the run with this id.

    Raises:
        InvalidRowError: one of its rows is not as modeltune writes it.
    """

    def cells(table: sa.Table, order: str) -> list[dict[str, Any]]:
        query = sa.select(table).where(table.c.run == run_id).order_by(table.c[order])
        rows = [checked(table, row, run_id) for row in connection.execute(query)]
        keys = {tuple(row[column.name] for column in table.primary_key) for row in rows}
        if len(keys) < len(rows):
            raise InvalidRowError(run_id, f"{table.name}.{order}", "stands in two rows")
        return rows

    of_the_id = connection.execute(sa.select(runs).where(runs.c.id == run_id)).all()
    if len(of_the_id) > 1:
        # The history of a stranger may lack our keys.
        raise InvalidRowError(run_id, "runs.id", f"stands in {len(of_the_id)} rows")
    run = checked(runs, of_the_id[0], run_id)
    values: dict[tuple[str, str], list[float]] = {}
    for score in cells(scores, "refit"):
        values.setdefault((run_id, score["metric"]), []).append(score["value"])
    kept = cells(artifacts, "refit")
    best = None
    if run["best_values"] is not None:
        if (run["best_trial"] is None) is not (run["best_score"] is None):
            column = "best_score" if run["best_score"] is None else "best_trial"
            text = "is missing, though the search has a winner"
            raise InvalidRowError(run_id, f"runs.{column}", text)
        best = Best(run["best_trial"], run["best_score"], run["best_values"])
    elif run["best_trial"] is not None:
        text = "is missing, though the search has a winner"
        raise InvalidRowError(run_id, "runs.best_values", text)
    return Run(
        **{name: run[name] for name in _AS_THEY_ARE},
        scores=_scores(run["id"], run["metrics"], values),
        verdicts=tuple(
            _verdict(cell, run["schema"], run_id) for cell in cells(verdicts, "position")
        ),
        best=best,
        trials=tuple(_trial(trial) for trial in cells(trials, "position")),
        durations=Durations(run["data_seconds"], run["search_seconds"], run["validation_seconds"]),
        artifact=(
            Artifact(**{name: kept[0][name] for name in ("path", "sha256", "bytes", "refit")})
            if kept
            else None
        ),
    )


_AS_THEY_ARE = (
    "id", "created", "spec", "file", "status", "objective", *_DOCUMENTS, "files", "checks", "advice",
    "notes", "error", "cached", "baseline", "model", "strict",
)  # fmt: skip
"""The columns of the table of runs that are fields of a run, under the same names."""


def checked(
    table: sa.Table, row: sa.Row[*tuple[Any, ...]], run_id: str | None = None
) -> dict[str, Any]:
    """Return the cells of a row by column, each as the type that a history keeps there.

    Args:
        table: the table that the row is of; columns that a query left out are not looked at.
        row: the row.
        run_id: the run it belongs to, None when the row itself says so.

    Raises:
        InvalidRowError: a cell is not as modeltune writes it.
    """
    cells: dict[str, Any] = {}
    for name, value in row._mapping.items():
        read = _READERS[table.name].get(name)
        if read is None:
            continue
        try:
            if isinstance(value, Unreadable):
                raise ValueError(value.why)
            cells[name] = read(value)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            why = f"lacks {error}" if isinstance(error, KeyError) else first_line(error)
            raise InvalidRowError(
                _named(row) if run_id is None else run_id, f"{table.name}.{name}", f"{why:.200}"
            ) from error
    return cells


def _named(row: sa.Row[*tuple[Any, ...]]) -> str:
    """Return how to call the run of a row: its id, or where it is when that is none."""
    cells = row._mapping
    for column in ("id", "run"):
        if isinstance(cells.get(column), str):
            return str(cells[column])
    return f"{NAMELESS} of row {cells.get('seq', '?')}"


NAMELESS = "without an id,"
"""How a run is called whose row does not say which it is."""


def _readers_of(
    table: sa.Table, kinds: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]]
) -> Mapping[str, Callable[[Any], Any]]:
    """Return by column the function that reads a cell; by its type where SQL does not say more."""
    by_column = dict(readers)
    for column in table.c:
        if column.name not in readers:
            kind = kinds.get(column.name) or next(
                kind for types, kind in _KINDS if isinstance(column.type, types)
            )
            by_column[column.name] = reader_of(kind | None if column.nullable else kind)
    return by_column


_KINDS: Sequence[tuple[Any, Any]] = (
    (Flag, bool),
    (Number, float),
    (sa.Integer | sa.BigInteger, int),
    (Words | sa.Text, str),
    (sa.JSON, Mapping[str, Any]),
)


def _checks(data: Json) -> tuple[Verdict, ...]:
    if not isinstance(data, list):
        raise TypeError("is no list")
    return tuple(map(verdict_from_json, data))


def _phases(data: Json) -> tuple[Phase, ...]:
    return () if data is None else from_plain(tuple[Phase, ...], data)


def _as_it_is(cell: Any) -> Any:
    return cell


_READERS: Mapping[str, Mapping[str, Callable[[Any], Any]]] = {
    "runs": _readers_of(
        runs,
        {
            "status": RunStatus,
            "fingerprints": Mapping[str, str],
            "notes": tuple[str, ...],
            "advice": tuple[str, ...],
            "metrics": tuple[str, ...],
            "files": Mapping[str, Artifact],
        },
        {
            "best_values": lambda data: None if data is None else values_from_json(data),
            "checks": _checks,
            **{name: partial(document_from_json, name) for name in DOCUMENTS},
        },
    ),
    "trials": _readers_of(
        trials,
        {"status": TrialStatus, "curve": Mapping[str, tuple[float, ...]]},
        {"values": values_from_json, "phases": _phases},
    ),
    "scores": _readers_of(scores, {}, {}),
    # What a verdict's facts and details are is told by each other.
    "verdicts": _readers_of(
        verdicts, {"outcome": Outcome}, {"details": _as_it_is, "facts": _as_it_is}
    ),
    "artifacts": _readers_of(artifacts, {}, {}),
}


def read_verdict(row: sa.Row[*tuple[Any, ...]]) -> Verdict:
    """Return the verdict of a row that also has the run's ``schema``.

    Raises:
        InvalidRowError: it is not as modeltune writes it.
    """
    cells = checked(verdicts, row)
    schema = row._mapping["schema"]
    if type(schema) is not int:
        raise InvalidRowError(cells["run"], "runs.schema", "is no whole number")
    return _verdict(cells, schema, cells["run"])


def _verdict(cells: Mapping[str, Any], schema: int, run_id: str) -> Verdict:
    """Return a verdict, by the number of the report's schema when it was recorded."""
    if schema < 2:
        sides = (cells["measured"], cells["bound"])
        return old_verdict(
            cells["gate"], cells["outcome"], *sides, cells["reason"], cells["details"]
        )
    try:
        return from_plain(Verdict, {**cells, "outcome": cells["outcome"].value})
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        why = f"lack {error}" if isinstance(error, KeyError) else first_line(error)
        raise InvalidRowError(run_id, "verdicts.facts or details", f"{why:.200}") from error


def _trial(cells: Mapping[str, Any]) -> Trial:
    names = (field.name for field in fields(Trial) if field.name != "id")
    return Trial(id=cells["trial"], **{name: cells[name] for name in names})


AT_A_GLANCE = [
    column
    for column in runs.c
    if column.name in ("metrics", "fingerprints") or not isinstance(column.type, sa.JSON)
]
"""The columns a summary reads: not the documents of a run, which may be long."""


def summaries(
    connection: sa.Connection, listed: Sequence[sa.Row[Any]]
) -> tuple[list[Summary], list[InvalidRowError]]:
    """Return the runs of rows that have the columns of ``AT_A_GLANCE``, with their scores.

    Beside them is what is wrong with the rows that are no runs.
    """
    rows: list[dict[str, Any]] = []
    invalid: dict[str, InvalidRowError] = {}
    for row in listed:
        try:
            rows.append(checked(runs, row))
        except InvalidRowError as error:
            invalid[error.run] = error
    for id_, number in Counter(row["id"] for row in rows).items():
        if number > 1:
            invalid[id_] = InvalidRowError(id_, "runs.id", f"stands in {number} rows")
    values: dict[tuple[str, str], list[float]] = {}
    for some in batches([row["id"] for row in rows]):
        measured = (
            sa.select(scores.c.run, scores.c.metric, scores.c.value)
            .where(scores.c.run.in_(some))
            .order_by(scores.c.run, scores.c.metric, scores.c.refit)
        )
        # All rows at once: one by one the driver takes several times as long.
        for score in connection.execute(measured).all():
            run, metric, value = score
            if type(metric) is not str or type(value) is not float:
                try:
                    checked(scores, score)
                except InvalidRowError as error:
                    invalid.setdefault(error.run, error)
                continue
            values.setdefault((run, metric), []).append(value)
    valid = []
    for cells in rows:
        try:
            valid.append(_summary(cells, values))
        except InvalidRowError as error:
            invalid.setdefault(error.run, error)
    return [run for run in valid if run.id not in invalid], list(invalid.values())


def _summary(cells: Mapping[str, Any], values: Mapping[tuple[str, str], list[float]]) -> Summary:
    taken = {"scores", "durations"}
    return Summary(
        **{field.name: cells[field.name] for field in fields(Summary) if field.name not in taken},
        durations=Durations(
            cells["data_seconds"], cells["search_seconds"], cells["validation_seconds"]
        ),
        scores=_scores(cells["id"], cells["metrics"], values),
    )


def _scores(
    run_id: str, metrics: Sequence[str], values: Mapping[tuple[str, str], list[float]]
) -> dict[str, Scores]:
    """Return a run's scores by metric.

    Raises:
        InvalidRowError: a metric has none.
    """
    for metric in metrics:
        if (run_id, metric) not in values:
            raise InvalidRowError(run_id, "runs.metrics", f"{metric!r:.100} has no scores")
    return {metric: Scores(tuple(values[run_id, metric])) for metric in metrics}


def batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids in groups so small that a database uses its index instead of a scan."""
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


_AT_ONCE = 500
