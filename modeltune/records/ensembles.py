"""Values of an ensemble: those of its members, which are averaged, beside those of its first one."""

from __future__ import annotations

import json
from collections.abc import Sequence

from modeltune.records.runs import Run, Values

MEMBERS = "tuner/members"
"""The name under which values carry those of all members; no build function reads keras-tuner's own."""


def values_of_ensemble(members: Sequence[Values]) -> Values:
    """Return values of which an engine builds the average of these members."""
    return {**members[0], MEMBERS: json.dumps([dict(values) for values in members])}


def members_of(values: Values) -> list[Values]:
    """Return the values of each member of an ensemble; nothing of a single model."""
    members: list[Values] = json.loads(str(values.get(MEMBERS, "[]")))
    return members


def averaged_trials(run: Run) -> tuple[int, ...]:
    """Return the trials whose models the kept model of a run averages; none of a single model."""
    choice = run.validation.get("ensemble_choice") or {}
    return tuple(m["trial"] for m in choice["members"]) if choice.get("is_ensemble") else ()


def values_of_kept(run: Run) -> Values:
    """Return the values that an engine builds the kept model of a run of."""
    assert run.best is not None  # a run without a winner has no weights
    if not averaged_trials(run):
        return run.best.values
    choice = run.validation["ensemble_choice"]
    return values_of_ensemble([member["values"] for member in choice["members"]])
