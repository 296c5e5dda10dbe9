"""Data is handed to other processes as files that all of them map: equal, and nobody's but theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.engine.data.loading import LoadedData, Part, leaves, load_data
from modeltune.engine.data.sharing import is_shareable, read_parts, write_parts
from tests.support.small_models import digits, spec_of

NUMBERS = np.arange(24, dtype="float32").reshape(6, 4)
ARRAYS: dict[str, Any] = {
    "array": NUMBERS,
    "dict": {"left": NUMBERS, "right": NUMBERS.astype("int8")},
    "tuple": (NUMBERS, NUMBERS > 3),
    "list in dict": {"a": [NUMBERS, NUMBERS * 2], "b": NUMBERS},
    "strings": np.array(["one", "two", "three"] * 2),
    "bytes": np.array([b"a", b"bcd"] * 3),
    "python objects": np.array(["one", 2, None] * 2, dtype=object),
    "Fortran order": np.asfortranarray(NUMBERS),
    "a view": np.arange(48.0).reshape(6, 8)[:, ::2],
    "big-endian": NUMBERS.astype(">f4"),
    "dates": np.arange(6).astype("datetime64[D]"),
    "no features": np.zeros((6, 0)),
    "half": NUMBERS.astype("float16"),
}


def loaded(x: Any, y: Any = NUMBERS, sample_weight: Any = None) -> LoadedData:
    part = Part("train", 6, "abc", {"": (0, 3)}, {"x": (4,)}, x=x, y=y, sample_weight=sample_weight)
    return LoadedData(
        part, replace(part, name="validation"), replace(part, name="test", x=y), ("cut",), ("note",)
    )


def assert_same(one: Any, other: Any) -> None:
    assert [path for path, _ in leaves(one)] == [path for path, _ in leaves(other)]
    assert type(one) is type(other) or isinstance(one, np.ndarray)
    for (_, ours), (_, theirs) in zip(leaves(one), leaves(other), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ARRAYS)
def test_parts_come_back_equal_and_mapped(tmp_path: Path, kind: str) -> None:
    original = loaded(ARRAYS[kind], y=(NUMBERS[:, 0],), sample_weight=NUMBERS[:, 1])
    came = read_parts(write_parts(original, tmp_path / "data"))
    assert (came.cuts, came.notes) == (original.cuts, original.notes)
    assert (came.description, came.fingerprints) == (original.description, original.fingerprints)
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(original, name), getattr(came, name)
        assert (ours.labels, ours.shapes, ours.size) == (theirs.labels, theirs.shapes, theirs.size)
        for field in ("x", "y", "sample_weight"):
            assert_same(getattr(ours, field), getattr(theirs, field))
            for _, array in leaves(getattr(theirs, field)):
                assert isinstance(array, np.memmap) is not array.dtype.hasobject


def test_what_is_none_stays_none(tmp_path: Path) -> None:
    came = read_parts(write_parts(loaded(NUMBERS, y=None), tmp_path))
    assert came.train.y is came.train.sample_weight is came.test.x is None


def test_what_a_process_writes_into_its_arrays_stays_its_own(tmp_path: Path) -> None:
    written = write_parts(loaded(NUMBERS.copy()), tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    mine, theirs = read_parts(written), read_parts(written)
    mine.train.x[:] = -1
    mine.train.x.flush()
    assert (mine.train.x == -1).all()
    np.testing.assert_array_equal(theirs.train.x, NUMBERS)
    np.testing.assert_array_equal(read_parts(written).train.x, NUMBERS)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_mapped_part_gives_the_batches_of_the_loaded_one(tmp_path: Path) -> None:
    original = load_data(spec_of())
    came = read_parts(write_parts(original, tmp_path))
    assert came.fingerprints == original.fingerprints
    for ours, theirs in zip(original.train.batches(32), came.train.batches(32), strict=True):
        assert_same(ours, theirs)


def test_streams_are_not_shared() -> None:
    import tensorflow as tf

    data = digits()
    assert is_shareable(load_data(spec_of(data=data)))
    stream = tf.data.Dataset.from_tensor_slices(data.validation).batch(8)
    assert not is_shareable(load_data(spec_of(data=mt.Data(data.train, stream, data.test))))


def test_no_file_of_the_data_needs_to_be_unpickled(tmp_path: Path) -> None:
    """Whoever can write to the folder can change numbers, and run nothing."""
    written = write_parts(loaded({"a": ARRAYS["python objects"], "b": NUMBERS}), tmp_path)
    paths = list(tmp_path.iterdir())
    assert {path.suffix for path in paths} == {".npy"}
    for path in paths:
        np.load(path, allow_pickle=False)
    for path in paths:
        np.save(path, np.array([None, print]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Python objects|allow_pickle"):
        read_parts(written)
