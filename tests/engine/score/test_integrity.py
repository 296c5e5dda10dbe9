"""A model that forgets, draws, mixes rows or is not what was reported is found out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from modeltune.engine.data.loading import Part
from modeltune.engine.fit.states import load_weights, save_weights
from modeltune.engine.score.integrity import check_model
from modeltune.engine.score.scoring import evaluate, predict
from modeltune.engine.score.task_report import report
from modeltune.records.check_details import MetricPairs
from modeltune.records.plain_data import plain
from modeltune.records.verdicts import Outcome, Verdict
from tests.support.small_models import LABELS, PATIENTS, PIXELS, PROGRESS, dense
from tests.support.verdicts import details_of

X, Y = PIXELS[:90], LABELS[:90]
GATES = ["evaluate", "round_trip", "predict_twice", "single_row", "probabilities"]

Builder = Callable[[], Any]


class Noise(layers.Layer):
    """Draws at inference too, as the sampling layer of a variational autoencoder does."""

    def __init__(self, draw: Callable[..., Any], seed: Any = None):
        super().__init__()
        self.draw, self.seed = draw, seed

    def call(self, inputs: Any) -> Any:
        shape = keras.ops.shape(inputs)
        noise = self.draw(shape) if self.seed is None else self.draw(shape, seed=self.seed)
        return inputs + noise * 0.1


class LeftOn(layers.Dropout):
    """A Dropout called with training=True."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs, training=True)


class Counter(layers.Layer):
    """Counts its calls, and draws if asked to."""

    def __init__(self, noise: float = 0.0):
        super().__init__()
        self.noise = noise
        self.count = self.add_weight(initializer="zeros", trainable=False)

    def call(self, inputs: Any) -> Any:
        self.count.assign_add(1.0)
        drawn = keras.random.normal(keras.ops.shape(inputs)) * self.noise
        return inputs * self.count + drawn


@keras.saving.register_keras_serializable()
class BatchMean(layers.Layer):
    """Normalises over the batch at inference too, as BatchNormalization with training=True."""

    def call(self, inputs: Any) -> Any:
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)


class Constant(layers.Layer):
    """Keeps a number that is drawn when it is made, outside its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = float(np.random.default_rng().normal())

    def call(self, inputs: Any) -> Any:
        return inputs * self.drawn


def part(x: Any = X, y: Any = Y, weight: Any = None) -> Part:
    return Part("test", len(y), "", x=x, y=y, sample_weight=weight)


def stream(dataset: Any, size: int = 90) -> Part:
    return Part("test", size, "", stream=dataset)


def softmax(*before: Any) -> Any:
    return dense(*before, layers.Dense(10, activation="softmax"))


def reported(model: Any, test: Part) -> dict[str, float]:
    return {**report(predict(model, test, 16).outputs)[0], **evaluate(model, test, 16)}


def checked(
    build: Builder, tmp_path: Path, test: Part | None = None, changed: Mapping[str, float] | None = None
) -> dict[str, Verdict]:  # fmt: skip
    """Return the verdicts on a model and its copy by gate, without their prefix."""
    keras.utils.set_random_seed(3)
    test = test or part()
    model, restored = build(), build()
    scores = {**reported(model, test), **(changed or {})}
    save_weights(model, tmp_path / "model.weights.h5")
    load_weights(restored, tmp_path / "model.weights.h5")
    verdicts = check_model(model, restored, test, 16, scores)
    assert [one.gate for one in verdicts] == [f"integrity.{name}" for name in GATES]
    json.dumps(plain([one.details for one in verdicts]))
    return {one.gate.removeprefix("integrity."): one for one in verdicts}


def outcomes(verdicts: Mapping[str, Verdict]) -> dict[str, Outcome]:
    return {name: one.outcome for name, one in verdicts.items()}


SOUND = dict.fromkeys(GATES, Outcome.PASSED)


def mixed(policy: str) -> Builder:
    def build() -> Any:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return softmax(layers.Dense(32, "relu"), layers.BatchNormalization())
        finally:
            keras.config.set_dtype_policy(before)

    return build


def convolutional() -> Any:
    return dense(
        layers.Reshape((8, 8, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    )


MODELS: dict[str, tuple[Builder, Part]] = {
    "dense": (softmax, part()),
    "convolutional": (convolutional, part()),
    "weighted": (softmax, part(weight=np.linspace(0, 2, 90))),
    "float16": (mixed("mixed_float16"), part()),
    "bfloat16": (mixed("mixed_bfloat16"), part()),
    "one-hot": (
        lambda: dense(
            layers.Dense(10, activation="softmax"), loss="categorical_crossentropy"
        ),
        part(y=np.eye(10)[Y]),
    ),
    "logits": (
        lambda: dense(
            layers.Dense(10), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ),
        part(),
    ),
    "sigmoid": (
        lambda: dense(layers.Dense(1, activation="sigmoid"), loss="binary_crossentropy"),
        part(y=Y % 2),
    ),
    "hinge": (lambda: dense(layers.Dense(10), loss="categorical_hinge"), part(y=np.eye(10)[Y])),
    "regression": (
        lambda: dense(layers.Dense(1), shape=(10,), loss="mse", metrics=["mae", "mse"]),
        part(PATIENTS[:90], 1e4 + PROGRESS[:90]),
    ),
    "stream": (softmax, stream(tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(90).batch(16))),
    "fixed batches": (
        lambda: _compiled(keras.Input((64,), batch_size=30)),
        Part("test", 90, "", stream=tf.data.Dataset.from_tensor_slices((X, Y)).batch(30)),
    ),
}  # fmt: skip


def _compiled(inputs: Any) -> Any:
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(inputs))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class Subclassed(keras.Model):
    """Has no inputs to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.head = layers.Dense(10, activation="softmax")

    def call(self, inputs: Any) -> Any:
        return self.head(inputs)


