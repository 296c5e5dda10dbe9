"""One spec of each kind, small, for any backend of Keras: the contract of backends copies this file."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np

import modeltune as mt


def only_one_backend() -> None:
    """Fail where a backend is imported besides that of Keras."""
    others = {"tensorflow", "jax", "torch"} - {keras.backend.backend()}
    assert not others & sys.modules.keys(), sorted(others & sys.modules.keys())


class NoOther(keras.callbacks.Callback):
    """Looks once a fit has ended."""

    def on_train_end(self, logs: Any = None) -> None:
        only_one_backend()


def rows() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 4))  # floats of 64 bits, as NumPy makes them
    return x, (x[:, 0] > 0).astype("int32"), x @ np.arange(4) + 1


def classes() -> mt.Data:
    only_one_backend()
    x, y, _ = rows()
    return mt.Data(train=(x, y))


class Batches(keras.utils.PyDataset):
    """Some rows as a stream, with two inputs and two targets."""

    def __init__(self, first: int, last: int):
        super().__init__()
        self._rows = slice(first, last)

    def __len__(self) -> int:
        return -(-(self._rows.stop - self._rows.start) // 16)

    def __getitem__(self, number: int) -> Any:
        some = slice(16 * number, 16 * number + 16)
        x, y, value = (array[self._rows][some] for array in rows())
        return {"left": x[:, :2], "right": x[:, 2:]}, {"sign": y, "value": value}


def batches() -> Any:
    """Yield the rows of train."""
    yield from map(Batches(0, 80).__getitem__, range(5))


def streams() -> mt.Data:
    return mt.Data(batches, Batches(80, 100), Batches(100, 120))


class Halved(keras.Model):
    """A step of its own, that hands on whatever the backend gives it."""

    def train_step(self, *batch: Any) -> Any:
        return super().train_step(*batch)

    def compute_loss(self, *arguments: Any, **more: Any) -> Any:
        return super().compute_loss(*arguments, **more) / 2


def shouted(x: Any) -> Any:
    return {"text": np.char.upper(x["text"].astype(str)).astype(object)}


FIT = mt.Fit(epochs=1, batch_size=16, callbacks=[NoOther])
ONE_REFIT = mt.Holdout(epochs=1, seeds=1)


@mt.spec(
    data=classes,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=2, factor=2, seed=3),
    fit=FIT,
    validation=ONE_REFIT,
    gates=[mt.metric("accuracy") >= 0.2, mt.metric("parameters") <= 1000],
)
def classifier(hp: Any) -> Any:
    only_one_backend()
    layers = [
        keras.layers.Dense(4, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    # Whatever the rate, a step is compiled to one program, which is kept for all trials.
    rate = keras.optimizers.SGD(hp.Float("rate", 0.01, 0.1))
    model.compile(rate, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@mt.spec(data=streams, fit=FIT, validation=ONE_REFIT, gates=[mt.metric("value_mae") <= 100])
def two_outputs(hp: Any) -> Any:
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    hidden = keras.layers.Concatenate()([left, right])
    sign = keras.layers.Dense(1, activation="sigmoid", name="sign")(hidden)
    value = keras.layers.Dense(1, name="value")(hidden)
    model = Halved({"left": left, "right": right}, {"sign": sign, "value": value})
    losses = {"sign": "binary_crossentropy", "value": "mse"}
    model.compile("sgd", losses, metrics={"value": ["mae"]})
    return model


@mt.spec(
    data=mt.texts(["good film", "bad film", "a good end"] * 30, [1, 0, 1] * 30, length=4),
    fit=FIT,
    validation=ONE_REFIT,
    gates=[mt.metric("accuracy") >= 0.2, mt.invariant(shouted, examples=2)],
)
def texts(hp: Any, prepared: Any) -> Any:
    """Layers that learn behind one that is frozen."""
    inputs = prepared.inputs()
    words = keras.layers.Embedding(prepared.words, 2, mask_zero=True, trainable=False)
    mean = keras.layers.GlobalAveragePooling1D()(words(prepared.encode(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(mean))
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model
