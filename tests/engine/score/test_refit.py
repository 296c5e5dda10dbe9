"""A trained model is scored whatever its build, metrics and losses are: what cannot be measured is said."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.checks import check_data
from modeltune.engine.data.loading import load_data
from modeltune.engine.dry_run import dry_run
from modeltune.engine.fit.states import load_weights
from modeltune.engine.oracles import Oracle
from modeltune.engine.score.refit import train_refit
from modeltune.records.tasks import RefitResult, RefitTask
from modeltune.records.verdicts import Outcome
from modeltune.specs.spec_type import Spec
from modeltune.specs.validations import Refit
from tests.support.small_models import dense, softmax, spec_of, values


def refitted(spec: Spec, folder: Path) -> RefitResult:
    task = RefitTask(Refit(0, None), values().get_config(), 1, folder / "refit.weights.h5")
    result = train_refit(spec, load_data(spec), task)
    assert result.failure is None
    return result


def test_a_build_that_loads_trained_weights_goes_on_from_them_and_that_is_noted(
    tmp_path: Path,
) -> None:
    file = tmp_path / "trained.keras"
    softmax(values()).save(file)
    result = refitted(spec_of(lambda hp: keras.models.load_model(file)), tmp_path)
    assert result.note is not None
    assert result.note.startswith(
        "the build function returns weights that are trained already, in "
    )
    assert refitted(spec_of(), tmp_path).note is None


class Rebuilt(layers.Layer):
    """Adds the loss of an autoencoder: how far it is from its input."""

    def call(self, inputs: Any) -> Any:
        one, other = inputs
        self.add_loss(keras.ops.mean((one - other) ** 2))
        return other


class Triplets(keras.Model):
    """Adds a triplet loss of three inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, inputs: Any) -> Any:
        anchor, positive, negative = (self.dense(one) for one in inputs)
        near, far = (keras.ops.sum((anchor - o) ** 2, -1) for o in (positive, negative))
        self.add_loss(keras.ops.mean(keras.ops.relu(near - far + 1)))
        return keras.ops.stack([near, far], axis=-1)


