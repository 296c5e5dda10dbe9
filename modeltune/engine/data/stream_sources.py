"""Know a ``tf.data.Dataset`` by the elements it is made of, where shuffling and augmenting change the rest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.internals import TENSORFLOW, Feature, tensorflow_internals
from modeltune.records import Array

AT_A_TIME = 1024
"""Elements of a source that are read together."""

WHOLE_FILE = 1 << 26
"""Of a larger file, this many bytes are read: half of them at its beginning, half at its end."""

FEWEST_BYTES = 16
"""A source of one element that is smaller says nothing: so is that of every generator."""

INFINITE = -1


def source_digest(dataset: Any) -> str | None:
    """Return a sha256 of the elements that a dataset is made of; None where these cannot be told.

    They are those of the datasets at the beginning of its pipeline, before anything shuffles, maps
    or batches them. A name of a file stands for what is in the file. The elements of a generator
    cannot be told from those it is mapped to.
    """
    if TENSORFLOW.why_not(Feature.SOURCES):
        return None
    digest, tells = hashlib.sha256(), False
    try:
        for root in tensorflow_internals.roots(dataset):
            if int(root.cardinality()) == INFINITE:
                continue  # numbers that choose among other datasets, or random ones
            elements = length = 0
            for array in _arrays(root):
                content = b"".join(_contents(array))
                digest.update(f"{array.dtype.kind}{array.shape[1:]};".encode())
                digest.update(content)
                elements, length = elements + len(array), length + len(content)
            tells = tells or elements > 1 or length > FEWEST_BYTES
    except Exception:  # noqa: BLE001  elements of the user's may be of any kind, and be gone
        return None
    return digest.hexdigest() if tells else None


def _arrays(root: Any) -> Iterator[Array]:
    """Yield the elements of a dataset as arrays, many in each where their shapes are equal."""
    import tensorflow as tf

    specs = tf.nest.flatten(root.element_spec)
    if all(isinstance(spec, tf.TensorSpec) and spec.shape.is_fully_defined() for spec in specs):
        for batch in root.batch(AT_A_TIME):
            yield from map(np.asarray, tf.nest.flatten(batch))
        return
    for element in root:
        for tensor in tf.nest.flatten(element, expand_composites=True):
            yield np.asarray(tensor)[None]


def _contents(array: Array) -> Iterator[bytes]:
    if array.dtype.kind not in "OSU":
        yield np.ascontiguousarray(array).tobytes()
        return
    for value in array.reshape(-1):
        text = value if isinstance(value, bytes) else str(value).encode()
        yield _of_file(text) or hashlib.sha256(text).digest()


def _of_file(name: bytes) -> bytes | None:
    """Return a digest of the file of this name; None where there is none."""
    if not name or len(name) > 4096 or b"\0" in name:
        return None
    path = Path(os.fsdecode(name))
    if not path.is_file():
        return None
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        digest.update(f"{size};".encode())
        digest.update(file.read(WHOLE_FILE // 2))
        file.seek(max(file.tell(), size - WHOLE_FILE // 2))
        digest.update(file.read(WHOLE_FILE // 2))
    return digest.digest()
