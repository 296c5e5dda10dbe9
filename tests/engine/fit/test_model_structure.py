"""What a model is made of decides how its batches are taken."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from modeltune.engine.fit.model_structure import keeps_state, predict_batch, reset_states

X = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32")


def recurrent(stateful: bool) -> Any:
    return keras.Sequential([keras.Input((5, 2), batch_size=4), layers.GRU(3, stateful=stateful)])


def both_ways() -> Any:
    inner = layers.Bidirectional(layers.GRU(3, stateful=True))
    return keras.Sequential([keras.Input((5, 2), batch_size=4), inner])


def inside_another() -> Any:
    inputs = keras.Input((5, 2), batch_size=4)
    return keras.Model(inputs, layers.Dense(1)(keras.Sequential([recurrent(True)])(inputs)))


@pytest.mark.parametrize("build", [lambda: recurrent(True), both_ways, inside_another])
def test_a_state_is_kept_from_batch_to_batch_until_it_is_reset(build: Any) -> None:
    model = build()
    assert keeps_state(model)
    first, second = (np.asarray(model(X)) for _ in range(2))
    assert not np.allclose(first, second)
    reset_states(model)
    assert np.array_equal(np.asarray(model(X)), first)


def test_other_models_keep_none() -> None:
    assert not keeps_state(recurrent(False))
    assert not keeps_state(keras.Sequential([layers.Dense(1)]))


class OwnPredict(keras.Sequential):
    """What its ``predict`` returns need not be what its loss compares."""

    def predict(self, x: Any) -> Any:
        return super().predict(2 * x, verbose=0)


class OwnEvaluate(OwnPredict):
    """Prepares its inputs in ``evaluate`` as in ``predict``."""

    def evaluate(self, x: Any = None, y: Any = None, **more: Any) -> Any:
        return super().evaluate(2 * x, y, **more)


class OfBatchesToo(OwnEvaluate):
    def predict_on_batch(self, x: Any) -> Any:
        return super().predict_on_batch(3 * x)


@pytest.mark.parametrize(("kind", "times"), [(OwnPredict, 1), (OwnEvaluate, 2), (OfBatchesToo, 3)])
def test_inputs_are_prepared_for_a_batch_as_the_model_does_it_to_evaluate(
    kind: Any, times: int
) -> None:
    model = kind([keras.Input((1,)), layers.Rescaling(1.0)])
    x = np.ones((2, 1), "float32")
    assert np.array_equal(predict_batch(model, keras.ops.convert_to_tensor(x)), times * x)
