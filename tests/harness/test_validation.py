"""The best values are refitted under every seed and fold, and scored on test."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import Part, load_data
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.fit.states import load_weights
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.refit import parts_of, train_refit
from modeltune.engine.score.scoring import evaluate
from modeltune.harness.executors.inline import Inline
from modeltune.harness.validation import TunedModel, ValidationResult, validate
from modeltune.records.events import Event, Note, RefitFinished, ValidationStarted
from modeltune.records.runs import Best
from modeltune.records.tasks import Failure, RefitResult, RefitTask
from modeltune.specs.spec_type import Spec
from tests.support.small_models import (
    LABELS,
    PIXELS,
    dense,
    diabetes,
    digits,
    linear,
    softmax,
    spec_of,
    values,
)

HP = values(width=8).get_config()


def validated(
    spec: Spec,
    folder: Path,
    perform: Callable[[RefitTask], RefitResult] | None = None,
    events: list[Event] | None = None,
) -> ValidationResult:
    data = load_data(spec)
    executor = Inline(perform or (lambda task: train_refit(spec, data, task)))
    log = [] if events is None else events
    tuned = TunedModel(Best(1, 0.5, {}), HP, folder / "refit.weights.h5")
    return validate(spec, tuned, executor, log.append, spec.validation)


GATES = [
    mt.gap("accuracy") <= 1,
    mt.gap("f1") <= 1,
    mt.gain_over_dummy("accuracy") >= 0,
    mt.metric("parameters") >= 1,
]


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Spec, ValidationResult, Path]:
    spec, folder = (
        spec_of(validation=mt.Holdout(epochs=2, seeds=3), gates=GATES),
        tmp_path_factory.mktemp("h"),
    )
    return spec, validated(spec, folder), folder / "refit.weights.h5"


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> ValidationResult:
    return validated(spec_of(validation=mt.KFold(k=3)), tmp_path_factory.mktemp("k"))


def test_every_seed_is_a_refit_with_a_value_of_its_own(held_out: Any) -> None:
    _, result, _ = held_out
    losses = result.scores["loss"].values
    assert len(set(losses)) == 3
    assert [refit["seed"] for refit in result.refits] == [0, 1, 2]
    assert {len(refit["curve"]["loss"]) for refit in result.refits} == {2}


def test_mean_and_sample_deviation_are_over_refits_never_over_epochs(held_out: Any) -> None:
    _, result, _ = held_out
    loss = result.scores["loss"]
    assert loss.mean == pytest.approx(sum(loss.values) / 3)
    assert loss.std == pytest.approx(np.std(loss.values, ddof=1))
    assert loss.std != pytest.approx(loss.mean)
    epochs = [value for refit in result.refits for value in refit["curve"]["val_loss"]]
    assert not set(loss.values) & set(epochs)


def test_weights_are_the_first_refits_and_score_what_was_recorded(held_out: Any) -> None:
    spec, result, weights = held_out
    data = load_data(spec)
    with lend_model(spec, ReadHyperParameters.of(HP), 99) as model:
        load_weights(model, weights)
        again = evaluate(model, data.test, spec.fit.batch_size)
        on_train = evaluate(model, data.train, spec.fit.batch_size)
    assert {name: result.scores[name].values[0] for name in again} == again
    assert result.scores["gap(accuracy)"].values[0] == on_train["accuracy"] - again["accuracy"]


def test_everything_a_gate_can_ask_for_is_measured_once_per_refit(held_out: Any) -> None:
    _, result, _ = held_out
    assert {len(scores.values) for scores in result.scores.values()} == {3}
    assert {"gap(f1)", "gain_over_dummy(accuracy)", "f1"} < set(result.scores)
    assert result.scores["parameters"].values == (64 * 8 + 8 + 8 * 10 + 10,) * 3
    assert list(result.tables) == ["output"]


def test_gain_is_measured_against_the_most_frequent_class(held_out: Any) -> None:
    spec, result, _ = held_out
    data = load_data(spec)
    dummy = np.mean(data.test.y == np.bincount(data.train.y).argmax())
    for gain, accuracy in zip(
        result.scores["gain_over_dummy(accuracy)"].values,
        result.scores["accuracy"].values,
        strict=True,
    ):
        assert gain == pytest.approx((accuracy - dummy) / (1 - dummy), abs=1e-6)


def test_folds_are_scored_on_test_and_on_the_fold_left_out(folded: ValidationResult) -> None:
    assert [refit["fold"] for refit in folded.refits] == [0, 1, 2]
    for name in ("accuracy", "loss", "f1"):
        on_fold, on_test = folded.scores[f"fold_{name}"], folded.scores[name]
        assert len(on_fold.values) == len(on_test.values) == 3
        assert on_fold.std == pytest.approx(statistics.stdev(on_fold.values))
    assert folded.scores["fold_loss"].values != folded.scores["loss"].values


def test_the_fold_left_out_is_what_callbacks_watch(folded: ValidationResult) -> None:
    watched = [refit["curve"]["val_loss"][-1] for refit in folded.refits]
    assert watched == pytest.approx(folded.scores["fold_loss"].values, rel=1e-5)


@pytest.mark.parametrize("kind", ["classes", "numbers", "rare class"])
def test_every_row_of_train_and_validation_is_left_out_once(kind: str) -> None:
    y = {
        "classes": np.arange(50) % 2,
        "numbers": np.linspace(0.1, 1, 50),
        "rare class": np.append(np.zeros(49, int), 1),
    }[kind]
    x = np.arange(50.0)[:, None]
    weights = (np.arange(50.0),) if kind == "classes" else ()
    # Only train has weights: validation's samples weigh 1.
    data = mt.Data((x[:30], y[:30], *(w[:30] for w in weights)), (x[30:], y[30:]), (x, y))
    spec = spec_of(data=data, validation=mt.KFold(k=5, seeds=2))
    loaded, left_out = load_data(spec), []
    for one in spec.validation.refits():
        parts = parts_of(spec, loaded, one)
        inside, outside = parts.train, parts.watched
        assert set(inside.x[:, 0]) == set(range(50)) - set(outside.x[:, 0])
        if kind == "classes":
            assert outside.y.mean() == 0.5
            expected = np.where(outside.x[:, 0] < 30, outside.x[:, 0], 1)
            np.testing.assert_array_equal(outside.sample_weight, expected)
        left_out.append(tuple(outside.x[:, 0]))
    assert sorted(sum(left_out[:5], ())) == sorted(sum(left_out[5:], ())) == list(range(50))
    assert left_out[:5] != left_out[5:]


def test_a_gap_is_zero_where_test_is_train(tmp_path: Path) -> None:
    part = digits().train
    spec = spec_of(
        data=mt.Data(part, part, part), gates=[mt.gap("loss") <= 0, mt.gap("recall") <= 0]
    )
    scores = validated(spec, tmp_path).scores
    assert scores["gap(loss)"].values == scores["gap(recall)"].values == (0.0,)


ENCODINGS: dict[str, tuple[Any, str, int]] = {
    "one-hot": (np.eye(10)[LABELS], "categorical_crossentropy", 10),
    "sigmoid": (LABELS % 2, "binary_crossentropy", 1),
    "sigmoid column": ((LABELS % 2)[:, None] * 1.0, "binary_crossentropy", 1),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_accuracy_is_that_of_the_confusion_matrix(tmp_path: Path, encoding: str) -> None:
    y, loss, width = ENCODINGS[encoding]

    def build(hp: Any) -> Any:
        activation = "softmax" if width > 1 else "sigmoid"
        return dense(layers.Dense(width, activation=activation), loss=loss)

    parts = [(PIXELS[rows], y[rows]) for rows in (slice(200), slice(200, 260), slice(260, 330))]
    result = validated(
        spec_of(build, mt.Data(*parts), gates=[mt.gain_over_dummy("f1") >= 0]), tmp_path
    )
    confusion = np.array(result.tables["output"]["confusion"])
    accuracy = result.scores["accuracy"].values[0]
    assert confusion.shape == (max(width, 2),) * 2
    assert np.trace(confusion) / confusion.sum() == pytest.approx(accuracy)
    # One column under argmax would call everything class 0.
    assert (confusion.sum(axis=0) > 0).sum() > 1


def test_regression_is_reported_beside_keras_own(tmp_path: Path) -> None:
    spec = spec_of(linear, diabetes(), search=mt.RandomSearch(mt.minimize("val_mae")))
    scores = validated(spec, tmp_path).scores
    assert {"loss", "mae", "mse", "rmse", "r2", "explained_variance"} <= set(scores)
    assert scores["mse"].values == pytest.approx(scores["loss"].values, rel=1e-5)


def test_a_compiled_metric_keeps_its_own_definition_and_name(tmp_path: Path) -> None:
    def build(hp: Any) -> Any:
        metrics = [keras.metrics.Accuracy(name="f1"), keras.metrics.MeanSquaredError(name="own")]
        return dense(layers.Dense(1), shape=(10,), loss="mse", metrics=metrics)

    spec = spec_of(build, diabetes(), search=mt.RandomSearch(mt.minimize("val_own")))
    scores = validated(spec, tmp_path).scores
    assert scores["own"].values == pytest.approx(scores["loss"].values)
    assert scores["f1"].values == (0.0,)


# what can go wrong


def fails(hp: Any) -> Any:
    raise OSError("disk gone")


def explodes(hp: Any) -> Any:
    return dense(layers.Dense(10), layers.Rescaling(float("inf")))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (fails, "validation failed at seed 0: OSError: disk gone\nTraceback"),
        (explodes, "validation failed at seed 0: loss is nan at epoch 1"),
    ],
)
def test_a_refit_that_fails_is_an_error(tmp_path: Path, build: Any, message: str) -> None:
    with pytest.raises(mt.SearchError) as raised:
        validated(spec_of(build), tmp_path)
    assert message in str(raised.value)
    assert not (tmp_path / "refit.weights.h5").exists()


def test_an_objective_that_is_not_finite_fails_a_refit_as_it_does_a_trial(tmp_path: Path) -> None:
    def infinite(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.max(y_pred) * float("inf")

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=[infinite])

    spec = spec_of(build, search=mt.RandomSearch(mt.minimize("val_infinite")))
    with pytest.raises(mt.SearchError, match="val_infinite is inf at epoch 1"):
        validated(spec, tmp_path)


def test_what_cannot_be_scored_names_the_fold(tmp_path: Path) -> None:
    spec = spec_of(validation=mt.KFold(k=2))

    def perform(task: RefitTask) -> RefitResult:
        failure = Failure("no") if task.refit.fold else None
        return RefitResult({"accuracy": 0.5}, {}, {}, "graph", 0.0, failure)

    with pytest.raises(mt.SearchError, match="validation failed at seed 0, fold 2: no"):
        validated(spec, tmp_path, perform)


def test_scores_keep_the_order_of_the_refits_whatever_finishes_first(tmp_path: Path) -> None:
    class Backwards(Inline[RefitTask, RefitResult]):
        def wait(self) -> tuple[RefitTask, RefitResult]:
            self._tasks.rotate(1)
            return super().wait()

    def perform(task: RefitTask) -> RefitResult:
        note = None if task.weights is None else "no examples"
        return RefitResult({"accuracy": task.refit.seed / 10}, {}, {}, "graph", 1.5, note=note)

    spec, events = spec_of(validation=mt.Holdout(epochs=7, seeds=3)), list[Event]()
    weights = tmp_path / "w.weights.h5"
    tuned = TunedModel(Best(1, 0.5, {}), HP, weights)
    result = validate(spec, tuned, Backwards(perform), events.append, spec.validation)
    assert result.scores["accuracy"].values == (0.0, 0.1, 0.2)
    assert events[0] == ValidationStarted(spec.validation, 7)
    finished = [(e.refit.seed, e.number, e.score) for e in events if isinstance(e, RefitFinished)]
    assert finished == [(2, 1, 0.2), (1, 2, 0.1), (0, 3, 0.0)]
    assert [event for event in events if isinstance(event, Note)] == [Note("no examples")]


def test_data_whose_parts_do_not_join_fail_as_a_refit(tmp_path: Path) -> None:
    spec = spec_of(softmax, validation=mt.KFold(k=2))
    data = load_data(spec)
    odd = replace(data, validation=Part("validation", 60, "", x={}, y={}))
    task = RefitTask(spec.validation.refits()[0], HP, 1, None)
    assert train_refit(spec, odd, task).failure is not None
