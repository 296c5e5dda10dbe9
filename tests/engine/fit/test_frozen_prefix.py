"""A frozen prefix is run once, and no number of the training tells."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.fit import compiled_pool, frozen_prefix
from modeltune.engine.fit import epoch_graph as epoch_graph
from modeltune.engine.fit.training import candidate, fit, train_trial
from modeltune.engine.score.refit import train_refit
from modeltune.records.tasks import RefitTask, Trained, TrialTask
from modeltune.specs.spec_type import Spec
from tests.support import forked
from tests.support.small_models import LABELS, PIXELS, dense, softmax, spec_of, values

IMAGES = np.repeat(np.repeat(PIXELS.reshape(-1, 8, 8, 1), 2, axis=1), 2, axis=2)
LARGE_IMAGES = np.repeat(np.kron(PIXELS.reshape(-1, 8, 8)[:160], np.ones((4, 4)))[..., None], 3, -1)


def images(train: int = 96, validation: int = 48) -> mt.Data:
    ends = np.cumsum([0, train, validation, 48])
    parts = [(IMAGES[a:b], LABELS[a:b]) for a, b in pairwise(ends)]
    return mt.Data(*parts)


def conv(filters: int = 4, seed: int = 1, **fields: Any) -> Any:
    """Return a layer with weights that are the same in every trial, as pre-trained ones are."""
    start = keras.initializers.GlorotUniform(seed=seed)
    fields = {"activation": "relu", "kernel_initializer": start, "trainable": False} | fields
    return layers.Conv2D(filters, 3, **fields)


def compiled(model: Any, **fields: Any) -> Any:
    fields = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"} | fields
    model.compile(**{"metrics": ["accuracy"], **fields})
    return model


def sequential(*leading: Any, **fields: Any) -> Any:
    """Return two frozen convolutions and a trainable end, after these layers."""
    return compiled(
        keras.Sequential(
            [
                keras.Input((16, 16, 1)),
                *leading,
                conv(),
                layers.BatchNormalization(trainable=False),
                conv(6, strides=2),
                layers.GlobalAveragePooling2D(),
                layers.LayerNormalization(),
                layers.Dropout(0.3),
                layers.Dense(10, activation="softmax"),
            ]
        ),
        **fields,
    )


def spec(
    build: Any = None,
    data: Any = None,
    validation: Any = None,
    **fit: Any,
) -> Spec:
    return spec_of(
        build or (lambda hp: sequential()),
        data or images(),
        search=mt.RandomSearch(mt.minimize("val_loss"), max_trials=2),
        validation=validation or mt.Holdout(seeds=1),
        fit=mt.Fit(**{"epochs": 2, "batch_size": 32, **fit}),
    )


def trained(
    declared: Spec, epochs: int = 2, features: Path | None = None, **fields: Any
) -> Trained:
    data = load_data(declared)
    task = TrialTask(1, values().get_config(), epochs, **{"initial_epoch": 0, "seed": 5, **fields})
    result = train_trial(declared, data.train, data.validation, task, features)
    assert result.failure is None, result.failure.traceback
    return result


def state(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every model trained on steps of its own: what is shared would be rehearsed first."""
    monkeypatch.setattr(compiled_pool, "key_of", lambda model, like: None)


