"""Run a frozen prefix once over a part of the data, and keep its outputs in files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import keras
import numpy as np

from modeltune.engine.backends import tf
from modeltune.engine.data import Arrays, Part, leaves, map_arrays
from modeltune.engine.fit.epoch_graph import Model, as_tensor
from modeltune.engine.fit.model_structure import without_names
from modeltune.ground import (
    make_folder,
    open_own,
    open_regular,
    refuse_link,
    remove_file,
    wait_for_lock,
    write_files_durably,
)
from modeltune.records import Array

GROWTH, LARGE = 4, 2**30
"""Features are not made when they exceed GROWTH times their input as well as LARGE bytes."""

DIGEST_BYTES, READ_BYTES = hashlib.sha256().digest_size, 2**20

USED_AFTER = 3600.0
"""Seconds after which reading a file makes it a recently used one again."""

KEPT_BYTES = 2 * 2**30
"""Bytes of features that a folder keeps besides those in use; each new set of weights adds some."""

CHANGED = (
    "kept features of frozen layers were not as modeltune had written them, and were made again"
)

_notes: list[str] = []
"""What happened to kept features in this process, and was not told yet."""

_verified: set[tuple[int, ...]] = set()
"""The files whose content this process has found to be as it was written, by their status."""

_OURS = re.compile(r"[0-9a-f]{64}-[0-9]+\.npy")

_descriptions: WeakKeyDictionary[Part, str] = WeakKeyDictionary()
"""What identifies the x of each living part: data do not change while a process runs."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """A frozen prefix, ready to run in batches of one size; without a ``key`` no file keeps its outputs."""

    run: Callable[[Arrays], list[Array]]
    outputs: int
    batch_size: int
    key: str | None


def prefix_of(model: Model, batch_size: int, is_kept: bool) -> Prefix:
    """Return a frozen prefix ready to run, with the key for its files if these are kept."""
    key = _prefix_key(model, batch_size) if is_kept else None
    return Prefix(in_graph(model), len(model.outputs), batch_size, key)


def features(prefix: Prefix, part: Part, folder: Path | None) -> Part | str:
    """Return the part with the prefix's outputs as its x, in memory or mapped from ``folder``.

    A hash of everything the outputs depend on names the files. A file is complete as soon as
    it has its name, and ends with the sha256 of the rest: one that is not as it was written is
    made again, see ``take_notes``. If several processes need the same files at once, one makes
    them and the others wait.

    Returns:
        The part, or why its features cannot be used.
    """
    if folder is None or prefix.key is None:
        batches = _batches(prefix, part)
        if isinstance(batches, str):
            return batches
        return replace(part, x=as_input(_joined(batches)))
    key = _key(prefix.key, part)
    paths = [folder / f"{key}-{number}.npy" for number in range(prefix.outputs)]
    if stored := _all_mapped(paths, part.size):
        return replace(part, x=as_input(stored))
    try:
        make_folder(folder)
        refuse_link(folder)
        with _alone(folder / f"{key}.lock"):
            if stored := _all_mapped(paths, part.size):
                return replace(part, x=as_input(stored))
            if any(os.path.lexists(path) and _mapped(path, part.size) is None for path in paths):
                _notes.append(CHANGED)
            batches = _batches(prefix, part)
            if isinstance(batches, str):
                return batches
            _write(paths, batches, part.size)
    except OSError as error:
        return f"its features cannot be written: {error}"
    if not (written := _all_mapped(paths, part.size)):
        return f"its features in {folder} cannot be read back"
    return replace(part, x=as_input(written))


def in_graph(model: Model) -> Callable[[Arrays], list[Array]]:
    """Return the model's inference as one graph for any number of samples, traced when first run."""
    graph = tf.function(
        lambda batch: keras.tree.flatten(model(batch, training=False)), autograph=False
    )

    def run(batch: Arrays) -> list[Array]:
        tensors = map_arrays(as_tensor, batch)
        specs = map_arrays(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), tensors)
        return [output.numpy() for output in graph.get_concrete_function(specs)(tensors)]

    return run


