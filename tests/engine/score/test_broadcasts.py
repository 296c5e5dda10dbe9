"""Losses and metrics that broadcast targets against predictions are told, by shape, and no others."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from modeltune.engine.data.loading import Part
from modeltune.engine.score.broadcasts import broadcast_cautions
from modeltune.engine.score.scoring import predict

X = np.random.default_rng(0).random((6, 4)).astype("float32")
KINDS = np.arange(6) % 3
FLAT, COLUMN = X[:, 0], X[:, :1]


def own(y: Any, predicted: Any) -> Any:
    return ops.mean(ops.square(y - predicted), axis=-1)


class OwnLoss(keras.losses.Loss):
    def call(self, y: Any, predicted: Any) -> Any:
        return own(y, predicted)


class OwnMetric(keras.metrics.Metric):
    def __init__(self, **config: Any) -> None:
        super().__init__(**({"name": "own_metric"} | config))
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(ops.abs(y - predicted)))

    def result(self) -> Any:
        return self.total


def masked(y: Any, predicted: Any) -> Any:
    return ops.cast(y >= 0, "float32") * keras.losses.mean_squared_error(y, predicted)


def pinball(y: Any, predicted: Any) -> Any:
    error = y - predicted
    shares = ops.convert_to_tensor([0.1, 0.5, 0.9])
    return ops.mean(ops.maximum(shares * error, (shares - 1) * error), axis=-1)


def repeated_pinball(y: Any, predicted: Any) -> Any:
    return pinball(ops.repeat(y, 3, axis=-1), predicted)


def focal(y: Any, predicted: Any) -> Any:
    true = ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), 3)
    return -ops.sum(true * ops.log(predicted + 1e-7) * (1 - predicted) ** 2, axis=-1)


def contrastive(y: Any, predicted: Any) -> Any:
    apart = ops.sum(ops.square(predicted[:, None] - predicted[None]), axis=-1)
    kind = ops.reshape(y, (-1,))
    return ops.mean(ops.cast(kind[:, None] == kind[None], "float32") * apart, axis=-1)


def of_its_own_code(y: Any, predicted: Any) -> Any:
    return float(np.sum(np.asarray(y) - np.asarray(predicted)))


def texts(units: int, y: Any, loss: Any, *metrics: Any, activation: str | None = None) -> list[str]:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation)])
    model.compile(None, loss=loss, metrics=list(metrics), run_eagerly=True)
    predictions = predict(model, Part("train", 6, "", x=X, y=y), 6)
    cautions = broadcast_cautions(predictions)
    assert {one.check for one in cautions} <= {"checks.broadcast"}
    return [one.text for one in cautions]


MANY = "each target meets several predictions"
ALL = "each target of a batch meets each prediction of it"


def test_three_units_for_one_target_are_told_with_loss_metric_and_shapes() -> None:
    assert texts(3, COLUMN, "mse", "mae") == [
        "loss mse, metric mae broadcast targets y of shape (n, 1) against predictions of shape "
        f"(n, 3): {MANY}"
    ]


def test_flat_targets_in_a_loss_of_ones_own_are_told_to_meet_every_prediction() -> None:
    assert texts(1, FLAT, OwnLoss(name="mine")) == [
        "loss mine broadcasts targets y of shape (n,) against predictions of shape (n, 1): " + ALL
    ]


@pytest.mark.parametrize(
    ("units", "y", "loss", "metrics", "how"),
    [
        (3, COLUMN, own, [], f"(n, 3): {MANY}"),
        (3, COLUMN, OwnLoss(), [], f"(n, 3): {MANY}"),
        (3, COLUMN, pinball, [], f"(n, 3): {MANY}"),
        (1, X[:, :3], "huber", [], "(n, 1): each prediction meets several targets"),
        (1, FLAT, masked, [], f"loss masked broadcasts targets y of shape (n,) against predictions of shape (n, 1): {ALL}"),
        (1, COLUMN, masked, [], f"(n, 1) against predictions of shape (n, 1): {ALL}"),
        (1, FLAT, "mse", [own], f"metric own broadcasts targets y of shape (n,) against predictions of shape (n, 1): {ALL}"),
        (1, FLAT, "mse", [OwnMetric], f"(n, 1): {ALL}"),
        (1, FLAT, "mse", [keras.metrics.Poisson], f"metric poisson broadcasts targets y of shape (n,) against predictions of shape (n, 1): {ALL}"),
    ],
    ids=map(str, itertools.count()),
)  # fmt: skip
def test_every_function_that_broadcasts_is_told(
    units: int, y: Any, loss: Any, metrics: list[Any], how: str
) -> None:
    made = [metric() if isinstance(metric, type) else metric for metric in metrics]
    (text,) = texts(units, y, loss, *made)
    assert text.endswith(how)


@pytest.mark.parametrize(
    ("units", "y", "loss", "metrics", "activation"),
    [
        (1, FLAT, "mse", ["mae", "mse", "cosine_similarity"], None),
        (1, FLAT, own, [], None),  # Keras squeezes for a plain function
        (1, COLUMN, OwnLoss(), [own], None),
        (3, KINDS, "sparse_categorical_crossentropy", ["accuracy"], "softmax"),
        (3, KINDS[:, None], focal, [focal, "accuracy"], "softmax"),
        (3, KINDS, focal, [focal], "softmax"),
        (3, KINDS[:, None], contrastive, [], None),
        (3, COLUMN, repeated_pinball, [], None),
        (1, FLAT, of_its_own_code, [], None),  # it cannot be read
    ],
    ids=map(str, itertools.count()),
)
def test_functions_that_pair_targets_and_predictions_are_not_told(
    units: int, y: Any, loss: Any, metrics: list[Any], activation: str | None
) -> None:
    assert texts(units, y, loss, *metrics, activation=activation) == []


def test_a_metric_that_keeps_what_it_is_given_keeps_no_symbols() -> None:
    class Keeping(OwnMetric):
        def __init__(self, **config: Any) -> None:
            super().__init__(**config)
            self.kept: list[Any] = []

        def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> None:
            self.kept.append(y)
            super().update_state(y, predicted)

    metric = Keeping()
    (text,) = texts(1, FLAT, "mse", metric)
    assert "metric own_metric broadcasts" in text
    assert metric.kept == []


def test_each_output_is_told_by_its_name() -> None:
    inputs = keras.Input((4,))
    heads = {name: layers.Dense(units, name=name)(inputs) for name, units in (("a", 1), ("b", 3))}
    model = keras.Model(inputs, heads)
    model.compile(None, loss={"a": "mse", "b": "mae"}, run_eagerly=True)
    part = Part("train", 6, "", x=X, y={"a": COLUMN, "b": COLUMN})
    (caution,) = broadcast_cautions(predict(model, part, 6))
    assert caution.text == (
        f"output b: loss mae broadcasts targets y.b of shape (n, 1) against predictions of shape (n, 3): {MANY}"
    )
