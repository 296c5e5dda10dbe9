"""Counter-examples as text: the values that changed, or an image before and after; prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from modeltune.records import Json, Run

SHADES = " .:-=+*#%@"
"""From the lowest to the highest value of an image."""

WIDEST = 32
"""Pixels; a wider image would not fit twice on a line, and is thinned out."""

MOST_VALUES = 12


def counterexamples(run: Run) -> Iterator[str]:
    """Yield a block of lines per behaviour gate that a counter-example was found against."""
    for verdict in run.verdicts:
        found = verdict.details.get("counterexample")
        if found is None:
            continue
        blocks = [text for shown in found.get("shown") or () if (text := _shown(shown))]
        yield "\n".join([str(found["text"]), *blocks])


def _shown(shown: Json) -> str:
    title = f"{shown['input']}: " if shown["input"] else ""
    if shown["kind"] == "image":
        return _images(shown["before"], shown["after"])
    if shown["kind"] == "values":
        values = [_change(value) for value in shown["values"][:MOST_VALUES]]
        more = shown["differ"] - len(values)
        rest = f" and {more} more" if more > 0 else ""
        return f"  {title}{', '.join(values)}{rest}" if values else ""
    return f"  {title}{shown['shape']}, too large to show"


def _change(value: Json) -> str:
    place = "" if value["at"] is None else f"[{value['at']}] "
    after = "" if value["after"] is None else f" -> {value['after']}"
    return f"{place}{value['before']}{after}"


def _images(before: Json, after: Json | None) -> str:
    images = [grey(image) for image in (before, after) if image is not None]
    levels = [level for image in images for row in image for level in row]
    low, high = min(levels), max(levels)
    if low == high:
        return f"  every value is {low:g}"
    drawn = [[_line(row, low, high) for row in image] for image in images]
    lines = zip(*drawn, strict=True)
    return "\n".join("  " + "   ".join(line) for line in lines)


def grey(image: Sequence[Any]) -> list[list[float]]:
    """Return rows of brightness: of colours their mean, of a large image every so many pixels."""
    step = -(-max(len(image), len(image[0])) // WIDEST)
    return [[_mean(pixel) for pixel in row[::step]] for row in image[::step]]


def _mean(pixel: Any) -> float:
    values = pixel if isinstance(pixel, list) else [pixel]
    numbers = [float(value) for value in values]
    return sum(numbers) / len(numbers)


def _line(row: Sequence[float], low: float, high: float) -> str:
    darkest = len(SHADES) - 1
    # Two characters a pixel: a character is about twice as high as wide.
    return "".join(2 * SHADES[round((level - low) / (high - low) * darkest)] for level in row)
