"""Cut a stream to its first batches."""

from __future__ import annotations

from typing import Any

import keras

from modeltune.engine.data.streams import is_batch_function, is_dataset, length_of


def first_batches(stream: Any, most: int) -> Any:
    """Return a stream of the same kind that ends after at most so many batches."""
    if is_dataset(stream):
        return stream.take(most)
    return stream.first(most) if is_batch_function(stream) else FirstBatches(stream, most)


class FirstBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """The first batches of a PyDataset."""

    def __init__(self, whole: Any, most: int):
        super().__init__()
        self._whole = whole
        self._most = most

    def __len__(self) -> int:
        length = length_of(self._whole)
        return self._most if length is None else int(min(self._most, length))

    def __getitem__(self, index: int) -> Any:
        return self._whole[index]

    def on_epoch_begin(self) -> None:
        self._whole.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._whole.on_epoch_end()
