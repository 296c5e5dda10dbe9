"""Holm's procedure: several tests at once, and no false alarm more often than with one."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return Holm's adjusted p-values, in the given order; none is below its own p-value.

    Rejecting what is at most alpha keeps the chance of any false rejection at alpha, however the
    tests depend on each other (Holm, Scandinavian Journal of Statistics 6, 1979, 65-70). SciPy's
    ``false_discovery_control`` controls the share of false rejections instead.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return tuple(adjusted)
