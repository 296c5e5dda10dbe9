"""Tiny models and data for tests that train: dense nets on slices of what scikit-learn ships."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
from sklearn.datasets import load_diabetes, load_digits

import modeltune as mt
from modeltune.specs.spec_type import Spec

PIXELS, LABELS = load_digits(return_X_y=True)
PIXELS = (PIXELS / 16).astype("float32")
PATIENTS, PROGRESS = load_diabetes(return_X_y=True)
PATIENTS = (PATIENTS / PATIENTS.std(axis=0)).astype("float32")
PROGRESS = (PROGRESS / 100).astype("float32")

Build = Callable[[Any], Any]


def digits(train: int = 160, validation: int = 60, test: int = 80) -> mt.Data:
    ends = np.cumsum([train, validation, test])[:-1]
    pixels, labels = (
        np.split(array[: train + validation + test], ends) for array in (PIXELS, LABELS)
    )
    return mt.Data(*zip(pixels, labels, strict=True))


def diabetes() -> mt.Data:
    return mt.Data((PATIENTS[:160], PROGRESS[:160]), (PATIENTS[160:220], PROGRESS[160:220]),
                   (PATIENTS[220:300], PROGRESS[220:300]))  # fmt: skip


def dense(
    *layers: Any,
    shape: tuple[int, ...] = (64,),
    loss: Any = "sparse_categorical_crossentropy",
    metrics: Sequence[Any] = ("accuracy",),
    optimizer: str = "sgd",
) -> Any:
    model = keras.Sequential([keras.Input(shape), *layers])
    model.compile(optimizer, loss=loss, metrics=list(metrics))
    return model


def softmax(hp: Any) -> Any:
    """Choose a width; the smallest space that still has something to search."""
    width = hp.Choice("width", [4, 8, 16])
    return dense(
        keras.layers.Dense(width, activation="relu"), keras.layers.Dense(10, activation="softmax")
    )


def linear(hp: Any) -> Any:
    hp.Choice("unused", [1, 2])
    return dense(keras.layers.Dense(1), shape=(10,), loss="mse", metrics=["mae"])


def spec_of(build: Any = softmax, data: Any = None, **fields: Any) -> Spec:
    """Return a spec of two random trials of one epoch, refitted once, unless told otherwise."""
    standard: dict[str, Any] = {
        "search": mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2),
        "fit": mt.Fit(epochs=1),
        "validation": mt.Holdout(seeds=1),
    }
    return mt.spec(data=data or digits(), **(standard | fields))(build)


def values(**chosen: Any) -> Any:
    """Return hyperparameters that hold these values."""
    hp = keras_tuner.HyperParameters()
    hp.values = dict(chosen)
    return hp
