"""A spec is rehearsed on one batch: what cannot work is said, all of it, before any trial."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import LoadedData, Part, load_data
from modeltune.engine.dry_run import dry_run
from modeltune.engine.oracles import Oracle
from modeltune.engine.score.refit import train_refit
from modeltune.engine.score.scoring import predict
from modeltune.records.tasks import Failure, RefitTask
from modeltune.specs.spec_type import Spec
from tests.support.small_models import LABELS, PIXELS, dense, digits, softmax, spec_of

X, Y = PIXELS[:60], LABELS[:60]


class Poison(Part):
    """A test part of which only the labels' range may be looked at."""

    def batches(self, batch_size: int) -> Iterator[Any]:
        raise AssertionError("the test part was read")


def rehearsed(spec: Spec, folder: Path, data: LoadedData | None = None) -> Failure | None:
    return dry_run(spec, data or load_data(spec), Oracle(spec.search, folder)).failure


def refusal(spec: Spec, folder: Path) -> str:
    with pytest.raises(mt.SpecError) as refused:
        rehearsed(spec, folder)
    return str(refused.value)


def with_label(y: Any, label: Any) -> Any:
    changed = y.copy()
    changed[-1] = label
    return changed


def sigmoid(hp: Any) -> Any:
    return dense(layers.Dense(1, activation="sigmoid"), loss="binary_crossentropy")


RESOURCES = [
    mt.metric("parameters") >= 1,
    mt.metric("artifact_bytes") <= 1,
    mt.metric("latency_ratio") <= 2,
]


MEASURED = [
    "accuracy",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "ece",
    "f1",
    "false_positive_rate",
    "log_loss",
    "loss",
    "mcc",
    "precision",
    "recall",
    "roc_auc",
    "specificity",
    "top_3",
    "top_5",
]
"""The metrics of a model that tells ten classes apart."""

BESIDE = ["artifact_bytes", "flops", "latency_ratio", "negative_flips", "parameters"]
"""What gates may name besides."""


def error_of_ten(y_true: Any, y_pred: Any) -> Any:
    return y_pred.argmax(axis=1) != y_true


def accuracy(y_true: Any, y_pred: Any) -> Any:
    return y_pred.argmax(axis=1) == y_true


def test_usual_numbers_and_functions_are_known_by_name_and_a_name_is_given_once(
    tmp_path: Path,
) -> None:
    names = [*MEASURED[1:], "top_2"]
    sound = [*(mt.metric(name) >= 0 for name in names), mt.metric(error_of_ten) >= 0]
    assert rehearsed(spec_of(gates=sound), tmp_path / "a") is None
    error = refusal(spec_of(gates=[mt.metric(accuracy) >= 0]), tmp_path / "b")
    assert '"accuracy" is what tests/support/small_models.py::softmax measures' in error
    assert "give the function another name" in error


def test_a_sound_spec_is_not_refused_and_test_not_read(tmp_path: Path) -> None:
    spec = spec_of(gates=[mt.metric("f1") >= 0, mt.gap("loss") <= 9, *RESOURCES])
    data = load_data(spec)
    poisoned = replace(data, test=Poison("test", data.test.size, "", data.test.labels))
    assert rehearsed(spec, tmp_path, poisoned) is None


def test_objective_and_gates_are_refused_together_with_what_is_logged(tmp_path: Path) -> None:
    spec = spec_of(
        search=mt.RandomSearch(mt.maximize("val_auc")),
        gates=[mt.metric("auc") >= 0.5, mt.metric("accuracy") >= 0.5, mt.gap("parameters") <= 1],
    )
    assert refusal(spec, tmp_path).splitlines()[1:] == [
        '  search.objective: mt.maximize("val_auc") names no logged metric; logged: accuracy, loss, '
        "val_accuracy, val_loss. Compile the model with this metric, or name one of those logged",
        '  gates[0]: mt.metric("auc") >= 0.5: no metric "auc" in tests/support/small_models.py::softmax; '
        f"measured: {', '.join(sorted([*MEASURED, *BESIDE]))}",
        '  gates[2]: mt.gap("parameters") <= 1: no metric "parameters" in '
        f"tests/support/small_models.py::softmax; measured: {', '.join(MEASURED)}",
    ]


