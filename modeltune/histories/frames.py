"""The history as pandas frames: runs, trials and learning curves; sole importer of pandas."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from modeltune.ground import (
    ModeltuneError,
    StoreUrl,
    default_store,
    in_a_cell,
    later,
    mask_urls,
    named_store,
)
from modeltune.histories.store import Store, open_store
from modeltune.records import Run, Scores, Summary, Trial
from modeltune.specs import root_here

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


SHOWN_RUNS = 50
"""How many runs a history shows of itself in a notebook."""

TRIAL_COLUMNS = {
    "run": "string",
    "trial": "int64",
    "status": "string",
    "score": "float64",
    "epochs": "int64",
    "initial_epoch": "int64",
    "parent": "Int64",
    "best_epoch": "Int64",
    "seconds": "float64",
    "seed": "int64",
    "reason": "string",
    "trained_by": "string",
}
"""The columns every frame of trials has, with their dtypes."""

CURVE_COLUMNS = {
    "run": "string",
    "trial": "int64",
    "epoch": "int64",
    "metric": "string",
    "value": "float64",
}
"""The columns of a frame of learning curves, with their dtypes."""


@dataclass(frozen=True)
class History:
    """Recorded runs as pandas frames; every call reads the history again.

    A run is named by its id, a unique start of its id, or an index: "-1" (or -1) is the newest.
    All methods raise HistoryError when there is no history, when there is no such run, or when
    the history cannot be read.

    Args:
        store: URL of the history, None for the default.
    """

    store: StoreUrl | None = None

    def _repr_html_(self) -> str:
        said: list[str] = []
        summaries: list[Summary] = []
        try:
            with self._open() as opened:
                root = root_here()
                summaries = opened.runs(limit=SHOWN_RUNS, root=root)
                count = opened.count(root=root) if len(summaries) == SHOWN_RUNS else 0
                said = list(opened.invalid.values())
            if not summaries and not said:
                said = ["No run is recorded yet."]
            if count > len(summaries):
                said.append(f"the last {len(summaries)} of {count} runs; .frame() has all of them")
        except ModeltuneError as error:
            said = [mask_urls(str(error))]
        html: str = later("reports", "history_view")(summaries, said)
        return html

    def run(self, run: str | int) -> Run:
        """Return a recorded run: its scores, verdicts, trials and all else that is kept of it."""
        return self._run(run)

    def frame(self, spec: str | None = None) -> pd.DataFrame:
        """Return every recorded run, or those of one spec, oldest first.

        The columns are those of ``COLUMNS``: ``seq`` (order of recording), ``id``,
        ``created`` (UTC), ``spec``, ``file``, ``status`` (passed, failed, error,
        interrupted, crashed), ``objective``, ``best_score`` (the objective of the search's best
        trial), seconds per phase, ``git_revision``, ``git_dirty``, ``cached``, ``error``;
        then for each metric of any run its mean over refits, ``accuracy``, and sample
        standard deviation, ``accuracy_std``, as float64. A value that a run does not have is
        missing (NaN in a float column, else NA), and so is the deviation of a single refit. A
        metric with the name of a column before it gets the prefix ``score_``.

        Args:
            spec: an address such as ``model_specs/spec_digits.py::mlp``, or its end,
                ``spec_digits.py::mlp``; None for all. The frame of a spec without runs is empty.

        A run whose row is not as modeltune writes it is left out, with a RuntimeWarning.

        Raises:
            HistoryError: several specs have this end.
        """
        root = root_here()
        with self._open() as opened:
            named = None if spec is None else opened.find_spec(spec, root) or spec
            summaries = opened.runs(named, root=root)[::-1]
            for line in opened.invalid.values():
                warnings.warn(line, RuntimeWarning, stacklevel=2)
        return _runs(summaries)

    def trials(self, run: str | int) -> pd.DataFrame:
        """Return a row per trial of a run, in the order of its search.

        The columns are those of ``TRIAL_COLUMNS``: ``run`` (its id), ``trial``, ``status``
        (completed, failed), ``score`` (the objective at ``best_epoch``), ``epochs`` trained
        after ``initial_epoch`` inherited from ``parent``, ``seconds``, ``seed``, ``reason`` of a
        failure, ``trained_by``; then one per hyperparameter, of the dtype pandas infers from
        its values, NaN or None where a trial does not have it. A hyperparameter
        with the name of a column before it gets the prefix ``value_``.
        """
        recorded = self._run(run)
        frame = _frame([_trial_row(recorded, trial) for trial in recorded.trials], TRIAL_COLUMNS)
        return pd.concat([frame, _values(recorded.trials, frame.index)], axis="columns")

    def curves(self, run: str | int) -> pd.DataFrame:
        """Return the learning curves of a run's trials in long form: a row per number.

        The columns are those of ``CURVE_COLUMNS``: ``run`` (its id), ``trial``, ``epoch`` (from
        1, counting on from what a trial inherited), ``metric`` (as Keras logs it) and ``value``.
        """
        recorded = self._run(run)
        rows = [
            [recorded.id, trial.id, epoch, metric, value]
            for trial in recorded.trials
            for metric, values in trial.curve.items()
            for epoch, value in enumerate(values, start=trial.initial_epoch + 1)
        ]
        return _frame(rows, CURVE_COLUMNS)

    def _run(self, reference: str | int) -> Run:
        with self._open() as opened:
            return opened.run(str(reference))

    def _open(self) -> Store:
        return open_store(self.store or default_store(), create=False)


def history(store: str | None = None) -> History:
    """Return the history: ``frame()``, ``trials(run)`` and ``curves(run)`` are pandas frames.

    ``run(run)`` is one recorded run. Alone in a notebook's cell it shows its last runs as a table.

    Args:
        store: its URL; by default ``MODELTUNE_STORE``, the ``store`` of
            ``[tool.modeltune]``, or ``.modeltune/history.db`` beside pyproject.toml.
    """
    return History(None if store is None else named_store(store))


def runs_csv(summaries: list[Summary]) -> str:
    """Return runs as CSV: the columns of ``History.frame``, with texts as ``ground.in_a_cell`` has them."""
    return str(_runs([_as_cells(summary) for summary in summaries]).to_csv(index=False))


def _as_cells(summary: Summary) -> Summary:
    names = ("id", "created", "spec", "file", "objective", "git_revision", "error")
    texts = {name: getattr(summary, name) for name in names}
    cells: dict[str, Any] = {
        name: None if text is None else in_a_cell(text) for name, text in texts.items()
    }
    scores = {in_a_cell(name): scores for name, scores in summary.scores.items()}
    return replace(summary, **cells, scores=scores)


def _runs(summaries: list[Summary]) -> pd.DataFrame:
    frame = _frame([_row(summary) for summary in summaries], COLUMNS)
    return pd.concat([frame, _scores(summaries, frame.index)], axis="columns")


def _frame(rows: Sequence[Sequence[object]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return rows as a frame of these columns and dtypes, also when there are none."""
    frame = pd.DataFrame(rows, columns=list(columns), dtype="object").astype(
        {
            # Any Python text; Arrow's strings hold no lone surrogates.
            name: pd.StringDtype("python") if dtype == "string" else dtype
            for name, dtype in columns.items()
            if not dtype.startswith("datetime")
        }
    )
    if "created" in columns:
        created = pd.to_datetime(frame["created"], utc=True, format="ISO8601", errors="coerce")
        frame["created"] = created.dt.as_unit("us")
    return frame


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