def files_of(x: Arrays) -> list[tuple[str, int, int]] | None:
    """Return path, device and inode of each array's file; None when one is in memory."""
    files = []
    for _, array in leaves(x):
        if not isinstance(array, np.memmap) or array.filename is None:
            return None
        try:
            status = os.stat(array.filename)
        except OSError:
            return None
        files.append((str(array.filename), status.st_dev, status.st_ino))
    return files


def take_notes() -> str | None:
    """Return once what the user should know of kept features, None when there is nothing."""
    notes = "; ".join(dict.fromkeys(_notes)) or None
    _notes.clear()
    return notes


def are_as_written(x: Arrays) -> bool:
    """Tell whether the files that arrays are mapped from are still those that were verified."""
    for _, array in leaves(x):
        if isinstance(array, np.memmap) and array.filename is not None:
            try:
                if _status(os.stat(array.filename)) not in _verified:
                    return False
            except OSError:
                return False
    return True


def prune(folder: Path, needed: Collection[tuple[int, int]] = ()) -> None:
    """Remove the least recently used features until at most KEPT_BYTES are left.

    Files in ``needed``, by device and inode, stay whatever their size: the next trial needs
    them too. A process that has mapped a removed file can read it until it closes it.
    """
    files = []
    for path in () if folder.is_symlink() else folder.glob("*.npy"):
        if _OURS.fullmatch(path.name):
            with contextlib.suppress(OSError):
                files.append((path.lstat(), path))
    kept = 0
    for status, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
        kept += status.st_size
        if kept > KEPT_BYTES and (status.st_dev, status.st_ino) not in needed:
            with contextlib.suppress(OSError):  # gone already, or another user's
                remove_file(path)


# the numbers


def _windows(size: int, batch_size: int) -> Iterator[Array]:
    for start in range(0, size, batch_size):
        yield np.arange(start, min(start + batch_size, size))


def _batches(prefix: Prefix, part: Part) -> Iterator[list[Array]] | str:
    """Return the features in batches, or why they cannot be computed once in the data's order."""
    run, batch_size = prefix.run, prefix.batch_size
    remainder = part.size % batch_size
    rows = np.arange(min(part.size, batch_size + remainder))
    first, *rest = [run(part.take(rows[w]).x) for w in _windows(len(rows), batch_size)]
    straight = _joined([first, *rest])
    if any(array.dtype.kind not in "biuf" or len(array) != len(rows) for array in straight):
        return "its frozen layers do not give one row of numbers per sample"
    size = sum(array.nbytes for array in straight) // len(rows) * part.size
    inputs = sum(array.nbytes for _, array in leaves(part.x))
    if size > max(GROWTH * inputs, LARGE):
        return f"its features would take {size / 2**30:.1f} GiB, the data {inputs / 2**30:.1f} GiB"
    back = rows[::-1]
    shuffled = _joined(run(part.take(back[w]).x) for w in _windows(len(rows), batch_size))
    if not are_equal(straight, [array[::-1] for array in shuffled]):
        return "the numbers of its frozen layers depend on a sample's place in its batch"
    others = list(_windows(part.size, batch_size))[1:]
    return chain([first], (run(part.take(rows).x) for rows in others))


def _joined(batches: Iterable[list[Array]]) -> list[Array]:
    return [np.concatenate(column) for column in zip(*batches, strict=True)]


def are_equal(one: list[Array], other: list[Array]) -> bool:
    """Tell whether two lists of arrays have the same bytes."""
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def as_input(items: list[Any]) -> Any:
    """Return the inputs as Keras takes them: a single one by itself, several as a list."""
    return items[0] if len(items) == 1 else items


# the keys


def _key(prefix_key: str, part: Part) -> str:
    """Return the hash of everything that the features depend on."""
    # take() keeps a part's fingerprint, so only the bytes tell which rows these are.
    return hashlib.sha256(f"{prefix_key}{_described(part)}".encode()).hexdigest()


def _described(part: Part) -> str:
    """Return names, types, shapes and sha256 of the arrays in x, computed once for each part."""
    if part not in _descriptions:
        _descriptions[part] = "".join(
            f";{name}:{array.dtype}:{array.shape}:{hashlib.sha256(_bytes(array)).hexdigest()}"
            for name, array in leaves(part.x)
        )
    return _descriptions[part]


