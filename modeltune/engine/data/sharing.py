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

PARTS_FILE = "parts.pickle"


def is_shareable(loaded: LoadedData) -> bool:
    """Tell whether all parts are arrays; each process loads a stream by itself."""
    return all(part.stream is None for part in (loaded.train, loaded.validation, loaded.test))


def write_parts(loaded: LoadedData, folder: Path) -> None:
    """Write parts made of arrays into a folder that holds nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count()

    def save(array: Array) -> Path:
        path = folder / f"{next(numbers)}.npy"
        np.save(path, array)
        return path

    (folder / PARTS_FILE).write_bytes(pickle.dumps(_map_parts(loaded, save)))


def read_parts(folder: Path) -> LoadedData | None:
    """Return the parts in a folder, mapped from their files; None when none were written.

    What a process writes into an array is seen by this process only.
    """
    try:
        content = (folder / PARTS_FILE).read_bytes()
    except FileNotFoundError:
        return None
    written: LoadedData = pickle.loads(content)
    return _map_parts(written, _map_file)


def _map_file(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="c")
    except ValueError:
        # NumPy cannot map an array of Python objects.
        array = np.load(path, allow_pickle=True)
    return array


def _map_parts(loaded: LoadedData, function: Callable[[Any], Any]) -> LoadedData:
    """Return the data with ``function`` applied to every array."""

    def map_part(part: Part) -> Part:
        arrays: dict[str, Arrays] = {
            name: map_arrays(function, getattr(part, name)) for name in ("x", "y", "sample_weight")
        }
        return replace(part, **arrays)

    return replace(
        loaded,
        train=map_part(loaded.train),
        validation=map_part(loaded.validation),
        test=map_part(loaded.test),
    )