class Compressor(keras.Model):
    """An autoencoder with a training step of its own, and neither a call nor a test step."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(4)
        self.dense.build((None, 4))

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            error = keras.ops.mean((self.dense(data) - data) ** 2)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
        return {"error": error}


def autoencoder() -> Any:
    inputs = keras.Input((4,))
    return keras.Model(inputs, Rebuilt()([inputs, layers.Dense(4)(inputs)]))


INPUTS = np.random.default_rng(0).random((40, 4)).astype("float32")


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
@pytest.mark.parametrize(
    ("build", "inputs", "score"),
    [
        (autoencoder, INPUTS, "loss"),
        (Triplets, ((INPUTS, INPUTS + 1, INPUTS[::-1]),), "loss"),
        (Compressor, INPUTS, "parameters"),
    ],
    ids=["autoencoder", "triplets", "a step of its own"],
)
def test_inputs_alone_are_rehearsed_trained_and_scored(
    build: Any, inputs: Any, score: str, as_stream: bool, tmp_path: Path
) -> None:
    def built(hp: Any) -> Any:
        model = build()
        model.compile("sgd")
        return model

    part = tf.data.Dataset.from_tensor_slices(inputs).batch(20) if as_stream else inputs
    objective = mt.minimize("error" if build is Compressor else "val_loss")
    spec = spec_of(
        built,
        mt.Data(part, part, part),
        search=mt.RandomSearch(objective, max_trials=1),
        gates=[mt.metric(score) <= 99],
    )
    loaded = load_data(spec)
    assert dry_run(spec, loaded, Oracle(spec.search, tmp_path / "search")).failure is None
    assert Outcome.FAILED not in {one.outcome for one in check_data(loaded, spec.checks)}
    result = refitted(spec, tmp_path)
    assert score in result.scores
    assert {check.outcome for check in result.checks} <= {Outcome.PASSED}
    assert (result.note or "").startswith(
        "Compressor has no call()" if build is Compressor else "there are no targets (y) on test"
    )


ROWS = tf.ragged.constant([[1 + row % 7] * (1 + row % 4) for row in range(40)], dtype=tf.int64)


def of_rows(hp: Any) -> Any:
    inputs = {
        "rows": keras.Input((None,), dtype="int64", name="rows"),
        "more": keras.Input((4,), name="more"),
    }
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(8, 3)(inputs["rows"]))
    both = layers.Concatenate()([mean, inputs["more"]])
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(both))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


ROWS_OF_ROWS = tf.ragged.constant(
    [[[1 + row % 7] * (1 + row % 3), [1, 2]][: 1 + row % 2] for row in range(40)], dtype=tf.int64
)


class Means(layers.Layer):
    """The mean over both ragged dimensions."""

    def call(self, inputs: Any) -> Any:
        return tf.reduce_mean(tf.reduce_mean(inputs, axis=2), axis=1)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape[0], shape[-1]


def of_rows_of_rows(hp: Any) -> Any:
    rows = keras.Input((None, None), dtype="int64", name="rows", ragged=True)
    more = keras.Input((4,), name="more")
    both = layers.Concatenate()([Means()(layers.Embedding(8, 3)(rows)), more])
    model = keras.Model([rows, more], layers.Dense(2, activation="softmax")(both))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("rows", "build", "as_stream"),
    [
        pytest.param(ROWS, of_rows, False, id="arrays"),
        pytest.param(ROWS, of_rows, True, id="stream"),
        pytest.param(ROWS_OF_ROWS, of_rows_of_rows, False, id="rows of rows"),
    ],
)
def test_rows_of_different_lengths_are_trained_on_as_plain_keras_does(
    rows: Any, build: Any, as_stream: bool, tmp_path: Path
) -> None:
    part: Any = {"rows": rows, "more": INPUTS}, np.arange(40) % 2
    if as_stream:
        part = tf.data.Dataset.from_tensor_slices(part).batch(20)
    of_long = mt.metric("accuracy").on("long", lambda x: np.array([len(r) > 1 for r in x["rows"]]))
    gates = [mt.gap("accuracy") <= 1, mt.gain_over_dummy("accuracy") >= -9, of_long >= 0]
    spec = spec_of(build, mt.Data(part, part, part), gates=gates)
    loaded = load_data(spec)
    assert dry_run(spec, loaded, Oracle(spec.search, tmp_path / "search")).failure is None
    result = refitted(spec, tmp_path)
    assert result.note is None
    assert {check.outcome for check in result.checks} == {Outcome.PASSED}
    keras.utils.set_random_seed(0)
    model = build(None)
    load_weights(model, tmp_path / "refit.weights.h5")
    data = (part,) if as_stream else part
    scores = model.evaluate(*data, verbose=0, return_dict=True)
    assert {name: result.scores[name] for name in scores} == pytest.approx(scores)


class OfEachValue(keras.Model):
    """Predict a number for each value of a ragged row."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, rows: Any) -> Any:
        if isinstance(rows, tf.RaggedTensor):
            flat = self.dense(tf.reshape(rows.values, (-1, 1)))
            return rows.with_values(tf.reshape(flat, (-1,)))
        return self.dense(rows)


def of_each_value(hp: Any) -> Any:
    model = OfEachValue()
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def test_ragged_targets_are_trained_on_and_scored_by_the_loss_and_metrics_alone(
    tmp_path: Path,
) -> None:
    rows = tf.cast(ROWS, "float32")
    part = tf.data.Dataset.from_tensor_slices((rows, 2 * rows)).batch(20)
    search = mt.RandomSearch(mt.minimize("val_loss"), max_trials=1)
    gates = [mt.metric("mae") <= 9, mt.gap("loss") >= -9]
    spec = spec_of(of_each_value, mt.Data(part, part, part), gates=gates, search=search)
    assert dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path / "search")).failure is None
    result = refitted(spec, tmp_path)
    assert result.note is not None
    assert "there are ragged targets (y) on test: there are no report" in result.note
    assert {check.outcome for check in result.checks} == {Outcome.PASSED}
    model = of_each_value(None)
    model(rows)
    load_weights(model, tmp_path / "refit.weights.h5")
    scores = model.evaluate(part, verbose=0, return_dict=True)
    assert {name: result.scores[name] for name in scores} == pytest.approx(scores)
    assert "gap(loss)" in result.scores
    spec = spec.with_fields(gates=[mt.gain_over_dummy("loss") >= 0])
    oracle = Oracle(spec.search, tmp_path / "again")
    with pytest.raises(mt.SpecError, match=r"data: train has ragged targets \(y\), which a dummy"):
        dry_run(spec, load_data(spec), oracle)