def _prefix_key(prefix: Model, batch_size: int) -> str | None:
    """Return the hash of a prefix and its weights, or None if it has no description."""
    try:
        architecture = json.dumps(without_names(prefix.get_config(), {}), sort_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return None
    versions = f"keras {keras.version()}, tensorflow {tf.__version__}"
    policy = f"{keras.config.dtype_policy().name}, {keras.config.floatx()}"
    channels = keras.config.image_data_format()
    digest = hashlib.sha256(f"{architecture};{versions};{policy};{channels};{batch_size}".encode())
    for variable in prefix.variables:
        array = np.asarray(variable)
        digest.update(f";{variable.name}:{array.dtype}:{array.shape}:".encode())
        digest.update(_bytes(array))
    return digest.hexdigest()


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# the files


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold the lock on this file, waiting for a process that holds it; it ends with the process.

    A process holds one lock at a time, so there is no deadlock. Without locks in the file
    system nobody waits, and processes that write at the same time write the same bytes.
    """
    while True:
        with open_own(lock) as file:
            with contextlib.suppress(OSError):  # a file system without locks
                wait_for_lock(file)
            if not _is_still(lock, file.fileno()):
                continue  # its holder has removed it, and another may lock a new one
            try:
                yield
            finally:
                remove_file(lock)
            return


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether a path still names the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _all_mapped(paths: list[Path], size: int) -> list[Array]:
    """Return the arrays in the files; an empty list if one is missing or damaged."""
    arrays = [array for path in paths if (array := _mapped(path, size)) is not None]
    return arrays if len(arrays) == len(paths) else []


def _mapped(path: Path, size: int) -> Array | None:
    """Return the array in a file, mapped, or None if it is missing or not as it was written.

    Each process reads a file once to verify it, and again when its status has changed.
    """
    try:
        if not _verify(path):
            return None
        array: Array = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    if array.dtype.kind not in "biuf" or array.ndim == 0 or len(array) != size:
        return None
    return array


def _verify(path: Path) -> bool:
    """Tell whether a file ends with the sha256 of the rest; mark it as used."""
    with open_regular(path, through_links=False) as file:
        status = os.fstat(file.fileno())
        if _status(status) not in _verified:
            digest, left = hashlib.sha256(), status.st_size - DIGEST_BYTES
            while left > 0 and (part := file.read(min(left, READ_BYTES))):
                digest.update(part)
                left -= len(part)
            if left or file.read() != digest.digest():
                return False
            if _status(os.fstat(file.fileno())) != _status(status):
                return False  # somebody writes to it
        # Not more often: to other processes it is another status.
        if time.time() - status.st_mtime > USED_AFTER:
            with contextlib.suppress(OSError):
                os.utime(file.fileno())
        _verified.add(_status(os.fstat(file.fileno())))
    return True


def _status(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file's content does: nobody can set the last of these."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class _HashedFile:
    """A file to write to, which ``end`` completes with the sha256 of all that was written."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Write bytes, and hash them."""
        self._digest.update(data)
        return self._file.write(data)

    def end(self) -> None:
        """Write the digest."""
        self._file.write(self._digest.digest())


def _write(paths: list[Path], batches: Iterator[list[Array]], size: int) -> None:
    """Write one array per file, batch by batch, and the sha256 of the file at its end.

    Each file gets its name when it is complete.
    """
    for path in paths:
        for left in path.parent.glob(f"{path.name}.*.tmp"):  # by a process that was killed
            remove_file(left)
    drafts = {path: path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp") for path in paths}

    def write() -> None:
        with contextlib.ExitStack() as stack:
            files = [
                _HashedFile(stack.enter_context(draft.open("xb"))) for draft in drafts.values()
            ]
            for number, batch in enumerate(batches):
                for file, array in zip(files, batch, strict=True):
                    if number == 0:
                        shape = (size, *array.shape[1:])
                        descr = np.lib.format.dtype_to_descr(array.dtype)
                        header = {"descr": descr, "fortran_order": False, "shape": shape}
                        np.lib.format.write_array_header_1_0(file, header)
                    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            for file in files:
                file.end()

    write_files_durably(drafts, write)
