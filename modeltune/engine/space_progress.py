"""Report the search space while a build declares it: what is known of it if the build then dies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

from modeltune.records import HyperParameters

SpaceListener: TypeAlias = Callable[[HyperParameters], None]
"""Called with the space as it is known by then."""

_listener: ContextVar[SpaceListener | None] = ContextVar("space listener", default=None)


@contextlib.contextmanager
def report_space_to(listener: SpaceListener) -> Iterator[None]:
    """Call the listener whenever a build inside has declared more of the space."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def space_listener() -> SpaceListener | None:
    """Return the listener of the builds that run now, None when nobody listens."""
    return _listener.get()
