"""Keras reads a stream in this process while it is asked to, and as the stream says before and after."""

from __future__ import annotations

from typing import Any

import keras
import pytest

from modeltune.engine.data.streams import read_here


def settings(*streams: Any) -> list[tuple[bool, int]]:
    return [(stream.use_multiprocessing, stream.workers) for stream in streams]


def test_a_py_dataset_has_no_processes_meanwhile() -> None:
    streams: Any = [keras.utils.PyDataset(workers=3, use_multiprocessing=True) for _ in "ab"]
    with read_here([*streams, streams[0], None]):
        assert settings(*streams) == [(False, 1)] * 2
    assert settings(*streams) == [(True, 3)] * 2


def test_an_error_leaves_no_setting_behind() -> None:
    stream: Any = keras.utils.PyDataset(workers=3, use_multiprocessing=True)
    with pytest.raises(KeyError), read_here([stream]):
        raise KeyError
    assert settings(stream) == [(True, 3)]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_threads_are_left_alone(workers: int) -> None:
    stream: Any = keras.utils.PyDataset(workers=workers)
    with read_here([stream]):
        assert settings(stream) == [(False, workers)]
