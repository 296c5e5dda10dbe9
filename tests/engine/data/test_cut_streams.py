"""The first batches of a stream are a stream that ends with them."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from modeltune.engine.data.cut_streams import first_batches


class Numbers(keras.utils.PyDataset):
    def __init__(self, length: int | None):
        super().__init__()
        self.length = length
        self.epochs: list[str] = []

    @property
    def num_batches(self) -> int | None:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return index

    def on_epoch_begin(self) -> None:
        self.epochs.append("begin")

    def on_epoch_end(self) -> None:
        self.epochs.append("end")


@pytest.mark.parametrize("length", [None, 2, 9])
def test_a_py_dataset_ends(length: int | None) -> None:
    first = first_batches(Numbers(length), 3)
    assert isinstance(first, keras.utils.PyDataset)
    assert list(first) == [0, 1, 2][:length]


def test_a_py_dataset_is_told_of_epochs() -> None:
    whole = Numbers(9)
    first = first_batches(whole, 3)
    first.on_epoch_begin()
    first.on_epoch_end()
    assert whole.epochs == ["begin", "end"]


def test_a_dataset_ends() -> None:
    assert list(first_batches(tf.data.Dataset.range(9).repeat(), 2).as_numpy_iterator()) == [0, 1]
