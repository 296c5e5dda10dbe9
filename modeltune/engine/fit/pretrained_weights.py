"""Tell weights that a build function has loaded, trained already, from those that it draws."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from modeltune.engine.fit.epoch_graph import Model


def starting_weights(model: Model) -> dict[str, int]:
    """Return a checksum of the trainable weights of each layer of a model that was just built.

    Left out are layers whose weights say nothing: they are constant, or an initializer has a seed
    of its own, so that each build draws the same.
    """
    checksums: dict[str, int] = {}
    for place, layer in enumerate(_layers(model)):
        arrays = [np.asarray(weight) for weight in layer.trainable_weights]
        drawn = [array for array in arrays if array.size > 1 and np.ptp(array) > 0]
        if drawn and not _is_seeded(layer):
            checksums[f"{place} {layer.name}"] = zlib.crc32(b"".join(a.tobytes() for a in drawn))
    return checksums


def note_on_trained(first: Mapping[str, int], second: Mapping[str, int]) -> str | None:
    """Say which layers of two builds begin with the same weights, though each build would draw others."""
    same = [name.partition(" ")[2] for name in first if first[name] == second.get(name)]
    if not same:
        return None
    listed = ", ".join(same[:3]) + (f" and {len(same) - 3} more layers" if len(same) > 3 else "")
    return (
        f"the build function returns weights that are trained already, in {listed}: every trial and "
        "refit goes on from them"
    )


def _layers(model: Model) -> Iterator[Any]:
    """Yield the layers that hold weights of their own."""
    for layer in getattr(model, "layers", ()):
        if getattr(layer, "layers", None):
            yield from _layers(layer)
        else:
            yield layer


def _is_seeded(layer: Any) -> bool:
    try:
        config = layer.get_config()
    except Exception:  # noqa: BLE001  it is the user's code
        return True
    return any(name.endswith("initializer") and _seed(value) for name, value in config.items())


def _seed(initializer: object) -> bool:
    inner = initializer.get("config") if isinstance(initializer, dict) else None
    return isinstance(inner, dict) and inner.get("seed") is not None