def subclassed() -> Any:
    model = Subclassed()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.predict_on_batch(X[:2])
    return model


MODELS["subclassed"] = (subclassed, part())


@pytest.mark.parametrize("name", MODELS)
def test_a_sound_model_passes_every_check(name: str, tmp_path: Path) -> None:
    build, test = MODELS[name]
    verdicts = checked(build, tmp_path, test)
    assert outcomes(verdicts) == SOUND, verdicts
    assert details_of(verdicts["evaluate"], MetricPairs).metrics or name == "hinge"


def test_a_trained_model_passes_every_check(tmp_path: Path) -> None:
    models: list[Any] = []

    def build() -> Any:
        models.append(convolutional())
        if len(models) == 1:  # the second is the copy that gets the weights of the first
            models[0].fit(X, Y, epochs=2, batch_size=16, verbose=0)
        return models[-1]

    assert outcomes(checked(build, tmp_path)) == SOUND


# one fault, one red check


def test_a_score_that_the_predictions_do_not_have_is_failed(tmp_path: Path) -> None:
    check = checked(softmax, tmp_path, changed={"accuracy": 0.9})["evaluate"]
    assert check.outcome is Outcome.FAILED
    accuracy = details_of(check, MetricPairs).metrics["accuracy"].predictions
    assert f"accuracy is 0.9 in the report and {accuracy:.6g} from its predictions" in check.reason
    assert check.measured == pytest.approx(0.9 - accuracy)


def test_a_model_reported_with_the_labels_of_other_rows_is_failed(tmp_path: Path) -> None:
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(90, seed=1).batch(16)
    test = stream(rows)
    model = softmax()
    model.optimizer.learning_rate = 0.5
    model.fit(X, Y, epochs=15, batch_size=30, verbose=0)
    models = iter([model, softmax()])
    labels = np.concatenate([y for _, y in rows])
    misaligned = float((model.predict(rows, verbose=0).argmax(1) == labels).mean())
    assert misaligned < 0.5 < reported(model, test)["accuracy"]
    check = checked(lambda: next(models), tmp_path, test, {"accuracy": misaligned})["evaluate"]
    assert check.outcome is Outcome.FAILED
    assert "does the dataset yield the same samples" in check.reason


