"""A table, one model under three searches: which one finds good values soonest?"""

import keras
import pytest

import modeltune as mt

from .datasets import wines

for_loss = mt.minimize("val_loss")


@pytest.mark.parametrize(
    "search",
    [
        mt.Hyperband(for_loss, max_epochs=9),
        mt.RandomSearch(for_loss, max_trials=8),
        mt.BayesianOptimization(for_loss, max_trials=8, num_initial_points=5),
    ],
)
@mt.spec(
    data=mt.table(wines, target="grower"),
    search=mt.RandomSearch(for_loss),
    fit=mt.Fit(epochs=9, batch_size=16),
    validation=mt.Holdout(epochs=40, seeds=3),
    gates=[
        mt.metric("accuracy") >= 0.9,
        mt.metric("recall").worst >= 0.85,
        mt.gap("accuracy") <= 0.1,
        mt.gain_over_dummy("accuracy") >= 0.8,
    ],
)
def classifier(hp, prepared):
    """A dense network whose depth decides which widths exist; its columns are scaled as on train."""
    inputs = prepared.inputs()
    x = prepared.encode(inputs)
    for layer in range(hp.Int("layers", 1, 2)):
        x = keras.layers.Dense(hp.Int(f"units_{layer}", 8, 32, step=8), activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(
        keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model
