"""A fit of one's own that changes its data, or trains another model than it is given, is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from modeltune.engine.fit.cautions import take_cautions
from modeltune.engine.fit.own_fit_effects import LARGEST_COMPARED, OwnFitEffects
from modeltune.records.tasks import Caution


@pytest.fixture(autouse=True)
def nothing_said_before() -> Iterator[None]:
    take_cautions()
    yield
    take_cautions()


def model(trainable: bool = True) -> Any:
    made = keras.Sequential([keras.Input((2,)), layers.Dense(1), layers.Dense(1)])
    made.trainable = trainable
    return made


def arguments() -> dict[str, Any]:
    """Arrays in the structures that fit takes, and what is no array."""
    x, y = np.ones((4, 2), "float32"), np.array(["a", "b", "c", "d"], object)
    return {
        "x": {"left": x, "right": x.copy()},
        "y": y,
        "sample_weight": np.ones(4),
        "validation_data": (x.copy(), y.copy()),
        "epochs": 3,
        "callbacks": [object()],
    }


def texts(given: Any, data: dict[str, Any], train: Any) -> list[str]:
    """Return what is warned of when a fit does this to a model and its data."""
    effects = OwnFitEffects("Own", given, data)
    train()
    effects.warn()
    cautions = take_cautions()
    assert all(one == Caution("model.own_fit", one.text) for one in cautions)
    return [one.text for one in cautions]


def trains(given: Any) -> None:
    """Change a single weight, as a fit does."""
    given.weights[-1].assign([0.5])


def test_a_fit_that_trains_its_model_on_data_that_stay_is_not_told() -> None:
    given = model()
    assert texts(given, arguments(), lambda: trains(given)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: data["x"]["right"].__itruediv__(2), "x"),
        (lambda data: data["x"]["left"].__setitem__((3, 1), 0), "x"),
        (lambda data: data["y"].__setitem__(0, "z"), "y"),
        (lambda data: data["sample_weight"].fill(0), "sample_weight"),
        (lambda data: data["validation_data"][0].__imul__(2), "validation_data"),
        (lambda data: [data["y"].sort(), data["y"].fill("e"), data["x"]["left"].fill(0)], "x and y"),
    ],
    ids=["an input", "one number", "an object", "weights", "validation", "two"],
)  # fmt: skip
def test_data_that_are_changed_in_place_are_named(change: Any, named: str) -> None:
    given, data = model(), arguments()
    (text,) = texts(given, data, lambda: [change(data), trains(given)])
    assert text == (
        f"Own.fit changes {named} in place, so that whatever is trained after it in the same process "
        "gets other data"
    )


def test_a_change_of_all_rows_of_a_large_array_is_found_on_a_few() -> None:
    given, large = model(), np.zeros(2 * LARGEST_COMPARED, "uint8").reshape(-1, 64)

    def change() -> None:
        trains(given)
        large[:] += 1

    (text,) = texts(given, {"x": large}, change)
    assert "changes x in place" in text


@pytest.mark.parametrize(
    "given", [model, lambda: keras.Sequential([layers.Dense(1)])], ids=["built", "not built"]
)
def test_a_model_that_stays_as_it_was_is_told_with_the_name_of_the_class(given: Any) -> None:
    (text,) = texts(given(), arguments(), lambda: trains(model()))
    assert text.startswith("Own.fit leaves the weights of the model it is given as they were")


def test_a_model_that_is_built_in_fit_was_trained() -> None:
    given = keras.Sequential([layers.Dense(1)])
    assert texts(given, arguments(), lambda: given.build((None, 2))) == []


def test_a_model_with_nothing_to_train_is_not_told() -> None:
    assert texts(model(trainable=False), arguments(), lambda: None) == []
