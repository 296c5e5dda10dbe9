"""A frame reaches a model by its columns where the model has several inputs, wherever a part enters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.dry_run import dry_run
from modeltune.engine.examination import examine_model
from modeltune.engine.fit.model_inputs import for_model
from modeltune.engine.oracles import Oracle
from modeltune.engine.score.rebuilt import random_scores, rebuilt_model, scores_again
from modeltune.engine.score.refit import train_refit
from modeltune.records.samples import unpack_samples
from modeltune.records.tasks import ExamineTask, RefitTask
from modeltune.records.verdicts import Outcome
from tests.support.small_models import LABELS, PIXELS, spec_of

X, Y = PIXELS[:60], LABELS[:60]
FRAME = pd.DataFrame({"age": X[:, 20], "city": ["rome", "oslo", "bonn"] * 20, "unused": X[:, 30]})


def of_columns(hp: Any, city: str = "city") -> Any:
    inputs = {
        "age": keras.Input((1,), name="age"),
        city: keras.Input((1,), name=city, dtype="string"),
    }
    where = layers.StringLookup(vocabulary=["rome", "oslo"], output_mode="one_hot")(inputs[city])
    both = layers.Concatenate()([inputs["age"], where])
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(both))
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def frames() -> mt.Data:
    return mt.Data(*[(FRAME, Y)] * 3)


def test_a_frame_reaches_inputs_by_their_names_wherever_it_enters(tmp_path: Path) -> None:
    unharmed = mt.invariant(lambda x: {**x, "age": x["age"] + 0}, examples=5)
    spec = spec_of(
        of_columns,
        frames(),
        gates=[
            mt.gap("accuracy") <= 1,
            mt.gain_over_dummy("loss") >= -99,
            mt.metric("accuracy").on("by name", lambda x: x["city"] == "rome") >= 0,
            mt.metric("accuracy").on("by place", lambda x: x[:, 1] == "rome") >= 0,
            unharmed,
        ],
    )
    loaded = load_data(spec)
    assert dry_run(spec, loaded, Oracle(spec.search, tmp_path / "search")).failure is None
    hp, weights = keras_tuner.HyperParameters().get_config(), tmp_path / "refit.weights.h5"
    task = RefitTask(mt.Holdout(seeds=1).refits()[0], hp, 1, weights)
    result = train_refit(spec, loaded, task)
    assert result.failure is None, result.failure
    assert result.note is None
    assert {check.outcome for check in result.checks} == {Outcome.PASSED}
    slices = unpack_samples(result.samples).slices
    assert np.array_equal(slices["by name"], slices["by place"])
    assert slices["by name"].sum() == 20
    with rebuilt_model(spec, {}, 0, weights, loaded.test) as model:
        again = scores_again(spec, model, loaded, task.refit, result.scores)
        assert random_scores(model, loaded, 32) == []
    assert again == pytest.approx(result.scores)
    examined = examine_model(spec, loaded, ExamineTask(hp, weights, behaviours=(unharmed.demand,)))
    assert examined.probed[unharmed.demand].violations == 0


def test_a_column_that_no_frame_has_is_named_with_its_input(tmp_path: Path) -> None:
    spec = spec_of(lambda hp: of_columns(hp, "town"), frames())
    with pytest.raises(mt.SpecError) as refused:
        dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path))
    assert (
        "data: train x is a frame without the column town, for which the model has the input town; "
        "the columns are age, city, unused, the inputs age, town: name them alike"
    ) in str(refused.value)


@pytest.mark.parametrize(
    "inputs",
    [keras.Input((1,), name="age"), [keras.Input((1,), name=n) for n in ("age", "unused")]],
    ids=["one", "list"],
)
def test_a_model_takes_a_frame_as_an_array_unless_it_has_several_inputs(inputs: Any) -> None:
    part = load_data(spec_of(data=mt.Data((FRAME[["age", "unused"]], Y)))).test
    taken = for_model(keras.Model(inputs, inputs), part)
    if isinstance(inputs, list):
        assert {name: array.shape for name, array in taken.x.items()} == {
            "age": (12,),
            "unused": (12,),
        }
        assert for_model(keras.Model(inputs, inputs), taken) is taken
    else:
        assert taken is part


TARGETS = pd.DataFrame({"unused": X[:, 30], "digit": Y, "ink": X.mean(axis=1, dtype="float64")})


def of_targets(hp: Any, ink: str = "ink", is_dict: bool = True) -> Any:
    inputs = {name: keras.Input((1,), name=name) for name in ("age", "unused")}
    both = layers.Concatenate()([*inputs.values()])
    outputs = {
        ink: layers.Dense(1, name=ink)(both),
        "digit": layers.Dense(10, activation="softmax", name="digit")(both),
    }
    losses: Any = {ink: "mse", "digit": "sparse_categorical_crossentropy"}
    model = keras.Model(inputs, outputs if is_dict else list(outputs.values()))
    model.compile("adam", losses, metrics={"digit": ["accuracy"]})
    return model


def with_targets() -> mt.Data:
    return mt.Data(*[(FRAME[["age", "unused"]], TARGETS)] * 3)


@pytest.mark.parametrize("is_dict", [True, False], ids=["dict", "list"])
def test_a_frame_of_targets_reaches_outputs_by_their_names_to_the_numbers_of_plain_keras(
    is_dict: bool, tmp_path: Path
) -> None:
    gates = [
        mt.gap("digit_accuracy") <= 1,
        mt.metric("digit_accuracy").on("by name", lambda x, y: y["digit"] == 3) >= 0,
        mt.metric("digit_accuracy").on("by place", lambda x, y: y[:, 1] == 3) >= 0,
    ]

    def build(hp: Any) -> Any:
        return of_targets(hp, is_dict=is_dict)

    search = mt.RandomSearch(mt.maximize("val_digit_accuracy"), max_trials=1)
    spec = spec_of(build, with_targets(), gates=gates, search=search)
    loaded = load_data(spec)
    assert dry_run(spec, loaded, Oracle(spec.search, tmp_path / "search")).failure is None
    hp, weights = keras_tuner.HyperParameters().get_config(), tmp_path / "refit.weights.h5"
    task = RefitTask(mt.Holdout(seeds=1).refits()[0], hp, 1, weights)
    result = train_refit(spec, loaded, task)
    assert result.failure is None, result.failure
    slices = unpack_samples(result.samples).slices
    assert np.array_equal(slices["by name"], slices["by place"])
    assert slices["by name"].sum() == (Y == 3).sum()
    with rebuilt_model(spec, {}, 0, weights, loaded.test) as model:
        assert scores_again(spec, model, loaded, task.refit, result.scores) == pytest.approx(
            result.scores
        )
        x = {name: FRAME[name].to_numpy() for name in ("age", "unused")}
        y = {name: TARGETS[name].to_numpy() for name in ("ink", "digit")}
        plain = model.evaluate(x, y, return_dict=True, verbose=0)
    assert {name: result.scores[name] for name in plain} == pytest.approx(plain)


def test_a_target_that_no_frame_has_is_named_with_its_output(tmp_path: Path) -> None:
    spec = spec_of(lambda hp: of_targets(hp, "weight"), with_targets())
    with pytest.raises(mt.SpecError) as refused:
        dry_run(spec, load_data(spec), Oracle(spec.search, tmp_path))
    assert (
        "data: train y is a frame without the column weight, for which the model has the output "
        "weight; the columns are unused, digit, ink, the outputs weight, digit: name them alike"
    ) in str(refused.value)


def test_an_output_without_a_loss_needs_no_column_and_a_single_output_takes_all() -> None:
    part = load_data(spec_of(data=with_targets())).test
    model = of_targets(None, "weight")
    model.compile("sgd", {"digit": "sparse_categorical_crossentropy"})
    taken = for_model(model, part)
    assert [*taken.y] == ["digit"]
    assert taken.labels == {"digit": (0, 9)}
    assert for_model(model, taken) is taken
    single = keras.Model(model.input, model.output["digit"])
    assert for_model(single, part).y is part.y
