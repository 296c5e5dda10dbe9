"""Waive what silenced checks found: it stays in the record, and makes no run red."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from modeltune.records import LOSS_IS_FINITE, Outcome, Verdict, number_of


def silence(checks: Sequence[Verdict], names: Collection[str]) -> tuple[Verdict, ...]:
    """Return the verdicts of checks, those that did not pass waived where their check is silenced.

    A loss that is not finite stays red.
    """
    return tuple(
        _waived(check)
        if check.gate in names
        and check.gate != LOSS_IS_FINITE
        and check.outcome not in (Outcome.PASSED, Outcome.WAIVED)
        else check
        for check in checks
    )


def _waived(check: Verdict) -> Verdict:
    reason = f"silenced, by checks= of the spec or checks_off in [tool.modeltune] ({number_of(check.gate)}): {check.reason}"
    return replace(check, outcome=Outcome.WAIVED, reason=reason)
