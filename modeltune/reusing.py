"""Reuse: the recorded run of an unchanged spec, under today's gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from modeltune.gates import Gate, Subject
from modeltune.judging import judge, status_of
from modeltune.runs import Run, RunStatus
from modeltune.sources import UNCOMPARABLE, changed, recorded_identity, run_identity
from modeltune.specs import Spec

if TYPE_CHECKING:
    from pathlib import Path

    from modeltune.histories.store import Store
    from modeltune.summaries import Summary

RECENT = 100
"""How many runs of a spec are looked at, newest first: a history may hold a hundred thousand."""


def reused(
    spec: Spec, history: Store, prints: Mapping[str, str], *, strict: bool = False
) -> Run | str:
    """Return the latest run that today's spec would repeat, judged anew, or why there is none.

    Such a run was searched to its end, and all its scores depend on is the same: search, fit,
    validation, code, versions and data. Its gates may have been others: they are judged on
    the recorded scores. A gate on a metric that is not among them is an error, as it would be
    after training again; one on a gap or a gain that was not measured is no reuse.

    The verdict is served although the weights are gone; a note of the run says so then.

    Args:
        spec: the spec as it is today.
        history: the store it is recorded in.
        prints: the fingerprints of its data as it is today, ``Loaded.fingerprints``.
        strict: as in ``harness.run``.

    Raises:
        HistoryError: the history cannot be read.
    """
    today = run_identity(spec) | dict(prints)
    for name, part in today.items():
        if part.startswith(UNCOMPARABLE):
            return f"{name} is {part}"
    same: list[str] = []
    others: list[str] = []
    for summary in history.runs(spec.id, limit=RECENT):
        if summary.cached or summary.status not in (RunStatus.PASSED, RunStatus.FAILED):
            continue
        if difference := _difference(today, summary):
            others.append(difference)
            continue
        run = history.run(summary.id)
        missing = [gate for gate in spec.gates if _is_to_be_measured(gate, run)]
        if run.search.get("cut_short"):
            same.append(f"the search of run {run.id} was cut short")
        elif missing:
            listed = ", ".join(map(repr, missing))
            same.append(f"run {run.id} did not measure what {listed} judges")
        else:
            return _judged(run, spec, history.folder, strict)
    return next(iter(same + others), "no finished run of it is recorded")


def _difference(today: Mapping[str, str], summary: Summary) -> str:
    """Return in what a run differs from one of today, in words; nothing when it does not."""
    recorded = recorded_identity(summary.fingerprints)
    if not recorded:
        return f"run {summary.id} does not say what it was made of: an older modeltune recorded it"
    recorded |= {
        name: digest for name, digest in summary.fingerprints.items() if name.startswith("data/")
    }
    names = changed(today, recorded)
    return f"{', '.join(names)} changed since run {summary.id}" if names else ""


def _is_to_be_measured(gate: Gate, run: Run) -> bool:
    """Tell a gate on what is only measured when a gate asks for it, of a metric that there is."""
    measure = gate.measure
    is_on_demand = measure.subject is not Subject.METRIC and measure.metric in run.scores
    return is_on_demand and measure.key not in run.scores


def _judged(run: Run, spec: Spec, folder: Path, strict: bool) -> Run:
    verdicts = judge(spec.gates, run.scores, spec.id)
    kept, notes = run.artifact, run.notes
    if kept is not None:
        path = folder / kept.path
        # Its sha256 is checked when it is loaded: reading a large model takes its time.
        if not path.is_file() or path.stat().st_size != kept.bytes:
            how = "are gone or changed; run the spec without reuse to make them anew"
            notes = (*notes, f"the weights of run {run.id} ({path}) {how}")
    return replace(
        run, verdicts=verdicts, status=status_of(verdicts, strict), notes=notes, cached=True
    )
