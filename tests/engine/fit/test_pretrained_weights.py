"""A build that loads trained weights is told from one that draws them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from modeltune.engine.fit.pretrained_weights import note_on_trained, starting_weights
from tests.support.small_models import dense


def drawn(**head: Any) -> Any:
    return dense(
        layers.Dense(4, name="hidden"), layers.Dense(10, activation="softmax", name="head", **head)
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "trained.keras"
    keras.utils.set_random_seed(1)
    drawn().save(path)
    return path


def test_what_is_drawn_anew_is_not_trained() -> None:
    models = [drawn(), drawn()]
    assert note_on_trained(*map(starting_weights, models)) is None


def test_what_is_loaded_is_noted_also_below_a_new_head(file: Path) -> None:
    def build() -> Any:
        return keras.models.load_model(file)

    def with_new_head() -> Any:
        loaded = keras.models.load_model(file)
        return keras.Sequential([*loaded.layers[:-1], layers.Dense(3, name="new")])

    note = note_on_trained(*(starting_weights(build()) for _ in range(2)))
    assert note == (
        "the build function returns weights that are trained already, in hidden, head: every trial and "
        "refit goes on from them"
    )
    note = note_on_trained(*(starting_weights(with_new_head()) for _ in range(2)))
    assert note is not None
    assert "in hidden: " in note


def test_seeds_of_initializers_constants_and_frozen_layers_are_not_noted(file: Path) -> None:
    start = keras.initializers.GlorotUniform(seed=1)

    def build() -> Any:
        loaded = keras.models.load_model(file)
        loaded.layers[0].trainable = False
        head = layers.Dense(3, kernel_initializer=start)
        return keras.Sequential(
            [*loaded.layers[:-1], head, layers.Dense(2, kernel_initializer="ones")]
        )

    assert note_on_trained(*(starting_weights(build()) for _ in range(2))) is None
