"""The operations of one prediction are those that layers are known to take."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from modeltune.engine.score.flops import flops_of


def two_inputs() -> Any:
    one, other = keras.Input((3,), name="one"), keras.Input((5,), name="other")
    joined = layers.Concatenate()([layers.Dense(4)(one), layers.Dense(4)(other)])
    return keras.Model({"one": one, "other": other}, layers.Dense(1)(joined))


@pytest.mark.parametrize(
    ("model", "x", "operations"),
    [
        (
            lambda: keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dense(1)]),
            np.zeros((1, 3)),
            28 + 9,
        ),
        (
            lambda: keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3)]),
            np.zeros((1, 8, 8, 1)),
            2 * 6 * 6 * 4 * 9 + 6 * 6 * 4,
        ),
        (
            two_inputs,
            {"one": np.zeros((1, 3)), "other": np.zeros((1, 5))},
            (2 * 3 * 4 + 4) + (2 * 5 * 4 + 4) + (2 * 8 + 1),
        ),
    ],
    ids=["dense", "convolution", "two inputs"],
)
def test_a_multiplication_and_an_addition_are_two_operations(
    model: Any, x: Any, operations: int
) -> None:
    assert flops_of(model(), x) == operations
