"""What layers learn besides variables goes with the weights, and a stranger's file harms nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from modeltune.engine.fit import layer_assets, load_weights, save_weights
from modeltune.engine.fit.layer_assets import DATASET, without_assets


def model(*words: str) -> Any:
    """Return a model of one lookup, which has learned these words."""
    lookup = keras.layers.StringLookup(
        output_mode="multi_hot", max_tokens=4, pad_to_max_tokens=True
    )
    if words:
        lookup.set_vocabulary(list(words))
        lookup.input_vocabulary = None  # as after adapt()
    text = keras.Input((1,), dtype="string")
    made = keras.Model(text, keras.layers.Dense(1)(lookup(text)))
    made.compile("sgd", "mse")
    return made


def vocabulary(made: Any) -> list[str]:
    return [str(word) for word in made.layers[1].get_vocabulary()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.weights.h5"
    save_weights(model("b", "a"), path)
    return path


def test_a_vocabulary_is_loaded_with_the_weights(file: Path) -> None:
    fresh = model()
    load_weights(fresh, file)
    assert vocabulary(fresh) == ["[UNK]", "b", "a"]
    with pytest.warns(UserWarning, match="optimizer"):  # which the file has none of
        model().load_weights(file)  # Keras itself still reads the file


def test_predictions_traced_before_know_the_words_that_are_loaded(file: Path) -> None:
    used, loaded = model("x", "y"), model("b", "a")
    load_weights(loaded, file)
    x = keras.ops.convert_to_tensor([["a"], ["x"]])
    used.predict_on_batch(x)
    load_weights(used, file)
    assert np.array_equal(used.predict_on_batch(x), loaded.predict_on_batch(x))


def test_a_file_of_an_older_run_is_known_by_what_it_lacks(file: Path) -> None:
    assert without_assets(model(), file) == []
    with h5py.File(file, "a") as stored:
        del stored[DATASET]
    assert without_assets(fresh := model(), file) == [fresh.layers[1].name]


class Packer(keras.layers.Layer):
    """Makes a layer of its own as it is first called, as the preprocessors of KerasHub do."""

    def build(self, shape: Any) -> None:
        self.inner = keras.layers.Identity()

    def call(self, x: Any) -> Any:
        return self.inner(x)


class Task(keras.Model):
    def __init__(self, *words: str) -> None:
        super().__init__()
        self.packer, self.inner = Packer(), model(*words)
        self.built = True
        self.compile("sgd", "mse")


def test_layers_made_in_the_first_call_move_no_vocabulary(tmp_path: Path) -> None:
    used, fresh, path = Task("b", "a"), Task(), tmp_path / "model.weights.h5"
    used.packer(np.ones((1, 1)))
    save_weights(used, path)
    load_weights(fresh, path)
    assert vocabulary(fresh.inner) == ["[UNK]", "b", "a"]


def entries(name: str, *more: object) -> bytes:
    text = base64.b64encode(b"x").decode()
    return json.dumps([[2, "StringLookup", {name: text}], *more]).encode()


def put(content: bytes) -> Callable[[Any, Path], object]:
    return lambda stored, _: stored.create_dataset(DATASET, data=np.frombuffer(content, np.uint8))


def link(stored: Any, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        put(entries("vocabulary.txt"))(other, folder)
    stored[DATASET] = h5py.ExternalLink(str(folder / "other.h5"), DATASET)


def external(stored: Any, folder: Path) -> None:
    (folder / "raw").write_bytes(bytes(4))
    stored.create_dataset(DATASET, (4,), "uint8", external=[(folder / "raw", 0, 4)])


NO_NAME, ELSE = "is no name of a file below a folder", "something else"

STRANGERS: dict[str, tuple[Callable[[Any, Path], object], str]] = {
    "above": (put(entries("../planted")), NO_NAME),
    "absolute": (put(entries("/planted")), NO_NAME),
    "nowhere": (
        put(entries("vocabulary.txt", [99, "Hashing", {}])),
        "keeps assets of a Hashing that this model has not",
    ),
    "deep": (put(b"[" * 100_000), "are damaged"),
    "no list": (put(b'{"a": 1}'), "are damaged"),
    "large": (lambda s, _: s.create_dataset(DATASET, (1 << 40,), "uint8", chunks=True), ELSE),
    "group": (lambda s, _: s.create_group(DATASET), ELSE),
    "link": (link, ELSE),
    "external": (external, ELSE),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_assets_of_a_stranger_are_refused_before_a_layer_reads_them(
    file: Path, stranger: str
) -> None:
    plant, message = STRANGERS[stranger]
    with h5py.File(file, "a") as stored:
        del stored[DATASET]
        plant(stored, file.parent)
    with pytest.raises(ValueError, match=message):
        load_weights(model(), file)
    assert not (file.parent / "planted").exists()


def test_assets_have_a_size_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_assets, "LARGEST_ASSETS", 10)
    with pytest.raises(ValueError, match="at most 10 are kept"):
        save_weights(model("b", "a"), tmp_path / "model.weights.h5")
