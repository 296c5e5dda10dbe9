"""What existed before a build keeps its names: a head on a base made elsewhere has names of its own."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import pytest

from modeltune.engine.fit import lend_model
from modeltune.engine.fit.outside_layers import outside_layers
from modeltune.engine.oracles import ReadHyperParameters
from tests.support.small_models import spec_of

BASE: Any = None


def made() -> Any:
    """Return a frozen base with automatic names: three layers, one of them an operation."""
    keras.utils.clear_session()
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3)(inputs)
    base = keras.Model(inputs, keras.layers.Dense(3)(hidden) + 1)
    base.trainable = False
    return base


def head(base: Any) -> Any:
    """Return a model upon the graph of a base, all of it named by Keras."""
    hidden = keras.layers.Dense(3)(base.output) + 1
    model = keras.Model(base.input, keras.layers.Dense(2, activation="softmax")(hidden))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[keras.metrics.Mean()])
    return model


def in_constructor() -> Any:
    class Tuned(keras_tuner.HyperModel):
        def __init__(self) -> None:
            super().__init__()
            self.parts = {"base": [made()]}

        def build(self, hp: Any) -> Any:
            return head(self.parts["base"][0])

    return Tuned()


def in_closure() -> Any:
    base = made()
    return lambda hp: head(base)


def at_module_level() -> Any:
    global BASE
    BASE = made()

    def found() -> Any:
        return BASE

    return lambda hp: head(found())


def in_another_module() -> Any:
    module = types.ModuleType("bases")
    vars(module).update(base=made(), __file__="bases.py")
    names = {"bases": module, "head": head}
    return types.FunctionType((lambda hp: head(bases.base)).__code__, names)  # type: ignore[name-defined] # noqa: F821


def in_cache() -> Any:
    once = functools.cache(made)
    once()
    return lambda hp: head(once())


def in_default() -> Any:
    def build(hp: Any, base: Any = made()) -> Any:
        return head(base)

    return build


PLACES = [in_constructor, in_closure, at_module_level, in_another_module, in_cache, in_default]


@pytest.mark.parametrize("place", PLACES)
def test_a_head_has_other_names_than_the_base_it_is_built_on(place: Callable[[], Any]) -> None:
    spec, names = spec_of(place()), []
    for seed in (0, 1):
        with lend_model(spec, ReadHyperParameters(), seed) as model:
            names.append([operation.name for operation in model.operations])
            assert model.metrics[-1].name == "compile_metrics"
    assert names[0] == names[1]
    assert names[0] == [
        "input_layer", "dense", "dense_1", "add", "dense_2", "add_1", "dense_3",
    ]  # fmt: skip


def test_names_count_from_the_beginning_where_nothing_was_made_before() -> None:
    made()
    with lend_model(spec_of(lambda hp: head(made())), ReadHyperParameters(), 0) as model:
        assert model.layers[1].name == "dense"


def test_large_data_beside_a_base_are_not_walked() -> None:
    class Watched(list[int]):
        def __iter__(self) -> Any:
            raise AssertionError

    model = types.SimpleNamespace(data=Watched(range(5_000)), base=made())
    assert list(outside_layers(model)) == [model.base]


def test_an_object_whose_class_names_no_module_is_passed_by() -> None:
    # As the type of functions that Cython compiled: its __module__ is a descriptor.
    class Compiled:
        pass

    Compiled.__module__ = property(lambda self: "scripts")  # type: ignore[assignment]
    model = types.SimpleNamespace(compiled=Compiled(), base=made())
    assert list(outside_layers(model)) == [model.base]
