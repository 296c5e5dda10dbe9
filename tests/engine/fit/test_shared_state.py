"""What is made outside the build function is the same for every candidate, or the spec is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.dry_run import dry_run
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.oracles import Oracle, ReadHyperParameters
from tests.support.small_models import dense, spec_of


def refusal(build: Any, folder: Path) -> str | None:
    spec = spec_of(build)
    try:
        failure = dry_run(spec, load_data(spec), Oracle(spec.search, folder)).failure
    except mt.SpecError as error:
        return str(error)
    assert failure is None
    return None


def head() -> Any:
    return layers.Dense(10, activation="softmax", name="head")


def kept_by_the_first_build() -> Any:
    kept: dict[str, Any] = {}
    return lambda hp: dense(kept.setdefault("head", head()))


def made_before() -> Any:
    made = head()
    made.build((None, 64))
    return lambda hp: dense(made)


def inside_a_model_made_before() -> Any:
    base = keras.Sequential([keras.Input((64,)), layers.Dense(4, name="inner")], name="base")
    return lambda hp: dense(base, head())


def built_while_training() -> Any:
    made = head()

    def build(hp: Any) -> Any:
        model = keras.Sequential([made])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


def in_one_branch_only() -> Any:
    kept: dict[str, Any] = {}

    def build(hp: Any) -> Any:
        kind = hp.Choice("kind", ["plain", "kept"])
        with hp.conditional_scope("kind", ["kept"]):
            if kind == "kept":
                hp.Int("depth", 1, 2)
                return dense(kept.setdefault("head", head()))
        return dense(head())

    return build


def whole_model() -> Any:
    model = dense(head())
    return lambda hp: model


SHARED = [
    (kept_by_the_first_build, "layer head"),
    (made_before, "layer head"),
    (inside_a_model_made_before, "layer inner"),
    (built_while_training, "layer head"),
    (in_one_branch_only, "layer head"),
    (whole_model, "layer head"),
]


@pytest.mark.parametrize(("shared", "name"), SHARED, ids=[make.__name__ for make, _ in SHARED])
def test_what_every_candidate_would_train_further_is_refused_by_name(
    shared: Any, name: str, tmp_path: Path
) -> None:
    said = refusal(shared(), tmp_path)
    assert said is not None
    assert f"{name} is made once, outside " in said


def test_a_shared_optimizer_is_refused(tmp_path: Path) -> None:
    adam = keras.optimizers.Adam(name="adam")

    def build(hp: Any) -> Any:
        model = dense(head())
        model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    assert "the optimizer adam is made once" in (refusal(build, tmp_path) or "")


def test_a_frozen_base_may_be_shared(tmp_path: Path) -> None:
    base = keras.Sequential([keras.Input((64,)), layers.Dense(4), layers.BatchNormalization()])
    base.trainable = False
    assert refusal(lambda hp: dense(base, head()), tmp_path) is None


def test_what_training_changes_in_a_shared_layer_starts_anew_for_every_candidate() -> None:
    moving = layers.BatchNormalization(center=False, scale=False)
    moving.build((None, 64))
    drop = layers.Dropout(0.5)
    spec = spec_of(lambda hp: dense(moving, drop, head()))
    states = []
    for _ in "ab":
        with lend_model(spec, ReadHyperParameters(), 3) as model:
            states.append([np.asarray(variable.value).copy() for variable in model.variables])
            model(np.ones((4, 64), "float32"), training=True)
            moving.moving_mean.assign(moving.moving_mean + 1)
    assert all(np.array_equal(one, other) for one, other in zip(*states, strict=True))