def _trial_row(run: Run, trial: Trial) -> list[object]:
    return [
        run.id,
        trial.id,
        trial.status.value,
        trial.score,
        trial.epochs,
        trial.initial_epoch,
        trial.parent,
        trial.best_epoch,
        trial.seconds,
        trial.seed,
        trial.reason,
        trial.trained_by,
    ]


def _values(trials: Sequence[Trial], index: pd.Index[int]) -> pd.DataFrame:
    columns: dict[str, list[object]] = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.values):
        column = name
        while column in {*TRIAL_COLUMNS, *columns}:
            column = f"value_{column}"
        columns[column] = [trial.values.get(name) for trial in trials]
    return pd.DataFrame(columns, index=index)


def _mean_std(scores: Scores | None) -> tuple[float | None, float | None]:
    """Return mean and sample standard deviation, correct to rounding.

    The statistics module is exact to the last bit, which takes too long for a frame of many runs;
    only values too large or too small to be squared go there.
    """
    if scores is None:
        return None, None
    values = scores.values
    count = len(values)
    # A larger or smaller number has no square among the floats.
    if (
        count < 2
        or not all(map(math.isfinite, values))
        or not 1e-100 < max(map(abs, values)) < 1e100
    ):
        return scores.mean, scores.std
    mean = math.fsum(values) / count
    away = [value - mean for value in values]
    # The second sum corrects for the rounding of the mean.
    squares = math.fsum([distance * distance for distance in away]) - math.fsum(away) ** 2 / count
    return mean, math.sqrt(max(squares, 0.0) / (count - 1))


def _scores(summaries: list[Summary], index: pd.Index[int]) -> pd.DataFrame:
    metrics = dict.fromkeys(metric for summary in summaries for metric in summary.scores)
    columns: dict[str, list[float | None]] = {}
    for metric in metrics:
        measured = [summary.scores.get(metric) for summary in summaries]
        name = metric
        while {name, f"{name}_std"} & {*COLUMNS, *columns}:
            name = f"score_{name}"
        means, stds = zip(*map(_mean_std, measured), strict=True)
        columns[name], columns[f"{name}_std"] = list(means), list(stds)
    return pd.DataFrame(columns, index=index, dtype="float64")
