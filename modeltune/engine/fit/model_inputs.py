"""Hand a model what it takes: a frame by its columns where it has an input or an output for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras

from modeltune.engine.data import LoadedData, Part, label_ranges
from modeltune.engine.fit.epoch_graph import Model
from modeltune.ground import SpecError


def for_model(model: Model, part: Part) -> Part:
    """Return a part as the model takes it: frames by their columns for several inputs or outputs, by name.

    A model with one input, or one output, gets an array. Columns that no input and no output asks
    for are left out.

    Raises:
        SpecError: an input, or an output with a loss, has no column of its name.
        DataError: as ``Part.by_column``.
    """
    part = _by_columns(part, "x", "input", inputs := _names(model, "input"), inputs)
    outputs = _names(model, "output")
    loss = getattr(model, "loss", None)
    needed = outputs
    if isinstance(loss, Mapping):
        needed = [name for name in outputs if loss.get(name) is not None]
    return _by_columns(part, "y", "output", outputs, needed)


def data_for_model(model: Model, loaded: LoadedData) -> LoadedData:
    """Return all parts as the model takes them; raise what ``for_model`` does."""
    train, validation, test = (
        for_model(model, part) for part in (loaded.train, loaded.validation, loaded.test)
    )
    return replace(loaded, train=train, validation=validation, test=test)


def _by_columns(
    part: Part, kind: str, role: str, names: Sequence[str], needed: Sequence[str]
) -> Part:
    """Return a part with the columns of a frame in its place, if the model has several inputs or outputs.

    Args:
        kind: "x" or "y".
        role: what takes a column, "input" or "output".
        names: those of all inputs or outputs.
        needed: the names of those that cannot do without a column.
    """
    if kind not in part.frames or kind in part.whole or len(names) < 2:
        return part
    columns = part.by_column(kind)
    if missing := [name for name in needed if name not in columns]:
        raise SpecError(
            f"data: {part.name} {kind} is a frame without {_listed('column', missing)}, for which the "
            f"model has {_listed(role, missing)}; the columns are {', '.join(columns)}, the "
            f"{role}s {', '.join(names)}: name them alike"
        )
    arrays = {name: columns[name] for name in names if name in columns}
    shapes = {f"{kind}.{name}": array.shape[1:] for name, array in arrays.items()}
    shapes |= {label: shape for label, shape in part.shapes.items() if label != kind}
    changed: dict[str, Any] = {kind: arrays, "shapes": shapes}
    if kind == "y":
        changed["labels"] = label_ranges(arrays)
    return replace(part, whole={**part.whole, kind: getattr(part, kind)}, **changed)


def _names(model: Model, role: str) -> list[str]:
    """Return the names by which a functional model takes its inputs or gives its outputs; none of others."""
    tensors = getattr(model, f"{role}s", None)
    if isinstance(model, keras.Sequential) or not tensors:
        return []
    structure: Any = getattr(model, role)
    if isinstance(structure, Mapping):
        return [str(name) for name in structure]
    if role == "output":
        return [str(name) for name in model.output_names]
    return [tensor.name for tensor in tensors]


def _listed(what: str, names: Sequence[str]) -> str:
    return f"the {what}{'' if len(names) == 1 else 's'} {', '.join(names)}"
