"""Decide whether a run is green, by its verdicts and by whether undecided gates are red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modeltune.records import Outcome, RunStatus, Verdict


@dataclass(frozen=True)
class Strictness:
    """Whether undecided gates are red.

    A run about to become the baseline is not failed for lacking one (``is_first_allowed``), nor
    for a present one that it cannot be compared with (``is_other_allowed``).
    """

    is_strict: bool = False
    is_first_allowed: bool = False
    is_other_allowed: bool = False

    def is_red(self, verdict: Verdict) -> bool:
        """Tell whether a verdict fails the run."""
        if self.is_other_allowed and verdict.is_incomparable:
            return False
        is_first = verdict.outcome is Outcome.NO_BASELINE and self.is_first_allowed
        return verdict.outcome.is_red(self.is_strict and not is_first)


def status_of(
    verdicts: Sequence[Verdict],
    strictness: Strictness = Strictness(),
    checks: Sequence[Verdict] = (),
) -> RunStatus:
    """Return PASSED when no verdict is red; a check that could not decide never is."""
    red = any(map(strictness.is_red, verdicts)) or any(c.outcome.is_red() for c in checks)
    return RunStatus.FAILED if red else RunStatus.PASSED
