"""Call the functions by which gates select slices of the test part. No Keras is needed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modeltune.engine.data import Arrays, Column, Part, leaves
from modeltune.ground import SpecError, error_line
from modeltune.records import Array
from modeltune.specs import On

NAMED_COLUMNS = 12
"""Columns of a frame that a message names."""


def check_slices(slices: Sequence[On], part: Part) -> None:
    """Call every slice's function once, before anything is trained.

    Raises:
        SpecError: a function raised, or did not return one True or False per sample.
    """
    if not slices:
        return
    if part.stream is None:
        slice_masks(slices, part.x, part.y, part)
        return
    for x, y, _ in part.batches(1):
        slice_masks(slices, x, y)
        break


def slice_masks(
    slices: Sequence[On], x: Arrays, y: Arrays, part: Part | None = None
) -> dict[str, Array]:
    """Return, by the name of each slice, which of these samples are in it.

    Of a ``part`` that is a frame its function gets the array or, where it cannot use that, a dict by
    column.
    """
    size = next(len(array) for _, array in leaves(x))
    frames = {} if part is None else part.frames
    if part is not None:
        x, y = part.whole.get("x", x), part.whole.get("y", y)
    masks = {}
    for one in slices:
        where = f'slice "{one.name}": {getattr(one.select, "__name__", one.select)}'
        takes_two = _takes_two(one.select)
        mask: Any = None
        error: BaseException | None = None
        # The targets in their second form only where their first one cannot be used.
        forms = [(one_x, one_y) for one_y in _forms("y", y, part) for one_x in _forms("x", x, part)]
        for form in forms if takes_two else _forms("x", x, part):
            try:
                mask = np.asarray(one.select(*form) if takes_two else one.select(form))
                break
            except (Exception, SystemExit) as raised:  # noqa: BLE001  told below
                error = error or raised
        if error is not None and mask is None:
            what = _arguments_of_slice((x, y) if takes_two else (x,), frames)
            raise SpecError(f"{where} raised {error_line(error)}; {what}") from error
        if mask.shape not in ((size,), (size, 1)) or mask.dtype != bool:
            raise SpecError(
                f"{where} returned {mask.dtype} of shape {mask.shape} for {size} samples; "
                "return one True or False per sample"
            )
        masks[one.name] = mask.reshape(-1)
    return masks


def _forms(kind: str, arrays: Arrays, part: Part | None) -> Iterator[Arrays]:
    """Yield what a slice's function may get for x or y: an array, and the columns of a frame."""
    yield arrays
    if part is not None and kind in part.frames:
        yield part.by_column(kind)


def _arguments_of_slice(
    arguments: Sequence[Arrays], frames: Mapping[str, tuple[Column, ...]]
) -> str:
    """Say what a slice's function gets: arrays, also where the data function returned a frame."""
    got = []
    for kind, arrays in zip(("x", "y"), arguments, strict=False):
        for path, array in leaves(arrays):
            name = f"{kind}.{path}" if path else kind
            columns = ", ".join(map(str, frames.get(name, ())[:NAMED_COLUMNS]))
            was = f", of the frame with the columns {columns}" if columns else ""
            got.append(f"{name} as an array of {array.dtype} of shape {array.shape}{was}")
    advice = ""
    if "x" in frames:
        advice = f': choose a column by its place, x[:, 0], or by name, x["{frames["x"][0].name}"]'
    elif "y" in frames:
        advice = f': choose a column by its place, y[:, 0], or by name, y["{frames["y"][0].name}"]'
    return f"it got {'; '.join(got)}{advice}"


def _takes_two(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True
