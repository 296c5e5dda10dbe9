"""Deadlines: budgets of time as people type them, and whether the time runs out."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from modeltune.ground.clock import monotonic

OVERDRAFT = 60.0
"""Seconds by which any budget may be overdrawn; one that is longer, by its own length."""

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock, in seconds, and the budget it comes from, as it was typed.

    Each task that a run cannot do without, such as a refit, may go beyond it, or take from its
    beginning, ``overdraft`` seconds.
    """

    at: float = math.inf
    budget: str = "no limit"
    overdraft: float = field(default=OVERDRAFT, compare=False)

    @property
    def end(self) -> float:
        """The moment on the monotonic clock at which a search without a completed trial gives up.

        What begins then or later, such as a refit, may take ``overdraft`` seconds of its own.
        """
        return self.at + self.overdraft

    @classmethod
    def after(cls, seconds: float, budget: str) -> Deadline:
        """Return the deadline that is this many seconds from now."""
        return cls(monotonic() + seconds, budget, max(seconds, OVERDRAFT))

    def is_near(self, seconds: float) -> bool:
        """Tell whether something that takes this many seconds would end too late."""
        return monotonic() + seconds >= self.at


def seconds_of(budget: str) -> float:
    """Return the seconds of a budget such as "90s", "30m", "2h" or "1h30m".

    Raises:
        ValueError: the text is no budget, or it is 0.
    """
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?[smh])+", budget):
        raise ValueError(f'{budget!r}: write a time such as "90s", "30m" or "1h30m"')
    seconds = sum(
        float(number) * UNIT_SECONDS[unit]
        for number, unit in re.findall(r"([\d.]+)([smh])", budget)
    )
    if seconds <= 0:
        raise ValueError(f"{budget!r}: write a time longer than 0")
    return seconds
