"""Outputs are paired as Keras pairs them; task and what counts follow from loss and last layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn import metrics

from modeltune.engine.data.loading import Part
from modeltune.engine.score.integrity import check_model
from modeltune.engine.score.scoring import (
    dummy_gain,
    evaluate,
    predict,
    refit_samples,
    score_predictions,
    targets,
)
from modeltune.engine.score.shown_samples import examples
from modeltune.engine.score.task_report import OutputTask, report
from modeltune.records.verdicts import Outcome

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 6)).astype("float32")
Y = np.arange(30) % 3
LONG = RANDOM.integers(1, 9, (30, 5))
LONG[np.arange(5) >= RANDOM.integers(1, 5, 30)[:, None]] = 0
REAL = LONG > 0
TAGS = np.where(REAL, LONG % 2, 0)


def part(x: Any, y: Any, weight: Any = None) -> Part:
    return Part("test", len(keras.tree.flatten(y)[0]), "", x=x, y=y, sample_weight=weight)


def compiled(model: Any, loss: Any, **options: Any) -> Any:
    model.compile(None, loss=loss, run_eagerly=True, **options)
    return model


def flat(*made: Any, loss: Any, shape: tuple[int, ...] = (6,), **options: Any) -> Any:
    return compiled(keras.Sequential([keras.Input(shape), *made]), loss, **options)


def tagger(loss: Any = "sparse_categorical_crossentropy", **options: Any) -> Any:
    """Return a model that predicts a tag for each step; zeros are padding."""
    keras.utils.set_random_seed(1)
    embedding = layers.Embedding(9, 3, mask_zero=True)
    made = embedding, layers.Dense(2, activation="softmax")
    return flat(*made, loss=loss, shape=(5,), **options)


# Structures


def names_after_their_order() -> Any:
    inputs = keras.Input((6,))
    late = layers.Dense(1, name="a")(inputs)
    early = layers.Dense(3, activation="softmax", name="b")(inputs)
    return inputs, early, late


STRUCTURES: dict[str, Callable[[Any, Any], Any]] = {
    "list": lambda kind, size: [kind, size],
    "dict": lambda kind, size: {"b": kind, "a": size},
    "other keys": lambda kind, size: {"first": kind, "second": size},
    "nested": lambda kind, size: {"z": {"deep": kind}, "a": {"inner": size}},
}
LOSSES = "sparse_categorical_crossentropy", "mae"


@pytest.mark.parametrize("outputs", STRUCTURES)
def test_report_and_dummy_follow_the_pairs_that_keras_makes(outputs: str) -> None:
    inputs, kind, size = names_after_their_order()
    make = STRUCTURES[outputs]
    # Keras packs a flat list in sorted order of the keys, so the losses are written so too.
    losses = keras.tree.flatten(make(*LOSSES)) if outputs == "dict" else make(*LOSSES)
    model = compiled(keras.Model(inputs, make(kind, size)), losses)
    test = part(X, make(Y, X[:, :1]))
    predictions, scores = predict(model, test, 8), evaluate(model, test, 8)
    assert [o.task for o in sorted(predictions.outputs, key=lambda o: o.name, reverse=True)] in (
        [OutputTask.MULTICLASS, OutputTask.REGRESSION],
        [OutputTask.REGRESSION, OutputTask.MULTICLASS],
    )
    classes = next(o for o in predictions.outputs if o.task is OutputTask.MULTICLASS)
    numbers = next(o for o in predictions.outputs if o.task is OutputTask.REGRESSION)
    assert np.array_equal(classes.y, Y)
    assert np.array_equal(numbers.y, X[:, :1])
    own = [output.predicted for output in predictions.outputs]
    assert score_predictions(model, predictions, own, "loss") == pytest.approx(
        scores["loss"], rel=1e-5
    )
    assert dummy_gain(model, test, predictions, scores["loss"], "loss") < 1
    reported = report(predictions.outputs)[0][f"{numbers.prefix}mae"]
    assert reported == pytest.approx(metrics.mean_absolute_error(numbers.y, numbers.predicted))


class Pair(keras.Model):
    """A subclassed model of a tuple, whose outputs have no names."""

    def __init__(self) -> None:
        super().__init__()
        self.kind, self.size = layers.Dense(3, activation="softmax"), layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.kind(x), self.size(x)


@pytest.mark.parametrize("losses", [list(LOSSES), LOSSES])
def test_a_tuple_without_names_is_paired_by_place(losses: Any) -> None:
    model = compiled(Pair(), losses)
    test = part(X, (Y, X[:, :1]))
    predictions = predict(model, test, 8)
    assert [o.task for o in predictions.outputs] == [OutputTask.MULTICLASS, OutputTask.REGRESSION]
    loss = evaluate(model, test, 8)["loss"]
    own = [output.predicted for output in predictions.outputs]
    assert score_predictions(model, predictions, own, "loss") == pytest.approx(loss, rel=1e-5)


def test_a_list_of_targets_for_a_dict_of_outputs_goes_by_sorted_keys() -> None:
    inputs, kind, size = names_after_their_order()
    model = compiled(keras.Model(inputs, {"b": kind, "a": size}), list(LOSSES[::-1]))
    (first, second) = predict(model, part(X, [X[:, :1], Y]), 8).outputs
    assert (first.name, first.path, first.task) == ("a", "0", OutputTask.REGRESSION)
    assert (second.name, second.path, second.task) == ("b", "1", OutputTask.MULTICLASS)


# Tasks

ONE_HOT = np.eye(3)[Y]
TASKS: list[tuple[str, Any, str | None, Any, OutputTask]] = [
    ("labels of a multi-label part that look exclusive", "binary_crossentropy", "sigmoid", ONE_HOT, OutputTask.MULTILABEL),
    ("one against the rest by logits", keras.losses.BinaryCrossentropy(from_logits=True), None, ONE_HOT, OutputTask.MULTILABEL),
    ("binary crossentropy on a softmax", "binary_crossentropy", "softmax", ONE_HOT, OutputTask.MULTICLASS),
    ("squares on a softmax", "mse", "softmax", ONE_HOT, OutputTask.MULTICLASS),
    ("squares of numbers that are 0 or 1", "mse", None, ONE_HOT, OutputTask.REGRESSION),
    ("a sigmoid that is a range", "mse", "sigmoid", ONE_HOT, OutputTask.REGRESSION),
    ("dice of a sigmoid", "dice", "sigmoid", ONE_HOT, OutputTask.MULTILABEL),
    ("a loss of the user's on a softmax", lambda y, p: keras.ops.mean(abs(y - p)), "softmax", ONE_HOT, OutputTask.MULTICLASS),
    ("a partial of Keras's", partial(keras.losses.binary_crossentropy, label_smoothing=0.1), "sigmoid", ONE_HOT, OutputTask.MULTILABEL),
    ("crossentropy of whole numbers", "crossentropy", "softmax", Y, OutputTask.MULTICLASS),
    ("shares, as of an autoencoder's pixels", "binary_crossentropy", "sigmoid", ONE_HOT * 0.9, OutputTask.REGRESSION),
    ("shares by logits", keras.losses.BinaryCrossentropy(from_logits=True), None, ONE_HOT * 0.9, OutputTask.REGRESSION),
    ("circle, whose predictions are no classes", "circle", None, Y, OutputTask.OTHER),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "head", "y", "task"), [case[1:] for case in TASKS],
                         ids=[case[0] for case in TASKS])  # fmt: skip
def test_loss_and_last_layer_say_what_an_output_does(
    loss: Any, head: str | None, y: Any, task: OutputTask
) -> None:
    model = flat(layers.Dense(3, activation=head), loss=loss)
    (output,) = predict(model, part(X, y), 30).outputs
    assert output.task is task


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
def test_targets_that_repeat_the_input_are_numbers_and_nothing_is_called_wrong(
    as_stream: bool,
) -> None:
    pixels = (X > 0).astype("float32")
    logits = keras.losses.BinaryCrossentropy(from_logits=True)
    model = flat(layers.Dense(6), loss=logits)
    test = part(pixels, pixels)
    if as_stream:
        test = Part(
            "test", 30, "", stream=tf.data.Dataset.from_tensor_slices((pixels, pixels)).batch(8)
        )
    predictions = predict(model, test, 8)
    (output,) = predictions.outputs
    assert output.task is OutputTask.REGRESSION
    numbers, tables = report(predictions.outputs)
    shares = 1 / (1 + np.exp(-output.predicted.astype(float)))
    assert numbers["mse"] == pytest.approx(np.square(shares - pixels).mean(), rel=1e-5)
    assert "per_class" not in tables["output"]
    document: Any = examples(test, predictions.outputs)
    assert document["wrong"] is None
    scores = evaluate(model, test, 8)
    gain = dummy_gain(model, part(pixels, pixels), predictions, scores["loss"], "loss")
    share = pixels.mean(axis=0)
    dummy = -(share * np.log(share) + (1 - share) * np.log(1 - share)).mean()
    assert gain == pytest.approx((scores["loss"] - dummy) / (0 - dummy), rel=1e-3)


def test_a_sigmoid_for_each_class_need_not_sum_to_one() -> None:
    model = flat(layers.Dense(3, activation="sigmoid"), loss="binary_crossentropy")
    test = part(X, ONE_HOT)
    checks = check_model(model, model, test, 8, evaluate(model, test, 8))
    (verdict,) = [check for check in checks if check.gate == "integrity.probabilities"]
    assert verdict.outcome is Outcome.PASSED


# What counts


def test_masked_steps_count_nowhere() -> None:
    model = tagger(metrics=["accuracy"])
    test = part(LONG, TAGS)
    predictions, scores = predict(model, test, 8), evaluate(model, test, 8)
    told = model.predict_on_batch(LONG).argmax(-1)
    numbers, tables = report(predictions.outputs)
    assert numbers["recall"] == pytest.approx(
        metrics.recall_score(TAGS[REAL], told[REAL], average="macro")
    )
    confusion = np.array(tables["output"]["confusion"])
    assert confusion.tolist() == metrics.confusion_matrix(TAGS[REAL], told[REAL]).tolist()
    assert np.trace(confusion) / confusion.sum() == pytest.approx(scores["accuracy"])
    document: Any = examples(test, predictions.outputs)
    for shown in document["samples"]:
        row = shown["index"]
        missed = (told[row] != TAGS[row])[REAL[row]].mean()
        assert shown["outputs"]["output"]["error"] == pytest.approx(missed, abs=1e-5)


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_a_model_that_says_the_shares_of_unmasked_steps_gains_nothing(metric: str) -> None:
    share = TAGS[REAL].mean()
    bias = np.log([1 - share, share])
    model = tagger(metrics=["accuracy"])
    model.layers[-1].set_weights([np.zeros((3, 2)), bias])
    test = part(LONG, TAGS)
    score = evaluate(model, test, 8)[metric]
    gain = dummy_gain(model, test, predict(model, test, 8), score, metric)
    assert gain == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("loss", [
    keras.losses.SparseCategoricalCrossentropy(ignore_class=0),
    partial(keras.losses.sparse_categorical_crossentropy, ignore_class=0),
], ids=["object", "partial"])  # fmt: skip
def test_a_class_that_the_loss_ignores_counts_nowhere(loss: Any) -> None:
    model = flat(layers.Dense(3, activation="softmax"), loss=loss)
    test = part(X, Y)
    predictions, scores = predict(model, test, 8), evaluate(model, test, 8)
    kept, told = Y > 0, model.predict_on_batch(X).argmax(1)
    numbers, _ = report(predictions.outputs)
    assert numbers["f1"] == pytest.approx(
        metrics.f1_score(Y[kept], told[kept], labels=[1, 2], average="macro")
    )
    samples = refit_samples(model, predictions, scores, targets(model, test, predictions))
    assert samples is not None
    assert samples.classes[""] == [1, 2]
    assert samples.score("f1", 0) == pytest.approx(numbers["f1"])
    assert samples.score("loss", 0) == pytest.approx(scores["loss"], rel=1e-5)
    document: Any = examples(test, predictions.outputs)
    assert document["of"] == kept.sum()
    assert all(kept[shown["index"]] for shown in document["samples"])


@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_samples_without_weight_are_not_reported(task: str) -> None:
    weight = (np.arange(30) % 4 > 0).astype("float32")
    kept = weight > 0
    if task == "classes":
        model = flat(layers.Dense(3, activation="softmax"), loss="sparse_categorical_crossentropy")
        test = part(X, Y, weight)
        expected = metrics.precision_score(
            Y[kept], model.predict_on_batch(X).argmax(1)[kept], average="macro", zero_division=0
        )
    else:
        model = flat(layers.Dense(2), loss="mse")
        test = part(X, X[:, :2], weight)
        expected = metrics.r2_score(X[kept, :2], model.predict_on_batch(X)[kept])
    predictions = predict(model, test, 8)
    name = "precision" if task == "classes" else "r2"
    numbers, _ = report(predictions.outputs)
    assert numbers[name] == pytest.approx(expected, rel=1e-5)
    scores = evaluate(model, test, 8)
    samples = refit_samples(model, predictions, scores, targets(model, test, predictions))
    assert samples is not None
    assert samples.score(name, 0) == pytest.approx(expected, rel=1e-5)
    assert samples.score("loss", 0) == pytest.approx(scores["loss"], rel=1e-5)


def test_numbers_of_masked_steps_are_pooled_as_keras_pools_them() -> None:
    keras.utils.set_random_seed(1)
    embedding = layers.Embedding(9, 3, mask_zero=True)
    model = flat(embedding, layers.Dense(1), loss="mse", shape=(5,), metrics=["mae"])
    test = part(LONG, (LONG / 9)[..., None].astype("float32"))
    numbers, _ = report(predict(model, test, 8).outputs)
    assert numbers["mae"] == pytest.approx(evaluate(model, test, 8)["mae"], rel=1e-5)
