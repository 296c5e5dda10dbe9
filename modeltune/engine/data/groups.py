"""Read which samples belong together: the groups of each part, as numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from modeltune.engine.data.metadata import named_parts, text_codes
from modeltune.ground import DataError
from modeltune.records import Array

LABELS = "give each row the label of its group"


def group_numbers(
    where: str, groups: Any, sizes: Mapping[str, int], streams: Mapping[str, str]
) -> dict[str, Array]:
    """Return the number of each sample's group by part, int64 of shape (n,); equal labels have one number.

    Args:
        where: what messages begin with.
        groups: the labels of train's rows, or a dict of labels by part; None where there are none.
        sizes: the samples of each part that the data function returned, before any is cut from train.
        streams: by part what kind of stream it is, where it is one.

    Raises:
        DataError: they are something else, lack a label, are not those of their part, or all one group.
    """
    if groups is None:
        return {}
    by_part = {"train": ("groups", groups)}
    if isinstance(groups, Mapping):
        by_part = named_parts(where, "groups", groups, sizes)
    labels: dict[str, Array] = {}
    for name, (field, values) in by_part.items():
        if name in streams:
            raise DataError(
                f"{where}: {field} cannot be joined with {name}, a {streams[name]}, which may yield its "
                "samples in any order; return arrays, or leave groups out"
            )
        array = np.asarray(values)
        if array.ndim != 1:
            raise DataError(f"{where}: {field} has shape {array.shape}; {LABELS}, in shape (n,)")
        if len(array) != sizes[name]:
            raise DataError(
                f"{where}: {field} has {len(array)} labels for the {sizes[name]} samples of {name}; "
                f"{LABELS}, in its order"
            )
        missing = text_codes(array)[0] < 0
        if missing.any():
            raise DataError(
                f"{where}: {field} has no label in {int(missing.sum())} of {len(array)} rows, first in row "
                f"{int(missing.argmax())}; {LABELS}, or leave these rows out"
            )
        labels[name] = array
    if not labels:
        raise DataError(f"{where}: groups is an empty dict; {LABELS} of train")
    numbers, different = text_codes(
        np.concatenate([array.astype(object) for array in labels.values()])
    )
    if len(different) < 2:
        raise DataError(
            f"{where}: groups are one group only, {different[0]!r}; leave groups out, or {LABELS}"
        )
    ends = np.cumsum([len(array) for array in labels.values()])[:-1]
    return dict(zip(labels, np.split(numbers.astype(np.int64), ends), strict=True))


def groups_digest(groups: Mapping[str, Array | None]) -> str:
    """Return the sha256 of which samples belong together by part, "" where no part has groups."""
    known = {name: numbers for name, numbers in groups.items() if numbers is not None}
    if not known:
        return ""
    # Which number a group has does not matter: labels may be renamed.
    _, first, places = np.unique(
        np.concatenate(list(known.values())), return_index=True, return_inverse=True
    )
    order = np.argsort(np.argsort(first))[places.reshape(-1)]
    digest = hashlib.sha256()
    for name, numbers in known.items():
        digest.update(f"{name}:{len(numbers)};".encode())
        digest.update(order[: len(numbers)].astype("<i8").tobytes())
        order = order[len(numbers) :]
    return digest.hexdigest()
