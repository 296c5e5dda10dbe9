"""Classes of several outputs are weighed as Keras weighs those of one, by sample weights."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.fit.class_weights import weighted
from modeltune.engine.fit.trial import train_trial
from modeltune.records.tasks import TrialTask
from tests.support.small_models import LABELS, PIXELS, spec_of, values

ODD = LABELS % 2
WEIGHTS = {"digit": {0: 3.0, 7: 0.5}}
OF_DIGITS = np.select([LABELS == 0, LABELS == 7], [3.0, 0.5], 1.0).astype("float32")


def two_outputs(hp: Any) -> Any:
    inputs = keras.Input((64,))
    digit = layers.Dense(10, activation="softmax", name="digit")(inputs)
    odd = layers.Dense(1, activation="sigmoid", name="odd")(inputs)
    model = keras.Model(inputs, {"digit": digit, "odd": odd})
    losses = {"digit": "sparse_categorical_crossentropy", "odd": "binary_crossentropy"}
    model.compile("sgd", loss=losses, metrics={"digit": ["accuracy"]})
    return model


def part(first: int, last: int, **fields: Any) -> tuple[Any, ...]:
    return PIXELS[first:last], {"digit": LABELS[first:last], "odd": ODD[first:last]}


def test_a_model_is_trained_as_keras_trains_it_with_these_sample_weights() -> None:
    fit = mt.Fit(epochs=2, class_weight=WEIGHTS, shuffle=False)
    data = mt.Data(part(0, 96), part(96, 128), part(128, 160))
    search = mt.RandomSearch(mt.minimize("val_loss"), max_trials=1)
    declared = spec_of(two_outputs, data, fit=fit, search=search)
    loaded = load_data(declared)
    task = TrialTask(1, values().get_config(), epochs=2, initial_epoch=0, seed=5)
    trained = train_trial(declared, loaded.train, loaded.validation, task)
    assert trained.failure is None
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(5)
    weights = {"digit": OF_DIGITS[:96], "odd": np.ones(96, "float32")}
    options = {"sample_weight": weights, "validation_data": part(96, 128), "shuffle": False}
    fitted = two_outputs(values()).fit(*part(0, 96), epochs=2, verbose=0, **options)
    assert {name: list(logged) for name, logged in trained.curve.items()} == fitted.history


def weights_of(y: Any, class_weight: Any, sample_weight: Any = None) -> Any:
    of_y = Part("train", len(PIXELS), "", x=PIXELS, y=y, sample_weight=sample_weight)
    return weighted(of_y, two_outputs(values()), class_weight).sample_weight


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None], np.eye(10, dtype="float32")[LABELS], LABELS.astype("float32")],
    ids=["numbers", "a column", "one-hot", "floats"],
)
def test_labels_count_in_each_of_their_forms(labels: Any) -> None:
    digit, odd = weights_of((labels, ODD), WEIGHTS)
    assert (digit == OF_DIGITS).all()
    assert (odd == 1).all()


def test_dense_labels_weigh_one_by_one_and_other_weights_are_multiplied() -> None:
    dense = np.stack([LABELS, LABELS], axis=1)
    halves = np.full(len(LABELS), 0.5, "float32")
    found = weights_of({"digit": dense, "odd": ODD}, WEIGHTS, {"odd": halves})
    assert (found["digit"] == np.stack([OF_DIGITS, OF_DIGITS], axis=1)).all()
    assert (found["odd"] == halves).all()


@pytest.mark.parametrize(
    ("y", "class_weight", "text"),
    [
        (
            {"digit": LABELS, "odd": ODD},
            {"digits": {0: 2.0}},
            'train has no output "digits"; its outputs are "digit", "odd"',
        ),
        (
            {"digit": LABELS + 0.5, "odd": ODD},
            {"digit": {0: 2.0}},
            '"digit" holds numbers and no classes',
        ),
    ],
)
def test_weights_of_no_classes_are_refused(y: Any, class_weight: Any, text: str) -> None:
    with pytest.raises(mt.SpecError, match=re.escape(text)):
        weights_of(y, class_weight)


@pytest.mark.parametrize(
    ("class_weight", "field"),
    [
        ({"digit": 2.0}, 'class_weight["digit"]'),
        ({"digit": {"0": 2.0}}, 'class_weight["digit"]["0"]'),
        ({0: {1: 2.0}}, "class_weight[0]"),
        ({"digit": {0: 2.0}, 1: 3.0}, "class_weight"),
    ],
)
def test_weights_of_neither_form_are_refused_where_they_are_declared(
    class_weight: Any, field: str
) -> None:
    assert [name for name, _ in mt.Fit(class_weight=class_weight).problems()] == [field]
    assert not [*mt.Fit(class_weight=WEIGHTS).problems()]
