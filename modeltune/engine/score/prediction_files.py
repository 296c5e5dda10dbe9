"""Read predictions that were made elsewhere: an array, or a .npy, CSV or Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.data import Arrays, Part
from modeltune.ground import error_line
from modeltune.records import Array
from modeltune.specs import Predictions

FORMS = (".npy", ".csv", ".parquet")
"""Files of predictions, by how their names end."""

WRITE = {
    ".npy": "write it by np.save",
    ".csv": "write it by frame.to_csv(path, index=False), in UTF-8",
    ".parquet": "write it by frame.to_parquet",
}
"""How a file of each form is written."""

NAMED = 3
"""Ids that a message names."""


def read_predictions(predictions: Predictions, root: Path, test: Part) -> Arrays:
    """Return predictions as an array with a row per test sample, in the order of the test part.

    Of a dict or a tuple, and of a file with a column for each of several targets, one for each output.

    Args:
        predictions: as declared.
        root: the folder that the path of a file starts from.
        test: the test part, whose ids say which row is whose.

    Raises:
        OSError: there is no such file.
        ValueError: it is none of predictions; says what was found and what to do.
    """
    values = predictions.values
    if isinstance(values, Mapping):
        several = {str(name): replace(predictions, values=one) for name, one in values.items()}
        return {name: read_predictions(one, root, test) for name, one in several.items()}
    if isinstance(values, tuple) and values and all(np.ndim(one) for one in values):
        return [read_predictions(replace(predictions, values=one), root, test) for one in values]
    if not isinstance(values, str | Path):
        if predictions.id is not None:
            raise ValueError(f"id={predictions.id!r} names a column of a file; an array has none")
        try:
            array = np.asarray(values)
        except ValueError as error:  # rows of different lengths
            raise ValueError(
                f"{values!r:.60} is no array with a row for each sample ({error_line(error)})"
            ) from error
        if array.ndim == 0:
            raise ValueError(f"{values!r:.60}: write an array, or the path of a file")
        return array
    path = root / values
    if path.suffix not in FORMS:
        raise ValueError(f"{path} is none of {', '.join(FORMS)}")
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; it is looked for from the project's root"
        )
    if path.suffix == ".npy":
        if predictions.id is not None:
            raise ValueError(
                f"{path}: id={predictions.id!r} names a column, and a .npy file has none"
            )
        return _read(path, lambda: np.load(path, allow_pickle=False))
    import pandas as pd

    read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
    frame = _read(path, lambda: read(path))
    if predictions.id is None:
        return _columns(frame, path, test)
    if predictions.id not in frame.columns:
        listed = ", ".join(map(str, frame.columns[:10]))
        raise ValueError(f"{path} has no column {predictions.id!r} (id=); it has {listed}")
    ids = _ids_of(test, predictions.id)
    frame = frame.set_index(predictions.id)
    if not frame.index.is_unique:
        twice = frame.index[frame.index.duplicated()].unique()[:NAMED].tolist()
        raise ValueError(f"{path}: {predictions.id} is there twice: {_listed(twice)}")
    missing = ids[~np.isin(ids, frame.index.to_numpy())]
    if len(missing):
        raise ValueError(
            f"{path}: no prediction for {len(missing)} of the {len(ids)} samples of test: "
            f"{predictions.id} {_listed(missing[:NAMED].tolist())}"
        )
    return _columns(frame.loc[ids], path, test)


def _read(path: Path, read: Callable[[], Any]) -> Any:
    """Return what a file holds.

    Raises:
        ValueError: it is not what its name says. What NumPy advises of arrays of objects, to run
            what is in them, is not repeated.
        OSError, ImportError: as for ``read_predictions``.
    """
    try:
        held = read()
    except ValueError as error:
        own = (
            "it holds no array of numbers or texts" if path.suffix == ".npy" else error_line(error)
        )
        raise ValueError(
            f"{path} cannot be read as {path.suffix}: {own}; {WRITE[path.suffix]}"
        ) from error
    if path.suffix == ".npy" and not isinstance(held, np.ndarray):
        raise ValueError(f"{path} holds several arrays, as np.savez writes; {WRITE['.npy']}")
    return held


def _ids_of(test: Part, name: str) -> Array:
    columns: Any = test.by_column() or test.x
    if not isinstance(columns, dict) or name not in columns:
        raise ValueError(
            f"id={name!r}: x of test has no such column to join by; return a frame or a dict that has it"
        )
    ids = np.asarray(columns[name]).reshape(-1)
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"test has {name} twice: {_listed(values[counts > 1][:NAMED].tolist())}")
    return ids


def _columns(frame: Any, path: Path, test: Part) -> Arrays:
    if not len(frame.columns):
        raise ValueError(f"{path} has no column of predictions")
    if isinstance(test.y, Mapping) and len(test.y) > 1:
        if missing := [name for name in test.y if name not in frame.columns]:
            has = ", ".join(map(str, frame.columns[:10]))
            raise ValueError(
                f"{path} has the columns {has}, and no {', '.join(missing)}: name one for each target, "
                f'or write mt.Predictions({{"{missing[0]}": "file", ...}})'
            )
        return {name: np.asarray(frame[name]) for name in test.y}
    array = np.asarray(frame.iloc[:, 0] if len(frame.columns) == 1 else frame)
    if array.ndim == 2 and array.dtype.kind not in "biuf":
        listed = ", ".join(map(str, frame.columns[:10]))
        raise ValueError(
            f"{path}: its columns are not all numbers: {listed}; id= names that of ids"
        )
    return array


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values))
