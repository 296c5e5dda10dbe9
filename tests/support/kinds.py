"""A tiny spec of each kind of model that is no plain classifier, with nothing of modeltune in its build."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

import modeltune as mt
from modeltune.specs.spec_type import Spec

Build: TypeAlias = Callable[[Any], Any]

RANDOM = np.random.default_rng(0)

X = RANDOM.random((48, 6)).astype("float32")

CLASSES = np.argmax(X[:, :3], axis=1)

ONE_REFIT = mt.Holdout(epochs=1, seeds=1)


def rows(x: Any, y: Any) -> mt.Data:
    """Return 24 rows for training, eight for validation and 16 for test: batches of eight are whole."""

    def part(start: int, end: int) -> Any:
        return keras.tree.map_structure(lambda array: array[start:end], (x, y))

    return mt.Data(part(0, 24), part(24, 32), part(32, 48))


def kind(x: Any, y: Any, **fit: Any) -> Callable[[Build], Spec]:
    return mt.spec(data=rows(x, y), fit=mt.Fit(batch_size=8, **fit), validation=ONE_REFIT)


def compiled(model: Any, loss: Any, *metrics: Any, **more: Any) -> Any:
    model.compile(keras.optimizers.SGD(0.1), loss=loss, metrics=list(metrics) or None, **more)
    return model


def dense(*sizes: int, end: str | None = None, dtype: str | None = None) -> Any:
    hidden = [layers.Dense(size, activation="tanh") for size in sizes[1:-1]]
    last = layers.Dense(sizes[-1], activation=end, dtype=dtype)
    return keras.Sequential([keras.Input((sizes[0],)), *hidden, last])


def classifier(**more: Any) -> Any:
    model = dense(6, 4, 3, end="softmax", dtype="float32")
    return compiled(model, "sparse_categorical_crossentropy", "accuracy", **more)


@kind(X, X)
def autoencoder(hp: Any) -> Any:
    return compiled(dense(6, 2, 6, end="sigmoid"), "mse", "mae")


GRADES = (CLASSES[:, None] > np.arange(2)).astype("float32")


def grades_off(y_true: Any, y_pred: Any) -> Any:
    passed = ops.cast(y_pred > 0.5, "float32")
    return ops.abs(ops.sum(y_true, axis=-1) - ops.sum(passed, axis=-1))


@kind(X, GRADES)
def ordinal(hp: Any) -> Any:
    """A sigmoid for each grade that may be passed."""
    return compiled(dense(6, 2, end="sigmoid"), "binary_crossentropy", grades_off)


QUANTILES = (0.1, 0.5, 0.9)


class Pinball(keras.losses.Loss):
    def __init__(self, quantile: Any):
        super().__init__()
        self.quantile = quantile

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        return ops.mean(ops.maximum(self.quantile * error, (self.quantile - 1) * error), axis=-1)


SUM = X.sum(axis=1, keepdims=True)


@kind(X, SUM.repeat(3, axis=1))
def quantile_columns(hp: Any) -> Any:
    return compiled(dense(6, 3), Pinball(np.array(QUANTILES, "float32")))


@kind(X, {"low": SUM, "middle": SUM})
def quantile_outputs(hp: Any) -> Any:
    inputs = keras.Input((6,))
    outputs = {name: layers.Dense(1, name=name)(inputs) for name in ("low", "middle")}
    return compiled(keras.Model(inputs, outputs), {"low": Pinball(0.1), "middle": Pinball(0.5)})


class Distance(layers.Layer):
    def call(self, one: Any, other: Any) -> Any:
        return ops.sqrt(ops.sum((one - other) ** 2, axis=-1, keepdims=True) + 1e-7)


def contrastive(y_true: Any, y_pred: Any) -> Any:
    far = ops.maximum(1 - y_pred, 0) ** 2
    return ops.mean(y_true * y_pred**2 + (1 - y_true) * far, axis=-1)


OTHERS = RANDOM.permutation(48)

ARE_SAME = (CLASSES[OTHERS] == CLASSES).astype("float32")[:, None]


@kind((X, X[OTHERS]), ARE_SAME)
def siamese(hp: Any) -> Any:
    inputs, embed = [keras.Input((6,)) for _ in range(2)], dense(6, 2)
    return compiled(keras.Model(inputs, Distance()(*map(embed, inputs))), contrastive)


def hinge(y_true: Any, y_pred: Any) -> Any:
    return ops.maximum(0.5 + y_pred, 0)


@kind((X, X[OTHERS], X[::-1]), np.zeros((48, 1), "float32"))
def triplet(hp: Any) -> Any:
    inputs, embed = [keras.Input((6,)) for _ in range(3)], dense(6, 2)
    anchor, same, other = map(embed, inputs)
    margin = layers.Subtract()([Distance()(anchor, same), Distance()(anchor, other)])
    return compiled(keras.Model(inputs, margin), hinge)


class Variational(keras.Model):
    """Draws its code in training, and takes the mean elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = dense(6, 4), dense(2, 6, end="sigmoid")
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x: Any) -> Any:
        return self.decoder(self.encoder(x)[:, :2])

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            mean, log = ops.split(self.encoder(x), 2, axis=-1)
            noise = keras.random.normal(ops.shape(mean), seed=self.seeds)
            decoded = self.decoder(mean + ops.exp(log / 2) * noise)
            divergence = -ops.mean(1 + log - mean**2 - ops.exp(log)) / 2
            loss = ops.mean((y - decoded) ** 2) + divergence / 10
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss, "divergence": divergence}


