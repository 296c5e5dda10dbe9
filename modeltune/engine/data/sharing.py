"""Share loaded data with other processes: arrays in files that they map instead of copying."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.data.loading import Arrays, LoadedData, Part, map_arrays
from modeltune.records import Array


def is_shareable(loaded: LoadedData) -> bool:
    """Tell whether all parts are arrays, and what is prepared on them is a function with an address.

    Each process loads other data by itself.
    """
    try:
        pickle.dumps(loaded.prepare)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return all(part.stream is None for part in loaded.parts)


def write_parts(loaded: LoadedData, folder: Path) -> bytes:
    """Write the arrays of parts into a folder that holds nothing else.

    Returns:
        What ``read_parts`` needs to find them. It goes to other processes of this run, through
        their pipes: it is a pickle, so none is ever read from a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count()

    def save(array: Array) -> Path | Array:
        if array.dtype.hasobject:
            # NumPy cannot map an array of Python objects.
            return array
        path = folder / f"{next(numbers)}.npy"
        np.save(path, array)
        return path

    return pickle.dumps(_map_parts(loaded, save))


def read_parts(written: bytes) -> LoadedData:
    """Return the parts that ``write_parts`` has written, mapped from their files.

    What a process writes into an array is seen by this process only.
    """
    parts: LoadedData = pickle.loads(written)
    return _map_parts(parts, _mapped)


def _mapped(array: Path | Array) -> Array:
    if not isinstance(array, Path):
        return array
    mapped: Array = np.load(array, mmap_mode="c")
    return mapped


def _map_parts(loaded: LoadedData, function: Callable[[Any], Any]) -> LoadedData:
    """Return the data with ``function`` applied to every array."""

    def map_part(part: Part) -> Part:
        arrays: dict[str, Arrays] = {
            name: map_arrays(function, getattr(part, name)) for name in ("x", "y", "sample_weight")
        }
        groups = None if part.groups is None else function(part.groups)
        return replace(part, groups=groups, **arrays)

    return replace(
        loaded,
        train=map_part(loaded.train),
        validation=map_part(loaded.validation),
        test=map_part(loaded.test),
    )
