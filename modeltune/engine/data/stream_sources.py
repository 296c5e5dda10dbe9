"""Know a ``tf.data.Dataset`` by the elements it is made of, where shuffling and augmenting change the rest."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modeltune.engine.backends import tf
from modeltune.engine.internals import TENSORFLOW, Feature, tensorflow_internals
from modeltune.records import Array

AT_A_TIME = 1024
"""Elements of a source that are read together."""

WHOLE_FILE = 1 << 26
"""Of a larger file, this many bytes are read: half of them at its beginning, half at its end."""

FEWEST_BYTES = 16
"""A source of one element that is smaller says nothing: so is that of every generator."""

INFINITE = -1

COUNTERS = 1 << 40
"""No data have so many elements: these are the numbers of a counter."""

RANDOM_STATES = ("seed_generator_state", "StateVar")
"""Names of the variables that Keras and TensorFlow draw random numbers from."""

PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
"""Operations that call Python, as every generator does: what they read cannot be told."""

READS_FILES = re.compile(
    "ReadFile|MatchingFiles|(TFRecord|TextLine|FixedLengthRecord|CSV|Sql|Load|MatchingFiles)Dataset"
)
"""Operations that read files."""


def source_digest(dataset: Any) -> str | None:
    """Return a sha256 of the data that a dataset is made of; None where not all of them can be told.

    These are the elements of the datasets at the beginning of its pipeline, before anything
    shuffles, maps or batches them, and the arrays and variables that the functions of the pipeline
    hold. A name of a file stands for what is in the file. Whole numbers alone may stand for
    anything. Nobody can tell what a generator or another Python function reads, or what is in a
    lookup table or in a file that a function has named.
    """
    if TENSORFLOW.why_not(Feature.SOURCES):
        return None
    source = _Source()
    try:
        datasets = tensorflow_internals.datasets_of(dataset)
        is_told = all(
            source.has_told_of_function(function)
            for one in datasets
            for function in tensorflow_internals.called_functions(one)
        ) and all(
            source.has_told_of_root(root) for root in datasets if tensorflow_internals.is_root(root)
        )
    except Exception:  # noqa: BLE001  elements of the user's may be of any kind, and be gone
        return None
    if not is_told or not source.holds_data or (source.reads_files and not source.has_files):
        return None
    return source.digest.hexdigest()


class _Source:
    """The digest of what was told of a pipeline, and whether it is data."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.holds_data = False
        self.reads_files = False
        self.has_files = False

    def has_told_of_root(self, root: Any) -> bool:
        """Add the elements of a root; False if it holds data that have no end."""
        cardinality = int(root.cardinality())
        is_of_numbers = _is_of_single_whole_numbers(root)
        if cardinality == INFINITE or cardinality > COUNTERS:
            # Numbers that count, that choose among other datasets, or random ones.
            return is_of_numbers
        elements = length = 0
        for array in _arrays(root):
            self.digest.update(f"{array.dtype.kind}{array.shape[1:]};".encode())
            for content in self._contents(array):
                self.digest.update(content)
                length += len(content)
            elements += len(array)
        self.holds_data |= not is_of_numbers and (elements > 1 or length > FEWEST_BYTES)
        return True

    def has_told_of_function(self, function: Any) -> bool:
        """Add what a function holds; False if it calls Python or holds what cannot be read."""
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(n for inner in graph.library.function for n in inner.node_def)]
        if any(node.op in PYTHON for node in nodes):
            return False
        self.reads_files |= any(READS_FILES.match(node.op) for node in nodes)
        for node in nodes:
            if node.op == "Const":
                self._add(node.attr["value"].tensor.SerializeToString(deterministic=True))
        variables = {id(variable.handle): variable for variable in function.graph.variables}
        for tensor in function.captured_inputs:
            variable = variables.get(id(tensor))
            if variable is None and tensor.dtype.name in ("resource", "variant"):
                return False
            if variable is not None and any(state in variable.name for state in RANDOM_STATES):
                continue
            array = np.asarray(tensor if variable is None else variable)
            self.digest.update(f"{array.dtype}{array.shape};".encode())
            self._add(b"".join(self._contents(array)))
        return True

    def _add(self, content: bytes) -> None:
        self.digest.update(f"{len(content)};".encode())
        self.digest.update(content)
        self.holds_data |= len(content) > FEWEST_BYTES

    def _contents(self, array: Array) -> Iterator[bytes]:
        if array.dtype.kind not in "OSU":
            yield np.ascontiguousarray(array).tobytes()
            return
        for value in array.reshape(-1):
            text = value if isinstance(value, bytes) else str(value).encode()
            content = _of_file(text)
            self.has_files |= content is not None
            yield content or hashlib.sha256(text).digest()


def _is_of_single_whole_numbers(root: Any) -> bool:
    return all(
        isinstance(spec, tf.TensorSpec) and spec.shape.rank == 0 and spec.dtype.is_integer
        for spec in tf.nest.flatten(root.element_spec)
    )


def _arrays(root: Any) -> Iterator[Array]:
    """Yield the elements of a dataset as arrays, many in each where their shapes are equal."""
    specs = tf.nest.flatten(root.element_spec)
    if all(isinstance(spec, tf.TensorSpec) and spec.shape.is_fully_defined() for spec in specs):
        for batch in root.batch(AT_A_TIME):
            yield from map(np.asarray, tf.nest.flatten(batch))
        return
    for element in root:
        for tensor in tf.nest.flatten(element, expand_composites=True):
            yield np.asarray(tensor)[None]


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
