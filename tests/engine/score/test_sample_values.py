"""Whoever writes a loss or metric of Keras by name, function, class or object gets the same values."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from modeltune.engine.data.loading import Part
from modeltune.engine.score.sample_values import SampleValues, sample_values
from modeltune.engine.score.scoring import evaluate, predict, refit_samples, targets

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(22, 4)).astype("float32")
YES = (np.arange(22) % 3 == 0).astype(int)


def fixed(loss: Any, metrics: Any = (), weighted: Any = (), width: int = 1) -> Any:
    keras.utils.set_random_seed(1)
    head = layers.Dense(width, activation="sigmoid" if width == 1 else "softmax")
    model = keras.Sequential([keras.Input((4,)), head])
    model.compile(
        None, loss=loss, metrics=list(metrics), weighted_metrics=list(weighted), run_eagerly=True
    )
    return model


def taken_apart(model: Any, y: Any, weight: Any = None) -> tuple[dict[str, Any], dict[str, float]]:
    part = Part("test", len(X), "", x=X, y=y, sample_weight=weight)
    test = predict(model, part, 8)
    values = sample_values(
        model, test.pairing, test.y, test.predicted, test.sample_weight, test.masks, test.sizes
    )
    return {name: own for name, _, own in values}, evaluate(model, part, 8)


FORMS: dict[str, Any] = {
    "name": "binary_crossentropy",
    "short name": "bce",
    "class name": "BinaryCrossentropy",
    "function": keras.losses.binary_crossentropy,
    "class": keras.losses.BinaryCrossentropy,
    "object": keras.losses.BinaryCrossentropy(),
    "for any labels": "crossentropy",
}


@pytest.mark.parametrize("labels", [YES, YES[:, None], YES.astype("float32")])
@pytest.mark.parametrize("form", FORMS)
def test_a_loss_has_values_per_sample_however_it_is_written(form: str, labels: Any) -> None:
    values, scores = taken_apart(fixed(FORMS[form]), labels)
    (expected, _) = taken_apart(fixed(FORMS["object"]), YES[:, None])
    assert values["loss"].values == pytest.approx(expected["loss"].values, rel=1e-5)
    assert values["loss"].mean == pytest.approx(scores["loss"], rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_loss_has_the_mean_that_keras_has_however_it_is_reduced(
    reduction: str, is_weighted: bool
) -> None:
    weight = (np.arange(22) % 4).astype("float32") if is_weighted else None
    loss = keras.losses.BinaryCrossentropy(reduction=reduction)
    values, scores = taken_apart(fixed(loss), YES, weight)
    assert values["loss"].mean == pytest.approx(scores["loss"], rel=1e-5)


def test_weighted_metrics_are_weighted_means_and_others_are_not() -> None:
    weight = (np.arange(22) % 4).astype("float32")
    model = fixed("bce", ["accuracy"], ["mae"])
    values, scores = taken_apart(model, YES, weight)
    assert values["accuracy"].weights is None
    assert np.array_equal(values["mae"].weights, weight)
    for name in ("accuracy", "mae"):
        assert values[name].mean == pytest.approx(scores[name], rel=1e-5)


def test_metrics_of_the_same_name_are_told_apart_as_in_the_logs() -> None:
    model = fixed("mse", ["mae", keras.metrics.MeanAbsoluteError(name="mae"), keras.metrics.AUC()])
    values, scores = taken_apart(model, YES)
    assert {"mae", "mae_1"} <= scores.keys() & values.keys()
    assert values["auc"] is None


def test_losses_of_several_outputs_add_up_to_the_loss() -> None:
    inputs = keras.Input((4,))
    heads = {name: layers.Dense(1, name=name)(inputs) for name in ("one", "two")}
    model = keras.Model(inputs, heads)
    penalty = keras.regularizers.L2(0.1)
    model.get_layer("one").kernel.regularizer = penalty
    losses = {"one": "mse", "two": "mae"}
    model.compile(None, losses, loss_weights={"one": 0.25, "two": 2.0}, run_eagerly=True)
    values, scores = taken_apart(model, {"one": X[:, :1], "two": X[:, 1:2]})
    for name in ("loss", "one_loss", "two_loss"):
        assert values[name].mean == pytest.approx(scores[name], rel=1e-5)


def test_values_of_refits_by_name_are_kept_with_the_run() -> None:
    model = fixed("binary_crossentropy", ["binary_crossentropy"])
    part = Part("test", len(X), "", x=X, y=YES[:, None])
    test = predict(model, part, 8)
    kept = refit_samples(model, test, evaluate(model, part, 8), targets(model, part, test))
    assert kept is not None
    assert {"loss", "binary_crossentropy"} <= kept.values.keys()


def test_a_mean_of_nothing_is_zero_as_in_keras() -> None:
    assert SampleValues(np.ones(3), np.zeros(3)).mean == 0