def labels(hp: Any) -> Any:
    model = dense(layers.Dense(3, activation="sigmoid"), loss="binary_crossentropy")
    model.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy", keras.metrics.AUC()])
    return model


def test_gates_on_classes_and_slices_that_cannot_be_measured_are_refused(tmp_path: Path) -> None:
    data = mt.Data(train=(X, (PIXELS[:60, 10:13] > 0.5) * 1.0))
    search = mt.RandomSearch(mt.minimize("val_loss"))
    sound = [mt.metric(name).per_class() >= 0 for name in ("f1", "binary_accuracy", "loss")]
    auc = mt.metric("auc").per_class() >= 0, mt.metric("auc").on("some", np.asarray) >= 0
    assert rehearsed(spec_of(labels, data, search=search, gates=sound), tmp_path / "a") is None
    said = refusal(spec_of(labels, data, search=search, gates=[*sound, *auc]), tmp_path / "b")
    assert 'gates[3]: mt.metric("auc").per_class' in said
    assert 'gates[4]: mt.metric("auc").on("some"' in said
    assert said.count("is computed of all test samples together") == 2


def test_gates_on_slices_that_wide_targets_do_not_tell_are_refused(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        return dense(layers.Dense(64), loss="mse", metrics=["mae"])

    part = (np.zeros((5000, 64), "float32"),) * 2
    data = mt.Data(part, part, part)
    search = mt.RandomSearch(mt.minimize("val_loss"))
    gates = [mt.metric(name).on("some", np.isfinite) >= 0 for name in ("mse", "mae", "r2")]
    said = refusal(spec_of(build, data, search=search, gates=gates), tmp_path)
    assert said.count("gates[") == 1
    assert (
        'gates[2]: mt.metric("r2").on("some", isfinite) >= 0: "r2" is computed of all numbers'
        in said
    )
    assert "gates[0]" not in said


def test_a_gate_on_classes_of_a_model_without_any_is_refused(tmp_path: Path) -> None:
    def line(hp: Any) -> Any:
        return dense(layers.Dense(1), loss="mse", metrics=["mae"])

    spec = spec_of(
        line,
        mt.Data(train=(X, X[:, 0] * 1.5)),
        search=mt.RandomSearch(mt.minimize("val_loss")),
        gates=[mt.metric("mae").per_class() <= 1],
    )
    assert "the model has no output with a class" in refusal(spec, tmp_path)


def test_scores_on_folds_exist_only_with_folds(tmp_path: Path) -> None:
    gates = [mt.metric("fold_accuracy") >= 0]
    assert 'no metric "fold_accuracy"' in refusal(spec_of(gates=gates), tmp_path / "a")
    assert rehearsed(spec_of(gates=gates, validation=mt.KFold(2)), tmp_path / "b") is None


@pytest.mark.parametrize(
    ("build", "y", "label", "message"),
    [
        (softmax, Y, 10, "y holds labels from 0 to 10, but the model's head tells classes 0 to 9"),
        (softmax, Y, -1, "y holds labels from -1 to 9"),
        (softmax, Y.astype("float32"), 10, "y holds labels from 0 to 10"),
        (
            sigmoid,
            Y % 2,
            2,
            "y holds labels from 0 to 2, but the model's head tells classes 0 to 1",
        ),
        (sigmoid, Y % 2 * 1.0, -1, "y holds labels from -1 to 1"),
    ],
    ids=["integer", "negative", "float", "sigmoid", "minus one"],
)
def test_labels_outside_of_the_head_are_refused_by_part(
    tmp_path: Path, build: Any, y: Any, label: Any, message: str
) -> None:
    data = mt.Data(*[(X, with_label(y, label))] * 3)
    refused = refusal(spec_of(build, data), tmp_path)
    for part in ("train", "validation", "test"):
        assert f"data: {part} {message}" in refused


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_labels_inside_of_the_head_are_not_refused_with_those_of_another_part(
    tmp_path: Path, part: str
) -> None:
    parts: dict[str, Any] = dict.fromkeys(("train", "validation", "test"), (X, Y)) | {
        part: (X, with_label(Y, 10))
    }
    refused = refusal(spec_of(softmax, mt.Data(**parts)), tmp_path)
    assert f"data: {part} y holds labels from 0 to 10" in refused
    assert refused.count("y holds labels") == 1


def test_labels_are_reported_together_with_the_names_no_metric_has(tmp_path: Path) -> None:
    data = mt.Data(train=(X, with_label(Y, 12)))
    error = refusal(spec_of(softmax, data, gates=[mt.metric("auc") >= 0.5]), tmp_path)
    assert "y holds labels from 0 to 12" in error
    assert 'gates[0]: mt.metric("auc") >= 0.5: no metric "auc"' in error


def test_labels_of_a_named_output_are_refused_by_its_name(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        inputs = keras.Input((64,))
        digit = layers.Dense(10, activation="softmax", name="digit")(inputs)
        ink = layers.Dense(1, name="ink")(inputs)
        model = keras.Model(inputs, [digit, ink])
        model.compile("sgd", loss={"digit": "sparse_categorical_crossentropy", "ink": "mse"})
        return model

    part = X, {"ink": Y + 40.0, "digit": with_label(Y, 17)}
    search = mt.RandomSearch(mt.minimize("val_loss"))
    error = refusal(spec_of(build, mt.Data(part, part, part), search=search), tmp_path)
    assert "data: train y.digit holds labels from 0 to 17" in error
    assert "y.ink" not in error


def ignoring(label: int) -> Any:
    def build(hp: Any) -> Any:
        loss = keras.losses.SparseCategoricalCrossentropy(ignore_class=label)
        return dense(layers.Dense(10, activation="softmax"), loss=loss)

    return build


@pytest.mark.parametrize("label", [-1, 255])
def test_labels_that_the_loss_ignores_are_no_classes(label: int, tmp_path: Path) -> None:
    part = X, with_label(Y, label)
    assert rehearsed(spec_of(ignoring(label), mt.Data(part, part, part)), tmp_path) is None
    other = X, np.where(Y == 3, 12, part[1])
    error = refusal(spec_of(ignoring(label), mt.Data(other, part, part)), tmp_path / "other")
    assert "train y holds labels from 0 to 12" in error
    assert "validation y" not in error


def test_what_a_loss_of_the_authors_makes_of_labels_is_its_own_affair(tmp_path: Path) -> None:
    def loss(y: Any, predicted: Any) -> Any:
        counted = keras.ops.cast(y >= 0, "float32")
        known = keras.ops.maximum(y, 0)
        return counted * keras.losses.sparse_categorical_crossentropy(known, predicted)

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), loss=loss, metrics=["accuracy"])

    part = X, with_label(Y, -1)
    assert rehearsed(spec_of(build, mt.Data(part, part, part)), tmp_path) is None


