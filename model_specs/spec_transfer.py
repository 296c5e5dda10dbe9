"""Transfer learning: a frozen convolutional base, cut at an inner layer, under a searched head."""

import keras

import modeltune as mt

from .datasets import large_digits


@mt.spec(
    data=large_digits,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=4),
    fit=mt.Fit(epochs=5, batch_size=64),
    validation=mt.Holdout(epochs=10, seeds=2),
    gates=[
        mt.metric("accuracy") >= 0.8,
        mt.gain_over_dummy("accuracy") >= 0.75,
    ],
)
def head_on_vgg(hp):
    """A dense head on the first block of VGG16; even random filters tell digits apart."""
    base = keras.applications.VGG16(input_shape=(32, 32, 3), include_top=False, weights=None)
    base.trainable = False
    x = keras.layers.Flatten()(base.get_layer("block1_pool").output)
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.Dense(hp.Int("units", 64, 256, step=64), activation="relu")(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    model = keras.Model(base.input, outputs)
    model.compile(
        keras.optimizers.Adam(hp.Choice("learning_rate", [3e-4, 1e-3, 3e-3])),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model
