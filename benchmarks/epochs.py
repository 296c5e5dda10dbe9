"""How long an epoch takes with modeltune and in a graph loop written by hand."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from modeltune.engine.fit import epoch_graph

BATCH = 32


def mlp() -> Any:
    """Return the digits multilayer perceptron."""
    return _compiled((8, 8, 1), keras.layers.Flatten(), keras.layers.Dense(128, "relu"))


def cnn() -> Any:
    """Return a small convolutional model of the digits, with dropout and batch normalisation."""
    return _compiled(
        (8, 8, 1),
        keras.layers.Conv2D(16, 3, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Conv2D(32, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
    )


def wide() -> Any:
    """Return a Fashion-MNIST-shaped perceptron."""
    return _compiled((28, 28), keras.layers.Flatten(), keras.layers.Dense(256, "relu"))


def lstm() -> Any:
    """Return two LSTM layers over 28 steps."""
    return _compiled((28, 28), keras.layers.LSTM(32, return_sequences=True), keras.layers.LSTM(32))


MODELS: dict[str, tuple[Callable[[], Any], int]] = {
    "digits MLP": (mlp, 1347),
    "digits CNN": (cnn, 1347),
    "28 x 28 MLP": (wide, 20_000),
    "two LSTM layers": (lstm, 2000),
}
"""Every model and its number of training samples; a third as many validate."""


def _compiled(shape: tuple[int, ...], *layers: Any) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input(shape), *layers, keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def ours(model: Any, train: Any, validation: Any, count: int) -> list[float]:
    """Return the seconds of each epoch after the first under ``modeltune.engine.fit.epoch_graph.fit_graph``."""
    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    fitted = epoch_graph.fit_graph(
        model,
        *train,
        batch_size=BATCH,
        epochs=count,
        validation_data=validation,
        callbacks=[watch],
        seed=1,
    )
    assert fitted.trained_by == "graph"
    return list(np.diff(ends))


def by_hand(model: Any, train: Any, validation: Any, count: int) -> list[float]:
    """Return the seconds of a handwritten loop with the same losses, metrics, shuffle, validation."""
    loss_of, optimizer = keras.losses.SparseCategoricalCrossentropy(), keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    loss, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()
    (x, y), (other_x, other_y) = ((tf.constant(a), tf.constant(b)) for a, b in (train, validation))

    def train_epoch(order: Any) -> None:
        for start in tf.range(0, tf.shape(order)[0], BATCH):
            rows = order[start : start + BATCH]
            batch, labels = tf.gather(x, rows), tf.gather(y, rows)
            with tf.GradientTape() as tape:
                predicted = model(batch, training=True)
                value = loss_of(labels, predicted)
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            loss.update_state(value, sample_weight=tf.shape(rows)[0])
            accuracy.update_state(labels, predicted)

    def measure_validation() -> None:
        for start in tf.range(0, len(other_x), BATCH):
            predicted = model(other_x[start : start + BATCH], training=False)
            labels = other_y[start : start + BATCH]
            loss.update_state(loss_of(labels, predicted), sample_weight=tf.shape(labels)[0])
            accuracy.update_state(labels, predicted)

    train_in_graph, validate_in_graph = tf.function(train_epoch), tf.function(measure_validation)
    ends, random = [], np.random.default_rng(1)
    for _ in range(count):
        for metric in (loss, accuracy):
            metric.reset_state()
        train_in_graph(tf.constant(random.permutation(len(x))))
        logs = [float(loss.result()), float(accuracy.result())]
        for metric in (loss, accuracy):
            metric.reset_state()
        validate_in_graph()
        logs += [float(loss.result()), float(accuracy.result())]
        ends.append(time.perf_counter())
    return list(np.diff(ends))


def main() -> None:
    """Print the median seconds of an epoch on both sides, in turn, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    # As a trial does by default.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print("| model | by hand, ms an epoch | modeltune, ms an epoch | ratio | target |")
    print("|---|---|---|---|---|")
    for name, (build, samples) in MODELS.items():
        random = np.random.default_rng(1)
        shape = build().input_shape[1:]
        parts = [
            (random.normal(size=(size, *shape)).astype("float32"), random.integers(0, 10, size))
            for size in (samples, samples // 3)
        ]
        seconds_by_side: dict[Any, list[float]] = {by_hand: [], ours: []}
        for _ in range(options.repeat):
            for side, seconds in seconds_by_side.items():
                seconds += side(build(), *parts, options.epochs)
        hand, graph = (1000 * statistics.median(seconds) for seconds in seconds_by_side.values())
        met = "yes" if graph / hand <= 1.2 else "NO"
        print(
            f"| {name} | {hand:.1f} | {graph:.1f} | {graph / hand:.2f} | 1.2: {met} |", flush=True
        )


if __name__ == "__main__":
    main()