def test_an_error_off_by_a_percent_is_failed() -> None:
    build, _ = MODELS["regression"]
    test = part(PATIENTS[:90], PROGRESS[:90])
    keras.utils.set_random_seed(3)
    model = build()
    scores = reported(model, test)
    for metric in ("mae", "mse"):
        changed = scores | {metric: 1.01 * scores[metric]}
        check = check_model(model, model, test, 16, changed)[0]
        assert check.gate == "integrity.evaluate"
        assert check.outcome is Outcome.FAILED
        assert metric in check.reason


def test_a_metric_of_another_definition_is_not_compared(tmp_path: Path) -> None:
    def accuracy(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.mean(y_pred, axis=-1)

    def build() -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=[accuracy])

    check = checked(build, tmp_path)["evaluate"]
    assert check.outcome is Outcome.PASSED
    assert check.reason.startswith("nothing to compare")


def test_weighted_metrics_are_not_compared(tmp_path: Path) -> None:
    def build() -> Any:
        model = softmax()
        loss = "sparse_categorical_crossentropy"
        model.compile("sgd", loss, weighted_metrics=["accuracy"])
        return model

    test = part(weight=np.linspace(0, 2, 90))
    check = checked(build, tmp_path, test)["evaluate"]
    assert (check.outcome, details_of(check, MetricPairs).metrics) == (Outcome.PASSED, {})


def test_steps_that_keras_masks_are_not_compared(tmp_path: Path) -> None:
    def build() -> Any:
        inputs = keras.Input((6,), dtype="int32")
        hidden = layers.Embedding(8, 4, mask_zero=True)(inputs)
        model = keras.Model(inputs, layers.Dense(3, activation="softmax")(hidden))
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    x = np.random.default_rng(0).integers(0, 8, (40, 6))
    assert outcomes(checked(build, tmp_path, part(x, x % 3))) == SOUND


DRAWS: dict[str, Callable[[], layers.Layer]] = {
    "own generator": lambda: Noise(keras.random.normal, keras.random.SeedGenerator(1)),
    "the generator of Keras": lambda: Noise(keras.random.normal),
    "operation of TensorFlow": lambda: Noise(tf.random.normal),
    "generator of TensorFlow": lambda: Noise(tf.random.Generator.from_seed(3).normal),
}


def eager(layer: layers.Layer) -> Any:
    model = softmax(layer)
    model.run_eagerly = True
    return model


@pytest.mark.parametrize(
    ("draws", "build"), [*((draws, softmax) for draws in DRAWS), ("own generator", eager)]
)
def test_predictions_that_are_random_are_said_to_be_and_nothing_more(
    draws: str, build: Any, tmp_path: Path
) -> None:
    checks = checked(lambda: build(DRAWS[draws]()), tmp_path)
    assert checks["predict_twice"].outcome is Outcome.WARNED
    assert "the model draws random numbers" in checks["predict_twice"].reason
    assert ("(noise" in checks["predict_twice"].reason) == (draws == "own generator")
    others = {name: check.outcome for name, check in checks.items() if name != "predict_twice"}
    assert others == dict.fromkeys(others, Outcome.PASSED)
    assert "and equal random numbers: no difference" in checks["round_trip"].reason


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (
            lambda: LeftOn(0.2, name="left"),
            "left draws random numbers at inference, as is meant for",
        ),
        (Counter, "the model changes its state at inference"),
        (lambda: Counter(0.1), "the model changes its state at inference"),
    ],
    ids=["left on", "counts", "counts and draws"],
)
def test_a_model_that_changes_at_inference_is_failed(layer: Any, why: str, tmp_path: Path) -> None:
    checks = checked(lambda: softmax(layer()), tmp_path)
    assert checks["predict_twice"].outcome is Outcome.FAILED
    assert "two predictions of the same 80 rows" in checks["predict_twice"].reason
    assert why in checks["predict_twice"].reason
    for consequence in ("round_trip", "single_row"):
        assert checks[consequence].outcome is Outcome.INCONCLUSIVE


