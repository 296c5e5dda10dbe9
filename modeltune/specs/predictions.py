"""Declare predictions that were made elsewhere, in place of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model has predicted for the test part; a build function without arguments returns it.

    Args:
        values: an array with a row per sample, or the path of a ``.npy``, ``.csv`` or ``.parquet``
            file from the project's root. One column of probabilities (of class 1), classes or
            numbers; or a column per class, label or number. Of several outputs a dict of these by
            name, or a tuple; or a file with a column named for each.
        id: the column of the file whose values say which sample a row is of; the test part's ``x`` is
            a frame or a dict with a column of this name. None: rows are in the order of the test part.
    """

    values: object
    id: str | None = None