def test_a_layer_that_takes_no_ragged_rows_is_refused_without_their_content(
    tmp_path: Path,
) -> None:
    def build(hp: Any) -> Any:
        model = keras.Sequential(
            [layers.Embedding(8, 3), layers.LSTM(2), layers.Dense(2, activation="softmax")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    spec = spec_of(build, mt.Data(*[(ROWS, np.arange(40) % 2)] * 3))
    with pytest.raises(
        mt.SpecError, match=r"data: train x is ragged, .*; pad it to one"
    ) as refused:
        dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path))
    assert "RaggedTensor" not in str(refused.value)
    assert len(str(refused.value)) < 600


class NoConfig(keras.metrics.SparseCategoricalAccuracy):
    def get_config(self) -> Any:
        raise NotImplementedError


class Penalty(layers.Layer):
    def call(self, inputs: Any) -> Any:
        self.add_loss(keras.ops.mean(keras.ops.abs(inputs)))
        return inputs


@pytest.mark.parametrize(
    "build",
    [
        lambda hp: dense(layers.Dense(10, activation="softmax", activity_regularizer="l2")),
        lambda hp: dense(Penalty(), layers.Dense(10, activation="softmax")),
    ],
    ids=["activity_regularizer", "add_loss"],
)
def test_penalties_of_a_batch_cancel_in_the_gain_over_a_dummy(build: Any, tmp_path: Path) -> None:
    gain = mt.gain_over_dummy("loss") >= -99
    result = refitted(spec_of(build, gates=[gain]), tmp_path)
    assert result.note is None
    assert math.isfinite(result.scores[gain.measure.key])


@pytest.mark.parametrize("metrics", [[], [NoConfig(name="own")]], ids=["none", "no configuration"])
def test_a_model_is_scored_whatever_its_metrics_tell_of_themselves(
    metrics: Any, tmp_path: Path
) -> None:
    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=metrics)

    result = refitted(spec_of(build), tmp_path)
    assert result.note is None
    assert result.samples is not None


def test_a_build_that_draws_its_shapes_is_scored_and_found_out(tmp_path: Path) -> None:
    widths = itertools.count(3)

    def build(hp: Any) -> Any:
        return dense(layers.Dense(next(widths)), layers.Dense(10, activation="softmax"))

    result = refitted(spec_of(build), tmp_path)
    assert "loss" in result.scores
    (check,) = [check for check in result.checks if check.gate == "integrity.round_trip"]
    assert check.outcome is Outcome.FAILED
    assert check.reason == (
        "a newly built model does not take the saved weights: sequential/dense/kernel has the shape "
        "(64, 3) in the trained one and (64, 4) in the new one; does its build function draw random "
        "numbers?"
    )


def test_labels_that_only_a_loss_of_the_authors_takes_cost_single_scores_only(
    tmp_path: Path,
) -> None:
    def loss(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(predicted, axis=-1)

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), loss=loss, metrics=[])

    x = np.zeros((60, 64), "float32")
    data = mt.Data(*[(x, np.full(60, -1))] * 3)
    gain = mt.gain_over_dummy("loss") >= 0
    result = refitted(spec_of(build, data, gates=[gain]), tmp_path)
    assert "loss" in result.scores
    assert gain.measure.key not in result.scores
    assert f"{gain.measure.key} has no value, because measuring failed: ValueError" in str(
        result.note
    )


def test_a_sound_refit_has_nothing_to_note(tmp_path: Path) -> None:
    result = refitted(spec_of(softmax), tmp_path)
    assert result.note is None
    assert {check.outcome for check in result.checks} == {Outcome.PASSED}


def test_a_refit_says_which_metrics_are_random(tmp_path: Path) -> None:
    def noisy(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(predicted, axis=-1) + keras.random.uniform(())

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=["accuracy", noisy])

    note = refitted(spec_of(build), tmp_path).note or ""
    assert note.startswith("random: noisy (")
    assert "accuracy" not in note


def test_what_the_report_says_of_random_predictions_is_random_too(tmp_path: Path) -> None:
    class Sampling(layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs + keras.random.normal(keras.ops.shape(inputs))

    def build(hp: Any) -> Any:
        return dense(layers.Dense(4), Sampling(), shape=(4,), loss="mse", metrics=[])

    result = refitted(spec_of(build, mt.Data(*[(INPUTS, INPUTS)] * 3)), tmp_path)
    for name in ("mae", "r2", "loss"):
        assert f"{name} (" in (result.note or "").partition("random: ")[2]
    assert {one.outcome for one in result.checks} == {Outcome.PASSED, Outcome.WARNED}