def test_state_that_is_not_saved_is_failed(tmp_path: Path) -> None:
    checks = checked(lambda: softmax(Constant()), tmp_path)
    assert checks["round_trip"].outcome is Outcome.FAILED
    assert "a newly built model with the saved weights gives other predictions" in checks["round_trip"].reason  # fmt: skip
    assert outcomes(checks) == SOUND | {"round_trip": Outcome.FAILED}


def test_rows_that_depend_on_their_batch_are_failed(tmp_path: Path) -> None:
    checks = checked(lambda: softmax(BatchMean()), tmp_path)
    assert outcomes(checks) == SOUND | {"single_row": Outcome.FAILED}
    assert "depends on its batch" in checks["single_row"].reason


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_batch_is_noticed_in_half_precision_too(policy: str, tmp_path: Path) -> None:
    def build() -> Any:
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            return softmax(layers.Dense(32), BatchMean())
        finally:
            keras.config.set_dtype_policy(before)

    assert checked(build, tmp_path)["single_row"].outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("activation", "reason"),
    [("linear", "no probability"), ("sigmoid", "over the classes, not to 1, in 90 of 90 rows")],
)
def test_a_loss_on_probabilities_needs_probabilities(
    activation: str, reason: str, tmp_path: Path
) -> None:
    checks = checked(lambda: dense(layers.Dense(10, activation=activation)), tmp_path)
    assert outcomes(checks) == SOUND | {"probabilities": Outcome.FAILED}
    assert reason in checks["probabilities"].reason


def test_a_prediction_that_is_not_finite_is_failed(tmp_path: Path) -> None:
    x = X.copy()
    x[7] = math.inf
    check = checked(softmax, tmp_path, part(x))["probabilities"]
    assert check.outcome is Outcome.FAILED
    assert check.reason == "the output is not finite in 1 of 90 rows, first in row 7"


def test_a_prediction_without_target_that_is_not_finite_is_failed(tmp_path: Path) -> None:
    model = dense(layers.Dense(2), shape=(2,), loss=None, metrics=[])
    x = np.full((40, 2), np.inf, "float32")
    verdicts = check_model(model, model, Part("test", 40, "", x=x), 16, {})
    assert verdicts[-1].reason == "the output is not finite in 40 of 40 rows, first in row 0"


def test_a_check_that_crashes_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    model = softmax()
    scores = reported(model, part())

    class Broken:
        """Fails when asked to predict."""

        def predict_on_batch(self, x: Any) -> Any:
            raise RuntimeError("no weights\nat all")

    checks = {v.gate: v for v in check_model(model, Broken(), part(), 16, scores)}
    assert checks["integrity.round_trip"].outcome is Outcome.ERROR
    assert checks["integrity.round_trip"].reason == "the check raised RuntimeError: no weights"
    assert sum(one.outcome is Outcome.PASSED for one in checks.values()) == 4


def test_predictions_at_hand_are_not_made_again() -> None:
    model = softmax()
    test = part()
    predictions = predict(model, test, 16)
    flipped = [replace(o, predicted=o.predicted[::-1]) for o in predictions.outputs]
    scores = reported(model, test)
    checks = check_model(model, model, test, 16, scores, replace(predictions, outputs=flipped))
    assert checks[0].outcome is Outcome.FAILED


def test_several_outputs_are_checked_by_name(tmp_path: Path) -> None:
    def build() -> Any:
        inputs = keras.Input((64,))
        digit = layers.Dense(10, activation="softmax", name="digit")(inputs)
        ink = layers.Dense(1, name="ink")(inputs)
        model = keras.Model(inputs, [digit, ink])
        losses = {"digit": "sparse_categorical_crossentropy", "ink": "mse"}
        model.compile("sgd", losses, metrics={"digit": ["accuracy"], "ink": ["mae"]})
        return model

    test = Part("test", 90, "", x=X, y=(Y, X.mean(1)))
    checks = checked(build, tmp_path, test)
    assert outcomes(checks) == SOUND
    assert list(details_of(checks["evaluate"], MetricPairs).metrics) == [
        "digit_accuracy",
        "ink_mae",
    ]
    assert checked(build, tmp_path, test, {"ink_mae": 9})["evaluate"].outcome is Outcome.FAILED


# the refits
