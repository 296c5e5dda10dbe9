"""A recorded run at a glance: what lists and frames need, without its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modeltune.records.runs import Durations, RunStatus, Scores


@dataclass(frozen=True)
class Summary:
    """One row of the history; ``seq`` is the order of recording, whatever the clock said."""

    seq: int
    id: str
    created: str
    spec: str
    file: str
    status: RunStatus
    objective: str
    best_score: float | None
    durations: Durations
    git_revision: str | None
    git_dirty: bool | None
    error: str | None
    cached: bool
    fingerprints: Mapping[str, str]
    scores: Mapping[str, Scores]
