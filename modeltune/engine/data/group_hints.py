"""Point at samples that look as if they belonged together, where nobody has said so. These are hints: nothing is judged by them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from modeltune.engine.data.metadata import text_codes
from modeltune.records import Array

WHOSE = (
    "patient|subject|user|customer|client|person|participant|household|family|session|visit|device|speaker|"
    "author|student|worker|recording|video|document|group"
)
ID_NAME = re.compile(r"([^a-z]|^)u?u?id$|[a-z]Id$|[a-z]ID$")
WHOSE_NAME = re.compile(rf"([^a-z]|^)({WHOSE})($|_?id$)", re.IGNORECASE)
"""Names of columns that say whose a row is: an id, or a noun."""

MANY = 20
"""With so many different values a column named by an id or a noun alone is taken to say whose a row is, not of which kind."""

MOSTLY_SHARED = 0.5
"""The share of rows that have an id with another row, from which on it is said."""

COMPARED_ROWS = 1000
"""Rows that are compared with each other."""

COMPARED_COLUMNS = 64
"""Columns by which they are compared, evenly spread over all."""

BLOCK = 50
"""Rows whose distances from all others are in memory at once."""

FEWEST_COLUMNS = 10
"""With fewer, any two rows lie close together."""

NEIGHBOUR = 20
"""By how far away the neighbour of this number is, a row is called close to its nearest."""

NEARLY_NONE = 0.05
"""Which part of that distance counts as nearly none."""

NEARLY_TWICE = 0.1
"""The share of rows that are nearly another's, from which on it is said."""

KEEP_TOGETHER = "samples that belong together are then kept in one part, and count as one where models are compared"


class RowsOfPart(NamedTuple):
    """The rows of an array part that are looked at.

    Args:
        name: of the part.
        size: how many there are.
        x: its inputs.
        columns: the names of those of x, where it was a frame.
        metadata: a pandas frame, or None.
    """

    name: str
    size: int
    x: Any
    columns: Sequence[str]
    metadata: Any


def group_hints(parts: Sequence[RowsOfPart]) -> Iterator[str]:
    """Yield a sentence on a column of ids that several rows share, and on rows that are nearly copies of others.

    Args:
        parts: without groups, train first; rows are in no order.
    """
    if parts:
        yield from _shared_ids(parts)
        yield from _near_copies(parts[0])


def _shared_ids(parts: Sequence[RowsOfPart]) -> Iterator[str]:
    for name, columns in _named_columns(parts).items():
        is_id, is_noun = ID_NAME.search(name), WHOSE_NAME.search(name)
        if not (is_id or is_noun):
            continue
        values = np.concatenate([np.asarray(column, object) for column in columns])
        if any(isinstance(one, float) and not one.is_integer() for one in values[:COMPARED_ROWS]):
            continue
        codes, labels = text_codes(values)
        counts = np.bincount(codes[codes >= 0], minlength=len(labels))
        shared = int(counts[counts > 1].sum())
        if len(labels) >= (2 if is_id and is_noun else MANY) and shared >= MOSTLY_SHARED * len(
            values
        ):
            yield (
                f'column "{name}" has {len(labels)} different values in {len(values)} rows, and looks as if it '
                f"said which belong together; if it does, declare it: mt.Data(..., groups=labels): {KEEP_TOGETHER}"
            )
            return


def _named_columns(parts: Sequence[RowsOfPart]) -> dict[str, list[Any]]:
    """Return the columns with a name, of metadata and of inputs, that all parts have."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        own: dict[str, Any] = {}
        if isinstance(part.x, Mapping):
            for name, array in part.x.items():
                if getattr(array, "size", 0) == part.size:
                    own[name] = np.reshape(array, -1)
        elif isinstance(part.x, np.ndarray) and part.x.ndim == 2:
            own |= {name: part.x[:, place] for place, name in enumerate(part.columns)}
        if part.metadata is not None:
            own |= {str(name): part.metadata[name].to_numpy() for name in part.metadata.columns}
        for name, values in own.items():
            found.setdefault(name, []).append(values)
    return {name: columns for name, columns in found.items() if len(columns) == len(parts)}


def _near_copies(part: RowsOfPart) -> Iterator[str]:
    x = part.x
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or len(x) <= 5 * NEIGHBOUR:
        return
    flat = x[:COMPARED_ROWS].reshape(min(len(x), COMPARED_ROWS), -1)
    # A thousand images are not small: few of their numbers tell as much.
    columns = _spread(np.arange(flat.shape[1]), 16 * COMPARED_COLUMNS)
    columns = columns[np.ptp(flat[:, :: columns[1] if len(columns) > 1 else 1], axis=0) > 0]
    rows = flat[:, _spread(columns, COMPARED_COLUMNS)].astype(np.float64)
    if rows.shape[1] < FEWEST_COLUMNS:
        return
    near = _share_of_near_copies(rows)
    if near >= NEARLY_TWICE:
        yield (
            f"{100 * near:.0f} % of the first {len(rows)} rows of {part.name} are nearly copies of another, as "
            "augmented ones or several shots of one thing are; if they are, say which belong together: "
            f"mt.Data(..., groups=labels): {KEEP_TOGETHER}"
        )


def _spread(columns: Array, most: int) -> Array:
    """Return at most so many of these columns, from the first on at equal distances."""
    return columns[:: -(-len(columns) // most) or 1]


def _share_of_near_copies(rows: Array) -> float:
    """Return the share of rows, (n, k), that lie much closer to another, but not on it, than to all but a few."""
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    squares = np.square(rows).sum(axis=1)
    nearest = []
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        distances = squares[block, None] + squares - 2 * rows[block] @ rows.T
        distances[np.arange(len(distances)), np.arange(len(rows))[block]] = np.inf
        distances.partition([0, NEIGHBOUR - 1, 4 * NEIGHBOUR - 1], axis=1)
        nearest.append(distances[:, [0, NEIGHBOUR - 1, 4 * NEIGHBOUR - 1]])
    first, far, farther = np.concatenate(nearest).T
    # Rows along a line, which one number is behind, lie four times as far apart there, and any two close together.
    if np.median(farther / np.maximum(far, 1e-300)) > 2**2:
        return 0.0
    # What equal rows are apart by rounding.
    is_other = first > 1e-9 * squares.mean()
    return float(np.mean(is_other & (first < NEARLY_NONE**2 * far)))
