"""A model's file is told with the names that its code is loaded by, as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from modeltune.engine.score.model_files import save_model


@keras.saving.register_keras_serializable("tests")
def doubled(x: Any) -> Any:
    return keras.ops.multiply(x, 2)


def test_a_function_in_a_package_of_keras_is_named_by_both_of_its_names(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation=doubled)])
    model.compile("sgd", "mse")

    (note,) = save_model(model, tmp_path / "model.keras")

    written = note.partition("custom_objects=")[2].partition(", code")[0]
    assert eval(written, {"doubled": doubled}) == {"tests>doubled": doubled}


def test_a_model_for_batches_of_one_size_is_compared_with_what_is_loaded(tmp_path: Path) -> None:
    recurrent = keras.layers.SimpleRNN(2, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(5, 3, 1)), recurrent])
    model.compile("sgd", "mse")
    model.predict_on_batch(keras.ops.ones((5, 3, 1)))

    assert save_model(model, tmp_path / "model.keras") == ()
