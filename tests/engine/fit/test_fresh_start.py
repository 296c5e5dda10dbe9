"""A candidate's names and random numbers do not depend on what came before it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from modeltune.engine.fit.fresh_start import KERNELS, start_anew
from tests.support.frozen_models import trained
from tests.support.small_models import softmax, spec_of


def test_numbers_a_build_draws_from_tensorflow_do_not_depend_on_what_came_before() -> None:
    def drawing(hp: Any) -> Any:
        start = tf.random.normal([64, 8], seed=3).numpy()
        drawn.append((start.tolist(), tf.random.uniform([]).numpy()))
        return softmax(hp)

    drawn: list[Any] = []
    for _ in range(3):
        trained(spec_of(drawing), epochs=1)
    assert drawn[0] == drawn[1] == drawn[2]


def test_starting_anew_keeps_kernels_that_hold_no_random_state() -> None:
    run = tf.function(lambda x: x + 1)
    run(1)
    start_anew(1)
    assert not KERNELS.may_be_random
    tf.random.normal([2])
    assert KERNELS.may_be_random
    start_anew(1)
    first = tf.random.normal([2], seed=4).numpy().tolist()
    start_anew(1)
    assert tf.random.normal([2], seed=4).numpy().tolist() == first


def test_names_and_seeds_start_anew() -> None:
    def drawn(draws: bool) -> Any:
        start_anew(7)
        assert layers.Dense(1).name == "dense"
        tensorflow = tf.random.normal([]).numpy() if draws else None
        return (
            np.random.get_state(legacy=False)["state"]["key"].tolist(),
            float(keras.random.normal([])),
            tensorflow,
        )

    for draws in (False, True):
        assert drawn(draws) == drawn(draws)
