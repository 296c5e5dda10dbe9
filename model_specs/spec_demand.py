"""A series: a forecast that has to beat the last value."""

import keras

import modeltune as mt

from .datasets import demand


def skill(y_true, y_pred, metadata):
    """By how much the mean error is smaller than that of the last value; 1 is perfect."""
    return 1 - abs(y_true - y_pred).mean() / abs(y_true - metadata["last"]).mean()


on_demand = mt.spec(
    data=mt.windows(demand, length=24, horizon=3),
    fit=mt.Fit(batch_size=32),
    validation=mt.Holdout(epochs=15, seeds=2),
    gates=[mt.metric(skill) >= 0.4, mt.metric("mae") <= 1.5],
)


@on_demand
def recurrent(hp, prepared):
    """A recurrent network over the day before."""
    inputs = prepared.inputs()
    state = keras.layers.GRU(16)(prepared.encode(inputs))
    return compiled(inputs, keras.layers.Dense(1)(state))


@on_demand
def attention(hp, prepared):
    """One block of a Transformer encoder behind a convolution, without which it knows no order."""
    inputs = prepared.inputs()
    x = keras.layers.Conv1D(16, 3, padding="causal")(prepared.encode(inputs))
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(2, 8)(x, x)])
    x = keras.layers.LayerNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.Dense(16, activation="relu")(x)])
    return compiled(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))


def compiled(inputs, outputs):
    """Scale the outputs to a demand, which is about 10, and compile."""
    model = keras.Model(inputs, keras.layers.Rescaling(3.0, offset=10.0)(outputs))
    model.compile(keras.optimizers.Adam(0.01), loss="mae", metrics=["mae"])
    return model
