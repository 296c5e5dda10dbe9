"""Hand loaded data to other processes: arrays in files that every process maps, none copies."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.data.loading import Array, Arrays, Loaded, Part, map_arrays

FILE = "parts.pickle"


def is_shareable(loaded: Loaded) -> bool:
    """Tell whether all parts are arrays; a stream is loaded anew by each process."""
    return all(part.stream is None for part in (loaded.train, loaded.validation, loaded.test))


def write(loaded: Loaded, folder: Path) -> None:
    """Write array parts to a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count()

    def save(array: Array) -> Path:
        path = folder / f"{next(numbers)}.npy"
        np.save(path, array)
        return path

    (folder / FILE).write_bytes(pickle.dumps(_each_part(loaded, save)))


def read(folder: Path) -> Loaded:
    """Return the parts of a folder, mapped; what a process writes into an array stays its own."""
    written: Loaded = pickle.loads((folder / FILE).read_bytes())
    return _each_part(written, _mapped)


def _mapped(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="c")
    except ValueError:
        # Python objects cannot be mapped.
        array = np.load(path, allow_pickle=True)
    return array


def _each_part(loaded: Loaded, function: Callable[[Any], Any]) -> Loaded:
    def each(part: Part) -> Part:
        arrays: dict[str, Arrays] = {
            name: map_arrays(function, getattr(part, name)) for name in ("x", "y", "sample_weight")
        }
        return replace(part, **arrays)

    return replace(
        loaded,
        train=each(loaded.train),
        validation=each(loaded.validation),
        test=each(loaded.test),
    )
