"""A metric under a name that means something else is told where a gate would judge another number."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import modeltune as mt
from modeltune.engine.data.loading import Part
from modeltune.engine.score.metric_names import name_cautions
from modeltune.engine.score.scoring import evaluate, predict
from tests.support.small_models import softmax, spec_of

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
KINDS = np.arange(8) % 3
YES = KINDS[:, None] % 2

LOSSES = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy"}


def texts(
    *metrics: Any,
    gate: str = "",
    head: str | None = "softmax",
    loss: Any = None,
    validation: Any = mt.Holdout(),
    gates: tuple[Any, ...] = (),
) -> list[str]:
    """Return what is warned of when a model with this head is compiled with these metrics."""
    layer = layers.Dense(3 if head == "softmax" else 1, activation=head)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(None, loss=loss or LOSSES.get(head or "", "mse"), metrics=list(metrics))
    model.run_eagerly = True
    part = Part("test", 8, "", x=X, y=KINDS if head == "softmax" else YES)
    gates = (mt.metric(gate) >= 0, *gates) if gate else gates
    search = mt.RandomSearch(mt.minimize("val_loss"), max_trials=1)
    spec = spec_of(softmax, gates=list(gates), search=search, validation=validation)
    cautions = name_cautions(spec, predict(model, part, 8), list(evaluate(model, part, 8)))
    assert {one.check for one in cautions} <= {"model.names"}
    return [one.text for one in cautions]


def of_ones(y: Any, predicted: Any) -> Any:
    return ops.ones_like(predicted[..., 0])


def called(name: str) -> Any:
    return keras.metrics.MeanMetricWrapper(of_ones, name=name)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("parameters", "how many numbers the weights hold"),
        ("artifact_bytes", "the size of the file of weights"),
        ("latency_ratio", "its time over that of the accepted model"),
        ("flops", "the floating-point operations of one prediction"),
    ],
)
def test_a_metric_under_the_name_of_a_resource_is_told_to_be_lost(name: str, what: str) -> None:
    assert texts(called(name)) == [
        f'the model has a metric "{name}", but a gate on it judges {what}, and the metric is not recorded'
    ]


def test_a_metric_that_takes_the_place_of_the_loss_is_told() -> None:
    assert texts(called("loss")) == [
        'the model has a metric "loss", which Keras logs in the place of the loss: a gate on it, and '
        "the search, judge the metric"
    ]


def test_a_metric_that_sounds_like_the_validation_part_is_told() -> None:
    (text,) = texts(called("val_accuracy"))
    assert 'the search may take "accuracy" of the validation part for it' in text


def test_a_metric_that_sounds_like_a_fold_is_told_where_there_are_folds() -> None:
    metrics = (called("best"), called("fold_best"))
    assert texts(*metrics) == []
    (text,) = texts(*metrics, validation=mt.KFold(k=2))
    assert text.endswith('judges "best" of the fold that is held out')


def test_a_metric_under_the_name_of_a_gap_is_told_where_a_gate_asks_for_it() -> None:
    assert texts(called("gap(loss)")) == []
    (text,) = texts(called("gap(loss)"), gates=(mt.gap("loss") <= 1,))
    assert text.endswith("but the gate of this name judges gap(loss)")


def test_one_name_of_several_metrics_is_told_with_how_keras_logs_them() -> None:
    assert texts(called("mine"), called("mine"), called("mine_2")) == [
        '2 metrics of the model are called "mine": a gate on it judges the first, and Keras logs the '
        'others as "mine_1"'
    ]


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_a_compiled_metric_that_hides_the_reports_is_told_where_a_gate_asks_for_it(
    name: str,
) -> None:
    metric = keras.metrics.Precision(name=name)
    assert texts(metric, head="sigmoid") == []
    (text,) = texts(metric, head="sigmoid", gate=name)
    assert text == (
        f'a gate on "{name}" judges the metric of this name that the model is compiled with '
        f"(Precision), not the mean of the report's {name} over the classes"
    )


@pytest.mark.parametrize(
    ("metric", "name", "is_told"),
    [
        ("mae", "mae", False),
        (keras.metrics.MeanAbsoluteError(name="mae"), "mae", False),
        (keras.metrics.RootMeanSquaredError(name="rmse"), "rmse", False),
        (keras.metrics.R2Score(name="r2"), "r2", False),
        (called("mae"), "mae", True),
        (keras.metrics.MeanSquaredLogarithmicError(name="mse"), "mse", True),
    ],
    ids=map(str, itertools.count()),
)
def test_a_metric_of_numbers_is_told_only_where_it_is_computed_in_another_way(
    metric: Any, name: str, is_told: bool
) -> None:
    found = texts(metric, head=None, gate=name)
    assert bool(found) is is_told
    assert all(text.endswith(f"not {name} of the report") for text in found)


def masked_accuracy(y: Any, predicted: Any) -> Any:
    return keras.metrics.sparse_categorical_accuracy(y, predicted)


LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("head", "loss", "metric", "why"),
    [
        ("softmax", None, "accuracy", None),
        ("softmax", None, keras.metrics.MeanMetricWrapper(masked_accuracy, name="accuracy"), None),
        ("sigmoid", None, "accuracy", None),
        ("sigmoid", None, keras.metrics.Accuracy(), "asks for predictions that equal the labels"),
        ("softmax", None, keras.metrics.SparseTopKCategoricalAccuracy(name="accuracy"), "it is keras.metrics.SparseTopKCategoricalAccuracy"),
        ("sigmoid", None, keras.metrics.AUC(name="accuracy"), "it is keras.metrics.AUC"),
        ("softmax", None, called("accuracy"), "of 8 rows it is 1, and that share 0"),
        (None, LOGITS, "accuracy", "it says yes above 0.5, but logits mean yes above 0"),
        (None, LOGITS, keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0), None),
        (None, None, "accuracy", "the targets are no classes"),
    ],
    ids=map(str, itertools.count()),
)  # fmt: skip
def test_an_accuracy_that_is_not_the_share_of_right_classes_is_told(
    head: str | None, loss: Any, metric: Any, why: str | None
) -> None:
    found = texts(metric, head=head, loss=loss, gate="accuracy")
    if why is None:
        assert found == []
    else:
        (text,) = found
        assert text.startswith('"accuracy" is not the share of samples whose class is right: ')
        assert why in text
    assert texts(metric, head=head, loss=loss) == []
