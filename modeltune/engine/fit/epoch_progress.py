"""Who follows a fit: what performs a task says so, what trains tells it how far it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

Follower: TypeAlias = Callable[[int, float | None], None]
"""Told how many epochs are done, and the objective's metric at the last one, if it was logged."""

EVERY = 0.2
"""Seconds between two tellings of one fit: an epoch may take a tenth of that."""

_follower: ContextVar[Follower | None] = ContextVar("follower", default=None)


@contextlib.contextmanager
def followed_by(follower: Follower) -> Iterator[None]:
    """Have what is trained inside tell this follower."""
    token = _follower.set(follower)
    try:
        yield
    finally:
        _follower.reset(token)


def follower(clock: Callable[[], float] = time.monotonic) -> Follower | None:
    """Return whom the fit that begins now is to tell of every epoch, or None.

    Most of it is not passed on: only what is due ``EVERY`` so many seconds.
    """
    told = _follower.get()
    if told is None:
        return None
    due = clock() + EVERY

    def tell(epoch: int, value: float | None) -> None:
        nonlocal due
        if (now := clock()) >= due:
            due = now + EVERY
            told(epoch, value)

    return tell
