"""Models with frozen leading layers, and specs that train them on small images."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import LoadedData, load_data
from modeltune.engine.fit.trial import train_trial
from modeltune.records.tasks import TrialResult, TrialTask
from modeltune.specs.spec_type import Spec
from tests.support.small_models import LABELS, PIXELS, spec_of, values

IMAGES = np.repeat(np.repeat(PIXELS.reshape(-1, 8, 8, 1), 2, axis=1), 2, axis=2)


def images(train: int = 96, validation: int = 48) -> mt.Data:
    ends = np.cumsum([0, train, validation, 48])
    parts = [(IMAGES[a:b], LABELS[a:b]) for a, b in pairwise(ends)]
    return mt.Data(*parts)


def conv(filters: int = 4, seed: int = 1, **fields: Any) -> Any:
    """Return a layer with weights that are the same in every trial, as pre-trained ones are."""
    start = keras.initializers.GlorotUniform(seed=seed)
    fields = {"activation": "relu", "kernel_initializer": start, "trainable": False} | fields
    return layers.Conv2D(filters, 3, **fields)


def compiled(model: Any, **fields: Any) -> Any:
    fields = {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy"} | fields
    model.compile(**{"metrics": ["accuracy"], **fields})
    return model


def sequential(*leading: Any, **fields: Any) -> Any:
    """Return two frozen convolutions and a trainable end, after these layers."""
    return compiled(
        keras.Sequential(
            [
                keras.Input((16, 16, 1)),
                *leading,
                conv(),
                layers.BatchNormalization(trainable=False),
                conv(6, strides=2),
                layers.GlobalAveragePooling2D(),
                layers.LayerNormalization(),
                layers.Dropout(0.3),
                layers.Dense(10, activation="softmax"),
            ]
        ),
        **fields,
    )


def spec(
    build: Any = None,
    data: Any = None,
    validation: Any = None,
    **fit: Any,
) -> Spec:
    return spec_of(
        build or (lambda hp: sequential()),
        data or images(),
        search=mt.RandomSearch(mt.minimize("val_loss"), max_trials=2),
        validation=validation or mt.Holdout(seeds=1),
        fit=mt.Fit(**{"epochs": 2, "batch_size": 32, **fit}),
    )


def trained(
    declared: Spec,
    epochs: int = 2,
    features: Path | None = None,
    loaded: LoadedData | None = None,
    **fields: Any,
) -> TrialResult:
    """Return a trial of a spec that did not fail, trained on its data or on those loaded before."""
    data = loaded or load_data(declared)
    task = TrialTask(1, values().get_config(), epochs, **{"initial_epoch": 0, "seed": 5, **fields})
    result = train_trial(declared, data.train, data.validation, task, features)
    assert result.failure is None, result.failure.traceback
    return result


def headed(*head: Any) -> Spec:
    """Return a spec of the same frozen layers with another head, made when it builds."""

    def build(hp: Any) -> Any:
        inputs = keras.Input((16, 16, 1))
        tensor = layers.GlobalAveragePooling2D()(conv(6, strides=2)(conv()(inputs)))
        for make in head:
            tensor = make()(tensor)
        return compiled(keras.Model(inputs, layers.Dense(10, activation="softmax")(tensor)))

    return spec(build)


def hidden(units: int, activation: str = "relu") -> Any:
    return lambda: layers.Dense(units, activation=activation)
