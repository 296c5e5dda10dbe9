"""Apply an author's transform to a sample, and refuse a result that is no sample."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from modeltune.engine.data import Arrays, RaggedArray, leaves, map_arrays
from modeltune.ground import error_line, first_names, is_integer
from modeltune.records import Array
from modeltune.specs import Behaviour, Kind

PREDICTION_BATCH = 32
"""Samples that one call predicts; the last batch is filled up, so that one graph serves all."""


class Point(NamedTuple):
    """What is tried: a test row or a case, and the severity of the transform if it has one."""

    row: int
    severity: float | None = None


class RowOfAnyLength(np.ndarray):
    """A sample of a ragged input: a transform may change its length."""


class ProbeError(Exception):
    """A behaviour cannot be probed: says why, to the author of the spec."""


def transform_of(
    behaviour: Behaviour, sample_of: Callable[[int], Arrays], columns: Sequence[str] = ()
) -> Callable[[Point], Arrays]:
    """Return a function that transforms the sample of a point, and refuses a result that is none.

    Args:
        behaviour: whose subject is the transform, or a feature.
        sample_of: returns the sample of a row.
        columns: the names of a sample's columns, where it is a row of a frame.
    """
    sample = sample_of(0)
    function = behaviour.subject
    if not callable(function):
        function = _raise(behaviour, sample, columns)
    has_severity = takes_severity(behaviour)

    def transform(point: Point) -> Arrays:
        at = "" if point.severity is None else f" at severity {in_digits(point.severity)}"
        where = f"{behaviour.name} on test[{point.row}]{at}"
        x = sample_of(point.row)
        try:
            returned = function(x, point.severity) if has_severity else function(x)
        except Exception as error:
            raise ProbeError(f"{where} raised {error_line(error)}") from error
        return as_sample(returned, sample, f"{where} returned")

    return transform


def _raise(
    behaviour: Behaviour, sample: Arrays, columns: Sequence[str]
) -> Callable[[Arrays, float], Arrays]:
    """Return a function that adds an amount to a column, or to an input that is named."""
    feature = behaviour.subject
    if isinstance(feature, str) and isinstance(sample, np.ndarray) and columns:
        if feature not in columns:
            raise ProbeError(
                f'there is no column "{feature}": the columns are {first_names(columns)}'
            )
        feature = list(columns).index(feature)
    if isinstance(feature, str):
        if not isinstance(sample, Mapping) or feature not in sample:
            has = f"are {', '.join(sample)}" if isinstance(sample, Mapping) else "have no names"
            raise ProbeError(f'there is no input "{feature}": the inputs {has}')
        array = sample[feature]
    else:
        if not isinstance(sample, np.ndarray):
            raise ProbeError(
                f"column {feature} is in one of several inputs; write an input's name, or a "
                "function (x, amount) -> x"
            )
        if isinstance(sample, RowOfAnyLength) and sample.ndim < 2:
            raise ProbeError(
                f"column {feature} is none of rows of different lengths; write a function "
                "(x, amount) -> x"
            )
        if sample.ndim == 0 or not -sample.shape[-1] <= feature < sample.shape[-1]:
            count = sample.shape[-1] if sample.ndim else 0
            named = f", {first_names(columns)}" if columns else ""
            raise ProbeError(f"there is no column {feature}: a sample has {count}{named}")
        array = sample
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        kind = getattr(array, "dtype", type(array).__name__)
        raise ProbeError(f"{behaviour.name} holds {kind}, to which nothing can be added")
    if array.dtype.kind != "f" and not is_integer(behaviour.by):
        raise ProbeError(
            f"{behaviour.name} holds whole numbers ({array.dtype}); write a whole number for "
            f"by={behaviour.by!r}"
        )

    def increase(values: Array, amount: float) -> Array:
        if array.dtype.kind == "f":
            return np.asarray(values + amount)
        # 250 + 10 is not 4: whole numbers end at the largest of their dtype.
        most = int(np.iinfo(array.dtype).max)
        return np.minimum(values.astype(object) + amount, most).astype(array.dtype)

    def add(x: Arrays, amount: float) -> Arrays:
        if isinstance(feature, str):
            return {**x, feature: increase(x[feature], amount)}
        x[..., feature] = increase(x[..., feature], amount)
        return x

    return add


def takes_severity(behaviour: Behaviour) -> bool:
    """Tell whether an author's function is called with a severity, as its second argument."""
    if behaviour.kind is Kind.DIRECTIONAL:
        return True
    if behaviour.kind is not Kind.INVARIANT:
        return False
    if isinstance(behaviour.strength, tuple | list):
        return True
    try:
        parameters = inspect.signature(behaviour.subject).parameters.values()
    except (TypeError, ValueError):
        return False  # a ufunc such as np.negative has none
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(needed) >= 2


