"""A confusion matrix as a run records it: whole where there are few classes, else its cells that are not 0."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from modeltune.records.plain_data import Json

MOST_WHOLE = 30
"""Classes of a matrix that is recorded whole."""

MOST_CELLS = 50_000
"""Cells of a larger one that are recorded, those with the most samples."""


@dataclass(frozen=True)
class Confusion:
    """How many test samples of each true class were predicted as which.

    Args:
        classes: how many there are.
        counts: by (true, predicted) class, where there are any.
        left_out: samples in further cells, which were not recorded.
    """

    classes: int
    counts: Mapping[tuple[int, int], int] = field(default_factory=dict)
    left_out: int = 0

    def wrong(self) -> Iterator[tuple[int, int, int]]:
        """Yield (true, predicted, samples) of wrong predictions, the most frequent ones first."""
        wrong = (
            (count, true, predicted)
            for (true, predicted), count in self.counts.items()
            if true != predicted
        )
        for count, true, predicted in sorted(wrong, key=lambda cell: (-cell[0], cell[1:])):
            yield true, predicted, count

    def worst_rows(self, most: int) -> list[ConfusionRow]:
        """Return the rows with the most wrong predictions, as many as have any, the worst first."""
        wrong: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        samples = Counter[int]()
        for true, predicted, count in self.wrong():
            wrong[true].append((predicted, count))
        for (true, _), count in self.counts.items():
            samples[true] += count
        rows = [
            ConfusionRow(true, samples[true], self.counts.get((true, true), 0), others)
            for true, others in wrong.items()
        ]
        return sorted(rows, key=lambda row: (row.right - row.samples, row.true))[:most]

    def corner(self, most: int) -> list[list[int]]:
        """Return the first rows and columns."""
        size = min(self.classes, most)
        rows = [[0] * size for _ in range(size)]
        for (true, predicted), count in self.counts.items():
            if true < size and predicted < size:
                rows[true][predicted] = count
        return rows

    def totals(self, most: int) -> list[int]:
        """Return the samples of each of the first true classes."""
        totals = [0] * min(self.classes, most)
        for (true, _), count in self.counts.items():
            if true < len(totals):
                totals[true] += count
        return totals


@dataclass(frozen=True)
class ConfusionRow:
    """The samples of a true class, how many are right, and as what the others were predicted."""

    true: int
    samples: int
    right: int
    others: Sequence[tuple[int, int]]


def confusion_to_json(cells: Iterable[tuple[int, int, int]], classes: int) -> Json:
    """Return a matrix as JSON data.

    Args:
        cells: (true, predicted, samples) of those that are not 0, each once.
        classes: how many there are.
    """
    listed = list(cells)
    if classes <= MOST_WHOLE:
        matrix = [[0] * classes for _ in range(classes)]
        for true, predicted, count in listed:
            matrix[true][predicted] = count
        return matrix
    kept = sorted(sorted(listed, key=lambda cell: -cell[2])[:MOST_CELLS])
    document: dict[str, Json] = {
        "classes": classes,
        "true": [true for true, _, _ in kept],
        "predicted": [predicted for _, predicted, _ in kept],
        "counts": [count for _, _, count in kept],
    }
    left_out = sum(count for *_, count in listed) - sum(document["counts"])
    return document | ({"left_out": left_out} if left_out else {})


def confusion_from_json(data: Json) -> Confusion | None:
    """Return the matrix that a run records, also one of many classes that an older run has whole.

    None of anything else.
    """
    if isinstance(data, Mapping):
        return _of_cells(data)
    rows = data if isinstance(data, list | tuple) else ()
    if not rows or not all(isinstance(row, list | tuple) and len(row) == len(rows) for row in rows):
        return None
    counts = {
        (true, predicted): count
        for true, row in enumerate(rows)
        for predicted, count in enumerate(row)
        if count != 0
    }
    return Confusion(len(rows), counts) if all(map(_is_count, counts.values())) else None


def _of_cells(data: Mapping[str, Json]) -> Confusion | None:
    lists: list[Json] = [data.get(name) for name in ("true", "predicted", "counts")]
    classes, left_out = data.get("classes"), data.get("left_out", 0)
    if not _is_count(classes) or not _is_count(left_out):
        return None
    if not all(isinstance(values, list | tuple) for values in lists):
        return None
    true, predicted, counts = lists
    if not len(true) == len(predicted) == len(counts):
        return None
    if not all(_is_count(value) for values in lists for value in values):
        return None
    if max((*true, *predicted), default=-1) >= classes:
        return None
    cells = zip(zip(true, predicted, strict=True), counts, strict=True)
    return Confusion(classes, dict(cells), left_out)


def _is_count(value: Json) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
