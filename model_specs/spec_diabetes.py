"""A regression, cross-validated, with early stopping; each fold has the scale of its own train part."""

import keras

import modeltune as mt

from .datasets import diabetes


@mt.spec(
    data=diabetes,
    search=mt.GridSearch(mt.minimize("val_mae")),
    fit=mt.Fit(
        epochs=30,
        callbacks=[lambda: keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)],
    ),
    validation=mt.KFold(k=5, epochs=60),
    gates=[
        mt.metric("r2") >= 0.15,
        mt.metric("mae").worst <= 0.55,
        mt.metric("mae").std <= 0.1,
        mt.gain_over_dummy("mse") >= 0.15,
        mt.metric("rmse", severity="warn") <= 0.6,
    ],
)
def progression(hp, scale):
    """Linear, or with one hidden layer whose width matters only then."""
    model = keras.Sequential([keras.Input((10,)), scale])
    if hp.Choice("kind", ["linear", "hidden"]) == "hidden":
        model.add(keras.layers.Dense(hp.Choice("units", [8, 16, 32]), activation="relu"))
    model.add(keras.layers.Dense(1))
    rate = hp.Choice("learning_rate", [0.003, 0.01])
    model.compile(keras.optimizers.Adam(rate), loss="mse", metrics=["mae"])
    return model
