"""A spec is rehearsed on one batch: what cannot work is said, all of it, before any trial."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import LoadedData, Part, load_data
from modeltune.engine.dry_run import dry_run
from modeltune.engine.oracles import Oracle
from modeltune.records.tasks import Failure
from modeltune.specs.spec_type import Spec
from tests.support.small_models import LABELS, PIXELS, dense, digits, softmax, spec_of

X, Y = PIXELS[:60], LABELS[:60]


class Poison(Part):
    """A test part of which only the labels' range may be looked at."""

    def batches(self, batch_size: int) -> Iterator[Any]:
        raise AssertionError("the test part was read")


def rehearsed(spec: Spec, folder: Path, data: LoadedData | None = None) -> Failure | None:
    return dry_run(spec, data or load_data(spec), Oracle(spec.search, folder))


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
        "measured: accuracy, artifact_bytes, f1, latency_ratio, loss, parameters, precision, recall",
        '  gates[2]: mt.gap("parameters") <= 1: no metric "parameters" in '
        "tests/support/small_models.py::softmax; measured: accuracy, f1, loss, precision, recall",
    ]


def labels(hp: Any) -> Any:
    model = dense(layers.Dense(3, activation="sigmoid"), loss="binary_crossentropy")
    model.compile("adam", "binary_crossentropy", metrics=["binary_accuracy", keras.metrics.AUC()])
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


@pytest.mark.parametrize("part", ["train", "validation", "test"])
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
    tmp_path: Path, part: str, build: Any, y: Any, label: Any, message: str
) -> None:
    parts: dict[str, Any] = dict.fromkeys(("train", "validation", "test"), (X, y)) | {
        part: (X, with_label(y, label))
    }
    assert f"data: {part} {message}" in refusal(spec_of(build, mt.Data(**parts)), tmp_path)


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
        model.compile("adam", loss={"digit": "sparse_categorical_crossentropy", "ink": "mse"})
        return model

    part = X, {"ink": Y + 40.0, "digit": with_label(Y, 17)}
    search = mt.RandomSearch(mt.minimize("val_loss"))
    error = refusal(spec_of(build, mt.Data(part, part, part), search=search), tmp_path)
    assert "data: train y.digit holds labels from 0 to 17" in error
    assert "y.ink" not in error


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
    ("data", "message"),
    [
        (mt.Data((X[:, :9], Y)), "x (8, 9), y (8,); it takes (None, 64) and gives (None, 10)"),
        (mt.Data((X, np.ones((60, 7)))), "x (8, 64), y (8, 7); it takes (None, 64)"),
    ],
    ids=["features", "targets"],
)
def test_a_model_of_another_shape_is_refused(tmp_path: Path, data: Any, message: str) -> None:
    text = refusal(spec_of(data=data), tmp_path)
    assert "cannot train on the first batch of train" in text
    assert message in text
    assert "Keras says: " in text


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
    assert dry_run(spec, load_data(spec), oracle) is None
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
    assert lengths == [1]


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
    names = "accuracy, artifact_bytes, f1, latency_ratio, loss, parameters, precision, recall"
    assert f"measured: {names}" in error


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
        model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    gates = [mt.metric("bonus") >= 1, mt.metric("accuracy") >= 0]
    assert rehearsed(spec_of(build, gates=gates), tmp_path) is None
