"""An ensemble predicts the mean of its members, whose refits are those of their values alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from scipy import special

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.fit.ensembles import average
from modeltune.engine.internals.keras_internals import activation_of
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.model_files import save_model
from modeltune.engine.score.rebuilt import of_architecture, rebuilt_model
from modeltune.engine.score.refit import train_refit
from modeltune.ground import SpecError
from modeltune.records.ensembles import values_of_ensemble
from modeltune.records.tasks import ARCHITECTURE, RefitResult, RefitTask
from modeltune.specs.spec_type import Spec
from modeltune.specs.validations import Refit
from tests.support.small_models import dense, digits, spec_of, values

SMALL, LARGE = {"width": 4}, {"width": 16}
ENSEMBLE = mt.Holdout(epochs=2, seeds=1, ensemble=2)
TUNED = mt.FineTune(from_layer="hidden", epochs=1, learning_rate=lambda hp: 0.1 / hp.get("width"))


def two_outputs(hp: Any) -> Any:
    """Return a model of the digits with a distribution and a number, and layers of the same names."""
    inputs = keras.Input((64,), name="pixels")
    hidden = layers.Dense(hp.Choice("width", [4, 16]), activation="relu", name="hidden")
    hidden.trainable = False
    x = hidden(inputs)
    outputs = {
        "digit": layers.Dense(10, activation="softmax", name="digit")(x),
        "ink": layers.Dense(1, name="ink")(x),
    }
    model = keras.Model(inputs, outputs)
    losses = {"digit": "sparse_categorical_crossentropy", "ink": "mse"}
    metrics = {"digit": ["accuracy"], "ink": ["mae"]}
    model.compile("adam", loss=losses, metrics=metrics, run_eagerly=True)
    return model


def data() -> mt.Data:
    known: Any = digits(train=96, validation=32, test=48)
    return mt.Data(
        *(
            (x, {"digit": y, "ink": x.mean(axis=1, keepdims=True)})
            for x, y in (known.train, known.validation, known.test)
        )
    )


def refitted(declared: Spec, chosen: Any, weights: Path) -> RefitResult:
    task = RefitTask(Refit(3), values(**chosen).get_config(), 2, weights)
    result = train_refit(declared, load_data(declared), task)
    assert result.failure is None, result.failure.traceback
    return result


def test_an_ensemble_predicts_the_mean_of_its_members_and_leaves_as_a_model_of_keras(
    tmp_path: Path,
) -> None:
    validation = replace(ENSEMBLE, fine_tune=TUNED)
    declared = spec_of(two_outputs, data(), validation=validation)
    test: Any = data().test
    x, y = test
    alone = []
    for number, chosen in enumerate((SMALL, LARGE)):
        weights = tmp_path / str(number) / "refit.weights.h5"
        refitted(declared, chosen, weights)
        model: Any = of_architecture(weights.with_name(ARCHITECTURE), weights)
        alone.append(model.predict(x, verbose=0))
    mean = {name: (alone[0][name] + alone[1][name]) / 2 for name in ("digit", "ink")}
    weights, both = tmp_path / "both" / "refit.weights.h5", values_of_ensemble([SMALL, LARGE])

    result = refitted(declared, both, weights)

    accuracy = float(np.mean(mean["digit"].argmax(axis=1) == y["digit"]))
    assert result.scores["digit_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    error = float(np.abs(mean["ink"] - y["ink"]).mean())
    assert result.scores["ink_mae"] == pytest.approx(error, rel=1e-5)
    phases = [(phase.name, phase.epochs, phase.learning_rate) for phase in result.phases]
    assert phases == [
        ("member 1, first", 2, None),
        ("member 1, fine-tuning", 1, 0.1 / 4),
        ("member 2, first", 2, None),
        ("member 2, fine-tuning", 1, 0.1 / 16),
    ]
    assert len(result.curve["loss"]) == 3  # of the winner
    assert set(result.watched["scores"]) >= {"loss", "digit_accuracy"}
    assert not [check for check in result.checks if check.outcome.is_red()]
    counts = [64 * w + w + w * 10 + 10 + w + 1 for w in (4, 16)]
    assert result.scores["parameters"] == sum(counts)
    loaded = load_data(declared).test
    with rebuilt_model(declared, both, 3, weights, loaded) as rebuilt:
        save_model(rebuilt, tmp_path / "model.keras", x[:4])
    of_kept: Any = of_architecture(weights.with_name(ARCHITECTURE), weights)
    for model in (keras.saving.load_model(tmp_path / "model.keras"), of_kept):
        predicted = model.predict(x, verbose=0)
        for name, expected in mean.items():
            np.testing.assert_allclose(predicted[name], expected, rtol=1e-5, atol=1e-6)


def of_logits(seed: int) -> Any:
    """Return a model whose first output is logits of classes, the second one of a yes, the third probabilities."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,))
    exclusive = layers.Dense(3, name="kind")(inputs)
    outputs = [
        exclusive,
        layers.Dense(1, name="yes")(inputs),
        layers.Softmax(name="own")(exclusive),
    ]
    model = keras.Model(inputs, outputs)
    model.compile(
        "sgd",
        loss=[
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            keras.losses.BinaryFocalCrossentropy(from_logits=True),
            distance,
        ],
    )
    return model