class Both(keras.metrics.Mean):
    """A metric of two numbers by name."""

    def update_state(self, y: Any, predicted: Any, sample_weight: Any = None) -> Any:
        return super().update_state(predicted)

    def result(self) -> Any:
        return {"low": super().result(), "high": 2 * super().result()}


def test_the_numbers_of_a_metric_that_gives_a_dict_can_be_gated(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=[Both(name="both")])

    search = mt.RandomSearch(mt.minimize("val_high"))
    spec = spec_of(build, search=search, gates=[mt.metric("low") <= 9])
    assert rehearsed(spec, tmp_path) is None
    error = refusal(spec_of(build, search=search, gates=[mt.metric("both") <= 9]), tmp_path / "b")
    assert 'no metric "both"' in error


def test_an_objective_of_several_numbers_is_refused_with_each_of_them(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        metric = keras.metrics.F1Score(average=None)
        return dense(layers.Dense(10), loss="mse", metrics=[metric])

    part = X, np.eye(10)[Y]
    data = mt.Data(part, part, part)
    search = mt.RandomSearch(mt.maximize("val_f1_score"))
    error = refusal(spec_of(build, data, search=search), tmp_path)
    assert 'mt.maximize("val_f1_score") is an array of 10 numbers, but a search needs one' in error
    assert "search by one of val_f1_score_0, val_f1_score_1" in error


def test_what_is_wrong_with_default_values_only_is_a_failure_of_theirs(tmp_path: Path) -> None:
    def narrow(hp: Any) -> Any:
        return dense(layers.Dense(hp.Choice("units", [3, 10, 11, 12]), activation="softmax"))

    failure = rehearsed(spec_of(narrow), tmp_path)
    assert failure is not None
    assert "y holds labels from 0 to 9, but the model's head tells classes 0 to 2" in failure.reason
    # What no value mends is refused.
    assert 'no metric "auc"' in refusal(
        spec_of(narrow, gates=[mt.metric("auc") >= 0]), tmp_path / "gates"
    )


def nest(inner: list[Any], _: int) -> list[Any]:
    return [inner]


@pytest.mark.parametrize(
    ("too_much", "error"),
    [
        (lambda: np.ones(2**50), "MemoryError"),
        (
            lambda: copy.deepcopy(functools.reduce(nest, range(5000), [])),
            "RecursionError",
        ),
    ],
    ids=["memory", "recursion"],
)
def test_what_is_too_much_for_a_library_is_no_misfit(
    tmp_path: Path, too_much: Any, error: str
) -> None:
    def metric(y: Any, predicted: Any) -> Any:
        too_much()
        return predicted[:, 0]

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=["accuracy", metric])

    failure = rehearsed(spec_of(build), tmp_path)
    assert failure is not None
    assert error in failure.reason


