"""Hand a model the inputs that it takes: a frame by its columns where it has an input for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras

from modeltune.engine.data import LoadedData, Part
from modeltune.engine.fit.epoch_graph import Model
from modeltune.ground import SpecError


def for_model(model: Model, part: Part) -> Part:
    """Return a part as the model takes it: a frame by its columns if it has several inputs, by name.

    A model with one input gets an array. Columns that no input asks for are left out.

    Raises:
        SpecError: an input has no column of its name.
        DataError: as ``Part.by_column``.
    """
    if "x" not in part.frames or part.whole is not None:
        return part
    names = _input_names(model)
    if len(names) < 2:
        return part
    columns = part.by_column()
    if missing := [name for name in names if name not in columns]:
        raise SpecError(
            f"data: {part.name} x is a frame without {_listed('column', missing)}, for which the "
            f"model has {_listed('input', missing)}; the columns are {', '.join(columns)}, the "
            f"inputs {', '.join(names)}: name them alike"
        )
    x = {name: columns[name] for name in names}
    shapes = {f"x.{name}": array.shape[1:] for name, array in x.items()}
    shapes |= {label: shape for label, shape in part.shapes.items() if label != "x"}
    return replace(part, x=x, whole=part.x, shapes=shapes)


def data_for_model(model: Model, loaded: LoadedData) -> LoadedData:
    """Return all parts as the model takes them; raise what ``for_model`` does."""
    train, validation, test = (
        for_model(model, part) for part in (loaded.train, loaded.validation, loaded.test)
    )
    return replace(loaded, train=train, validation=validation, test=test)


def _input_names(model: Model) -> list[str]:
    """Return the names under which a functional model takes its inputs; none of any other model."""
    if isinstance(model, keras.Sequential) or not getattr(model, "inputs", None):
        return []
    inputs: Any = model.input
    if isinstance(inputs, Mapping):
        return [str(name) for name in inputs]
    return [tensor.name for tensor in model.inputs]


def _listed(what: str, names: list[str]) -> str:
    return f"the {what}{'' if len(names) == 1 else 's'} {', '.join(names)}"
