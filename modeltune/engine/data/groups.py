"""Read which samples belong together: the groups of each part, as numbers."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from modeltune.engine.data.metadata import named_parts, text_codes
from modeltune.ground import DataError, error_line
from modeltune.records import Array

LABELS = "give each row the label of its group"

GroupFunction: TypeAlias = Callable[..., Any]
"""What the author writes: from x, or x and y, or x, y and sample weights of a batch to a label for each row."""


@dataclass(frozen=True)
class BatchGroups:
    """The groups of the samples of each batch, by a function of the author's.

    Args:
        field: where the function stands, as in messages: "spec.py::a: data: groups".
        function: is called with a batch.
    """

    field: str
    function: GroupFunction

    def __call__(self, x: Any, y: Any, sample_weight: Any, size: int) -> Array:
        """Return the number of each sample's group, int64 of shape (size,): a digest of its label as a text.

        Raises:
            DataError: the function raised, or did not return a label for each sample.
        """
        batch = (x, y, sample_weight)
        try:
            values = np.asarray(self.function(*batch[: _taken(self.function)]))
        except Exception as error:
            raise DataError(
                f"{self.field} raised {error_line(error)}; write a function of x, or of x and y, of a batch"
            ) from error
        if values.shape not in ((size,), (size, 1)):
            raise DataError(
                f"{self.field} returned values of shape {values.shape} for a batch of {size} samples; {LABELS}"
            )
        values = values.reshape(-1)
        if values.dtype.kind in "SO":
            texts = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]
            values = np.array(texts, object)
        codes, labels = text_codes(values)
        if (codes < 0).any():
            raise DataError(
                f"{self.field} has no label in {int((codes < 0).sum())} of {size} rows of a batch, first in row "
                f"{int((codes < 0).argmax())}; {LABELS}, or leave these rows out"
            )
        digests = [hashlib.sha256(label.encode()).digest()[:8] for label in labels]
        numbers: Array = np.frombuffer(b"".join(digests), "<i8")[codes]
        return numbers


def _taken(function: GroupFunction) -> int:
    """Return how many of x, y and sample weights a function takes; 1 where it does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    for count in (2, 3, 1):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count
    return 1


def group_functions(where: str, groups: Any, parts: Collection[str]) -> dict[str, BatchGroups]:
    """Return by part the function that gives its groups; nothing where groups are labels.

    Raises:
        DataError: some parts have a function, and others labels; or one is named that there is not.
    """
    if callable(groups):
        return dict.fromkeys(parts, BatchGroups(f"{where}: groups", groups))
    if not isinstance(groups, Mapping) or not any(callable(one) for one in groups.values()):
        return {}
    by_part = named_parts(where, "groups", groups, parts)
    for field, one in by_part.values():
        if not callable(one):
            raise DataError(
                f"{where}: {field} are labels, and those of other parts a function; write functions, or labels, of "
                "all of them"
            )
    return {name: BatchGroups(f"{where}: {field}", one) for name, (field, one) in by_part.items()}


def refuse_one_group(where: str, numbers: Mapping[str, Array]) -> None:
    """Refuse groups that are only one.

    Raises:
        DataError: they are.
    """
    if numbers and len(np.unique(np.concatenate([*numbers.values()]))) < 2:
        raise DataError(f"{where}: groups are one group only; leave groups out, or {LABELS}")


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
                "samples in any order; write a function of a batch, groups=lambda x, y: labels, or leave groups out"
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
