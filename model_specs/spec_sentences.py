"""Texts: which data set is a sentence about?"""

import keras

import modeltune as mt

from .datasets import sentences


@mt.spec(
    data=sentences,
    search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2),
    fit=mt.Fit(epochs=20, batch_size=16),
    validation=mt.Holdout(epochs=20, seeds=2),
    gates=[
        mt.gain_over_dummy("accuracy") >= 0.15,
        mt.metric("parameters") <= 30_000,
    ],
)
def words(hp, prepared):
    """The mean of learned word vectors; padding counts for nothing."""
    inputs = prepared.inputs()
    numbers = prepared.encode(inputs)
    width = hp.Choice("width", [8, 16, 24])
    vectors = keras.layers.Embedding(prepared.words, width, mask_zero=True)(numbers)
    mean = keras.layers.GlobalAveragePooling1D()(vectors)
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(mean))
    rate = keras.optimizers.Adam(hp.Choice("learning_rate", [0.01, 0.03]))
    model.compile(rate, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
