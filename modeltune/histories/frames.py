"""The history as a pandas frame, one row per run; sole importer of pandas."""

from __future__ import annotations

import pandas as pd

from modeltune import config
from modeltune.histories.store import open_store
from modeltune.summaries import Summary

COLUMNS = {
    "seq": "int64",
    "id": "string",
    "created": "datetime64[us, UTC]",
    "spec": "string",
    "file": "string",
    "status": "string",
    "objective": "string",
    "best_score": "float64",
    "data_seconds": "float64",
    "search_seconds": "float64",
    "validation_seconds": "float64",
    "git_revision": "string",
    "git_dirty": "boolean",
    "cached": "boolean",
    "error": "string",
}
"""The columns every history has, with their dtypes."""


def history(store: str | None = None, spec: str | None = None) -> pd.DataFrame:
    """Return every recorded run, or those of one spec, oldest first.

    The columns are those of ``COLUMNS``: ``seq`` (order of recording), ``id``,
    ``created`` (UTC), ``spec``, ``file``, ``status`` (passed, failed, error,
    interrupted), ``objective``, ``best_score`` (the objective of the search's best
    trial), seconds per phase, ``git_revision``, ``git_dirty``, ``cached``, ``error``;
    then for each metric of any run its mean over refits, ``accuracy``, and sample
    standard deviation, ``accuracy_std``, as float64. What a run does not have is
    missing (NaN of a float, NA otherwise), so is the deviation of a single refit. A metric
    named like one of the columns before it gets ``score_`` in front.

    Args:
        store: URL of the history; by default ``MODELTUNE_STORE``, the ``store`` of
            ``[tool.modeltune]``, or ``.modeltune/history.db`` beside pyproject.toml.
        spec: an address such as ``spec_digits.py::mlp``; None for all.

    Raises:
        HistoryError: when there is no history, or it cannot be read.
    """
    with open_store(store or config.default_store(), create=False) as opened:
        summaries = opened.runs(spec)[::-1]
    rows = [_row(summary) for summary in summaries]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(
        {name: dtype for name, dtype in COLUMNS.items() if name != "created"}
    )
    created = pd.to_datetime(frame["created"], utc=True, format="ISO8601", errors="coerce")
    frame["created"] = created.dt.as_unit("us")
    return pd.concat([frame, _scores(summaries, frame.index)], axis="columns")


def _row(summary: Summary) -> list[object]:
    return [
        summary.seq,
        summary.id,
        summary.created,
        summary.spec,
        summary.file,
        summary.status.value,
        summary.objective,
        summary.best_score,
        summary.durations.data,
        summary.durations.search,
        summary.durations.validation,
        summary.git_revision,
        summary.git_dirty,
        summary.cached,
        summary.error,
    ]


def _scores(summaries: list[Summary], index: pd.Index[int]) -> pd.DataFrame:
    metrics = dict.fromkeys(metric for summary in summaries for metric in summary.scores)
    columns: dict[str, list[float | None]] = {}
    for metric in metrics:
        measured = [summary.scores.get(metric) for summary in summaries]
        name = metric
        while {name, f"{name}_std"} & {*COLUMNS, *columns}:
            name = f"score_{name}"
        columns[name] = [scores.mean if scores else None for scores in measured]
        columns[f"{name}_std"] = [scores.std if scores else None for scores in measured]
    return pd.DataFrame(columns, index=index, dtype="float64")