def as_sample(returned: Any, sample: Arrays, where: str) -> Arrays:
    """Return what a function returned as arrays like the sample; refuse another structure, shape or dtype.

    Args:
        where: begins the message, such as "invariant(flip) on test[3] returned".
    """
    arrays = arrays_like(returned, sample)
    got, wanted = dict(leaves(arrays)), dict(leaves(sample))
    if set(got) != set(wanted):
        inputs = ", ".join(wanted) or "a single array"
        raise ProbeError(f"{where} {type_in_words(returned)}; a sample is {inputs}")
    for path, array in wanted.items():
        other, of = got[path], f' for "{path}"' if path else ""
        if array.dtype.kind in "USO":
            continue
        if other.dtype.hasobject:
            raise ProbeError(
                f"{where} {type_in_words(returned)}{of}; a sample is an array of {array.dtype}"
            )
        shape: tuple[int | None, ...] = array.shape
        if isinstance(array, RowOfAnyLength) and other.ndim:
            shape = (None, *shape[1:])
        if other.shape != tuple(
            b if a is None else a for a, b in zip(shape, other.shape, strict=False)
        ):
            raise ProbeError(f"{where} an array of shape {other.shape}{of}; a sample's is {shape}")
        # Computing with a Python or NumPy number widens: Keras would narrow it again as well.
        if not np.can_cast(other.dtype, array.dtype, "same_kind"):
            raise ProbeError(
                f"{where} {other.dtype}{of}; a sample is {array.dtype}: end with .astype(x.dtype)"
            )
        if other.dtype.kind == "f" and not np.isfinite(other).all():
            kind = "NaN" if np.isnan(other).any() else "infinite values"
            raise ProbeError(f"{where} {kind}{of}")

    def cast(path: str, array: Array) -> Array:
        # Text keeps its own length: that of the sample's dtype would cut it.
        dtype = wanted[path].dtype
        array = array.astype(str if dtype.kind == "U" else dtype, copy=False)
        return array.view(RowOfAnyLength) if isinstance(wanted[path], RowOfAnyLength) else array

    return _fill(sample, {path: cast(path, array) for path, array in got.items()})


def arrays_like(returned: Any, sample: Arrays) -> Arrays:
    """Return what a function returned as arrays; also lists of numbers, for a sample that is one array."""
    if isinstance(sample, Mapping | tuple | list):
        is_alike = isinstance(returned, Mapping) == isinstance(sample, Mapping)
        if not is_alike or not isinstance(returned, Mapping | tuple | list):
            return np.asarray(returned, dtype=object)
        if isinstance(returned, Mapping):
            return {str(key): np.asarray(value) for key, value in returned.items()}
        return [np.asarray(value) for value in returned]
    try:
        return np.asarray(returned)
    except ValueError:
        return np.asarray(None)


def _fill(sample: Arrays, arrays: Mapping[str, Array]) -> Arrays:
    """Return the sample's structure with other arrays in it, by their paths."""
    paths = iter([path for path, _ in leaves(sample)])
    return map_arrays(lambda _: arrays[next(paths)], sample)


def stack(samples: Sequence[Arrays]) -> Arrays:
    """Return samples as a batch."""
    first = samples[0]
    columns = zip(*([array for _, array in leaves(sample)] for sample in samples), strict=True)
    stacked = dict(zip([p for p, _ in leaves(first)], map(_stacked, columns), strict=True))
    return _fill(first, stacked)


def _stacked(arrays: Sequence[Array]) -> Array:
    if not isinstance(arrays[0], RowOfAnyLength):
        return np.stack(arrays)
    rows = np.empty(len(arrays), object)
    for row, array in enumerate(arrays):
        rows[row] = np.asarray(array)
    return rows.view(RaggedArray)


def row_of(batch: Arrays, row: int) -> Arrays:
    """Return one sample of a batch."""
    return map_arrays(lambda array: array[row, ...], batch)


def in_digits(value: float) -> str:
    """Return a severity as people type it."""
    return f"{value:.12g}"


def type_in_words(value: object) -> str:
    """Return the type of a value in words: "None", "a list"."""
    return "None" if value is None else f"a {type(value).__name__}"
