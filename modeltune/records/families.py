"""Which tests share one error rate: those of a spec, or those of all specs of a session."""

from __future__ import annotations

from dataclasses import dataclass

from modeltune.ground import Word, count_of


class FamilyKind(Word):
    """What ``family`` in ``[tool.modeltune]`` says; the value is what is typed."""

    SPEC = "spec"
    """Any false alarm of a spec has a chance of 5 %."""
    SESSION = "session"
    """Any false alarm of all specs of a session together has a chance of 5 %."""
    FDR = "fdr"
    """Of the specs that a session fails for their comparisons 5 % are false alarms, on average."""


@dataclass(frozen=True)
class Family:
    """The specs whose comparisons share one error rate.

    Args:
        kind: which error rate it is.
        specs: how many specs with gates against recorded runs share it.
    """

    kind: FamilyKind
    specs: int

    def __str__(self) -> str:
        verb = "shares" if self.specs == 1 else "share"
        rate = "false discovery rate" if self.kind is FamilyKind.FDR else "error rate"
        return f"{count_of(self.specs, 'spec')} {verb} the session's {rate}"
