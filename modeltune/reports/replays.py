"""A recorded run beside what its own weights score today, as text; prints nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from modeltune.ground import count_of
from modeltune.records import Run, exports_of, of_export
from modeltune.reports.tables import MISSING, clean, distinct, number, text_table

RELATIVE, ABSOLUTE = 1e-5, 1e-6
"""How far a number may be from the recorded one: float32 sums in another order."""


UNREPEATABLE = {"latency_ratio": "timed beside the model that was accepted then"}
"""Metrics that cannot be measured again from the model alone, and why."""

UNMEASURED = "which the model that the spec builds today does not measure"


@dataclass(frozen=True)
class Replay:
    """What a run's own weights score today.

    Args:
        again: the scores of today, by metric.
        code: the names of the parts of code that have changed since the run.
        notes: what else differs, such as versions.
        random: the metrics that differ at each evaluation, since they draw random numbers.
    """

    again: Mapping[str, float]
    code: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    random: tuple[str, ...] = ()


def disagreements(run: Run, replayed: Replay) -> list[str]:
    """Return the metrics whose recorded numbers differ from the replayed ones."""
    recorded = recorded_scores(run)
    return [
        metric
        for metric, value in replayed.again.items()
        if metric not in replayed.random
        and (metric not in recorded or not _agrees(recorded[metric], value))
    ]


def replay_report(run: Run, replayed: Replay) -> str:
    """Return recorded and replayed numbers side by side, and whether they agree."""
    recorded = recorded_scores(run)
    rows: list[list[str]] = []
    left: dict[str, list[str]] = {}
    wrong = disagreements(run, replayed)
    for metric in dict.fromkeys([*recorded, *replayed.again]):
        if metric not in replayed.again:
            left.setdefault(UNREPEATABLE.get(metric, UNMEASURED), []).append(metric)
            continue
        was, again = recorded.get(metric), replayed.again[metric]
        cells = distinct(was, again) if metric in wrong else (number(was, 6), number(again, 6))
        gap = MISSING if was is None or math.isnan(again - was) else f"{again - was:.2g}"
        verdict = "differs" if metric in wrong else "same"
        rows.append([metric, *cells, gap, "random" if metric in replayed.random else verdict])
    texts = [
        f"run {clean(run.id)} of {clean(run.spec)}, its own weights on today's test part",
        text_table(["metric", "recorded", "again", "difference", ""], rows),
    ]
    for why, metrics in left.items():
        texts.append(f"not evaluated again: {clean(', '.join(metrics))}, {why}")
    random = [metric for metric in replayed.again if metric in replayed.random]
    if random:
        texts.append(
            f"random: {clean(', '.join(random))}: each evaluation of the same weights gives another "
            "number, so these are not held against the recorded ones"
        )
    texts += [clean(note) for note in replayed.notes]
    if replayed.code:
        texts.append(f"code changed since: {clean(', '.join(replayed.code))}")
    if wrong:
        texts.append(f"{len(wrong)} of {len(rows)} numbers differ from the recorded ones")
    else:
        same = len(rows) - len(random)
        texts.append(
            f"the other {count_of(same, 'number agrees', 'numbers agree')} with the recorded ones"
            if random
            else f"all {same} numbers agree with the recorded ones"
        )
    return "\n".join(texts)


def recorded_scores(run: Run) -> dict[str, float]:
    """Return what the refit scored whose weights were kept, and what its exports did."""
    refit = run.artifact.refit if run.artifact else 0
    exports = {
        of_export(metric, name): value
        for name, export in exports_of(run).items()
        for metric, value in {"artifact_bytes": export.bytes, **export.scores}.items()
        if value is not None
    }
    own = {
        # What is measured once, such as bytes, is measured on the kept refit.
        metric: scores.values[refit if refit < len(scores.values) else 0]
        for metric, scores in run.scores.items()
        if scores.values
    }
    return {**own, **exports}


def _agrees(recorded: float, again: float) -> bool:
    if math.isnan(recorded) or math.isnan(again):
        return math.isnan(recorded) and math.isnan(again)
    return math.isclose(recorded, again, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
