"""The clock of limits and durations, which goes on while a test has frozen the time."""

from __future__ import annotations

import time


def monotonic() -> float:
    """Return the seconds of a clock that never goes back; only differences mean something.

    freezegun and mocks replace ``time.monotonic`` and ``time.perf_counter``, in a session with specs
    too: a budget would be overdrawn or without end, and what a prediction takes would be nothing.
    """
    return time.clock_gettime(time.CLOCK_MONOTONIC)
