"""Texts are samples of words that train knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import modeltune as mt
from tests.support.small_models import spec_of

WORDS = ["good good film", "bad film", "good end", "bad bad end"] * 10
STARS = ["up", "down", "up", "down"] * 10


def net(hp: Any, prepared: Any) -> Any:
    hp.Choice("unused", [1, 2])
    inputs = prepared.inputs()
    x = keras.layers.Embedding(prepared.words, 2, mask_zero=True)(prepared.encode(inputs))
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("kind", [list, np.array, pd.Series])
def test_labels_of_text_are_classes_by_name(kind: Any) -> None:
    data: Any = mt.texts(kind(WORDS), kind(STARS))()
    x, y = data.train
    assert x["text"][:2, 0].tolist() == ["good good film", "bad film"]
    assert (y[:2].tolist(), data.class_names) == ([1, 0], ("down", "up"))
    assert mt.texts(WORDS, list(range(40)))().class_names is None


def test_words_are_those_of_train_and_any_other_is_one() -> None:
    data: Any = mt.texts(WORDS, STARS, max_tokens=4, length=3)()
    prepared = data.prepare((data.train[0], data.train[1]))
    assert prepared.vocabulary == ("good", "bad"), "the most frequent"
    assert prepared.words == 4
    inputs = prepared.inputs()
    model = keras.Model(inputs, prepared.encode(inputs))
    encoded = model({"text": tf.constant([["Good, unheard of film bad"], ["bad"]])})
    assert np.asarray(encoded).tolist() == [[2, 1, 1], [3, 0, 0]]


def test_texts_train(tmp_path: Path) -> None:
    spec = spec_of(net, mt.texts(WORDS, STARS), search=None)
    run = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db")
    assert run.status.value == "passed"
    assert not [note for note in run.notes if "default candidate" in note]


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", None], [0, 1], "text 1 is None; write texts"),
        (["a"], [0, 1], "there are 1 texts and 2 labels"),
        ([], [], "there are no texts"),
    ],
)
def test_what_are_no_texts_is_said(texts: Any, labels: Any, message: str) -> None:
    with pytest.raises(mt.DataError, match=message):
        mt.texts(texts, labels)()


@pytest.mark.parametrize("fields", [{"length": 0}, {"max_tokens": 2}, {"length": 1.5}])
def test_a_number_that_is_none_is_refused(fields: Any) -> None:
    with pytest.raises(TypeError, match="write a whole number"):
        mt.texts(WORDS, STARS, **fields)
