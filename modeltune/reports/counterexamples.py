"""Counter-examples as text: the values that changed, or an image before and after; prints nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from modeltune.records import (
    BehaviourResult,
    Counterexample,
    ImageChange,
    InputChange,
    Json,
    RowChange,
    Run,
    ValueChange,
    Verdict,
)

SHADES = " .:-=+*#%@"
"""From the lowest to the highest value of an image."""

WIDEST = 32
"""Pixels; a wider image would not fit twice on a line, and is thinned out."""

MOST_CHANGES = 12


def counterexamples(run: Run) -> Iterator[str]:
    """Yield a block of lines per behaviour gate that a counter-example was found against."""
    for verdict in run.verdicts:
        example = counterexample_of(verdict)
        if example is not None:
            blocks = [text for change in example.shown if (text := _lines(change))]
            yield "\n".join([example.text, *blocks])


def counterexample_of(verdict: Verdict) -> Counterexample | None:
    """Return what was found against a behaviour, None where nothing was or the gate is another."""
    details = verdict.details
    return details.probe.counterexample if isinstance(details, BehaviourResult) else None


def _lines(change: InputChange) -> str:
    title = f"{change.input}: " if change.input else ""
    if isinstance(change, ImageChange):
        return _images(change.before, change.after)
    if isinstance(change, RowChange):
        values = [_change(value) for value in change.values[:MOST_CHANGES]]
        more = change.differ - len(values)
        rest = f" and {more} more" if more > 0 else ""
        return f"  {title}{', '.join(values)}{rest}" if values else ""
    return f"  {title}{[*change.shape]}, too large to show"


def _change(value: ValueChange) -> str:
    place = "" if value.at is None else f"[{value.at}] "
    place = place if value.column is None else f"{value.column} "
    after = "" if value.after is None else f" -> {value.after}"
    return f"{place}{value.before}{after}"


def _images(before: Json, after: Json | None) -> str:
    images = [grey(image) for image in (before, after) if image is not None]
    levels = [level for image in images for row in image for level in row]
    if not levels or not all(map(math.isfinite, levels)):
        return "  an image with values that cannot be shown"
    low, high = min(levels), max(levels)
    if not high / 2 > low / 2:
        return f"  every value is {low:g}"
    drawn = [[_line(row, low, high) for row in image] for image in images]
    lines = zip(*drawn, strict=True)
    return "\n".join("  " + "   ".join(line) for line in lines)


def grey(image: Json) -> list[list[float]]:
    """Return rows of brightness: of colours their mean, of a large image every so many pixels.

    Empty of what is no image: a record may come from a stranger.
    """
    try:
        step = -(-max(len(image), len(image[0])) // WIDEST)
        return [[_mean(pixel) for pixel in row[::step]] for row in image[::step]]
    except (TypeError, ValueError, LookupError, ArithmeticError):
        return []


def _mean(pixel: Any) -> float:
    values = pixel if isinstance(pixel, list) else [pixel]
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers)


def _line(row: Sequence[float], low: float, high: float) -> str:
    darkest = len(SHADES) - 1
    # Halves, for the distance between two floats may be too large for a third.
    shares = [(level / 2 - low / 2) / (high / 2 - low / 2) for level in row]
    # Two characters a pixel: a character is about twice as high as wide.
    return "".join(2 * SHADES[round(share * darkest)] for share in shares)
