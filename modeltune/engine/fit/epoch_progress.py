"""Report how far a fit is: an executor sets the follower, the fit calls it at the end of an epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

from modeltune.ground import monotonic

Follower: TypeAlias = Callable[[int, float | None], None]
"""Called with the number of finished epochs and the objective's metric, None if not logged."""

EVERY = 0.2
"""Seconds between two reports of one fit: an epoch may take a tenth of that."""

_follower: ContextVar[Follower | None] = ContextVar("follower", default=None)


@contextlib.contextmanager
def report_epochs_to(follower: Follower) -> Iterator[None]:
    """Have the fits inside report to this follower."""
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


def follower(clock: Callable[[], float] = monotonic) -> Follower | None:
    """Return the function that the fit beginning now calls after every epoch; None without follower.

    Most of it is not passed on: only what is due ``EVERY`` so many seconds.
    """
    listener = _follower.get()
    if listener is None:
        return None
    due = clock() + EVERY

    def tell(epoch: int, value: float | None) -> None:
        nonlocal due
        if (now := clock()) >= due:
            due = now + EVERY
            listener(epoch, value)

    return tell
