"""Note each call of ``model.fit`` that a ``fit`` of the author's makes, which may train in phases."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from modeltune.engine.fit.epoch_graph import Model

_calls: list[tuple[float, Mapping[str, Any]]] = []


@contextlib.contextmanager
def calls_noted(model: Model) -> Iterator[None]:
    """Note the seconds of each call of a model's ``fit`` meanwhile, and what it logged."""
    _calls.clear()
    had_own = vars(model).get("fit")
    fit = model.fit

    @functools.wraps(fit)
    def noting(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        fitted = fit(*args, **kwargs)
        logged = getattr(fitted, "history", None)
        if isinstance(logged, Mapping):
            _calls.append((time.monotonic() - began, dict(logged)))
        return fitted

    model.fit = noting
    try:
        yield
    finally:
        if had_own is None:
            del model.fit
        else:
            model.fit = had_own


def take_calls() -> tuple[tuple[float, Mapping[str, Any]], ...]:
    """Return once the seconds and the history of each call of the last fit."""
    taken = tuple(_calls)
    _calls.clear()
    return taken
