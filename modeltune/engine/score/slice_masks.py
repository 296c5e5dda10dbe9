"""Call the functions by which gates select slices and groups of the test part. No Keras is needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from modeltune.engine.data import Arrays, Column, Part, leaves, text_codes
from modeltune.ground import SpecError, error_line, first_names, shorten
from modeltune.records import Array, takes_metadata
from modeltune.specs import By, MetricFunction, On, plain_function

MOST_GROUPS = 1000
"""Groups that one gate may judge; a column with more values is an id, and no grouping."""

LONGEST_GROUP = 200
"""Characters of a value that names a group."""

WITHOUT_VALUE = "missing"
"""What the group of the samples without a value is called."""


def check_slices(slices: Sequence[On | By], part: Part, is_whole: bool = True) -> None:
    """Call every slice's function once, and look its groups up, before anything is trained.

    Args:
        slices: what gates name.
        part: the test part. Of a stream the first batch is looked at.
        is_whole: whether it has all samples, so that a slice without any is a mistake.

    Raises:
        SpecError: a function raised, or did not return one value per sample, or no True; or there is no
            such column of metadata.
    """
    if not slices:
        return
    if part.stream is None:
        masks = slice_masks(slices, part.x, part.y, part)
        empty = [one for one in slices if isinstance(one, On) and not masks[one.name].any()]
        if empty and is_whole:
            select = getattr(empty[0].select, "__name__", empty[0].select)
            raise SpecError(
                f'slice "{empty[0].name}": {select} returned True for none of the {part.size} test samples; '
                "have it select some, or leave the gate out"
            )
        return
    for x, y, _ in part.batches(1):
        slice_masks(slices, x, y)
        break


def masks_of(slices: Sequence[On | By], part: Part) -> dict[str, Array]:
    """Return ``slice_masks`` of a test part; nothing of a stream, whose samples are not at hand."""
    if not slices or part.stream is not None:
        return {}
    return slice_masks(slices, part.x, part.y, part)


def check_own_metrics(asked: Mapping[str, MetricFunction | None], part: Part) -> None:
    """Refuse a metric of the author's that takes metadata where there are none.

    Raises:
        SpecError: names it.
    """
    for name, function in asked.items():
        if function is None or part.metadata is not None or not takes_metadata(function):
            continue
        if (
            inspect.signature(plain_function(function)).parameters["metadata"].default
            is inspect.Parameter.empty
        ):
            raise SpecError(
                f"metric {name} takes metadata, and there are none of {part.name}; return "
                "mt.Data(..., metadata=frame)"
            )


def slice_masks(
    slices: Sequence[On | By], x: Arrays, y: Arrays, part: Part | None = None
) -> dict[str, Array]:
    """Return by name which of these samples are in each slice, bool, or the group each is in, as texts.

    Of a ``part`` that is a frame a function gets the array or, where it cannot use that, a dict by
    column. Of a stream there is no ``part``: its samples are these.
    """
    size = next(len(array) for _, array in leaves(x))
    masks: dict[str, Array] = {}
    for one in slices:
        if isinstance(one, By):
            masks[one.name] = _groups(one, x, y, part, size)
            continue
        where = f'slice "{one.name}": {getattr(one.select, "__name__", one.select)}'
        mask = np.asarray(_called(where, one.select, x, y, part))
        if mask.shape not in ((size,), (size, 1)) or mask.dtype != bool:
            raise SpecError(
                f"{where} returned {mask.dtype} of shape {mask.shape} for {size} samples; "
                "return one True or False per sample"
            )
        masks[one.name] = mask.reshape(-1)
    return masks


def _groups(by: By, x: Arrays, y: Arrays, part: Part | None, size: int) -> Array:
    """Return the group of each sample, texts of shape (n,)."""
    where = f'groups by "{by.name}"'
    if by.function is not None:
        where += f": {getattr(by.function, '__name__', by.function)}"
        values = _called(where, by.function, x, y, part)
        shape = np.shape(values)
        if shape not in ((size,), (size, 1)):
            raise SpecError(
                f"{where} returned {type(values).__name__} of shape {shape} for {size} samples; "
                "return one value per sample"
            )
    else:
        values = _column(where, by.name, part)
    return _texts(where, values)


def _column(where: str, name: str, part: Part | None) -> Any:
    if part is None or part.metadata is None:
        what = "test" if part is None else part.name
        raise SpecError(
            f"{where}: there are no metadata of {what}; return mt.Data(..., metadata=frame) with a "
            f'column "{name}", or compute the groups: .by("{name}", function)'
        )
    columns = [str(column) for column in part.metadata.columns]
    if name not in columns:
        raise SpecError(
            f"{where}: the metadata of {part.name} have no such column; the columns are "
            f"{first_names(columns)}"
        )
    return part.metadata.iloc[:, columns.index(name)]


def _texts(where: str, values: Any) -> Array:
    """Return values as texts, an object array of shape (n,); those without one are in a group too."""
    codes, names = text_codes(values)
    if len(names) > MOST_GROUPS:
        raise SpecError(
            f"{where}: there are {len(names)} values, more than the {MOST_GROUPS} groups that are "
            "judged; compute fewer by a function: .by(name, function)"
        )
    for name in names:
        if len(name) > LONGEST_GROUP:
            raise SpecError(
                f"{where}: the value {shorten(name)} has {len(name)} characters; name groups by "
                f"{LONGEST_GROUP} or fewer"
            )
    texts: Array = np.array([*names, WITHOUT_VALUE], object)[codes]
    return texts


def _called(
    where: str, function: Callable[..., Any], x: Arrays, y: Arrays, part: Part | None
) -> Any:
    """Return what a function gives of metadata, by the argument's name, or of x and y.

    Raises:
        SpecError: it raised, or there are no metadata.
    """
    frames = {} if part is None else part.frames
    if part is not None:
        x, y = part.whole.get("x", x), part.whole.get("y", y)
    more: dict[str, Any] = {}
    if takes_metadata(function):
        if part is None or part.metadata is None:
            what = "test" if part is None else part.name
            raise SpecError(
                f"{where} takes metadata, and there are none of {what}; return mt.Data(..., metadata=frame)"
            )
        more["metadata"] = part.metadata
    taken = _taken(function, more)
    # The targets in their second form only where their first one cannot be used.
    ys = list(_forms("y", y, part)) if taken > 1 else [y]
    xs = list(_forms("x", x, part)) if taken else [x]
    error: BaseException | None = None
    for form in [(one_x, one_y)[:taken] for one_y in ys for one_x in xs]:
        try:
            result = function(*form, **more)
            np.asarray(result)
            return result
        except (Exception, SystemExit) as raised:  # noqa: BLE001  told below
            error = error or raised
    what = _arguments_of_slice((x, y)[:taken], frames)
    if more:
        columns = first_names(more["metadata"].columns)
        what += f"{'; ' if taken else ''}metadata with the columns {columns}"
    raise SpecError(f"{where} raised {error_line(error)}; it got {what}") from error  # type: ignore[arg-type]


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
            columns = frames.get(name, ())
            was = f", of the frame with the columns {first_names(columns)}" if columns else ""
            got.append(f"{name} as an array of {array.dtype} of shape {array.shape}{was}")
    advice = ""
    if "x" in frames:
        advice = f': choose a column by its place, x[:, 0], or by name, x["{frames["x"][0].name}"]'
    elif "y" in frames:
        advice = f': choose a column by its place, y[:, 0], or by name, y["{frames["y"][0].name}"]'
    return f"{'; '.join(got)}{advice}"


def _taken(function: Callable[..., Any], more: Mapping[str, Any]) -> int:
    """Return how many of x and y a function takes besides what it gets by name; 1 where it does not tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return 1
    for count in (2, 1, 0):
        try:
            signature.bind(*[None] * count, **more)
        except TypeError:
            continue
        # Metadata alone are what a function of one argument is about.
        return count if more or count else 1
    return 1
