"""Fit on a train part what the build function takes as its second argument."""

from __future__ import annotations

from typing import Any

from modeltune.engine.data.loading import LoadedData, Part
from modeltune.ground import DataError, error_line
from modeltune.specs import Spec


def prepared_spec(spec: Spec, loaded: LoadedData, train: Part) -> Spec:
    """Return the spec that builds its models with what its data prepare on a train part.

    Args:
        spec: its build function has a second argument; any other spec is returned as it is.
        train: the part that models are trained on: that of the data, or of a fold.

    Raises:
        DataError: the author's function raises, or returns nothing.
    """
    if loaded.prepare is None or not spec.takes_prepared:
        return spec
    name = getattr(loaded.prepare, "__name__", repr(loaded.prepare))
    where = f"{spec.id}: data: prepare: {name}"
    try:
        prepared = loaded.prepare(_as_returned(train))
    except Exception as error:
        raise DataError(f"{where} raised {error_line(error)}") from error
    if prepared is None:
        raise DataError(f"{where} returned None; return what the build function takes, fitted")
    return spec.with_prepared(prepared)


def _as_returned(train: Part) -> Any:
    """Return a train part as a data function returns one: ``(x, y)``, with weights, x or a stream."""
    if train.stream is not None:
        return train.stream
    if train.y is None:
        return (train.x,)
    weights = () if train.sample_weight is None else (train.sample_weight,)
    return (train.x, train.y, *weights)
