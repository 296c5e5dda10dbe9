"""Rows of different lengths end with zeros where the backend has no tensors of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeltune.engine.data.loading import LoadedData, Part
from modeltune.engine.data.padding import padded
from modeltune.engine.data.ragged import RaggedArray
from modeltune.ground import DataError


def rows(*lengths: int, of: Any = float) -> RaggedArray:
    ragged = np.empty(len(lengths), object)
    ragged[:] = [np.arange(1, length + 1).astype(of) for length in lengths]
    return ragged.view(RaggedArray)


def data_of(x: Any, y: Any = None) -> LoadedData:
    first = Part("train", 2, "a", x=x, y=y, shapes={"x": (None,)})
    return LoadedData(first, Part("validation", 0, ""), Part("test", 2, "b", x=rows(0, 3)))


def test_all_parts_get_one_length_and_a_note() -> None:
    data = padded(data_of(rows(1, 2)), "jax")
    assert data.train.x.tolist() == [[1, 0, 0], [1, 2, 0]]
    assert data.test.x.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert data.train.shapes["x"] == (3,)
    assert data.fingerprints == data_of(rows(1, 2)).fingerprints
    (note,) = data.notes
    assert "with zeros at their end they are padded, x to 3; mask them" in note


def test_the_longest_row_may_be_in_any_part() -> None:
    data = padded(data_of(rows(1, 5)), "jax")
    assert data.train.x.shape == data.test.x.shape == (2, 5)


def test_data_of_one_length_stay_as_they_are() -> None:
    part = Part("train", 2, "", x=np.ones((2, 1)))
    data = LoadedData(part, part, part)
    assert padded(data, "jax") is data


def test_ragged_targets_are_refused() -> None:
    with pytest.raises(DataError, match=r"train y holds targets .* with jax; pad them"):
        padded(data_of(np.ones((2, 1)), y=rows(1, 2)), "jax")


def test_rows_ragged_in_several_dimensions_are_refused() -> None:
    nested = np.empty(2, object)
    nested[:] = [rows(1, 2), rows(1)]
    with pytest.raises(DataError, match="train x holds rows ragged in several dimensions"):
        padded(data_of(nested.view(RaggedArray)), "jax")
