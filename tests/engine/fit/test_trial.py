"""One candidate is built under its seed and policy, trained, and fails with its reason."""

from __future__ import annotations

import multiprocessing.process
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.fit.trial import train_trial
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.records.tasks import TrialResult, TrialTask
from modeltune.specs.spec_type import Spec
from tests.support.small_models import (
    LABELS,
    PIXELS,
    dense,
    digits,
    linear,
    softmax,
    spec_of,
    values,
)


def trained(spec: Spec, epochs: int = 1, hp: Any = None, **task: Any) -> TrialResult:
    data = load_data(spec)
    return train_trial(
        spec,
        data.train,
        data.validation,
        TrialTask(
            1, (hp or values()).get_config(), epochs, **{"initial_epoch": 0, "seed": 5, **task}
        ),
    )


def failure(spec: Spec, **task: Any) -> str:
    fault = trained(spec, **task).failure
    assert fault is not None
    return fault.reason


def state(path: Path) -> list[np.ndarray]:
    with np.load(path) as stored:
        return [stored[name] for name in stored.files]


# results


def test_a_trial_logs_a_value_per_epoch_and_what_it_read() -> None:
    result = trained(spec_of(), epochs=3, hp=values(width=8))
    assert result.failure is None
    assert {name: len(curve) for name, curve in result.curve.items()} == dict.fromkeys(
        ("accuracy", "loss", "val_accuracy", "val_loss"), 3
    )
    assert (result.read, result.trained_by) == ({"width"}, "graph")


def test_the_same_seed_trains_the_same_curve_whatever_came_before() -> None:
    first = trained(spec_of())
    other = trained(spec_of(), seed=6)
    assert trained(spec_of()).curve == first.curve != other.curve


