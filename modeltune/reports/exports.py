"""The exports of a run as rows of a table: what each file is, how large, how fast, and what it scores."""

from __future__ import annotations

from collections.abc import Mapping

from modeltune.records import ExportRecord, MetricFacts, Run, exports_of

EXPORT_HEADERS = ["export", "declared", "runtime", "bytes", "latency ratio", "scores on test"]
"""The columns of ``export_rows``."""

NONE = "-"
"""What stands where there is nothing."""

SHOWN = 3
"""Scores of an export that are shown where no gate names any."""


def export_rows(run: Run) -> list[list[str]]:
    """Return a row for each export: of scores those that gates name, beside the tuned model's."""
    return [_row(run, name, export) for name, export in exports_of(run).items()]


def _row(run: Run, name: str, export: ExportRecord) -> list[str]:
    if export.problem is not None:
        return [name, export.declared, NONE, NONE, NONE, export.problem]
    latency = NONE
    if export.latency_ratio is not None:
        ratio, low, high = export.latency_ratio
        latency = f"{_number(ratio)} ({_number(low)} to {_number(high)})"
    size = NONE if export.bytes is None else str(export.bytes)
    scores = ", ".join(_score(run, metric, export) for metric in _shown(run, name, export))
    return [name, export.declared, export.runtime, size, latency, scores or NONE]


def _shown(run: Run, name: str, export: ExportRecord) -> list[str]:
    facts = [v.facts for v in run.verdicts if isinstance(v.facts, MetricFacts)]
    gated = {one.metric: None for one in facts if one.export == name}
    tested = run.objective.partition(" ")[2].removeprefix("val_")
    named = [metric for metric in {tested: None, **gated} if metric in export.scores]
    return named or list(export.scores)[:SHOWN]


def _score(run: Run, metric: str, export: ExportRecord) -> str:
    tuned = run.scores.get(metric)
    beside = f" (tuned {_number(tuned.values[0])})" if tuned is not None and tuned.values else ""
    return f"{metric} {_number(export.scores[metric])}{beside}"


def export_numbers(run: Run) -> Mapping[str, float | str]:
    """Return every number of the exports by a name that says of which, for runs to be compared by."""
    numbers: dict[str, float | str] = {}
    for name, export in exports_of(run).items():
        numbers[name] = export.declared
        if export.problem is not None:
            numbers[f"{name}: problem"] = export.problem
        if export.bytes is not None:
            numbers[f"{name}: artifact_bytes"] = export.bytes
        if export.latency_ratio is not None:
            numbers[f"{name}: latency_ratio"] = _number(export.latency_ratio[0])
        numbers |= {f"{name}: {metric}": value for metric, value in export.scores.items()}
    return numbers


def _number(value: float) -> str:
    return f"{value:.4g}"