@pytest.fixture
def untrained(alone: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Do all that a trial does but take its steps, and list the models that would take them."""
    given: list[Any] = []

    def fit(model: Any, *data: Any, **options: Any) -> epoch_graph.Fitted:
        given.append(model)
        return epoch_graph.Fitted({"loss": [1.0], "val_loss": [1.0]}, "graph")

    monkeypatch.setattr(epoch_graph, "fit", fit)
    return given


@pytest.fixture
def uncut(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Train whole while the returned patch holds."""
    with monkeypatch.context() as patch:
        patch.setattr(frozen_prefix, "cut", lambda *_: frozen_prefix.Whole())
        yield patch


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the times features are made rather than read."""
    made: list[str] = []
    original = frozen_prefix._batches

    def counted(prefix: frozen_prefix.Prefix, part: Part) -> Any:
        made.append(part.name)
        return original(prefix, part)

    monkeypatch.setattr(frozen_prefix, "_batches", counted)
    return made


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the batches that go through a graph: to make features or to check a cut."""
    seen: list[str] = []
    original = frozen_prefix._in_graph

    def counted(model: Any) -> Any:
        run = original(model)
        return lambda batch: [seen.append(model.name), run(batch)][1]

    monkeypatch.setattr(frozen_prefix, "_in_graph", counted)
    return seen


# no number changes


def inside(hp: Any) -> Any:
    base = keras.applications.MobileNetV2((32, 32, 3), 0.35, include_top=False, weights=None)
    base.trainable = False
    inner = base.get_layer("block_1_expand_relu").output
    pooled = layers.LayerNormalization()(layers.GlobalAveragePooling2D()(inner))
    return compiled(keras.Model(base.input, layers.Dense(10, activation="softmax")(pooled)))


def nested(hp: Any, *inner: Any) -> Any:
    """Return a model with a frozen base, called as transfer learning guides do."""
    base = keras.Sequential([keras.Input((16, 16, 1)), conv(), *inner, conv(8)], name="base")
    for layer in base.layers:  # and base.trainable stays True, as many write it
        layer.trainable = False
    given = keras.Input((16, 16, 1))
    pooled = layers.GlobalAveragePooling2D()(base(given, training=False))
    return compiled(keras.Model(given, layers.Dense(10, activation="softmax")(pooled)))


def branched(hp: Any) -> Any:
    """Two inputs, one of them past the frozen layers, and two outputs by name."""
    picture, plain = keras.Input((16, 16, 1), name="picture"), keras.Input((64,), name="plain")
    one, two = conv(strides=2)(picture), conv(3, seed=2, strides=2)(picture)
    merged = layers.Concatenate()([layers.Flatten()(one), layers.Dense(4)(plain)])
    digit = layers.Dense(10, activation="softmax", name="digit")(merged)
    parity = layers.Dense(1, activation="sigmoid", name="parity")(layers.Flatten()(two))
    return compiled(
        keras.Model({"picture": picture, "plain": plain}, {"digit": digit, "parity": parity}),
        loss={"digit": "sparse_categorical_crossentropy", "parity": "binary_crossentropy"},
        metrics={"digit": ["accuracy"]},
        optimizer=keras.optimizers.Adam(global_clipnorm=0.5),
    )


def branched_data() -> mt.Data:
    def part(rows: slice) -> Any:
        x = {"picture": IMAGES[rows], "plain": PIXELS[rows]}
        return x, {"digit": LABELS[rows], "parity": LABELS[rows] % 2}

    return mt.Data(part(slice(96)), part(slice(96, 144)), part(slice(144, 200)))


def large_data() -> mt.Data:
    x, y = LARGE_IMAGES, LABELS[:160]
    return mt.Data((x[:80], y[:80]), (x[80:120], y[80:120]), (x[120:], y[120:]))


def weighted() -> mt.Data:
    x, y = IMAGES[:144], LABELS[:144]
    weights = np.linspace(0, 1, 144)
    parts = [(x[a:b], y[a:b], weights[a:b]) for a, b in ((0, 80), (80, 144))]
    return mt.Data(parts[0], parts[1], parts[1])


def stopping() -> Any:
    return keras.callbacks.EarlyStopping(
        "val_loss", patience=0, baseline=0.0, restore_best_weights=True
    )


def slowing() -> Any:
    return keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=9)


CASES = {
    "sequential": spec(),
    "remainder": spec(data=images(90, 41)),
    "class weights": spec(class_weight={n: n / 5 for n in range(10)}),
    "sample weights": spec(data=weighted()),
    "mixed_float16": spec(dtype_policy="mixed_float16"),
    "stops early": spec(callbacks=[stopping]),
    "slows down": spec(callbacks=[slowing], shuffle=False),
    "regularized head, own metrics": spec(
        lambda hp: compiled(
            keras.Sequential(
                [
                    keras.Input((16, 16, 1)),
                    conv(kernel_regularizer="l2"),
                    layers.Flatten(),
                    layers.Dense(10, "softmax", kernel_regularizer="l2"),
                ]
            ),
            metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2), "accuracy"],
            optimizer=keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True, use_ema=True),
        )
    ),
    "after a constant layer": spec(lambda hp: sequential(layers.Rescaling(0.5))),
    "batch normalisation fused with the convolution before it": spec(
        lambda hp: compiled(
            keras.Sequential(
                [
                    keras.Input((16, 16, 1)),
                    conv(activation=None),
                    layers.BatchNormalization(),
                    layers.ReLU(),
                    layers.Flatten(),
                    layers.Dense(10, activation="softmax"),
                ]
            )
        )
    ),
    "frozen dense layers, last batch of one": spec(
        lambda hp: dense(
            layers.Dense(33, activation="gelu", trainable=False),
            layers.Dense(17, trainable=False),
            layers.Dense(10, activation="softmax"),
        ),
        mt.Data(
            (PIXELS[:97], LABELS[:97]), (PIXELS[97:130], LABELS[97:130]), (PIXELS[:9], LABELS[:9])
        ),
    ),
    "nested base": spec(nested),
    "cut inside MobileNetV2": spec(inside, large_data()),
    "several inputs and outputs": spec(branched, branched_data()),
}


