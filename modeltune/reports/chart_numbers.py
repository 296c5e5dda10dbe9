"""Numbers and names as charts hold them: few digits, short, and nothing that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from modeltune.reports.tables import clean

SIGNIFICANT_DIGITS = 5
"""Significant digits of a number that is drawn."""


def short(values: Iterable[Any]) -> list[float | int | None]:
    """Return numbers with as many digits as can be seen; None for anything that is not a finite number."""
    return [_round(value) for value in values]


def _round(value: Any) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        rounded = float(f"{float(value):.{SIGNIFICANT_DIGITS}g}")
    except OverflowError:
        return None
    if not math.isfinite(rounded):
        return None
    return int(rounded) if rounded == int(rounded) and abs(rounded) < 1e15 else rounded


def label(text: str) -> str:
    """Return a name as a chart can show it."""
    shown = " ".join(clean(text[:2000]).split())
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
