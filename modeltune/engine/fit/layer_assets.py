"""Keep what layers learn besides variables, such as vocabularies, in the file of their weights."""

from __future__ import annotations

import base64
import binascii
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np

from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.internals import Feature, keras_internals
from modeltune.ground import parse_json

DATASET = "modeltune_assets"
"""The name of the assets in a weights file; Keras reads other names of it only."""

LARGEST_ASSETS = 1 << 28
"""The largest assets that are written or read: a vocabulary of millions of words."""


def has_assets(layer: Any) -> bool:
    """Tell whether a layer keeps state in files of its own, as a vocabulary."""
    return hasattr(layer, "save_assets") and hasattr(layer, "load_assets")


def assets_of(model: Model) -> bytes:
    """Return what the model's layers learned besides variables, in one text; nothing if there is none."""
    entries = []
    for position, layer in _layers(model):
        try:
            files = _saved(layer)
        except Exception:  # noqa: BLE001  save_assets may be the user's code
            continue
        entries.append([position, type(layer).__name__, files])
    return json.dumps(entries).encode() if entries else b""


def write_assets(model: Model, path: Path) -> None:
    """Add the assets of a model's layers to its weights file, if any of them has some.

    A layer that cannot save its assets has none in the file; the check of the round trip finds
    whether that matters.

    Raises:
        ValueError: they are larger than ``LARGEST_ASSETS``.
    """
    content = assets_of(model)
    if not content:
        return
    if len(content) > LARGEST_ASSETS:
        raise ValueError(
            f"the assets of the model's layers take {len(content)} bytes; at most {LARGEST_ASSETS} are kept"
        )
    with h5py.File(path, "a") as file:
        file.create_dataset(DATASET, data=np.frombuffer(content, np.uint8))


def read_assets(model: Model, path: Path) -> None:
    """Give the layers of a model the assets that are kept in a weights file, if there are any.

    Raises:
        ValueError: they are none that ``write_assets`` wrote for such a model.
    """
    if not list(_layers(model)) or (entries := _entries(path)) is None:
        return
    layers = dict(_layers(model))
    if [kind for _, kind, _ in entries] == [type(layer).__name__ for layer in layers.values()]:
        # By their order: layers that a model makes as it is first called move others.
        entries = [
            (position, kind, files)
            for position, (_, kind, files) in zip(layers, entries, strict=True)
        ]
    for position, kind, files in entries:
        layer = layers.get(position)
        if layer is None or type(layer).__name__ != kind:
            raise ValueError(f"{path.name} keeps assets of a {kind:.100} that this model has not")
        if files:
            _load(layer, files)
    # Compiled functions hold the vocabularies that layers had when they were traced.
    model.train_function = model.test_function = model.predict_function = None


def without_assets(model: Model, path: Path) -> list[str]:
    """Return the layers that keep assets although the weights file has none, as of older runs."""
    names = [layer.name for _, layer in _layers(model)]
    return names if names and _entries(path) is None else []


def vocabularies(path: Path) -> list[str]:
    """Return the classes of the layers whose assets a weights file keeps, each once."""
    return sorted({kind for _, kind, files in _entries(path) or () if files})


def _layers(model: Model) -> Iterator[tuple[int, Any]]:
    """Yield each layer that has assets, with its position among all layers of the model."""
    if keras_internals.KERAS.why_not(Feature.ASSETS):
        return
    for position, layer in enumerate(keras_internals.inner_layers(model)):
        if has_assets(layer):
            yield position, layer


def _saved(layer: Any) -> dict[str, str]:
    """Return the files that a layer saves as its assets, in base64 by their names."""
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        return {
            file.relative_to(folder).as_posix(): base64.b64encode(file.read_bytes()).decode()
            for file in sorted(Path(folder).rglob("*"))
            if file.is_file()
        }


def _load(layer: Any, files: Mapping[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        layer.load_assets(folder)


def _entries(path: Path) -> list[tuple[int, str, dict[str, bytes]]] | None:
    """Return the position, class and files of each layer with assets; None where none were kept.

    The file may be a stranger's, so nothing is read that is not in it, or larger than it says.
    """
    with h5py.File(path, "r") as file:
        if DATASET not in file:
            return None
        stored = file.get(DATASET) if _is_inside(file) else None
        if not (
            isinstance(stored, h5py.Dataset)
            and stored.dtype == np.uint8
            and stored.ndim == 1
            and stored.nbytes <= LARGEST_ASSETS
            and not stored.external
            and not stored.is_virtual
        ):
            raise ValueError(f"{path.name} keeps no assets in {DATASET}, but something else")
        content = stored[()].tobytes()
    try:
        return [_entry(*entry) for entry in parse_json(content)]
    except (TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"the assets in {path.name} are damaged: {error}") from error


def _is_inside(file: Any) -> bool:
    return isinstance(file.get(DATASET, getlink=True), h5py.HardLink)


def _entry(position: object, kind: object, files: object) -> tuple[int, str, dict[str, bytes]]:
    if not (isinstance(position, int) and isinstance(kind, str) and isinstance(files, dict)):
        raise TypeError("an entry is no position, class and files")
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
            raise ValueError(f"{name!r:.100} is no name of a file below a folder")
    return position, kind, {n: base64.b64decode(text, validate=True) for n, text in files.items()}
