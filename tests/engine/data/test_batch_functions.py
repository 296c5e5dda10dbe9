"""A function that yields batches is a stream of Keras's where TensorFlow does not compute."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

import modeltune as mt
from modeltune.engine.data.batch_functions import BatchFunction
from modeltune.engine.data.loading import load_data
from tests.support.small_models import spec_of

X, Y = np.arange(40.0)[:, None], np.arange(40)


@pytest.fixture(autouse=True)
def jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


def batches() -> Any:
    for start in range(0, 40, 16):
        yield [X[start : start + 16], Y[start : start + 16]]


def endless() -> Any:
    return itertools.chain.from_iterable(batches() for _ in itertools.count())


def test_it_is_known_by_its_rows_and_has_the_length_it_was_read_with() -> None:
    data = load_data(spec_of(data=mt.Data(batches, batches, batches)))
    assert isinstance(data.train.stream, keras.utils.PyDataset)
    assert (data.train.size, data.train.stream.num_batches) == (40, 3)
    assert not data.train.varies
    assert [len(x) for x, _, _ in data.train.batches(16)] == [16, 16, 8]


def test_its_batches_come_in_order_however_they_are_asked_for() -> None:
    stream = BatchFunction(lambda: iter("abcde"))
    assert [stream[number] for number in (0, 1, 3, 2, 0, 4)] == list("abdcae")
    assert list(stream.first(2)) == ["a", "b"]


def test_one_without_an_end_is_read_as_far_as_an_epoch_goes() -> None:
    fit = mt.Fit(steps_per_epoch=4, validation_steps=2)
    data = load_data(spec_of(data=mt.Data(endless, endless, batches), fit=fit))
    assert data.train.is_endless
    assert data.train.stream.num_batches is None
    assert (data.train.size, data.validation.size) == (56, 32)


def test_without_an_end_and_steps_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeltune.engine.data.streams.MOST_ROUNDS", 2)
    with pytest.raises(mt.DataError, match=r"steps_per_epoch=n\), .*, or have the function end"):
        load_data(spec_of(data=mt.Data(endless, batches, batches)))


def test_what_yields_nothing_is_refused() -> None:
    with pytest.raises(mt.DataError, match="train is empty; <lambda> yields no batch"):
        load_data(spec_of(data=mt.Data(lambda: iter(()), batches, batches)))
