"""How long a run may take in all."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock, in seconds, and the budget it comes from, as typed."""

    at: float = math.inf
    budget: str = "no limit"

    @classmethod
    def after(cls, seconds: float, budget: str) -> Deadline:
        """Return the deadline so many seconds from now."""
        return cls(time.monotonic() + seconds, budget)

    def is_near(self, seconds: float) -> bool:
        """Tell whether what takes so many seconds would not end in time."""
        return time.monotonic() + seconds >= self.at


def seconds_of(budget: str) -> float:
    """Return the seconds of a budget such as "90s", "30m", "2h" or "1h30m".

    Raises:
        ValueError: it is no such text, or no time at all.
    """
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?[smh])+", budget):
        raise ValueError(f'{budget!r}: write a time such as "90s", "30m" or "1h30m"')
    seconds = sum(
        float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([smh])", budget)
    )
    if seconds <= 0:
        raise ValueError(f"{budget!r}: write more than no time")
    return seconds
