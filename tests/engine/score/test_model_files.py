"""A model's file is told with the names that its code is loaded by, as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest

from modeltune.engine.fit.states import save_weights
from modeltune.engine.score.model_files import own_code, save_model


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


@keras.saving.register_keras_serializable("own compile")
class TwoRates(keras.Model):
    """Compiled in a way of its own, by which Keras compiles none that it loads."""

    def __init__(self, **fields: Any):
        super().__init__(**fields)
        self.last = keras.layers.Dense(1)

    def build(self, shape: Any) -> None:
        self.last.build(shape)
        self.built = True

    def compile(self, rate: float = 0.1, **fields: Any) -> None:
        super().compile(keras.optimizers.SGD(rate), **fields)

    def call(self, x: Any) -> Any:
        return self.last(x)


@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called as part of model loading")
def test_a_model_that_keras_loads_without_an_optimizer_is_known_kept_and_written(
    tmp_path: Path,
) -> None:
    model = TwoRates()
    model.compile(loss="mse")
    model.build((None, 2))
    model.save(tmp_path / "given.keras")
    loaded = keras.saving.load_model(tmp_path / "given.keras")
    assert not hasattr(loaded, "optimizer")
    assert "TwoRates" in " ".join(own_code(loaded))
    save_weights(loaded, tmp_path / "kept.weights.h5")
    assert any("TwoRates" in note for note in save_model(loaded, tmp_path / "again.keras"))
