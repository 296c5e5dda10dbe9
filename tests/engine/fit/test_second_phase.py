"""Fine-tuning trains from a layer on, as Keras's guide does it, and leaves a shared base as it was."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.fit.compiled_pool import Candidate
from modeltune.engine.fit.second_phase import fine_tuning
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.refit import train_refit
from modeltune.records.tasks import RefitResult, RefitTask
from modeltune.specs.spec_type import Spec
from modeltune.specs.validations import Refit
from tests.support.frozen_models import compiled, conv, images
from tests.support.small_models import spec_of, values

EPOCHS, MORE = 2, 2


def backbone() -> Any:
    """Return a base of two convolutions, each with a BatchNormalization."""
    inputs = keras.Input((16, 16, 1))
    x = layers.BatchNormalization(name="norm1")(conv(name="conv1", trainable=True)(inputs))
    x = layers.BatchNormalization(name="norm2")(conv(6, name="conv2", trainable=True)(x))
    return keras.Model(inputs, x, name="backbone")


BASE = backbone()
WEIGHTS = [weight.copy() for weight in BASE.get_weights()]


def nested(hp: Any) -> Any:
    """Return a head on the base, called as Keras's guide to transfer learning does."""
    BASE.trainable = False
    inputs = keras.Input((16, 16, 1))
    x = layers.GlobalAveragePooling2D()(BASE(inputs, training=False))
    outputs = layers.Dense(10, activation="softmax")(layers.BatchNormalization()(x))
    return compiled(keras.Model(inputs, outputs), optimizer=keras.optimizers.Adam(hp.get("rate")))


def spec(fine_tune: mt.FineTune, build: Any = nested) -> Spec:
    def with_rate(hp: Any) -> Any:
        hp.Float("rate", 1e-3, 1e-1, default=1e-2)
        return build(hp)

    validation = mt.Holdout(epochs=EPOCHS, seeds=2, fine_tune=fine_tune)
    fit = mt.Fit(batch_size=32, shuffle=False)
    return spec_of(with_rate, images(), validation=validation, fit=fit)


def refitted(declared: Spec, seed: int) -> RefitResult:
    task = RefitTask(Refit(seed), values(rate=1e-2).get_config(), EPOCHS, None)
    result = train_refit(declared, load_data(declared), task)
    assert result.failure is None, result.failure.traceback
    return result


