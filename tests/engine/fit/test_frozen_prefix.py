"""A frozen prefix is run once, and no number of the training tells."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit import feature_files, frozen_prefix
from modeltune.engine.fit.candidate import trainable
from modeltune.engine.fit.fitting import FitPlan, fit
from modeltune.engine.fit.model_structure import structure
from modeltune.engine.internals import keras_internals
from modeltune.engine.oracles import ReadHyperParameters
from tests.support.frozen_models import (
    IMAGES,
    compiled,
    conv,
    headed,
    hidden,
    images,
    sequential,
    spec,
    trained,
)
from tests.support.small_models import LABELS, PIXELS, dense, softmax, spec_of, values

LARGE_IMAGES = np.repeat(np.kron(PIXELS.reshape(-1, 8, 8)[:160], np.ones((4, 4)))[..., None], 3, -1)


def state(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


@pytest.fixture
def uncut(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Train whole while the returned patch holds."""
    with monkeypatch.context() as patch:
        patch.setattr(frozen_prefix, "cut_model", lambda *_: frozen_prefix.Whole())
        yield patch


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count the batches that go through a graph: to make features or to check a cut."""
    names: list[str] = []
    original = feature_files.in_graph

    def counted(model: Any) -> Any:
        run = original(model)
        return lambda batch: [names.append(model.name), run(batch)][1]

    for module in (feature_files, frozen_prefix):
        monkeypatch.setattr(module, "in_graph", counted)
    return names


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
    inputs = keras.Input((16, 16, 1))
    pooled = layers.GlobalAveragePooling2D()(base(inputs, training=False))
    return compiled(keras.Model(inputs, layers.Dense(10, activation="softmax")(pooled)))


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
    "after a constant layer, remainder, class weights": spec(
        lambda hp: sequential(layers.Rescaling(0.5)),
        data=images(90, 41),
        class_weight={n: n / 5 for n in range(10)},
    ),
    "sample weights, slows down, stops early": spec(
        data=weighted(), callbacks=[slowing, stopping], shuffle=False
    ),
    "mixed_float16": spec(dtype_policy="mixed_float16"),
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
    hp = ReadHyperParameters.of(values())
    plan = FitPlan(declared, hp, data.train, data.validation, 2, 5, features=tmp_path)
    with trainable(plan) as candidate:
        model = candidate.model
        curve, path = fit(plan, candidate)
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
    inputs = keras.Input((16, 16, 1))
    features = layers.Flatten()(conv(1)(inputs))
    ends = [layers.Dense(10, activation="softmax")(features), features]
    losses = ["sparse_categorical_crossentropy", None]
    return compiled(keras.Model(inputs, ends), loss=losses, metrics=None)


def shared(hp: Any) -> Any:
    inputs, twice = keras.Input((16, 16, 1)), conv(1, padding="same")
    end = layers.Flatten()(twice(conv(1, padding="same", trainable=True)(twice(inputs))))
    return compiled(keras.Model(inputs, layers.Dense(10, activation="softmax")(end)))


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
    assert not all(layer.trainable for layer in keras_internals.inner_layers(model))
    assert not (tmp_path / "features").exists()


def test_a_model_without_frozen_layers_has_nothing_to_say() -> None:
    assert trained(spec_of(softmax), epochs=1).trained_by == "graph"


def test_streams_are_trained_whole() -> None:
    x, y = IMAGES[:64], LABELS[:64]
    stream = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    result = trained(spec(data=mt.Data(stream, stream, stream)), epochs=1)
    assert result.trained_by == "model.fit: streamed data"


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
    def described(units: int, rate: float, swapped: bool, seed: int = 2) -> Any:
        inputs = [keras.Input((units,)), keras.Input((units,))]
        one, two = reversed(inputs) if swapped else inputs
        dropped = layers.Dropout(rate, seed=seed)(layers.Dense(units, name=f"d{units}")(one))
        return structure(keras.Model(inputs, layers.Add()([dropped, two])))

    assert described(4, 0.2, False) == described(8, 0.4, False, 3) is not None
    assert described(4, 0.2, False) != described(4, 0.2, True)


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
        content = io.BytesIO()
        np.save(content, np.load(path) + np.float32(1e-3))
        # The digest fits: what was written wrongly is told from nothing else.
        signed = content.getvalue() + hashlib.sha256(content.getvalue()).digest()
        with open(draft, "r+b" if in_place else "wb") as file:
            file.write(signed)
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
