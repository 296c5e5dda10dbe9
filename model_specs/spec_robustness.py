"""More than one number: every class, faint images, small disturbances, and cases that must be right."""

import keras
import numpy as np

import modeltune as mt

from .datasets import digits


def faint(x):
    """Images drawn with little ink."""
    return x.mean(axis=(1, 2, 3)) < 0.3


def brighten(x, severity):
    """Add light to every pixel."""
    return np.clip(x + severity, 0, 1)


def mirrored_alike(predict, x):
    """A zero or an eight seen in a mirror stays what it is, when the model is sure of it."""
    here, there = predict(x), predict(x[:, ::-1])
    sure = here.argmax() in (0, 8) and here.max() > 0.99
    return not sure or here.argmax() == there.argmax()


@mt.spec(
    data=digits,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=3),
    fit=mt.Fit(epochs=12, batch_size=32),
    validation=mt.Holdout(epochs=20, seeds=3),
    checks=mt.Checks(overlap="fail", labels="fail"),
    gates=[
        mt.metric("recall").per_class(min_n=30) >= 0.7,
        mt.metric("accuracy").on("faint", faint) >= 0.88,
        mt.metric("accuracy") >= mt.median(10) - 0.02,
        mt.gain_over_dummy("accuracy") >= 0.88,
        mt.metric("latency_ratio") <= 1.5,
        mt.metric("artifact_bytes") <= 500_000,
        mt.invariant(brighten, severity=(0.0, 0.1), max_violation=0.05),
        mt.metamorphic(mirrored_alike, max_violation=0.05, on_violation="warn"),
    ],
)
def cnn(hp):
    """Two convolutions that must not be thrown off by light."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(hp.Choice("filters", [16, 32]), 3, activation="relu"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = hp.Float("learning_rate", 3e-4, 3e-2, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