@pytest.mark.parametrize(
    ("data", "message", "reason"),
    [
        (
            mt.Data((X[:, :9], Y)),
            "x (8, 9), y (8,); it takes (None, 64) and gives (None, 10)",
            "Input 0 ",
        ),
        (mt.Data((X, np.ones((60, 7)))), "x (8, 64), y (8, 7); it takes (None, 64)", ""),
    ],
    ids=["features", "targets"],
)
def test_a_model_of_another_shape_is_refused(
    tmp_path: Path, data: Any, message: str, reason: str
) -> None:
    text = refusal(spec_of(data=data), tmp_path)
    assert "cannot train on the first batch of train" in text
    assert message in text
    assert f"Keras says: {reason}" in text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda hp: None, "returned None"),
        (lambda hp: keras.Sequential([layers.Dense(1)]), "not compiled"),
    ],
)
def test_what_is_no_compiled_model_is_refused(tmp_path: Path, build: Any, message: str) -> None:
    assert message in refusal(spec_of(build), tmp_path)


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    assert "fit.dtype_policy" in refusal(spec_of(fit=mt.Fit(dtype_policy="half")), tmp_path)


def test_a_factory_of_something_else_is_refused(tmp_path: Path) -> None:
    assert "\n  fit.callbacks[0] made 3" in refusal(
        spec_of(fit=mt.Fit(callbacks=[lambda: 3])), tmp_path
    )


def picky(hp: Any) -> Any:
    if hp.Choice("width", [4, 8]) == 4:
        raise ValueError("4 is too small")
    return softmax(hp)


class PickyFit(keras_tuner.HyperModel):
    def build(self, hp: Any) -> Any:
        return softmax(hp)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        if hp.get("width") == 4:
            raise ValueError("4 is too small")
        return model.fit(*args, **kwargs)


@pytest.mark.parametrize("build", [picky, PickyFit])
def test_what_the_author_raises_for_some_values_leaves_the_others_to_the_search(
    tmp_path: Path, build: Any
) -> None:
    failure = rehearsed(spec_of(build), tmp_path)
    assert failure is not None
    assert failure.reason == "ValueError: 4 is too small"