@keras.saving.register_keras_serializable("test_ensembles")
def distance(y: Any, predicted: Any) -> Any:
    return keras.ops.mean(keras.ops.abs(y - predicted), axis=-1)


def test_logits_are_averaged_as_the_probabilities_that_they_stand_for(tmp_path: Path) -> None:
    x = 30 * np.random.default_rng(0).normal(size=(6, 4)).astype(
        "float32"
    )  # some are all but certain
    members = [of_logits(seed) for seed in range(3)]
    alone = [[np.asarray(one, np.float64) for one in model(x)] for model in members]

    whole = average(members)

    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    made_again = keras.models.model_from_json(whole.to_json())
    assert made_again.output_names == whole.output_names == ["kind", "yes", "own"]
    for model in (whole, loaded):
        kind, yes, own = (np.asarray(one, np.float64) for one in model(x))
        shares = np.mean([special.softmax(one[0], axis=-1) for one in alone], axis=0)
        np.testing.assert_allclose(special.softmax(kind, axis=-1), shares, rtol=1e-4, atol=1e-30)
        np.testing.assert_allclose(own, shares, rtol=1e-4, atol=1e-6)
        for sign in (1, -1):
            odds = np.mean([special.expit(sign * one[1]) for one in alone], axis=0)
            np.testing.assert_allclose(special.expit(sign * yes), odds, rtol=1e-3, atol=1e-30)
    # So that an own loss leaves no doubt about the task of the average.
    assert activation_of(whole.outputs[2]) == "softmax"


class OwnStep(keras.Model):
    def test_step(self, data: Any) -> Any:
        return super().test_step(data)


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.head = layers.Dense(10, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.head(x)


def compiled(model: Any, loss: Any = "sparse_categorical_crossentropy") -> Any:
    model.compile("sgd", loss=loss, metrics=["accuracy"])
    return model


def own_step() -> Any:
    inputs = keras.Input((64,))
    return compiled(OwnStep(inputs, layers.Dense(10, activation="softmax")(inputs)))


class OwnLoss(keras.losses.Loss):
    from_logits = True

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


def logits() -> Any:
    return dense(layers.Dense(10), loss=OwnLoss())


BASE = layers.Dense(4, trainable=False)
BASE.build((None, 64))


REFUSED = {
    "logits": (logits, "OwnLoss, which says from_logits=True, is no cross-entropy of Keras"),
    "own step": (own_step, "OwnStep has its own test_step(), which an average"),
    "no inputs": (
        lambda: compiled(Subclassed()),
        "the inputs of Subclassed are not known before it is called",
    ),
    "shared": (
        lambda: dense(BASE, layers.Dense(10, activation="softmax")),
        "layers that are made outside its build function",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_averaged_is_refused_when_it_is_built(kind: str) -> None:
    build, why = REFUSED[kind]
    declared = spec_of(lambda hp: build(), validation=ENSEMBLE)
    with (
        pytest.raises(SpecError, match=f"validation.ensemble: .*{re.escape(why)}"),
        lend_model(declared, ReadHyperParameters(), 0),
    ):
        pass
    with lend_model(spec_of(lambda hp: build()), ReadHyperParameters(), 0):
        pass  # it is no other model that is refused
