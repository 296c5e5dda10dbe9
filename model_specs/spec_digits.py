"""Two models under one protocol: handwritten digits, searched by Hyperband."""

import keras

import modeltune as mt

from .datasets import digits  # () -> mt.Data(train, validation, test)

on_digits = mt.spec(
    data=digits,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=10),
    fit=mt.Fit(batch_size=32),
    validation=mt.Holdout(epochs=30, seeds=3),
    gates=[
        mt.metric("accuracy") >= 0.95,
        mt.metric("accuracy") >= mt.baseline - 0.01,
        mt.metric("parameters") <= 50_000,
    ],
)


@on_digits
def mlp(hp):
    """Two dense layers: the floor every other model must clear."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(hp.Int("units", 32, 256, step=32), activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@on_digits
def cnn(hp):
    """Two small convolutions: held to the same rules as the dense floor."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(hp.Choice("filters", [8, 16, 24]), 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(hp.Float("dropout", 0.0, 0.4, step=0.1)),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
