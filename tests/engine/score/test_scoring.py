"""Scores are Keras's own, the report is of aligned rows, and a dummy scores what a dummy must."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers
from sklearn import metrics

import modeltune as mt
from modeltune.engine.data.groups import BatchGroups
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.score import task_samples
from modeltune.engine.score.scoring import (
    PartPredictions,
    dummy_gain,
    evaluate,
    predict,
    random_metrics,
    refit_samples,
)
from modeltune.engine.score.slice_masks import check_slices
from modeltune.engine.score.task_report import Output, OutputTask, Target, report, report_names
from modeltune.engine.score.task_samples import note_on_width
from modeltune.records.confusion import confusion_from_json
from modeltune.records.samples import Samples, pack_samples, unpack_samples
from modeltune.specs.gates import On
from tests.support.small_models import LABELS, PATIENTS, PIXELS, PROGRESS, dense, spec_of

X, Y = PIXELS[:90], LABELS[:90]


def part(x: Any = X, y: Any = Y, weight: Any = None) -> Part:
    return Part("test", len(next(iter(keras.tree.flatten(y)))), "", x=x, y=y, sample_weight=weight)


def stream(dataset: Any) -> Part:
    return Part("test", 90, "", stream=dataset)


@pytest.fixture(scope="module")
def classifier() -> Any:
    keras.utils.set_random_seed(1)
    model = dense(layers.Dense(10, activation="softmax"))
    model.fit(PIXELS[90:400], LABELS[90:400], epochs=12, batch_size=16, verbose=0)
    return model


def constant(outputs: list[float], activation: str | None = None, **options: Any) -> Any:
    """Return a model that predicts these numbers for everything."""
    return dense(
        layers.Dense(
            len(outputs),
            activation=activation,
            kernel_initializer="zeros",
            bias_initializer=lambda shape, dtype: keras.ops.convert_to_tensor(outputs, dtype),
        ),
        **options,
    )


def identity(width: int, **options: Any) -> Any:
    """Return a model that predicts its inputs."""
    return dense(layers.Activation("linear"), shape=(width,), **options)


def output(
    y: Any, predicted: Any, task: OutputTask, from_logits: bool = False, name: str = ""
) -> Output:
    return Output(name, "", task, from_logits, np.asarray(y), np.asarray(predicted))


# evaluate


@pytest.mark.parametrize("weighted", [False, True])
def test_a_metric_is_what_evaluate_returns(classifier: Any, weighted: bool) -> None:
    weight = np.linspace(0, 2, 90) if weighted else None
    expected = classifier.evaluate(X, Y, sample_weight=weight, batch_size=16, verbose=0)
    scores = evaluate(classifier, part(weight=weight), 16)
    assert [scores["loss"], scores["accuracy"]] == expected


def test_a_stream_is_evaluated_as_it_is(classifier: Any) -> None:
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    assert evaluate(classifier, stream(dataset), 99) == evaluate(classifier, part(), 16)


# aligned


def test_a_function_that_yields_batches_is_evaluated_to_its_end_without_a_warning(
    classifier: Any,
) -> None:
    def batches() -> Any:
        yield X[:50], Y[:50]
        yield X[50:], Y[50:]

    data = load_data(spec_of(data=mt.Data(batches, batches, batches)))
    assert data.test.size == 90
    expected = evaluate(classifier, part(), 50)
    assert evaluate(classifier, data.test, 50) == pytest.approx(expected, rel=1e-6)


def test_rows_of_a_reshuffling_dataset_stay_with_their_labels(classifier: Any) -> None:
    rows = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(90, reshuffle_each_iteration=True)
    shuffled = stream(rows.batch(16))
    first, second = (predict(classifier, shuffled, 16).outputs[0].y for _ in "ab")
    assert first.tolist() != second.tolist()
    numbers, tables = report(predict(classifier, shuffled, 16).outputs)
    accuracy = evaluate(classifier, shuffled, 16)["accuracy"]
    confusion = np.array(tables["output"]["confusion"])
    assert accuracy > 0.5
    assert np.trace(confusion) / confusion.sum() == pytest.approx(accuracy)
    assert (numbers, tables) == report(predict(classifier, part(), 16).outputs)


def test_weights_of_a_reshuffling_dataset_stay_with_their_rows(classifier: Any) -> None:
    weight = np.linspace(0, 2, 90)
    rows = tf.data.Dataset.from_tensor_slices((X, Y, weight)).shuffle(90)
    gains = []
    for test in (stream(rows.batch(16)), part(weight=weight)):
        predictions = predict(classifier, test, 16)
        perfect = dummy_gain(classifier, part(), predictions, 0.0, "loss")
        gains.append(perfect)
    assert gains[0] == pytest.approx(gains[1], rel=1e-5)


# reports


def test_the_classes_table_is_scikit_learns(classifier: Any) -> None:
    outputs = predict(classifier, part(), 16).outputs
    numbers, tables = report(outputs)
    predicted = classifier.predict(X, verbose=0).argmax(1)
    expected = metrics.classification_report(Y, predicted, output_dict=True, zero_division=0)
    for row in tables["output"]["per_class"]:
        theirs = expected[str(row["class"])]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
            [theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"]]
        )
    macro = expected["macro avg"]
    assert numbers == pytest.approx(
        {"precision": macro["precision"], "recall": macro["recall"], "f1": macro["f1-score"]}
    )
    assert list(numbers) == report_names(outputs)[:3]


@pytest.mark.parametrize(
    ("shape", "logits", "predicted"),
    [
        ((4,), False, [0.2, 0.9, 0.6, 0.1]),
        ((4, 1), False, [0.2, 0.9, 0.6, 0.1]),
        ((4, 1), True, [-2, 3, 0.5, -1]),
    ],
)
def test_one_sigmoid_column_tells_two_classes(
    shape: tuple[int, ...], logits: bool, predicted: Any
) -> None:
    column = np.reshape(predicted, (4, 1))
    _, tables = report([output(np.reshape([0, 1, 0, 0], shape), column, OutputTask.BINARY, logits)])
    assert tables["output"]["confusion"] == [[2, 1], [0, 1]]


def test_one_hot_labels_are_classes() -> None:
    shares = np.array([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9]])
    one_hot, integer = (
        report([output(y, shares, OutputTask.MULTICLASS)])
        for y in (np.eye(2)[[0, 1, 1]], [0, 1, 1])
    )
    assert one_hot == integer
    assert one_hot[1]["output"]["confusion"] == [[1, 0], [1, 1]]


def test_multilabel_columns_are_judged_on_their_own() -> None:
    y = [[1, 1], [0, 1], [1, 0]]
    numbers, tables = report(
        [output(y, [[0.9, 0.8], [0.6, 0.7], [0.8, 0.1]], OutputTask.MULTILABEL)]
    )
    assert [row["precision"] for row in tables["output"]["per_class"]] == [2 / 3, 1.0]
    assert tables["output"]["confusion"] is None
    assert numbers["recall"] == 1.0


def test_the_groups_of_a_stream_are_those_of_the_samples_in_the_order_they_are_read() -> None:
    by_label = BatchGroups("groups", lambda x, y: [f"of {label}" for label in y])
    rows = tf.data.Dataset.from_tensor_slices((np.eye(10)[Y], Y)).shuffle(90)
    read = predict(identity(10), replace(stream(rows.batch(16)), groups_of=by_label), 16)
    truth = read.outputs[0].y
    assert read.groups is not None
    assert not np.array_equal(truth, Y)
    kept = task_samples.as_they_depend(Samples(90, 1), stream(rows), read.groups).clusters
    assert [len(set(truth[kept == one])) for one in range(10)] == [1] * 10


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
def test_metrics_that_draw_random_numbers_are_found(as_stream: bool) -> None:
    def noisy(y: Any, predicted: Any) -> Any:
        return keras.ops.mean(abs(y - predicted), axis=-1) + keras.random.uniform(())

    model = identity(3, loss="mse", metrics=["mae", noisy])
    y = np.ones((90, 3), "float32")
    test = part(y, y)
    if as_stream:
        test = stream(tf.data.Dataset.from_tensor_slices((y, y)).batch(16))
    assert [*random_metrics(model, test, 32)] == ["noisy"]


def test_the_labels_of_multilabel_samples_are_kept_as_the_classes_to_judge() -> None:
    model = constant([2.0, -2.0, 2.0], "sigmoid", loss="binary_crossentropy")
    y = np.zeros((90, 3))
    y[:40, 0] = y[:10, 1] = 1
    test, train = part(y=y), Target(np.array([[0, 0, 1.0]]))
    on_test = predict(model, test, 32)
    samples = refit_samples(model, on_test, evaluate(model, test, 32), {"": train})
    assert samples is not None
    assert samples.classes == {"": [0, 1, 2]}  # the last one has samples in train only
    assert [samples.class_score("recall", 0, label) for label in (0, 1)] == [1.0, 0.0]
    assert samples.class_score("precision", 0, 0) == pytest.approx(40 / 90)
    assert samples.score("recall", 0) == report(on_test.outputs)[0]["recall"] == 0.5


def test_a_matrix_of_many_classes_is_recorded_by_its_cells() -> None:
    true, answers = np.arange(200) % 40 * 7, np.arange(200) % 60
    _, tables = report([output(true, np.eye(300)[answers], OutputTask.MULTICLASS)])
    recorded = tables["output"]["confusion"]
    assert len(recorded["counts"]) == len(set(zip(true, answers, strict=True)))
    read = confusion_from_json(recorded)
    assert read is not None
    expected = metrics.confusion_matrix(true, answers, labels=range(300))
    assert read.corner(300) == expected.tolist()


def test_of_wide_targets_the_errors_of_each_sample_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = identity(20, loss="mse", metrics=["mae"])
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 20)).astype("float32")
    test = part(x, x + rng.normal(size=x.shape).astype("float32"))
    on_test = predict(model, test, 32)
    scores = {**report(on_test.outputs)[0], **evaluate(model, test, 32)}

    def samples() -> Any:
        return refit_samples(model, on_test, scores, {"": Target(test.y)})

    assert list(note_on_width(on_test.outputs)) == []
    assert samples().truth[""].shape == (50, 20)
    monkeypatch.setattr(task_samples, "MOST_NUMBERS_KEPT", 999)
    (note,) = note_on_width(on_test.outputs)
    assert note == (
        "the 20 numbers that each of 50 test samples has are not kept, but its mean errors: more than "
        "999 numbers would take too much room. Gates on rmse, r2, explained_variance compare refits, "
        "not samples, and have no slices; those on mae, mse and on compiled metrics are judged as ever"
    )
    kept = samples()
    assert (kept.truth[""].shape, kept.predicted) == ((50, 1), {})
    assert len(np.unique(kept.truth[""])) == 50
    for name in ("mae", "mse", "loss"):
        assert kept.score(name, 0) == pytest.approx(scores[name])
    assert kept.score("mse", 0, np.arange(9)) == pytest.approx(
        metrics.mean_squared_error(test.y[:9], x[:9])
    )
    assert (kept.score("r2", 0), kept.reported("r2")) == (None, None)
    assert unpack_samples(pack_samples(kept)).score("mse", 0) == kept.score("mse", 0)


def test_a_class_that_test_lacks_does_not_lower_the_averages() -> None:
    numbers, _ = report([output([0, 1], np.eye(3)[[0, 1]], OutputTask.MULTICLASS)])
    assert numbers == {"precision": 1.0, "recall": 1.0, "f1": 1.0}


@pytest.mark.parametrize("shape", [(90,), (90, 1)])
def test_a_column_of_predictions_is_compared_row_by_row(shape: tuple[int, ...]) -> None:
    y, predicted = PROGRESS[:90], PROGRESS[:90, None] + PATIENTS[:90, :1]
    numbers, _ = report([output(y.reshape(shape), predicted, OutputTask.REGRESSION)])
    flat = predicted[:, 0]
    assert numbers == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(y, flat),
            "mse": metrics.mean_squared_error(y, flat),
            "rmse": metrics.root_mean_squared_error(y, flat),
            "r2": metrics.r2_score(y, flat),
            "explained_variance": metrics.explained_variance_score(y, flat),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize(
    ("task", "y", "predicted"),
    [
        (OutputTask.REGRESSION, [1.0, 2.0], [[1.0], [math.nan]]),
        (OutputTask.MULTICLASS, [0, 1], [[0.5, 0.5], [math.nan, math.nan]]),
        (OutputTask.BINARY, [0, 1], [[math.inf], [0.1]]),
    ],
)
def test_predictions_that_are_not_finite_have_no_score(
    task: OutputTask, y: Any, predicted: Any
) -> None:
    numbers, _ = report([output(y, predicted, task)])
    assert numbers
    assert all(math.isnan(value) for value in numbers.values())


# tasks

LOSSES: list[tuple[Any, int, Any, OutputTask]] = [
    ("sparse_categorical_crossentropy", 10, Y, OutputTask.MULTICLASS),
    (keras.losses.SparseCategoricalCrossentropy(name="mine"), 10, Y, OutputTask.MULTICLASS),
    ("categorical_crossentropy", 10, np.eye(10)[Y], OutputTask.MULTICLASS),
    ("mse", 10, np.eye(10)[Y], OutputTask.REGRESSION),
    ("binary_crossentropy", 1, Y % 2, OutputTask.BINARY),
    (keras.losses.BinaryFocalCrossentropy(name="mine"), 1, Y % 2, OutputTask.BINARY),
    (keras.losses.BinaryCrossentropy(from_logits=True), 3, np.ones((90, 3)), OutputTask.MULTILABEL),
    (keras.losses.mean_absolute_error, 1, X[:, 20], OutputTask.REGRESSION),
    ("mse", 2, X[:, 20:22], OutputTask.REGRESSION),
    ("mse", 1, Y, OutputTask.REGRESSION),
]  # fmt: skip


@pytest.mark.parametrize(
    ("loss", "width", "y", "task"),
    LOSSES,
    ids=[f"{n}-{case[3].value}" for n, case in enumerate(LOSSES)],
)
def test_the_loss_says_what_an_output_does(loss: Any, width: int, y: Any, task: OutputTask) -> None:
    model = dense(layers.Dense(width), loss=loss, metrics=[])
    (output,) = predict(model, part(y=y), 90).outputs
    assert output.task is task


# gain over a dummy


def test_the_most_frequent_class_gains_nothing() -> None:
    y = np.array([0] * 6 + [1] * 3 + [2])
    model = constant([0.9, 0.05, 0.05])
    test = part(X[:10], y)
    scores = evaluate(model, test, 10)
    assert scores["accuracy"] == pytest.approx(0.6)
    gain = dummy_gain(model, test, predict(model, test, 10), scores["accuracy"], "accuracy")
    assert gain == 0


def test_class_shares_gain_nothing_in_loss() -> None:
    y = np.array([0] * 6 + [1] * 3 + [2])
    model = constant([0.6, 0.3, 0.1])
    test = part(X[:10], y)
    loss = evaluate(model, test, 10)["loss"]
    gain = dummy_gain(model, test, predict(model, test, 10), loss, "loss")
    assert gain == pytest.approx(0, abs=1e-5)


def test_logits_gain_as_probabilities_do() -> None:
    y = np.array([0] * 6 + [1] * 3 + [2])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = constant(np.log([0.6, 0.3, 0.1]).tolist(), loss=loss)
    test = part(X[:10], y)
    measured = evaluate(model, test, 10)["loss"]
    gain = dummy_gain(model, test, predict(model, test, 10), measured, "loss")
    assert gain == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("metric", "predicted"), [("mse", np.mean), ("mae", np.median)])
def test_the_better_of_mean_and_median_gains_nothing(metric: str, predicted: Any) -> None:
    y = np.array([0.0, 0.0, 1.0, 2.0, 30.0], dtype="float32")
    model = constant([float(predicted(y))], loss="mse", metrics=["mse", "mae"])
    test = part(X[:5], y)
    score = evaluate(model, test, 5)[metric]
    assert dummy_gain(model, test, predict(model, test, 5), score, metric) == pytest.approx(0)


PERFECT: dict[str, tuple[Any, Any, str, str]] = {
    "integers": (np.eye(3)[[0, 1, 2, 0]], [0, 1, 2, 0], "sparse_categorical_crossentropy", "f1"),
    "one-hot": (np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 1, 2, 0]], "categorical_crossentropy", "accuracy"),
    "sigmoid": ([[0.0], [1.0], [1.0]], [0, 1, 1], "binary_crossentropy", "accuracy"),
    "regression": ([[0.5], [1.5], [9.0]], [0.5, 1.5, 9.0], "mse", "r2"),
    "two columns": ([[0.5, 1], [1.5, 2], [9.0, 0]], [[0.5, 1], [1.5, 2], [9.0, 0]], "mse", "loss"),
}  # fmt: skip


@pytest.mark.parametrize("case", PERFECT)
def test_a_perfect_model_gains_everything(case: str) -> None:
    x, y, loss, metric = PERFECT[case]
    x, y = np.array(x, dtype="float32"), np.array(y)
    model = identity(x.shape[1], loss=loss)
    test = part(x, y)
    predictions = predict(model, test, 4)
    scores = {**report(predictions.outputs)[0], **evaluate(model, test, 4)}
    gain = dummy_gain(model, test, predictions, scores[metric], metric)
    assert gain == pytest.approx(1, abs=1e-6)


def test_where_a_dummy_is_perfect_there_is_no_gain_to_measure() -> None:
    model = constant([1.0, 0.0])
    test = part(X[:4], np.zeros(4, int))
    assert math.isnan(dummy_gain(model, test, predict(model, test, 4), 1.0, "accuracy"))


# several outputs


@pytest.fixture(scope="module", params=["list", "dict"])
def two_headed(request: pytest.FixtureRequest) -> Any:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((64,))
    digit = layers.Dense(10, activation="softmax", name="digit")(inputs)
    ink = layers.Dense(1, name="ink")(inputs)
    outputs = [digit, ink] if request.param == "list" else {"digit": digit, "ink": ink}
    model = keras.Model(inputs, outputs)
    losses = {"digit": "sparse_categorical_crossentropy", "ink": "mse"}
    model.compile("sgd", loss=losses, metrics={"digit": ["accuracy"], "ink": ["mae"]})
    return model


INK = PIXELS[:90].mean(1)


@pytest.mark.parametrize(
    "y",
    [{"ink": INK, "digit": Y}, (Y, INK), [Y, INK]],
    ids=["dict in another order", "tuple", "list"],
)
def test_outputs_are_named_and_paired_as_keras_does(two_headed: Any, y: Any) -> None:
    test = part(y=y)
    predictions = predict(two_headed, test, 16)
    assert {o.name: o.task for o in predictions.outputs} == {
        "digit": OutputTask.MULTICLASS,
        "ink": OutputTask.REGRESSION,
    }
    numbers, _ = report(predictions.outputs)
    scores = evaluate(two_headed, test, 16)
    assert numbers["ink_mae"] == pytest.approx(scores["ink_mae"], rel=1e-5)
    assert "digit_f1" in numbers
    for metric in ("loss", "digit_accuracy", "ink_r2"):
        value = {**numbers, **scores}[metric]
        assert dummy_gain(two_headed, test, predictions, value, metric) < 1


def test_predictions_carry_no_weights_where_the_part_has_none(classifier: Any) -> None:
    predictions = predict(classifier, part(), 16)
    assert isinstance(predictions, PartPredictions)
    assert predictions.sample_weight is None


def test_a_slice_over_a_frame_chooses_a_column_by_place_or_name() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0], "rooms": [3, 4]})
    part = frame, np.array([0, 1])
    data = load_data(spec_of(data=mt.Data(part, part, part)))
    old = [On("place", lambda x: x[:, 0] > 1), On("name", lambda x, y: x["age"] > y)]
    check_slices(old, data.test)
    with pytest.raises(mt.SpecError) as refused:
        check_slices([On("old", lambda x: x["ages"] > 1)], data.test)
    assert str(refused.value).endswith(
        "; it got x as an array of float64 of shape (2, 2), of the frame with the columns "
        'age (float64), rooms (int64): choose a column by its place, x[:, 0], or by name, x["age"]'
    )