@kind(X, X)
def variational(hp: Any) -> Any:
    return compiled(Variational(), "mse")


class Adversarial(keras.Model):
    """Two networks that are trained in turn, each by an optimizer of its own; it predicts nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = dense(2, 6, end="sigmoid"), dense(6, 3, 1)
        self.second = keras.optimizers.SGD(0.1)
        self.second.build(self.generator.trainable_variables)
        self.seeds = keras.random.SeedGenerator(3)
        self.built = True

    def losses_for(self, x: Any, seed: Any) -> tuple[Any, Any]:
        real = self.critic(x)
        made_up = self.critic(self.generator(keras.random.normal((ops.shape(x)[0], 2), seed=seed)))
        softplus = ops.softplus
        return ops.mean(softplus(-real) + softplus(made_up)), ops.mean(softplus(-made_up))

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            losses = self.losses_for(data[0], self.seeds)
        networks = (self.critic, self.optimizer), (self.generator, self.second)
        for loss, (network, optimizer) in zip(losses, networks, strict=True):
            weights = network.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"critic_loss": losses[0], "generator_loss": losses[1]}

    def test_step(self, data: Any) -> Any:
        losses = self.losses_for(data[0], seed=5)
        return {"critic_loss": losses[0], "generator_loss": losses[1]}


@kind(X, np.ones((48, 1), "float32"))
def adversarial(hp: Any) -> Any:
    return compiled(Adversarial(), None)


@kind(X, CLASSES, dtype_policy="mixed_bfloat16")
def bfloat16(hp: Any) -> Any:
    return classifier()


@kind(X, CLASSES, dtype_policy="mixed_float16")
def float16(hp: Any) -> Any:
    return classifier()


@kind(X, CLASSES)
def compiled_by_xla(hp: Any) -> Any:
    return classifier(jit_compile=True)


@kind(X, CLASSES, steps_per_epoch=2)
def steps_of_an_epoch(hp: Any) -> Any:
    return classifier()


class Slower(keras.callbacks.Callback):
    """Halves the learning rate after each batch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        rate = self.model.optimizer.learning_rate
        rate.assign(rate / 2)


@kind(X, CLASSES, callbacks=[Slower])
def callback_of_batches(hp: Any) -> Any:
    return classifier()


class Prepared(keras.Model):
    """As models of KerasHub: what its preprocessor makes of the data goes through a backbone and a head."""

    def __init__(self, preprocessor: Callable[[Any], Any], backbone: Any):
        outputs = layers.Dense(3, activation="softmax")(backbone.outputs[0])
        super().__init__(backbone.inputs[0], outputs)
        self.preprocessor = preprocessor

    def fit(self, x: Any = None, y: Any = None, *, validation_data: Any = None, **more: Any) -> Any:
        watched = validation_data
        if watched is not None:
            watched = self.preprocessor(watched[0]), watched[1]
        return super().fit(self.preprocessor(x), y, validation_data=watched, **more)

    def evaluate(self, x: Any = None, y: Any = None, **more: Any) -> Any:
        return super().evaluate(self.preprocessor(x), y, **more)

    def predict(self, x: Any, **more: Any) -> Any:
        return super().predict(self.preprocessor(x), **more)


@kind(X, CLASSES)
def backbone_and_preprocessor(hp: Any) -> Any:
    model = Prepared(lambda x: 1 - 5 * x, dense(6, 4))
    return compiled(model, "sparse_categorical_crossentropy", "accuracy")


KINDS = [
    autoencoder, ordinal, quantile_columns, quantile_outputs, siamese, triplet, variational, adversarial,
    bfloat16, float16, compiled_by_xla, steps_of_an_epoch, callback_of_batches, backbone_and_preprocessor,
]  # fmt: skip
