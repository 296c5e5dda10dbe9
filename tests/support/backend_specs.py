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


def two_targets() -> mt.Data:
    x, y, value = rows()
    inputs = {"left": x[:, :2], "right": x[:, 2:]}
    return mt.Data(train=(inputs, {"sign": y, "value": value}))


class Batches(keras.utils.PyDataset):
    """Some rows as a stream."""

    def __init__(self, x: Any, y: Any):
        super().__init__()
        self._x, self._y = x, y

    def __len__(self) -> int:
        return -(-len(self._x) // 16)

    def __getitem__(self, number: int) -> Any:
        some = slice(16 * number, 16 * number + 16)
        return self._x[some], self._y[some]


def streams() -> mt.Data:
    x, _, value = rows()
    cuts = ((0, 80), (80, 100), (100, 120))
    return mt.Data(*(Batches(x[a:b], value[a:b]) for a, b in cuts))


def scaled() -> mt.Data:
    x, y, _ = rows()
    return mt.Data(train=(x, y), prepare=scaling_of)


def scaling_of(train: Any) -> Any:
    layer = keras.layers.Normalization()
    layer.adapt(train[0])
    return layer


class Halved(keras.Model):
    """A step of its own, that hands on whatever the backend gives it."""

    def train_step(self, *batch: Any) -> Any:
        return super().train_step(*batch)

    def compute_loss(self, *arguments: Any, **more: Any) -> Any:
        return super().compute_loss(*arguments, **more) / 2


FIT = mt.Fit(epochs=2, batch_size=16, callbacks=[NoOther])
ONE_REFIT = mt.Holdout(epochs=2, seeds=1)


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
        keras.layers.Dense(hp.Int("units", 2, 9), activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(2, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@mt.spec(data=two_targets, fit=FIT, validation=ONE_REFIT, gates=[mt.metric("value_mae") <= 100])
def two_outputs(hp: Any) -> Any:
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    hidden = keras.layers.Concatenate()([left, right])
    sign = keras.layers.Dense(1, activation="sigmoid", name="sign")(hidden)
    value = keras.layers.Dense(1, name="value")(hidden)
    model = Halved({"left": left, "right": right}, {"sign": sign, "value": value})
    losses = {"sign": "binary_crossentropy", "value": "mse"}
    model.compile("sgd", losses, metrics={"value": ["mae"]})
    return model


@mt.spec(data=streams, fit=FIT, validation=ONE_REFIT, gates=[mt.metric("mae") <= 100])
def streamed(hp: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@mt.spec(data=scaled, fit=FIT, validation=ONE_REFIT, gates=[mt.metric("accuracy") >= 0.2])
def prepared(hp: Any, scaling: Any) -> Any:
    base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh")])
    base.trainable = False
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1, activation="sigmoid")(base(scaling(inputs)))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model
