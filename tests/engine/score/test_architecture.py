"""A tuned model is described by its layers, whatever kind of model it is and whatever its code does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from modeltune.engine.score.architecture import MOST_LAYERS, describe_model


def listed(model: Any) -> list[tuple[str, str, Any, int, bool, int]]:
    return [tuple(layer.values()) for layer in describe_model(model)["layers"]]


def test_nested_and_frozen_layers_are_listed_in_order_with_their_depth() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(name="flatten")], name="inner")
    frozen = layers.Conv2D(3, 3, padding="same", trainable=False, name="conv2d")
    dense = layers.Dense(2, name="dense")
    model = keras.Sequential([keras.Input((8, 8, 1)), frozen, inner, dense])
    assert listed(model) == [
        ("conv2d", "Conv2D", [None, 8, 8, 3], 30, False, 0),
        ("inner", "Sequential", [None, 192], 0, True, 0),
        ("flatten", "Flatten", [None, 192], 0, True, 1),
        ("dense", "Dense", [None, 2], 386, True, 0),
    ]
    rows = describe_model(model)
    assert (rows["parameters"], rows["trainable"], rows["layers_total"]) == (416, 386, 4)
    assert rows["parameters"] == model.count_params()


def test_a_shared_layer_is_listed_once_and_has_a_shape_only_when_it_is_always_the_same() -> None:
    one, other, wide = keras.Input((4,)), keras.Input((4,)), keras.Input((9, 4))
    dense, anywhere = layers.Dense(2, name="dense"), layers.Dense(2, name="anywhere")
    outputs = [dense(one), dense(other), anywhere(one), anywhere(wide)]
    _, *states = layers.LSTM(3, return_state=True, name="several")(wide)
    rows = listed(keras.Model([one, other, wide], [*outputs, *states]))
    shapes = {name: shape for name, _, shape, *_ in rows}
    assert shapes["dense"] == [None, 2]
    assert shapes["anywhere"] is None
    assert shapes["several"] is None
    assert len(rows) == len(shapes) == 6


def test_the_dtype_policy_is_that_of_the_layers_with_weights() -> None:
    mixed = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(4, dtype="mixed_bfloat16"),
            layers.Dense(4, dtype="mixed_bfloat16"),
            layers.Activation("relu", dtype="float64"),
            layers.Dense(2, dtype="float32"),
        ]
    )
    assert describe_model(mixed)["dtype_policy"] == "mixed_bfloat16, float32"
    assert describe_model(keras.Sequential())["dtype_policy"] == "float32"


class Own(keras.Model):
    """A model whose shapes are open until it is called."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.first = layers.Dense(3, name="first")

    def call(self, x: Any) -> Any:
        return self.first(x)


def test_a_model_without_shapes_gets_them_from_what_it_was_called_on() -> None:
    model = Own()
    assert listed(model) == [("first", "Dense", None, 0, True, 0)]
    model(np.ones((2, 5)))
    assert listed(model) == [("first", "Dense", [None, 3], 18, True, 0)]


class Hostile(layers.Layer):
    """A layer that answers nothing."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("name", "weights", "trainable", "_inbound_nodes", "_build_shapes_dict"):
            raise RuntimeError(f"no {name} of mine")
        return super().__getattribute__(name)


class Unlisted(keras.Model):
    """A model that says nothing of its layers."""

    @property
    def layers(self) -> Any:
        raise RuntimeError("none of your business")


def test_what_a_layer_raises_is_left_out() -> None:
    model = Own()
    assert describe_model(Unlisted())["layers_total"] == 0

    class Holding(keras.Model):
        @property
        def layers(self) -> Any:
            return [Hostile.__new__(Hostile), self, model]

    assert listed(Holding()) == [
        ("", "Hostile", None, 0, False, 0),
        ("own", "Own", None, 0, True, 0),
        ("first", "Dense", None, 0, True, 1),
    ]


def test_of_a_deep_model_the_outer_layers_are_listed_first() -> None:
    many = [layers.Activation("relu") for _ in range(MOST_LAYERS)]
    inner = keras.Sequential([keras.Input((4,)), *many], name="inner")
    rows = describe_model(
        keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="dense")])
    )
    assert [layer["name"] for layer in rows["layers"]] == ["inner", "dense"]
    assert rows["layers_total"] == MOST_LAYERS + 2
    flat = describe_model(keras.Sequential([keras.Input((4,)), *many, layers.Dense(2)]))
    assert (len(flat["layers"]), flat["layers_total"]) == (MOST_LAYERS, MOST_LAYERS + 1)
