"""Heads on the networks of keras.applications, as the design notes have them, but for weights and sizes."""

from __future__ import annotations

import pytest

from tests.support.example import Example

SPEC = '''

import keras
import keras_tuner
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import modeltune as mt

SIZE = 75  # InceptionV3 takes no less


def digits_in_colour():
    """Thirty of the digits as colour images, from 0 to 255."""
    images = np.kron(load_digits().images[:30] / 16 * 255, np.ones((1, 10, 10)))[:, :SIZE, :SIZE]
    x = np.repeat(images[..., np.newaxis], 3, axis=3).astype("float32")
    return mt.Data(train=(x, load_digits().target[:30]))


class OnInception(keras_tuner.HyperModel):
    """Two dense layers behind ``mixed5`` of an InceptionV3 that is made once in each process."""

    def __init__(self, base_model, num_classes):
        super().__init__(name="on_inception")
        self.base_model = base_model
        self.num_classes = num_classes

    def build(self, hp):
        self.base_model.trainable = False
        inputs = keras.Input((SIZE, SIZE, 3))
        x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)  # as inception_v3.preprocess_input
        x = layers.GlobalAveragePooling2D()(self.base_model(x, training=False))
        x = layers.Dense(hp.Int("units", 32, 96, step=32), activation="relu")(x)
        outputs = layers.Dense(self.num_classes, activation="softmax")(x)
        model = keras.Model(inputs, outputs)
        optimizer = keras.optimizers.Adam(hp.Choice("learning_rate", [1e-3, 1e-2]))
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model


def cut_inception():
    """Return an InceptionV3 up to ``mixed5``, the same in each process."""
    keras.utils.set_random_seed(7)
    shape = (SIZE, SIZE, 3)
    base = keras.applications.InceptionV3(input_shape=shape, include_top=False, weights=None)
    return keras.Model(base.input, base.get_layer("mixed5").output, name="inception")


on_inception = mt.spec(
    data=digits_in_colour,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=1),
    fit=mt.Fit(epochs=1, batch_size=32),
    validation=mt.Holdout(
        epochs=1,
        seeds=1,
        fine_tune=mt.FineTune(
            "mixed4", epochs=1, learning_rate=lambda hp: hp.get("learning_rate") / 100
        ),
    ),
    gates=[mt.metric("accuracy") >= 0],
)(OnInception(cut_inception(), 10))


@mt.spec(
    data=digits_in_colour,
    fit=mt.Fit(batch_size=32),
    validation=mt.Holdout(epochs=1, seeds=1),
    gates=[mt.metric("accuracy") >= 0],
)
def on_resnet(hp):
    """A softmax behind a ResNet50."""
    base = keras.applications.ResNet50(
        input_shape=(SIZE, SIZE, 3), include_top=False, weights=None, pooling="avg"
    )
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    x = base(keras.applications.resnet50.preprocess_input(inputs), training=False)
    model = keras.Model(
        inputs, layers.Dense(10, activation="softmax")(layers.LayerNormalization()(x))
    )
    model.compile(
        keras.optimizers.Adam(hp.Choice("learning_rate", [1e-3, 1e-2])),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
'''


def test_an_inception_in_a_constructor_is_searched_and_fine_tuned_and_a_resnet_trained(
    project: Example,
) -> None:
    ended = project.with_spec(SPEC).run_pytest("--modeltune-workers=0")
    ended.assert_outcomes(passed=2)
    _, run = project.history()
    (refit,) = run.validation["refits"]
    head, base = refit["phases"]
    assert [len(phase["curve"]["loss"]) for phase in (head, base)] == [1, 1]
    assert base["from_layer"] == "mixed4"
    assert run.best is not None
    assert base["learning_rate"] == pytest.approx(float(run.best.values["learning_rate"]) / 100)