@pytest.mark.parametrize("case", CASES)
def test_the_curve_and_every_variable_are_those_of_the_uncut_model(
    case: str, tmp_path: Path, alone: None, uncut: pytest.MonkeyPatch
) -> None:
    whole = trained(CASES[case], keep_state=tmp_path / "whole.npz")
    uncut.undo()
    cut = trained(CASES[case], keep_state=tmp_path / "cut.npz", features=tmp_path / "features")
    assert cut.trained_by == "frozen prefix + graph"
    assert whole.trained_by == "graph"
    assert cut.curve == whole.curve
    pairs = zip(state(tmp_path / "whole.npz"), state(tmp_path / "cut.npz"), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_features_in_memory_train_the_same_curve(tmp_path: Path, alone: None) -> None:
    assert trained(spec()).curve == trained(spec(), features=tmp_path).curve


def test_a_promotion_continues_across_both_paths(
    tmp_path: Path, alone: None, uncut: pytest.MonkeyPatch
) -> None:
    at_once, half, whole = (tmp_path / f"{name}.npz" for name in "abc")
    full = trained(spec(), epochs=4, keep_state=at_once)
    uncut.undo()
    trained(spec(), epochs=2, keep_state=half, features=tmp_path)
    rest = trained(
        spec(),
        epochs=4,
        initial_epoch=2,
        continue_from=half,
        keep_state=whole,
        features=tmp_path,
    )
    assert rest.trained_by == "frozen prefix + graph"
    assert rest.curve == {name: curve[2:] for name, curve in full.curve.items()}
    for one, other in zip(state(at_once), state(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_full_model_is_handed_back(tmp_path: Path) -> None:
    declared, data = spec(nested), load_data(spec())
    with candidate(declared, values(), 5) as model:
        curve, path = fit(
            declared, values(), model, data.train, data.validation, 2, 0, 5, features=tmp_path
        )
        assert path == "frozen prefix + graph"
        measured = model.evaluate(
            data.validation.x, data.validation.y, batch_size=32, return_dict=True, verbose=0
        )
        assert measured == {n: curve[f"val_{n}"][-1] for n in ("accuracy", "loss")}
        assert model.predict(data.test.x, verbose=0).shape == (48, 10)
        model.save_weights(tmp_path / "model.weights.h5")
        assert model.layers[-1].output.shape == (None, 10)  # an error once a layer has two
        assert keras.Model.from_config(model.get_config()).count_params() == model.count_params()
        assert int(model.optimizer.iterations) == 6


def test_a_refit_uses_the_same_features(tmp_path: Path, calls: list[str]) -> None:
    declared = spec()
    trained(declared, features=tmp_path)
    task = RefitTask(mt.Holdout(seeds=1).refits()[0], values().get_config(), 2, None)
    refitted = train_refit(declared, load_data(declared), task, tmp_path)
    assert refitted.trained_by == "frozen prefix + graph, compiled step reused"
    assert calls == ["train", "validation"]
    assert "accuracy" in refitted.scores


def test_folds_have_their_own_features(
    tmp_path: Path, calls: list[str], untrained: list[Any]
) -> None:
    declared = spec(validation=mt.KFold(3))
    for fold in mt.KFold(3).refits():
        refitted = train_refit(
            declared, load_data(declared), RefitTask(fold, values().get_config(), 1, None), tmp_path
        )
        assert refitted.trained_by == "frozen prefix + graph"
    assert len({*tmp_path.iterdir()}) == len(calls) == 6


# where it would change a number


class Own(keras.Model):
    pass


@keras.saving.register_keras_serializable()
class Doubling(layers.Layer):
    def call(self, inputs: Any) -> Any:
        return 2 * inputs


class Seeing(keras.callbacks.Callback):
    pass


class Patient(keras.callbacks.EarlyStopping):
    pass


def subclassed(hp: Any) -> Any:
    model = sequential()
    return compiled(Own(model.inputs, model.outputs))


def replaced(hp: Any) -> Any:
    model = sequential()
    model.train_step = model.train_step
    return model


def fully_frozen_output(hp: Any) -> Any:
    given = keras.Input((16, 16, 1))
    features = layers.Flatten()(conv(1)(given))
    ends = [layers.Dense(10, activation="softmax")(features), features]
    losses = ["sparse_categorical_crossentropy", None]
    return compiled(keras.Model(given, ends), loss=losses, metrics=None)


def shared(hp: Any) -> Any:
    given, twice = keras.Input((16, 16, 1)), conv(1, padding="same")
    end = layers.Flatten()(twice(conv(1, padding="same", trainable=True)(twice(given))))
    return compiled(keras.Model(given, layers.Dense(10, activation="softmax")(end)))


def masked(hp: Any) -> Any:
    embedding = layers.Embedding(17, 4, mask_zero=True, trainable=False)
    return dense(embedding, layers.LSTM(4), layers.Dense(10, activation="softmax"))


def words() -> mt.Data:
    rows = (PIXELS * 16).astype("int32")
    return mt.Data((rows[:60], LABELS[:60]), (rows[60:90], LABELS[60:90]), (rows[:9], LABELS[:9]))


def by(*leading: Any, **fit: Any) -> Any:
    """Return a spec whose layers, made when it builds, come before the frozen ones."""
    return spec(lambda hp: sequential(*(make() for make in leading)), **fit)


WHOLE = {
    "trainable layer": (by(lambda: layers.Conv2D(1, 3, name="own")), "own is trainable"),
    "unfrozen batch normalisation": (
        by(lambda: layers.BatchNormalization(name="bn")),
        "bn is trainable",
    ),
    "augmentation": (
        by(lambda: layers.RandomFlip(name="flip")),
        "flip draws random numbers",
    ),
    "dropout": (by(lambda: layers.Dropout(0.1, name="drop")), "drop draws random numbers"),
    "nested augmentation": (
        by(lambda: keras.Sequential([layers.GaussianNoise(0.1, name="noise")], name="inner")),
        "noise in inner draws random numbers",
    ),
    "Lambda": (
        by(lambda: layers.Lambda(lambda x: 2 * x, name="f")),
        "f (Lambda) is not known to be constant",
    ),
    "custom layer": (
        by(lambda: Doubling(name="twice")),
        "twice (Doubling) is not known to be constant",
    ),
    "function of the user's": (
        by(lambda: layers.Activation(lambda x: 2 * x, name="act")),
        "act (Activation) is not known to be constant",
    ),
    "layer that adds a loss": (
        by(lambda: layers.ActivityRegularization(l2=0.1, name="activity")),
        "activity adds a loss",
    ),
    "mask": (spec(masked, words()), "embedding makes a mask"),
    "subclassed model": (spec(subclassed), "Own is no functional or sequential model"),
    "own train_step": (spec(replaced), "its train_step was replaced"),
    "run_eagerly": (spec(lambda hp: sequential(run_eagerly=True)), "it runs eagerly"),
    "frozen output": (spec(fully_frozen_output), "an output hangs on frozen layers only"),
    "layer on both sides": (spec(shared), "conv2d is used on both sides of a cut"),
    "bfloat16": (
        spec(dtype_policy="mixed_bfloat16"),
        "features of dtype bfloat16 cannot be handed on",
    ),
    "callback of the user's": (spec(callbacks=[Seeing]), "Seeing could see the model"),
    "subclass of a callback": (spec(callbacks=[Patient]), "Patient could see the model"),
    "dropout in a base, which Keras applies despite training=False": (
        spec(lambda hp: nested(hp, layers.Dropout(0.3, name="drop"))),
        "drop in base draws random numbers",
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_it_is_trained_whole_and_the_record_says_why(
    case: str, tmp_path: Path, untrained: list[Any]
) -> None:
    declared, why = WHOLE[case]
    result = trained(declared, epochs=1, features=tmp_path / "features")
    assert result.trained_by.endswith(f"; frozen layers not cut off: {why}")
    [model] = untrained
    assert not all(layer.trainable for layer in model._flatten_layers())
    assert not (tmp_path / "features").exists()


def test_a_model_without_frozen_layers_has_nothing_to_say() -> None:
    assert trained(spec_of(softmax), epochs=1).trained_by == "graph"


def test_streams_are_trained_whole() -> None:
    x, y = IMAGES[:64], LABELS[:64]
    stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    result = trained(spec(data=mt.Data(stream, stream, stream)), epochs=1)
    assert result.trained_by == "model.fit: streamed data"


def test_features_that_depend_on_the_place_in_a_batch_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    original = frozen_prefix._in_graph

    def by_place(model: Any) -> Any:
        run = original(model)
        return lambda batch: [a + np.arange(len(a)).reshape(-1, 1) for a in run(batch)]

    monkeypatch.setattr(frozen_prefix, "_in_graph", by_place)
    result = trained(spec(), epochs=1, features=tmp_path)
    assert "depend on a sample's place in its batch" in result.trained_by
    assert not list(tmp_path.iterdir())


def test_a_cut_that_predicts_other_numbers_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = frozen_prefix._mapped

    def damaged(path: Path, size: int) -> Any:
        array = original(path, size)
        return None if array is None else array + np.float32(1e-3)

    monkeypatch.setattr(frozen_prefix, "_mapped", damaged)
    result = trained(spec(), epochs=1, features=tmp_path)
    assert result.trained_by.endswith("cut in two it predicts other numbers")


def headed(*head: Any) -> Spec:
    """Return a spec of the same frozen layers with another head, made when it builds."""

    def build(hp: Any) -> Any:
        given = keras.Input((16, 16, 1))
        tensor = layers.GlobalAveragePooling2D()(conv(6, strides=2)(conv()(given)))
        for make in head:
            tensor = make()(tensor)
        return compiled(keras.Model(given, layers.Dense(10, activation="softmax")(tensor)))

    return spec(build)


def hidden(units: int, activation: str = "relu") -> Any:
    return lambda: layers.Dense(units, activation=activation)


def test_a_cut_is_checked_once_for_heads_that_differ_in_sizes(
    tmp_path: Path, runs: list[str], untrained: list[Any]
) -> None:
    trained(headed(hidden(8)), epochs=1, features=tmp_path)
    assert runs
    runs.clear()
    again = trained(headed(hidden(16)), epochs=1, features=tmp_path)
    assert (again.trained_by, runs) == ("frozen prefix + graph", [])


@pytest.mark.parametrize("other", [[hidden(8, "tanh")], [hidden(8), hidden(8)], []])
def test_a_cut_is_checked_for_every_kind_of_head(
    tmp_path: Path, runs: list[str], other: list[Any], untrained: list[Any]
) -> None:
    trained(headed(hidden(8)), epochs=1, features=tmp_path)
    runs.clear()
    trained(headed(*other), epochs=1, features=tmp_path)
    assert len(runs) == 2  # the model and its head


def test_connections_and_settings_tell_heads_apart_and_sizes_do_not() -> None:
    def structure(units: int, rate: float, swapped: bool, seed: int = 2) -> Any:
        given = [keras.Input((units,)), keras.Input((units,))]
        one, two = reversed(given) if swapped else given
        dropped = layers.Dropout(rate, seed=seed)(layers.Dense(units, name=f"d{units}")(one))
        return frozen_prefix._structure(keras.Model(given, layers.Add()([dropped, two])))

    assert structure(4, 0.2, False) == structure(8, 0.4, False, 3) is not None
    assert structure(4, 0.2, False) != structure(4, 0.2, True)


@pytest.mark.parametrize("kind", ["layer", "activation", "inner activation"])
def test_a_head_with_code_of_the_user_s_is_checked_in_every_trial(
    tmp_path: Path, runs: list[str], kind: str, untrained: list[Any]
) -> None:
    def activation() -> Any:
        return layers.Activation(lambda tensor: 2 * tensor)

    makes = {
        "layer": Doubling,
        "activation": activation,
        "inner activation": lambda: keras.Sequential([activation()]),
    }
    declared = headed(makes[kind])
    for _ in range(2):
        runs.clear()
        result = trained(declared, epochs=1, features=tmp_path)
        assert result.trained_by == "frozen prefix + graph"
    assert len(runs) == 2


def damage(folder: Path, *, in_place: bool) -> None:
    for path in folder.glob("*.npy"):
        draft = path if in_place else path.with_suffix(".draft")
        array = np.load(path) + np.float32(1e-3)
        with open(draft, "r+b" if in_place else "wb") as file:
            np.save(file, array)
        draft.rename(path)


def test_other_features_are_checked_anew(tmp_path: Path, untrained: list[Any]) -> None:
    assert trained(headed(hidden(8)), features=tmp_path).trained_by == "frozen prefix + graph"
    damage(tmp_path, in_place=False)
    result = trained(headed(hidden(8)), epochs=1, features=tmp_path)
    assert result.trained_by.endswith("cut in two it predicts other numbers")


def test_a_wrong_cut_is_refused_whatever_other_heads_were_found_right(
    tmp_path: Path, untrained: list[Any]
) -> None:
    trained(headed(hidden(8)), epochs=1, features=tmp_path)
    damage(tmp_path, in_place=True)
    for units in (8, 16):
        result = trained(headed(hidden(units, "tanh")), epochs=1, features=tmp_path)
        assert result.trained_by.endswith("cut in two it predicts other numbers")


def test_large_features_of_small_data_are_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    monkeypatch.setattr(frozen_prefix, "LARGE", 0)
    monkeypatch.setattr(frozen_prefix, "GROWTH", 0.01)
    result = trained(spec(), epochs=1, features=tmp_path)
    assert "its features would take 0.0 GiB, the data 0.0 GiB" in result.trained_by


def test_a_folder_that_cannot_be_written_costs_only_the_speed(
    tmp_path: Path, untrained: list[Any]
) -> None:
    (tmp_path / "taken").write_text("a file")
    result = trained(spec(), epochs=1, features=tmp_path / "taken")
    assert "its features cannot be written: [Errno" in result.trained_by


# what is kept


def test_a_second_trial_reads_what_the_first_wrote(
    tmp_path: Path, calls: list[str], untrained: list[Any]
) -> None:
    trained(spec(), features=tmp_path)
    kept = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    assert [path.suffix for path in kept] == [".npy"] * 2

    def renamed(hp: Any) -> Any:  # Keras numbers its layers: other names, the same prefix
        conv()
        return sequential(optimizer="sgd")

    trained(spec(renamed), features=tmp_path, seed=6)
    assert calls == ["train", "validation"]
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == kept


def test_a_truncated_file_is_made_again(tmp_path: Path, calls: list[str]) -> None:
    declared = spec()
    first = trained(declared, features=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for size in (0, 40, 1000):
        calls.clear()
        compiled_pool.POOL.clear()  # or the features it has mapped would do
        for path, content in before.items():
            path.write_bytes(content[:size])
        again = trained(declared, features=tmp_path)
        assert again.curve == first.curve
        assert again.trained_by == "frozen prefix + graph"
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert len(calls) == 2


def key(data: mt.Data | None = None, rows: slice = slice(None), **fields: Any) -> str | None:
    declared = spec(data=data)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    cut = frozen_prefix.split(sequential(conv(1, **fields)))
    assert isinstance(cut, frozen_prefix.Split)
    part = load_data(declared).train
    prefix = frozen_prefix._prefix_key(cut.prefix, 32)
    return prefix and frozen_prefix._key(prefix, part.take(np.arange(part.size)[rows]))


def test_the_same_prefix_and_data_have_the_same_key() -> None:
    assert key() == key() is not None


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 2},
        {"activation": "tanh"},
        {"name": "relu", "activation": "tanh"},
        {"dtype": "float16"},
        {"rows": slice(1, None)},
        {"rows": slice(None, None, -1)},
        {"data": images(100)},
    ],
    ids=["weights", "function", "name", "dtype", "rows", "order", "data"],
)
def test_other_weights_data_or_rows_have_another_key(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_arrays_are_told_apart_by_their_bytes_though_ids_come_again() -> None:
    before = len(frozen_prefix._hashes)
    for number in range(50):
        content = number.to_bytes(4, "little")
        array = np.frombuffer(content, np.uint8)
        assert (
            frozen_prefix._hash(array)
            == frozen_prefix._hash(array)
            == hashlib.sha256(content).hexdigest()
        )
    del array
    assert len(frozen_prefix._hashes) == before


def test_data_is_hashed_once_and_weights_in_every_trial(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch, untrained: list[Any]
) -> None:
    data, hashed = images(), []
    original = frozen_prefix._bytes

    def counted(array: Any) -> Any:
        hashed.append(array.shape)
        return original(array)

    monkeypatch.setattr(frozen_prefix, "_bytes", counted)
    for seed in (1, 1, 2):
        trained(spec(lambda hp, s=seed: sequential(conv(1, seed=s)), data), features=tmp_path)
    assert [shape for shape in hashed if len(shape) == 4 and shape[1] == 16] == [
        (96, 16, 16, 1),
        (48, 16, 16, 1),
    ]
    assert calls == ["train", "validation"] * 2


HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], "wb")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
os.unlink(sys.argv[1])
"""


@contextlib.contextmanager
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its input ends or it is killed."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


@pytest.mark.parametrize("end", ["finished", "killed"])
def test_who_needs_features_that_another_process_makes_waits_for_them(
    tmp_path: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    untrained: list[Any],
) -> None:
    data = images()
    trained(spec(data=data), features=tmp_path / "made")
    made = {path.name: path for path in (tmp_path / "made").iterdir()}
    of_train = next(name for name, path in made.items() if len(np.load(path)) == 96)
    calls.clear()
    compiled_pool.POOL.clear()  # or nothing more would be needed than this process has
    (tmp_path / "features").mkdir()
    flock, waited = fcntl.flock, []
    with holder(tmp_path / "features" / of_train.replace("-0.npy", ".lock")) as process:

        def ends_while_waited_for(file: Any, operation: int) -> None:
            if not waited:
                with pytest.raises(BlockingIOError):
                    flock(file, operation | fcntl.LOCK_NB)
                waited.append(end)
                if end == "killed":
                    (tmp_path / "features" / f"{of_train}.0123.tmp").write_text("what it left")
                    process.kill()
                else:
                    for name, path in made.items():
                        path.rename(tmp_path / "features" / name)
                    process.stdin.close()
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", ends_while_waited_for)
        result = trained(spec(data=data), features=tmp_path / "features")
    assert (result.trained_by, waited) == ("frozen prefix + graph", [end])
    assert calls == ([] if end == "finished" else ["train", "validation"])
    assert {path.name for path in (tmp_path / "features").iterdir()} == made.keys()


def race(start: Path, features: Path) -> None:
    """Train once told to, and print which features were made here and what came of it."""
    made, original = [], frozen_prefix._batches
    frozen_prefix._batches = lambda prefix, part: (made.append(part.name), original(prefix, part))[
        1
    ]
    sys.stdout.write("ready\n")
    start.read_text()
    result = trained(spec(), features=features)
    sys.stdout.write(json.dumps([made, result.trained_by, result.curve]))


def test_two_processes_make_features_once_between_them(tmp_path: Path) -> None:
    features, starts = tmp_path / "features", [tmp_path / "start-a", tmp_path / "start-b"]
    for start in starts:
        os.mkfifo(start)
    racers = [forked.Forked(race, start, features, folder=tmp_path) for start in starts]
    assert [racer.output.readline() for racer in racers] == ["ready\n"] * 2
    for start in starts:
        start.open("w").close()
    said = [json.loads(racer.end()[1].splitlines()[-1]) for racer in racers]
    (made, path, curve), (made_too, path_too, curve_too) = said
    assert sorted(made + made_too) == ["train", "validation"]
    assert (path, curve) == (path_too, curve_too)
    assert path == "frozen prefix + graph"
    assert {file.suffix for file in features.iterdir()} == {".npy"}


def test_features_unused_for_longest_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age, name in enumerate(["new", "middle", "old"]):
        np.save(tmp_path / f"{name}.npy", np.zeros(100))
        os.utime(tmp_path / f"{name}.npy", (1000 - age, 1000 - age))
    monkeypatch.setattr(frozen_prefix, "KEPT_BYTES", 2 * (tmp_path / "new.npy").stat().st_size)
    frozen_prefix._prune(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"new", "middle"}


def test_features_that_are_read_count_as_used(tmp_path: Path, untrained: list[Any]) -> None:
    trained(spec(), features=tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    trained(spec(), features=tmp_path)
    assert all(path.stat().st_mtime > 1 for path in tmp_path.iterdir())