def test_every_branch_is_built_and_one_trained(tmp_path: Path) -> None:
    built, fitted = [], []

    class Branching(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            kind = hp.Choice("kind", ["flat", "deep"])
            with hp.conditional_scope("kind", ["deep"]):
                if kind == "deep":
                    hp.Int("depth", 1, 3)
            built.append(kind)
            return dense(layers.Dense(10, activation="softmax"))

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            fitted.append(hp.get("kind"))
            return model.fit(*args, **kwargs)

    spec = spec_of(Branching)
    oracle = Oracle(spec.search, tmp_path)
    assert dry_run(spec, load_data(spec), oracle).failure is None
    # Each twice: what the first build keeps for the second shows as shared.
    assert (built, fitted) == (["flat", "flat", "deep", "deep"], ["flat"])
    assert {hp.name for hp in oracle.space.space} == {"kind", "depth"}


class Pairs(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return X[index * 20 : index * 20 + 20], Y[index * 20 : index * 20 + 20]


@pytest.mark.parametrize("kind", ["dataset", "PyDataset"])
def test_a_fit_override_is_rehearsed_with_the_kind_of_data_it_will_get(
    tmp_path: Path, kind: str
) -> None:
    stream = (
        Pairs() if kind == "PyDataset" else tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    )
    lengths = []

    class Streaming(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            return softmax(hp)

        def fit(self, hp: Any, model: Any, stream: Any, **kwargs: Any) -> Any:
            lengths.append(len(stream))
            return model.fit(stream, **kwargs)

    spec = spec_of(Streaming, mt.Data(stream, stream, stream))
    assert rehearsed(spec, tmp_path) is None
    assert lengths == [2]


def test_data_of_a_stream_is_rehearsed(tmp_path: Path) -> None:
    data = digits()
    spec = spec_of(data=mt.Data(Pairs(), data.validation, data.test))
    assert rehearsed(spec, tmp_path) is None


def on_frozen(hp: Any) -> Any:
    return dense(
        layers.Dense(12, activation="relu", trainable=False),
        layers.Dense(10, activation="softmax"),
    )


def test_a_misfit_before_frozen_layers_is_told_of_the_whole_model(tmp_path: Path) -> None:
    error = refusal(spec_of(on_frozen, mt.Data((X[:, :9], Y))), tmp_path)
    assert "x (8, 9), y (8,); it takes (None, 64) and gives (None, 10)" in error


def test_labels_and_names_behind_frozen_layers_are_checked(tmp_path: Path) -> None:
    data = mt.Data(train=(X, with_label(Y, 12)))
    error = refusal(spec_of(on_frozen, data, gates=[mt.metric("auc") >= 0.5]), tmp_path)
    assert "y holds labels from 0 to 12" in error
    assert 'gates[0]: mt.metric("auc") >= 0.5: no metric "auc"' in error
    names = sorted([*MEASURED, *BESIDE])
    assert f"measured: {', '.join(names)}" in error


def test_layers_that_are_frozen_run_once_on_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []

    class Counted(layers.Dense):
        def call(self, inputs: Any, training: Any = None) -> Any:
            rows.append(inputs.shape[0])
            return super().call(inputs, training)

    Counted.__module__ = layers.Dense.__module__  # or its numbers could change from step to step

    def build(hp: Any) -> Any:
        return dense(Counted(12, trainable=False), layers.Dense(10, activation="softmax"))

    assert rehearsed(spec_of(build), tmp_path) is None
    assert [count for count in rows if count is not None] == [8, 2]


def test_a_callback_sees_the_whole_model(tmp_path: Path) -> None:
    layer_counts = []

    class Seeing(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            layer_counts.append(len(self.model.layers))
            logs["val_invented"] = 1.0

    spec = spec_of(on_frozen, fit=mt.Fit(callbacks=[Seeing]), gates=[mt.metric("invented") >= 0])
    assert 'no metric "invented"' in refusal(spec, tmp_path)
    assert layer_counts == [2]


def test_names_are_those_of_the_model_s_own_evaluation(tmp_path: Path) -> None:
    class Own(keras.Sequential):
        def test_step(self, data: Any) -> Any:
            return {**super().test_step(data), "bonus": tf.constant(1.0)}

    def build(hp: Any) -> Any:
        model = Own([keras.Input((64,)), layers.Dense(10, activation="softmax")])
        model.compile("sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    gates = [mt.metric("bonus") >= 1, mt.metric("accuracy") >= 0]
    assert rehearsed(spec_of(build, gates=gates), tmp_path) is None


# what Keras trains


def recurrent(shape: dict[str, Any]) -> Any:
    def build(hp: Any) -> Any:
        first = [keras.Input(**shape)] if shape else []
        model = keras.Sequential([*first, layers.LSTM(2, stateful=True), layers.Dense(10)])
        model.compile("sgd", "mse")
        return model

    return build


@pytest.mark.parametrize("shape", [{"batch_shape": (20, 64, 1)}, {}], ids=["fixed", "open"])
def test_a_model_of_one_batch_size_is_rehearsed_on_it(shape: Any, tmp_path: Path) -> None:
    part = X[..., None], np.eye(10)[Y]
    search = mt.RandomSearch(mt.minimize("val_loss"))
    spec = spec_of(
        recurrent(shape), mt.Data(part, part, part), search=search, fit=mt.Fit(batch_size=20)
    )
    assert rehearsed(spec, tmp_path) is None


def of_words(hp: Any) -> Any:
    inputs = {
        "word": keras.Input((1,), dtype="string", name="word"),
        "ink": keras.Input((1,), name="ink"),
    }
    word = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(inputs["word"])
    both = layers.Concatenate()([word, inputs["ink"]])
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(both))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    "kind", [tf.constant, np.asarray, lambda words: np.asarray(words, object)],
    ids=["tensor", "str", "object"],
)  # fmt: skip
def test_texts_reach_a_model_that_takes_them(kind: Any, tmp_path: Path) -> None:
    part = {"word": kind([["a"], ["b"], ["c"]] * 20), "ink": X[:, :1]}, Y
    assert rehearsed(spec_of(of_words, mt.Data(part, part, part)), tmp_path) is None


class Masked(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.words = layers.TextVectorization(vocabulary=["good"], output_sequence_length=3)
        self.embedding = layers.Embedding(3, 3, mask_zero=True)

    def call(self, inputs: Any) -> Any:
        return self.embedding(self.words(inputs))


def masked_words(hp: Any) -> Any:
    inputs = keras.Input((), dtype="string")
    words = layers.TextVectorization(vocabulary=["good", "bad"], output_sequence_length=3)(inputs)
    return keras.Model(inputs, layers.Embedding(4, 3, mask_zero=True)(words))


@pytest.mark.parametrize("build", [masked_words, lambda hp: Masked()], ids=["graph", "class"])
def test_masks_are_read_of_texts(build: Any) -> None:
    model = build(None)
    model.compile(None, "sparse_categorical_crossentropy")
    part = Part("test", 2, "", x=np.array(["good day", "good good good"]), y=np.zeros((2, 3), int))
    (mask,) = predict(model, part, 2).masks
    assert mask is not None
    assert mask.sum(axis=1).tolist() == [2, 3]


# what is wrong with the data


def test_labels_of_text_are_refused_with_their_dtype_and_the_remedy(tmp_path: Path) -> None:
    part = X, np.array([f"number {label}" for label in Y])
    error = refusal(spec_of(data=mt.Data(part, part, part)), tmp_path)
    assert f"data: train y is of <U8 ('number {Y[0]}', " in error
    assert "losses take numbers: return the places of the classes" in error


def test_columns_of_text_in_a_frame_are_refused_by_name(tmp_path: Path) -> None:
    # The names say nothing of the dtypes, and an interval of whole numbers is none.
    texts = ["a", "b", "c"] * 20
    columns = {
        "string": X[:, 0],
        "points": texts,
        "float (float64)": pd.cut(X[:, 0], 3).astype(str),
    }
    frame = pd.DataFrame(columns | {"span": pd.IntervalIndex.from_breaks(range(61))})
    part = frame, Y
    error = refusal(spec_of(data=mt.Data(part, part, part)), tmp_path)
    kinds = [f"{name} ({frame[name].dtype})" for name in ("points", "float (float64)", "span")]
    assert f"data: train x is of object, for its columns {', '.join(kinds)} (" in error
    assert "layers take numbers: encode these values in the data function" in error


def test_targets_are_refused_by_the_names_of_the_outputs(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        inputs = keras.Input((64,))
        outputs = {name: layers.Dense(1, name=name)(inputs) for name in ("ink", "size")}
        model = keras.Model(inputs, outputs)
        model.compile("sgd", {"ink": "mse"}, metrics={"ink": ["mae"]})
        return model

    part = X, {"ink": Y * 1.0}
    error = refusal(spec_of(build, mt.Data(part, part, part)), tmp_path)
    assert "data: y names ink, but the model's outputs are ink, size: return a target" in error


# a fit of the author's own


class Demanding(keras_tuner.HyperModel):
    """Adapts a layer before it trains, and counts on batches and epochs as they are declared."""

    asked: ClassVar[list[tuple[int, int, int]]] = []

    def build(self, hp: Any) -> Any:
        known = layers.IntegerLookup(output_mode="multi_hot", max_tokens=20, pad_to_max_tokens=True)
        # Without words a lookup cannot be called.
        return dense(known, layers.Dense(10, activation="softmax"), shape=(4,))

    def fit(
        self, hp: Any, model: Any, x: Any, y: Any, epochs: int, batch_size: int, **kwargs: Any
    ) -> Any:
        self.asked.append((len(x), batch_size, epochs))
        model.layers[0].adapt(x)
        if len(x) < 2 * batch_size or epochs < 5:
            raise ValueError("too few rows, or too few epochs to warm up")
        return model.fit(x, y, epochs=epochs, batch_size=batch_size, **kwargs)


def whole_numbers() -> mt.Data:
    x = np.arange(400).reshape(100, 4) % 17
    return mt.Data((x, np.arange(100) % 10))


def test_an_own_fit_is_rehearsed_before_anything_is_predicted_as_a_trial_calls_it(
    tmp_path: Path,
) -> None:
    Demanding.asked = []
    spec = spec_of(Demanding(), whole_numbers(), fit=mt.Fit(batch_size=16, epochs=6))
    assert rehearsed(spec, tmp_path) is None
    assert Demanding.asked == [(32, 16, 6)]


class NeedsMore(Demanding):
    def fit(self, hp: Any, model: Any, x: Any, y: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        model.layers[0].adapt(x)
        return model.fit(np.reshape(x[:50], (50, 4)), y[:50], **kwargs)


def test_what_an_own_fit_raises_is_said_and_the_search_goes_on(tmp_path: Path) -> None:
    spec = spec_of(NeedsMore(), whole_numbers(), fit=mt.Fit(batch_size=4))
    failure = rehearsed(spec, tmp_path)
    assert failure is not None
    assert failure.reason.startswith("ValueError: cannot reshape array of size 32 ")


class TooHigh(Demanding):
    def fit(self, hp: Any, model: Any, x: Any, y: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        model.layers[0].adapt(x)
        raise ValueError("as a loss would of such labels")


def test_labels_no_head_knows_are_told_of_an_own_fit_that_raises(tmp_path: Path) -> None:
    train: Any = whole_numbers().train
    x, y = train
    assert "y holds labels from 0 to 12" in refusal(
        spec_of(TooHigh(), mt.Data((x, with_label(y, 12)))), tmp_path
    )


class Gan(keras.Model):
    """A model with a step of its own and nothing to predict."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = keras.Sequential([keras.Input((2,)), layers.Dense(64)])
        self.mean = keras.metrics.Mean(name="distance")

    @property
    def metrics(self) -> list[Any]:
        return [self.mean]

    def distance(self, data: Any) -> Any:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        noise = keras.random.normal((keras.ops.shape(x)[0], 2))
        return keras.ops.mean((self.generator(noise) - keras.ops.reshape(x, (-1, 64))) ** 2)

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.distance(data)
        weights = self.generator.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.mean.update_state(loss)
        return {"distance": self.mean.result()}

    def test_step(self, data: Any) -> Any:
        self.mean.update_state(self.distance(data))
        return {"distance": self.mean.result()}


def test_a_model_without_a_call_is_rehearsed_refitted_and_scored(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        model = Gan()
        model.compile("sgd")
        return model

    search = mt.RandomSearch(mt.minimize("val_distance"), max_trials=1)
    spec = spec_of(build, search=search, gates=[mt.metric("distance") <= 99])
    assert rehearsed(spec, tmp_path / "search") is None
    task = RefitTask(
        mt.Holdout(seeds=1).refits()[0],
        keras_tuner.HyperParameters().get_config(),
        1,
        tmp_path / "refit.weights.h5",
    )
    result = train_refit(spec, load_data(spec), task)
    assert result.failure is None, result.failure
    assert {*result.scores} == {"distance", "parameters"}
    assert result.note is not None
    assert "Gan has no call(), so that it predicts nothing" in result.note


# data without targets


def rebuilding(hp: Any) -> Any:
    class Rebuilt(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(keras.ops.mean(inputs**2))
            return inputs

    return dense(layers.Dense(4), Rebuilt(), loss=None, metrics=[])


@pytest.mark.parametrize("as_stream", [False, True], ids=["arrays", "stream"])
def test_gates_that_need_targets_are_refused_where_there_are_none(
    as_stream: bool, tmp_path: Path
) -> None:
    part = tf.data.Dataset.from_tensor_slices(X).batch(20) if as_stream else X
    spec = spec_of(
        rebuilding,
        mt.Data(part, part, part),
        search=mt.RandomSearch(mt.minimize("val_loss")),
        gates=[
            mt.metric("loss") <= 9,
            mt.gain_over_dummy("loss") >= 0,
            mt.metric("loss").per_class() <= 9,
            mt.metric("loss").on("bright", lambda x: x[:, 0] > 0) <= 9,
            mt.invariant(lambda x: x),
        ],
    )
    message = refusal(spec, tmp_path)
    assert "gates[0]" not in message
    for place in range(1, 5):
        (line,) = [line for line in message.splitlines() if f"gates[{place}]: " in line]
        assert "data: train has no targets (y), " in line


def test_a_relation_between_predictions_needs_no_targets(tmp_path: Path) -> None:
    def stays(predict: Any, x: Any) -> bool:
        return bool(np.isfinite(predict([x])[0]).all())

    search = mt.RandomSearch(mt.minimize("val_loss"))
    spec = spec_of(rebuilding, mt.Data(X), search=search, gates=[mt.metamorphic(stays)])
    assert rehearsed(spec, tmp_path) is None


def test_a_compiled_loss_without_targets_is_refused_with_the_remedy(tmp_path: Path) -> None:
    message = refusal(spec_of(data=mt.Data(X)), tmp_path)
    assert "data: train has no targets (y), but the model is compiled with a loss" in message


# what is warned of before anything is trained


def test_a_range_that_a_build_gives_twice_is_warned_of(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        units = [hp.Int("units", 4, 4 * layer) for layer in (1, 2)]
        return dense(layers.Dense(units[0]), layers.Dense(10, activation="softmax"))

    spec = spec_of(build)
    result = dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path))
    assert result.failure is None
    (caution,) = result.cautions
    assert caution.check == "search.ranges"
    assert "units keeps the first range that a build gave it, 4 to 4: 4 to 8" in caution.text


def test_a_loss_that_broadcasts_is_warned_of_before_anything_is_trained(tmp_path: Path) -> None:
    def build(units: int) -> Any:
        return dense(layers.Dense(units), shape=(10,), loss="mse", metrics=["mae"])

    search = mt.RandomSearch(mt.minimize("val_loss"), max_trials=1)
    parts = [(np.ones((4, 10), "float32"), np.ones((4, 1), "float32"))] * 3
    for units, told in ((3, ["checks.broadcast"]), (1, [])):
        spec = spec_of(lambda hp, units=units: build(units), data=mt.Data(*parts), search=search)
        result = dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path))
        assert result.failure is None
        assert [caution.check for caution in result.cautions] == told


def test_a_metric_under_a_name_of_ours_is_warned_of_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    def build(hp: Any) -> Any:
        metric = keras.metrics.SparseCategoricalAccuracy(name="parameters")
        return dense(layers.Dense(10, activation="softmax"), metrics=["accuracy", metric])

    spec = spec_of(build)
    result = dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path))
    assert [caution.check for caution in result.cautions] == ["model.names"]
