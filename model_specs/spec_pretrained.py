"""Heads on frozen bases of keras.applications, which each refit fine-tunes afterwards.

With ``weights="imagenet"`` in place of ``weights=None`` they are the usual ones; the gallery downloads
nothing.
"""

import keras
import keras_tuner
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import modeltune as mt

SIZE = 80


def digits_in_colour():
    """Two hundred of the digits as colour images of 80 x 80 pixels, from 0 to 255."""
    bunch = load_digits()
    x = np.kron(bunch.images[:200] / 16 * 255, np.ones((1, SIZE // 8, SIZE // 8)))
    return mt.Data(
        train=(np.repeat(x[..., np.newaxis], 3, axis=3).astype("float32"), bunch.target[:200])
    )


class OnInception(keras_tuner.HyperModel):  # type: ignore[misc]
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


def protocol(from_layer):
    return mt.spec(
        data=digits_in_colour,
        search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2),
        fit=mt.Fit(epochs=3, batch_size=32),
        validation=mt.Holdout(
            epochs=5,
            seeds=1,
            fine_tune=mt.FineTune(
                from_layer, epochs=1, learning_rate=lambda hp: hp.get("learning_rate") / 100
            ),
        ),
        # Of bases that have learned nothing no more can be demanded.
        gates=[mt.metric("loss") <= 10],
    )


on_inception = protocol("mixed4")(OnInception(cut_inception(), 10))


@protocol("conv5_block3_3_conv")
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
