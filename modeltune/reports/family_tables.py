"""Show what the comparisons of several specs came to, judged together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modeltune.ground import count_of
from modeltune.records import Family, FamilyKind, Regression, Run, SliceResults, Verdict
from modeltune.reports.tables import clean, distinct, headline, number, text_table


def family_table(runs: Sequence[Run], family: Family | None, columns: int | None = None) -> str:
    """Return what the comparisons of several specs came to as one family, and which specs are red.

    Args:
        runs: the judged runs, one of each spec.
        family: the specs that share the error rate, None where each has its own.
        columns: how many columns there are.
    """
    rows = [row for run in runs for verdict in run.verdicts for row in _rows(run, verdict)]
    headers = ["spec", "gate", "slice", "measured", "bound", "p", "fails at", "outcome"]
    if not any(row[2] for row in rows):
        headers, rows = headers[:2] + headers[3:], [row[:2] + row[3:] for row in rows]
    red = []
    for run in runs:
        if run.passed:
            continue
        gates = [v.gate for v in run.verdicts if v.outcome.is_red(run.strict)]
        gates += [check.gate for check in run.checks if check.outcome.is_red()]
        red.append(
            f"red: {clean(run.spec)}: {run.status.value}{': ' * bool(gates)}{clean(', '.join(gates))}"
        )
    rule = "each spec has an error rate of its own" if family is None else _rule(family)
    texts = (text_table(headers, rows, columns), "\n".join(red), f"{rule}: {headline(runs)}")
    return "\n\n".join(text for text in texts if text)


def _rule(family: Family) -> str:
    specs = count_of(family.specs, "spec")
    if family.kind is FamilyKind.FDR:
        return f"{specs} judged together, 5 % of those that fail are false alarms on average (Benjamini-Hochberg)"
    return f"{specs} judged together, any false alarm has a chance of 5 % at most (Holm)"


def _rows(run: Run, verdict: Verdict) -> Iterator[list[str]]:
    """Yield a row for each comparison of a gate."""
    details = verdict.details
    parts = details.slices if isinstance(details, SliceResults) else ()
    if isinstance(details, Regression):
        yield [
            run.spec,
            verdict.gate,
            "",
            *_numbers(verdict.measured, verdict.bound, details),
            str(verdict.outcome),
        ]
    for part in parts:
        if part.regression is not None:
            numbers = _numbers(part.measured, part.bound, part.regression)
            yield [run.spec, verdict.gate, part.slice, *numbers, str(part.outcome)]


def _numbers(measured: float | None, bound: float | None, regression: Regression) -> list[str]:
    level = regression.alpha if regression.level is None else regression.level
    return [*distinct(measured, bound), number(regression.p_adjusted, 2), number(level, 2)]