def test_a_promotion_continues_weights_moments_and_steps(tmp_path: Path) -> None:
    def noisy(hp: Any) -> Any:
        return dense(
            layers.Dense(8), layers.Dropout(0.3, seed=1), layers.Dense(10, activation="softmax")
        )

    spec, at_once, half, whole = spec_of(noisy), *(tmp_path / f"{n}.npz" for n in "abc")
    full = trained(spec, epochs=4, keep_state=at_once)
    trained(spec, epochs=2, keep_state=half)
    rest = trained(spec, epochs=4, initial_epoch=2, continue_from=half, keep_state=whole)
    assert rest.curve == {name: curve[2:] for name, curve in full.curve.items()}
    for one, other in zip(state(at_once), state(whole), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("policy", [None, "mixed_float16"])
def test_a_model_that_builds_itself_on_its_first_batch_is_promoted(
    tmp_path: Path, policy: str | None
) -> None:
    def deferred(hp: Any) -> Any:
        model = keras.Sequential([layers.Dense(4), layers.Dense(10, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    spec = spec_of(deferred, fit=mt.Fit(dtype_policy=policy))
    trained(spec, keep_state=tmp_path / "parent.npz")
    rest = trained(spec, epochs=2, initial_epoch=1, continue_from=tmp_path / "parent.npz")
    assert rest.failure is None
    assert rest.curve["loss"] == pytest.approx(trained(spec, epochs=2).curve["loss"][1:])


# failures


def exploding(hp: Any) -> Any:
    return dense(layers.Dense(10), layers.Rescaling(float("inf")), metrics=["accuracy"])


def raising(hp: Any) -> Any:
    raise MemoryError("no room\nat all")


def test_a_loss_that_is_not_finite_is_a_failure_and_ends_the_fit() -> None:
    result = trained(spec_of(exploding), epochs=5)
    assert result.failure is not None
    assert result.failure.reason == "loss is nan at epoch 1"
    assert len(result.curve["loss"]) == 1


def test_an_infinite_objective_is_a_failure() -> None:
    def infinite(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.max(y_pred) * float("inf")

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), metrics=[infinite])

    spec = spec_of(build, search=mt.RandomSearch(mt.minimize("val_infinite")))
    assert failure(spec) == "val_infinite is inf at epoch 1"


def test_a_raising_build_keeps_one_line_and_the_users_traceback() -> None:
    fault = trained(spec_of(raising)).failure
    assert fault is not None
    assert fault.reason == "MemoryError: no room"
    assert fault.traceback is not None
    assert 'raise MemoryError("no room\\nat all")' in fault.traceback
    assert "modeltune/engine/fit" not in fault.traceback


def test_an_interrupt_is_not_a_failure() -> None:
    def interrupted(hp: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(spec_of(interrupted))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda hp: None, "<lambda> returned None; end it with `return model`"),
        (lambda hp: [1], "<lambda> returned a list; end it with"),
        (lambda hp: keras.Sequential([layers.Dense(1)]), "a model that is not compiled"),
    ],
    ids=["None", "list", "uncompiled"],
)
def test_a_build_must_return_a_compiled_model(build: Any, message: str) -> None:
    assert message in failure(spec_of(build))


def per_class(shape: tuple[int, ...]) -> Spec:
    """Return a spec whose model logs an array of this shape as its metric "table"."""

    class Table(keras.metrics.Mean):
        def result(self) -> Any:
            return super().result() * keras.ops.ones(shape)

    def build(hp: Any) -> Any:
        return dense(layers.Dense(10), metrics=[Table(name="table")])

    def update(self: Any, y: Any, predicted: Any, sample_weight: Any = None) -> Any:
        return keras.metrics.Mean.update_state(self, predicted)

    Table.update_state = update
    return spec_of(build, search=mt.RandomSearch(mt.minimize("val_loss"), max_trials=1))


def test_a_metric_per_class_logs_each_of_its_numbers() -> None:
    curve = trained(per_class((3,))).curve
    assert {name for name in curve if "table" in name} == {
        *(f"table_{number}" for number in range(3)),
        *(f"val_table_{number}" for number in range(3)),
    }


def test_a_metric_of_many_numbers_is_none() -> None:
    assert 'metric "table" is an array of shape (11, 10), not a number' in failure(
        per_class((11, 10))
    )


# what is global


@pytest.mark.parametrize("build", [softmax, raising])
def test_policy_and_random_states_are_restored(build: Any) -> None:
    random.seed(1)
    np.random.seed(2)
    keras.config.set_dtype_policy("float64")
    try:
        before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
        trained(spec_of(build, fit=mt.Fit(dtype_policy="mixed_float16")))
        assert keras.config.dtype_policy().name == "float64"
        after = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
        assert after == before
    finally:
        keras.config.set_dtype_policy("float32")


def test_the_policy_reaches_every_layer() -> None:
    spec = spec_of(fit=mt.Fit(dtype_policy="mixed_float16"))
    with lend_model(spec, ReadHyperParameters.of(values()), 0) as model:
        assert {layer.dtype_policy.name for layer in model.layers} == {"mixed_float16"}
        assert model.compute_dtype == "float16"
    assert trained(spec).failure is None


def test_an_unknown_policy_is_named() -> None:
    assert "fit.dtype_policy: 'mixed_float17' is no dtype policy" in failure(
        spec_of(fit=mt.Fit(dtype_policy="mixed_float17"))
    )


# how it is fitted


def test_every_fit_gets_fresh_callbacks() -> None:
    made: list[keras.callbacks.Callback] = []

    def factory() -> keras.callbacks.Callback:
        made.append(keras.callbacks.EarlyStopping(monitor="val_loss"))
        return made[-1]

    spec = spec_of(fit=mt.Fit(callbacks=[factory]))
    trained(spec)
    trained(spec)
    assert len(made) == 2
    assert made[0] is not made[1]
    assert None not in (made[0].model, made[1].model)


def test_a_factory_of_something_else_is_named() -> None:
    assert "fit.callbacks[0] made 3; write a factory" in failure(
        spec_of(fit=mt.Fit(callbacks=[lambda: 3]))
    )


def test_weights_of_zero_leave_nothing_to_learn() -> None:
    ignored = trained(spec_of(fit=mt.Fit(class_weight=dict.fromkeys(range(10), 0.0))))
    data = digits()
    x, y = cast(tuple[Any, Any], data.train)
    weightless = mt.Data((x, y, np.zeros(len(y))), data.validation, data.test)
    assert ignored.curve["loss"] == trained(spec_of(data=weightless)).curve["loss"] == (0.0,)


class Halves(keras.utils.PyDataset):
    """Two batches, read by two threads."""

    num_batches = 2

    def __init__(self) -> None:
        super().__init__(workers=2)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        rows = slice(80 * index, 80 * index + 80)
        return PIXELS[rows], LABELS[rows]


def dataset(size: int = 32) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((PIXELS[:160], LABELS[:160])).batch(size)


def unknown_length() -> tf.data.Dataset:
    return dataset().filter(lambda x, y: True)


STREAMS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "dataset": lambda: (dataset(), dataset()),
    "unknown length": lambda: (unknown_length(), unknown_length()),
    "PyDataset": lambda: (Halves(), Halves()),
    "dataset beside arrays": lambda: (dataset(), (PIXELS[:50], LABELS[:50])),
    "arrays beside a dataset": lambda: ((PIXELS[:50], LABELS[:50]), dataset()),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_train_without_a_warning(kind: str) -> None:
    train, validation = STREAMS[kind]()
    result = trained(spec_of(data=mt.Data(train, validation, validation)), epochs=2)
    assert result.failure is None
    assert result.trained_by == "model.fit: streamed data"
    assert len(result.curve["val_accuracy"]) == 2


def test_an_endless_stream_trains_to_the_numbers_of_keras() -> None:
    def stream() -> Any:
        return tf.data.Dataset.from_tensor_slices((PIXELS[:160], LABELS[:160])).repeat().batch(24)

    validation = digits().validation
    spec = spec_of(data=mt.Data(stream(), validation, validation), fit=mt.Fit(steps_per_epoch=5))
    result = trained(spec, epochs=2)
    assert result.failure is None
    with lend_model(spec, values(), 5) as model:
        # The second epoch goes on where the first has ended.
        plain = model.fit(
            stream(),
            steps_per_epoch=5,
            epochs=2,
            validation_data=validation,
            shuffle=False,
            verbose=0,
        )
    assert {name: list(curve) for name, curve in result.curve.items()} == plain.history


def test_arrays_train_for_so_many_steps_as_keras_does() -> None:
    spec = spec_of(fit=mt.Fit(steps_per_epoch=2, shuffle=False))
    result = trained(spec, epochs=2)
    assert result.trained_by == "model.fit: steps_per_epoch"
    data = digits()
    with lend_model(spec, values(), 5) as model:
        plain = model.fit(
            *cast(Any, data.train), 32, steps_per_epoch=2, epochs=2, shuffle=False, verbose=0
        )
    assert list(result.curve["loss"]) == plain.history["loss"]


def test_a_class_without_a_weight_weighs_one_in_a_stream_too() -> None:
    def curve(weights: dict[int, float]) -> Any:
        data = mt.Data(dataset(), digits().validation, digits().validation)
        return trained(spec_of(data=data, fit=mt.Fit(class_weight=weights))).curve

    assert curve({0: 5.0}) == curve({0: 5.0} | dict.fromkeys(range(1, 10), 1.0)) != {}


def test_processes_of_a_stream_s_own_are_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(process: Any) -> None:
        raise AssertionError("a process was started")

    class Local(Halves):
        """A class that cannot be pickled."""

    def curve(**reading: Any) -> Any:
        parts = [Local() for _ in range(2)]
        for part in parts:
            part.use_multiprocessing, part.workers = reading["use_multiprocessing"], 2
        return trained(spec_of(data=mt.Data(parts[0], parts[1], parts[1]))).curve

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refused)
    assert curve(use_multiprocessing=True) == curve(use_multiprocessing=False) != {}


