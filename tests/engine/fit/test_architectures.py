"""An architecture says what the numbers stand for that a model takes in the place of texts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import modeltune as mt
from modeltune.engine.fit.architectures import architecture_of, model_of
from modeltune.engine.fit.input_texts import give_prepared_numbers, numbers_of, text_inputs
from modeltune.engine.score.model_files import save_model

TEXTS = ["good good film", "bad film"] * 20


@pytest.fixture
def jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names another backend where it is asked for by name; TensorFlow computes all the same."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")


@pytest.fixture
def model(jax: None) -> keras.Model:
    data = mt.texts(TEXTS, [0, 1] * 20, length=3)()
    assert data.prepare is not None
    prepared = data.prepare(data.train)
    inputs = prepared.inputs()
    x = keras.layers.Embedding(prepared.words, 2)(prepared.encode(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
    model.compile("sgd", "mse")
    give_prepared_numbers(model, prepared)
    return model


def test_a_model_gets_the_numbers_it_was_built_for_also_when_it_is_restored(
    model: keras.Model,
) -> None:
    x = {"text": np.array([["Film"], ["unheard of"]], dtype=object)}
    expected = {"text": [[3, 0, 0], [1, 1, 0]]}
    for one in (model, model_of(architecture_of(model))):
        assert {name: array.tolist() for name, array in text_inputs(one, x).items()} == expected
    assert keras.models.model_from_json(architecture_of(model)).count_params() > 0


def test_a_model_without_numbers_gets_no_texts(jax: None) -> None:
    with pytest.raises(
        mt.DataError, match=r"x.text holds texts: .* with jax; .* a method numbers\(x\)"
    ):
        text_inputs(keras.layers.Layer(), {"text": np.array([["Film"]])})


def test_an_exported_model_says_what_it_takes(model: keras.Model, tmp_path: Path) -> None:
    x = {"text": np.array([["Film"]], dtype=object)}
    (note,) = save_model(model, tmp_path / "model.keras", x)
    assert note.startswith('"text" takes numbers of words, int32 of shape (n, 3)')
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        (described,) = json.loads(file.read("texts.json"))
    assert described == {"input": "text", "words": ["good", "film", "bad"], "length": 3}
    assert numbers_of(keras.saving.load_model(tmp_path / "model.keras")) is None