def by_keras(seed: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the history of both phases and the scores on test, as a script of Keras has them."""
    data: Any = images()
    train, validation, test = data.train, data.validation, data.test
    BASE.set_weights(WEIGHTS)
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = nested(values(rate=1e-2))
    options = {"batch_size": 32, "shuffle": False, "validation_data": validation, "verbose": 0}
    first = model.fit(*train, epochs=EPOCHS, **options).history
    BASE.trainable = True
    for name in ("conv1", "norm1", "norm2"):
        BASE.get_layer(name).trainable = False
    compiled(model, optimizer=keras.optimizers.Adam(1e-4))
    second = model.fit(*train, initial_epoch=EPOCHS, epochs=EPOCHS + MORE, **options).history
    scores = model.evaluate(*test, batch_size=32, verbose=0, return_dict=True)
    BASE.set_weights(WEIGHTS)
    return {name: first[name] + second[name] for name in first}, scores


def test_it_trains_to_the_numbers_of_a_script_of_keras_phase_by_phase() -> None:
    rate = 1e-2 / 100
    declared = spec(mt.FineTune("conv2", MORE, lambda hp: hp.get("rate") / 100))
    refits = [refitted(declared, seed) for seed in (0, 1)]
    assert not any(layer.trainable for layer in BASE.layers)
    # The second refit began with the base as it was before the first.
    curve, scores = by_keras(1)
    assert {name: list(logged) for name, logged in refits[1].curve.items()} == curve
    assert {name: refits[1].scores[name] for name in scores} == scores
    assert refits[0].curve != refits[1].curve
    first, second = refits[1].phases
    assert (first.name, first.epochs, first.from_layer) == ("first", EPOCHS, None)
    assert (second.name, second.epochs, second.from_layer) == ("fine-tuning", MORE, "conv2")
    assert second.learning_rate == rate
    assert {n: (*first.curve[n], *second.curve[n]) for n in curve} == refits[1].curve
    assert refits[1].trained_by == f"{first.trained_by}; fine-tuning: {second.trained_by}"


# which layers


@pytest.fixture(scope="module")
def flat() -> Any:
    """Return a model whose head stands on an inner layer of a base, and a model within it."""
    inputs = keras.Input((16, 16, 1))
    x = layers.BatchNormalization(name="norm1")(conv(name="conv1")(inputs))
    block = keras.Sequential(
        [conv(6, name="conv2"), layers.BatchNormalization(name="norm2")], name="block"
    )
    twin = keras.Sequential([conv(6, name="conv2")], name="twin")
    x = layers.GlobalAveragePooling2D(name="pool")(twin(block(x)))
    model = compiled(keras.Model(inputs, layers.Dense(10, name="head", activation="softmax")(x)))
    for name in ("conv1", "norm1", "block", "twin"):
        model.get_layer(name).trainable = False
    return model


def unfrozen(model: Any, fine_tune: mt.FineTune, **chosen: Any) -> list[str]:
    hp = ReadHyperParameters.of(values(**chosen).get_config())
    second = fine_tuning(spec(fine_tune), hp, model)
    assert second is not None
    return [layer.name for layer in second.layers]


@pytest.mark.parametrize(
    ("from_layer", "names"),
    [
        (None, ["conv1", "conv2", "conv2"]),
        ("norm1", ["conv2", "conv2"]),
        ("block", ["conv2", "conv2"]),
        ("norm2", ["conv2"]),
        ("twin/conv2", ["conv2"]),
        (lambda hp: hp.get("cut"), ["conv2"]),
    ],
)
def test_layers_are_unfrozen_from_one_on_except_for_batch_normalization(
    flat: Any, from_layer: Any, names: list[str]
) -> None:
    assert unfrozen(flat, mt.FineTune(from_layer), cut="twin") == names


@pytest.mark.parametrize(
    ("fine_tune", "text"),
    [
        (mt.FineTune("conf1"), 'the model has no layer "conf1"; did you mean "conv1" or "conv2"?'),
        (
            mt.FineTune("mixed5"),
            'the model has no layer "mixed5"; its last frozen layers are "conv1", "conv2", "conv2"',
        ),
        (
            mt.FineTune("pool"),
            'from "pool" on the model has no frozen layer with weights to unfreeze; name an earlier '
            'one: the last frozen layers before it are "conv1", "conv2", "conv2"',
        ),
        (mt.FineTune("conv2"), '2 layers are named "conv2"; write "block/conv2", "twin/conv2"'),
        (
            mt.FineTune(learning_rate=lambda hp: hp.get("speed")),
            "learning_rate: lambda: ... raised KeyError: 'speed does not exist.'; the "
            "hyperparameters are",
        ),
        (mt.FineTune(epochs=lambda hp: 0), "epochs: lambda: ... returned 0: write 1 or more"),
    ],
    ids=["near", "unknown", "behind", "ambiguous", "raises", "returns"],
)
def test_what_cannot_be_unfrozen_is_said(flat: Any, fine_tune: mt.FineTune, text: str) -> None:
    with pytest.raises(mt.SpecError, match=rf"validation\.fine_tune(\.|: ){re.escape(text)}"):
        unfrozen(flat, fine_tune)


def test_a_build_whose_layer_is_unknown_is_refused_before_it_trains() -> None:
    declared = spec(mt.FineTune("conv3"))
    hp = ReadHyperParameters.of(values(rate=1e-2).get_config())
    with pytest.raises(mt.SpecError, match="no layer"), lend_model(declared, hp, seed=0):
        pass


def test_a_model_without_frozen_layers_is_refused(flat: Any) -> None:
    model = compiled(keras.Sequential([keras.Input((4,)), layers.Dense(10)]))
    with pytest.raises(mt.SpecError, match="freeze the base in the build function"):
        unfrozen(model, mt.FineTune())


def test_the_optimizer_begins_anew_with_its_settings() -> None:
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 10), momentum=0.5, clipnorm=2.0
    )
    scaled = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, trainable=False, name="base")(inputs))
    compiled(model, optimizer=scaled)
    second = fine_tuning(spec(mt.FineTune(learning_rate=1e-3)), ReadHyperParameters(), model)
    assert second is not None
    with second.begun(Candidate(model, key="known")) as candidate:
        fresh = candidate.model.optimizer
        assert [v.path for v in model.trainable_variables] == ["base/kernel", "base/bias"]
        assert (fresh.initial_scale, fresh.inner_optimizer.momentum) == (4.0, 0.5)
        assert float(np.asarray(fresh.inner_optimizer.learning_rate)) == pytest.approx(1e-3)
        assert fresh.inner_optimizer.clipnorm == 2.0
        assert candidate.key is None
    assert not model.trainable_variables