def test_several_inputs_and_outputs_train() -> None:
    def build(hp: Any) -> Any:
        left, right = keras.Input((32,), name="left"), keras.Input((32,), name="right")
        merged = layers.Concatenate()([left, right])
        digit = layers.Dense(10, activation="softmax", name="digit")(merged)
        parity = layers.Dense(1, activation="sigmoid", name="parity")(merged)
        model = keras.Model([left, right], {"digit": digit, "parity": parity})
        losses = {"digit": "sparse_categorical_crossentropy", "parity": "binary_crossentropy"}
        model.compile("sgd", loss=losses, metrics={"digit": ["accuracy"]})
        return model

    x = {"left": PIXELS[:60, :32], "right": PIXELS[:60, 32:]}
    part = x, {"parity": LABELS[:60] % 2, "digit": LABELS[:60]}
    spec = spec_of(
        build,
        mt.Data(part, part, part),
        search=mt.RandomSearch(mt.maximize("val_digit_accuracy")),
    )
    assert trained(spec).failure is None


def test_regression_trains() -> None:
    from tests.support.small_models import diabetes

    spec = spec_of(linear, diabetes(), search=mt.RandomSearch(mt.minimize("val_mae")))
    assert trained(spec).failure is None


def test_a_failed_trial_keeps_no_escape_codes_of_keras() -> None:
    def build(hp: Any) -> Any:
        raise ValueError("\x1b[1mCould not build.\x1b[0m Sorry.")

    failure = trained(spec_of(build)).failure
    assert failure is not None
    assert failure.reason == "ValueError: Could not build. Sorry."
    assert (failure.traceback or "").endswith("ValueError: Could not build. Sorry.\n")
    assert "\x1b" not in (failure.traceback or "").replace('"\\x1b', "")
