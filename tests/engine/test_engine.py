"""An engine is made without effects; it is started where TensorFlow may be set up."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine import engine
from modeltune.engine.backends.on_tensorflow import OnTensorFlow
from modeltune.engine.start import start_engine
from modeltune.ground.errors import DataError
from modeltune.specs.fit import Fit
from tests.support.small_models import dense, spec_of


def test_making_an_engine_does_nothing_and_starting_one_sets_up_what_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up: list[int] = []
    monkeypatch.setattr(OnTensorFlow, "set_up", lambda self, threads: set_up.append(threads))
    spec = spec_of(fit=Fit(threads=3))
    engine.Engine(spec, {}, tmp_path / "features")
    assert set_up == []
    start_engine(spec, {}, tmp_path / "features")
    assert set_up == [3]
    assert not list(tmp_path.iterdir())


def pipeline(amount: float, is_of_generator: bool = False) -> tf.data.Dataset:
    x, y = np.zeros((16, 64), "float32"), np.arange(16) % 10
    stream = tf.data.Dataset.from_tensor_slices((x, y))
    if is_of_generator:
        signature = (tf.TensorSpec((64,)), tf.TensorSpec((), tf.int64))
        stream = tf.data.Dataset.from_generator(
            lambda: zip(x, y, strict=True), output_signature=signature
        )
    noisy = stream.shuffle(16).map(lambda x, y: (x + amount * tf.random.normal([64]), y))
    return noisy.batch(4)


@pytest.mark.parametrize(
    ("noise", "generated", "version", "message"),
    [
        ((1, 0, 0), False, None, None),
        ((1, 0, 0), True, "1", None),
        ((1, 0, 0), True, None, r"train differ .* what train is made of cannot be told; declare "),
        ((1, 1, 0), False, "1", r"validation differ .* nor augment what models are scored on"),
        ((0, 0, 1), False, None, r"test differ .* nor augment what models are scored on"),
    ],
)
def test_other_engines_take_an_augmented_train_stream_but_no_test_stream_that_changes(
    tmp_path: Path, noise: Any, generated: bool, version: str | None, message: str | None
) -> None:
    def data() -> mt.Data:
        return mt.Data(*(pipeline(amount, generated) for amount in noise), version=version)

    spec = spec_of(data=data)
    _, fingerprints = engine.Engine(spec, {}, tmp_path).load()
    other = engine.Engine(spec, {}, tmp_path)
    raises = pytest.raises(DataError, match=message) if message else contextlib.nullcontext()
    with raises:
        other.take(None, fingerprints)


def test_an_engine_says_that_git_tells_nothing_of_the_spec_s_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "git_problem", lambda folder: f"no git in {folder}")
    spec = spec_of()
    notes = engine.Engine(spec, {}, tmp_path).notes()
    assert notes == (f"no git in {Path(spec.file).parent}",)


@pytest.mark.parametrize("is_given", [False, True])
def test_what_a_library_lacks_is_said_once_by_the_process_that_looks_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_given: bool
) -> None:
    lack = "keras 9 has no layer._nodes"
    monkeypatch.setattr(engine, "KERAS", SimpleNamespace(note=lambda: lack))

    def given() -> Any:
        return dense(keras.layers.Dense(10))

    test = np.zeros((4, 64), "float32"), np.arange(4)
    spec = mt.spec(data=mt.Data(test=test))(given) if is_given else spec_of()
    made = engine.Engine(spec, {}, tmp_path)
    made.load()
    notes = made.notes()
    notes += made.identify().notes if is_given else ()
    assert notes.count(lack) == 1


def test_a_model_that_is_given_is_warned_of_as_one_that_is_built(tmp_path: Path) -> None:
    def given() -> Any:
        metric = keras.metrics.MeanSquaredError(name="parameters")
        return dense(keras.layers.Dense(3), shape=(10,), loss="mse", metrics=[metric])

    test = np.ones((4, 10), "float32"), np.ones((4, 1), "float32")
    spec = mt.spec(data=mt.Data(test=test), gates=[mt.metric("loss") >= 0])(given)
    made = engine.Engine(spec, {}, tmp_path)
    made.load()
    checks = [caution.check for caution in made.identify().cautions]
    assert checks == ["checks.broadcast", "model.names"]


def test_texts_that_nothing_gives_numbers_for_are_refused_as_they_are_loaded_with_another_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    x = {"city": np.array(["Rome", "Oslo"] * 20)}
    spec = spec_of(data=lambda: mt.Data(train=(x, np.arange(40) % 2)))
    with pytest.raises(DataError, match=r"train x.city holds texts: .* with jax; declare them"):
        engine.Engine(spec, {}, tmp_path).load()
    spec = spec_of(data=lambda: mt.Data(train=(np.ones((40, 1)), x["city"])))
    with pytest.raises(DataError, match=r"train y holds texts: .* with jax; make class"):
        engine.Engine(spec, {}, tmp_path).load()


def test_rows_of_different_lengths_are_padded_for_another_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    x = tf.ragged.constant([[1.0], [2.0, 3.0]] * 20)
    made = engine.Engine(spec_of(data=lambda: mt.Data(train=(x, np.arange(40) % 2))), {}, tmp_path)
    made.load()
    assert made.loaded().train.x.shape[1:] == (2,)
    assert [note for note in made.notes() if "they are padded, x to 2" in note]
