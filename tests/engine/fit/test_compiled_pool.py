"""A compiled step trains the next model of its shape to the bits of a new one, or is left alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit import compiled_pool, epoch_graph
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.fit.compiled_pool import Candidate, CompiledPool, key_of
from modeltune.engine.fit.trial import train_trial
from modeltune.engine.score.refit import train_refit
from modeltune.records.tasks import RefitTask, TrialResult, TrialTask
from modeltune.specs.spec_type import Spec
from tests.support.small_models import LABELS, PIXELS, dense, digits, softmax, spec_of, values

Build = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> CompiledPool:
    fresh = CompiledPool()
    monkeypatch.setattr(compiled_pool, "POOL", fresh)
    return fresh


@pytest.fixture
def alone() -> Iterator[pytest.MonkeyPatch]:
    """Have every model trained on steps of its own, until this is undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_pool, "key_of", lambda model, like: None)
        yield patch


def trained(spec: Spec, *, epochs: int = 2, hp: Any = None, **task: Any) -> TrialResult:
    data = load_data(spec)
    task = {"initial_epoch": 0, "seed": 5} | task
    config = (hp or values()).get_config()
    result = train_trial(spec, data.train, data.validation, TrialTask(1, config, epochs, **task))
    assert result.failure is None, result.failure.traceback
    return result


def is_reused(result: TrialResult) -> bool:
    return result.trained_by.endswith(", compiled step reused")


def state(path: Path) -> list[bytes]:
    with np.load(path) as stored:
        return [stored[name].tobytes() for name in stored.files]


def net(*hidden: Callable[[], Any], optimizer: Any = None, **compiled: Any) -> Build:
    """Return a build of one hidden layer and these, at a learning rate the search chooses."""

    def build(hp: Any) -> Any:
        rate = hp.Choice("rate", [0.01, 0.001])
        body = [layers.Dense(8, activation="relu"), *(make() for make in hidden)]
        model = keras.Sequential(
            [keras.Input((64,)), *body, layers.Dense(10, activation="softmax", dtype="float32")]
        )
        made = keras.optimizers.SGD(rate) if optimizer is None else optimizer(rate)
        options = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | {
            name: value() if callable(value) else value for name, value in compiled.items()
        }
        model.compile(made, **options)
        return model

    return build


def functional(hp: Any) -> Any:
    inputs = keras.Input((64,))
    left, right = layers.Dense(6, activation="tanh")(inputs), layers.Dense(6)(inputs)
    hidden = layers.Dropout(0.2)(layers.Concatenate()([left, right * 0.5]))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(hidden))
    model.compile(
        keras.optimizers.SGD(hp.Choice("rate", [0.01, 0.1])),
        "crossentropy",
        metrics=["accuracy"],
    )
    return model


def decaying(rate: float) -> Any:
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.01, 12))


def frozen_base(hp: Any) -> Any:
    start = keras.initializers.GlorotUniform(seed=1)
    return dense(
        layers.Dense(32, activation="relu", trainable=False, kernel_initializer=start),
        layers.Dense(8, activation="relu"),
        layers.Dense(10, activation="softmax"),
    )


REUSABLE: dict[str, Build] = {
    "Adam, and metrics with counts": net(
        optimizer=keras.optimizers.Adam,
        metrics=lambda: [keras.metrics.SparseTopKCategoricalAccuracy(2), "accuracy"],
    ),
    "dropout, batch normalisation and regularizers": net(
        layers.BatchNormalization,
        lambda: layers.Dense(8, kernel_regularizer="l2"),
        lambda: layers.Dropout(0.3),
        lambda: layers.GaussianNoise(0.1),
    ),
    "functional": functional,
    "moving averages of accumulated gradients": net(
        optimizer=lambda rate: keras.optimizers.SGD(
            rate, momentum=0.9, use_ema=True, gradient_accumulation_steps=3
        )
    ),
    "loss scaling": net(
        optimizer=lambda rate: keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(rate), initial_scale=2.0**120, dynamic_growth_steps=4
        )
    ),
    "recurrent, under a schedule": net(
        lambda: layers.Reshape((8, 1)),
        lambda: layers.SimpleRNN(4, dropout=0.2),
        optimizer=decaying,
    ),
    "a frozen base": frozen_base,
}


@pytest.mark.parametrize("case", REUSABLE)
def test_a_reused_step_trains_to_the_bits_of_a_new_one(
    case: str, tmp_path: Path, alone: pytest.MonkeyPatch
) -> None:
    spec = spec_of(REUSABLE[case], search=mt.RandomSearch(mt.minimize("val_loss"), max_trials=2))
    options: dict[str, Any] = {"hp": values(rate=0.1 if case == "functional" else 0.001), "seed": 9}
    new = trained(spec, **options, keep_state=tmp_path / "new.npz")
    alone.undo()
    first = trained(spec)
    again = [trained(spec, **options, keep_state=tmp_path / f"{n}.npz") for n in range(2)]
    assert [is_reused(result) for result in (first, *again)] == [False, True, True]
    assert first.curve != new.curve == again[0].curve == again[1].curve
    assert state(tmp_path / "0.npz") == state(tmp_path / "1.npz") == state(tmp_path / "new.npz")


def test_mixed_precision_is_another_shape(pool: CompiledPool) -> None:
    specs = [spec_of(net(), fit=mt.Fit(dtype_policy=p)) for p in (None, "mixed_float16")]
    results = [trained(spec) for spec in (*specs, *specs)]
    assert [is_reused(result) for result in results] == [False, False, True, True]


# what must not be reused


def scaled(factor: float) -> Callable[[Any, Any], Any]:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return factor * keras.losses.sparse_categorical_crossentropy(y_true, y_pred)

    return loss


def test_a_loss_that_closes_over_a_value_is_compiled_each_time() -> None:
    def build(hp: Any) -> Any:
        return net(loss=lambda: scaled(hp.Choice("factor", [1.0, 3.0])))(hp)

    one, other = (trained(spec_of(build), hp=values(factor=f)) for f in (1.0, 3.0))
    assert one.trained_by == other.trained_by == "graph"
    assert one.curve["loss"] != other.curve["loss"]


class Doubled(layers.Dense):
    """A layer of the user's, which says nothing of its factor."""

    factor = 2.0

    def call(self, inputs: Any) -> Any:
        return self.factor * super().call(inputs)


class OwnMetric(keras.metrics.MeanMetricWrapper):
    def __init__(self) -> None:
        super().__init__(keras.losses.sparse_categorical_crossentropy, name="own")


class OwnOptimizer(keras.optimizers.SGD):
    pass


class OwnModel(keras.Sequential):
    pass


def squared_norm(weights: Any) -> Any:
    return 0.1 * keras.ops.sum(weights**2)


def own_model(hp: Any) -> Any:
    model = OwnModel([keras.Input((64,)), layers.Dense(10, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def replaced(target: Callable[[Any], Any], name: str) -> Build:
    def build(hp: Any) -> Any:
        model = net(layers.Flatten)(hp)
        owner = target(model)
        original = getattr(owner, name)
        setattr(owner, name, lambda *args, **named: original(*args, **named))
        return model

    return build


def normalised(hp: Any) -> Any:
    adapted = layers.Normalization()
    adapted.adapt(PIXELS[: hp.Int("rows", 10, 100)])
    return dense(adapted, layers.Dense(10, activation="softmax"))


FOREIGN: dict[str, Build] = {
    "layer": net(lambda: Doubled(8)),
    "lambda": net(lambda: layers.Lambda(lambda x: x * 2)),
    "operation of TensorFlow": net(lambda: layers.Lambda(lambda x: tf.identity_n([x])[0])),
    "activation": net(lambda: layers.Dense(8, activation=lambda x: x * 2)),
    "activation of TensorFlow": net(lambda: layers.Dense(8, activation=tf.nn.relu)),
    "regularizer": net(lambda: layers.Dense(8, kernel_regularizer=squared_norm)),
    "metric": net(metrics=lambda: ["accuracy", OwnMetric()]),
    "metric function": net(metrics=lambda: ["accuracy", scaled(2.0)]),
    "optimizer": net(optimizer=OwnOptimizer),
    "model": own_model,
    "train_step": replaced(lambda model: model, "train_step"),
    "call of a layer": replaced(lambda model: model.layers[0], "call"),
    "update of an optimizer": replaced(lambda model: model.optimizer, "update_step"),
    "adapted layer": normalised,
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_keras_did_not_make_has_no_shape_to_be_known_by(case: str) -> None:
    assert key_of(FOREIGN[case](values()), "") is None


@pytest.mark.parametrize("case", ["layer", "train_step"])
def test_what_has_no_shape_is_compiled_each_time(case: str, pool: CompiledPool) -> None:
    assert not is_reused(trained(spec_of(FOREIGN[case]), epochs=1))
    # So there is nothing for the next to reuse.
    assert len(pool) == 0


def excluding(hp: Any) -> Any:
    model = net(optimizer=lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1))(hp)
    if hp.Boolean("exclude"):
        model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    return model


def relabelled(hp: Any) -> Any:
    model = net(lambda: layers.Dropout(0.5))(hp)
    model.layers[1].rate = hp.Choice("drop", [0.0, 0.5])
    return model


def freezing(hp: Any) -> Any:
    model = dense(layers.Dense(8, name="base"), layers.Dense(10, activation="softmax"))
    model.layers[0].trainable = hp.Boolean("trainable")
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("build", "one", "other"),
    [
        pytest.param(excluding, {"exclude": False}, {"exclude": True}, id="weight decay"),
        pytest.param(relabelled, {"drop": 0.0}, {"drop": 0.5}, id="rate set on a layer"),
        pytest.param(freezing, {"trainable": True}, {"trainable": False}, id="frozen"),
        pytest.param(softmax, {"width": 4}, {"width": 8}, id="shape"),
    ],
)
def test_another_setting_is_another_shape(build: Build, one: Any, other: Any) -> None:
    keys = []
    for chosen in (one, other, one, other):
        with lend_model(spec_of(build), values(**chosen), 5) as model:
            keys.append(key_of(model, ""))
    assert None not in keys
    assert keys[:2] == keys[2:]
    assert keys[0] != keys[1]


def test_another_shape_is_trained_on_steps_of_its_own() -> None:
    results = [trained(spec_of(softmax), hp=values(width=width)) for width in (4, 8, 4, 8)]
    assert [is_reused(result) for result in results] == [False, False, True, True]


def test_other_labels_are_other_steps() -> None:
    def build(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"), loss="crossentropy")

    hot = np.eye(10, dtype="float32")[LABELS]
    part = slice(0, 90), slice(90, 130), slice(130, 160)
    for labels in (LABELS, hot):
        data = mt.Data(*((PIXELS[rows], labels[rows]) for rows in part))
        assert not is_reused(trained(spec_of(build, data)))


class Freezes(keras.callbacks.Callback):
    """Changes the model for good."""

    def on_train_end(self, logs: Any = None) -> None:
        self.model.layers[0].trainable = False


class Recompiles(keras.callbacks.Callback):
    def on_train_end(self, logs: Any = None) -> None:
        self.model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])


@pytest.mark.parametrize("callback", [Freezes, Recompiles])
def test_a_model_that_a_callback_changed_is_not_kept(callback: Any, pool: CompiledPool) -> None:
    trained(spec_of(net(), fit=mt.Fit(epochs=1, callbacks=[callback])))
    assert len(pool) == 0


def test_a_failed_model_is_not_kept(pool: CompiledPool) -> None:
    class Fails(keras.callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            raise RuntimeError("power cut")

    spec = spec_of(net(), fit=mt.Fit(epochs=1, callbacks=[Fails]))
    data = load_data(spec)
    task = TrialTask(1, values().get_config(), 1, 0, 5)
    failure = train_trial(spec, data.train, data.validation, task).failure
    assert failure is not None
    assert (failure.reason, len(pool)) == ("RuntimeError: power cut", 0)


def test_a_step_that_reads_what_the_model_does_not_hold_is_not_kept(pool: CompiledPool) -> None:
    model = net()(values())
    key = key_of(model, "")
    outside = tf.constant(2.0)
    step = model.train_step
    model.train_step = lambda data: {"loss": outside * step(data)["loss"]}
    fit(model)
    del model.train_step
    assert key_of(model, "") == key is not None
    pool.put(Candidate(model, key), key)
    assert len(pool) == 0


def fit(model: Any) -> None:
    epoch_graph.fit_graph(model, PIXELS[:96], LABELS[:96], batch_size=32, epochs=1, seed=0)


# the proof


def test_a_step_that_would_train_other_numbers_turns_reuse_off(
    pool: CompiledPool, monkeypatch: pytest.MonkeyPatch, alone: pytest.MonkeyPatch
) -> None:
    spec = spec_of(relabelled)
    expected = trained(spec, hp=values(drop=0.5)).curve
    alone.undo()
    # As if the key did not tell dropout rates apart.
    monkeypatch.setattr(compiled_pool, "key_of", lambda model, like: "the same")
    trained(spec, hp=values(drop=0.0))
    result = trained(spec, hp=values(drop=0.5))
    assert result.curve == expected
    assert result.trained_by.startswith("graph; compiled steps not reused: they logged ")
    assert trained(spec).trained_by == result.trained_by
    assert len(pool) == 0


# promotions


def counted(build: Build) -> tuple[Build, list[Any]]:
    calls: list[Any] = []

    def counting(hp: Any) -> Any:
        calls.append(hp)
        return build(hp)

    return counting, calls


@pytest.mark.parametrize("build", [net(lambda: layers.Dropout(0.3)), frozen_base])
def test_a_promotion_goes_on_without_a_build_and_equal_to_the_bit(
    build: Build, tmp_path: Path, alone: pytest.MonkeyPatch
) -> None:
    path = {name: tmp_path / f"{name}.npz" for name in ("whole", "half", "other", "rest")}
    counting, calls = counted(build)
    spec = spec_of(counting)
    whole = trained(spec, epochs=4, keep_state=path["whole"])
    alone.undo()
    half = trained(spec, epochs=2, keep_state=path["half"])
    trained(spec, epochs=2, seed=8, keep_state=path["other"])  # of the same shape
    built = len(calls)
    rest = trained(
        spec, epochs=4, initial_epoch=2, hp=asked(half),
        continue_from=path["half"], keep_state=path["rest"],
    )  # fmt: skip
    assert len(calls) == built
    assert is_reused(rest)
    assert rest.curve == {name: curve[2:] for name, curve in whole.curve.items()}
    assert state(path["rest"]) == state(path["whole"])
    assert rest.read == half.read


def asked(result: TrialResult) -> Any:
    return keras_tuner.HyperParameters.from_config(result.hyperparameters)


def test_a_promotion_with_other_values_is_built(tmp_path: Path) -> None:
    counting, calls = counted(net())
    spec, kept = spec_of(counting), tmp_path / "kept.npz"
    parent = trained(spec, keep_state=kept)
    trained(spec, keep_state=kept)
    hp = asked(parent)
    hp.values["rate"] = 0.001
    assert is_reused(trained(spec, epochs=3, initial_epoch=2, hp=hp, continue_from=kept))
    assert len(calls) == 3


# seeds and folds


@pytest.mark.parametrize("validation", [mt.Holdout(seeds=2), mt.KFold(k=2)])
def test_refits_share_their_compiled_steps(validation: Any, alone: pytest.MonkeyPatch) -> None:
    spec = spec_of(net(lambda: layers.Dropout(0.2)), digits(160, 60), validation=validation)
    data, config = load_data(spec), values().get_config()

    def refits() -> list[Any]:
        return [
            train_refit(spec, data, RefitTask(one, config, 2, None)) for one in validation.refits()
        ]

    expected = refits()
    alone.undo()
    results = refits()
    assert [result.failure for result in results] == [None] * len(results)
    assert [result.scores for result in results] == [result.scores for result in expected]
    assert [result.curve for result in results] == [result.curve for result in expected]
    ends = [result.trained_by.endswith("reused") for result in results]
    assert ends == [False] + [True] * (len(results) - 1)


# memory


def entry(pool: CompiledPool, width: int) -> tuple[Candidate, Any]:
    model = dense(layers.Dense(width), layers.Dense(10, activation="softmax"))
    made = Candidate(model, key_of(model, ""))
    fit(model)
    pool.put(made, key_of(model, ""))
    return made, weakref.ref(model)


def test_the_least_recently_used_model_goes_first() -> None:
    pool = CompiledPool(models=2)
    models = [entry(pool, width)[1] for width in (3, 4, 5)]
    gc.collect()
    assert [model() is not None for model in models] == [False, True, True]


def test_models_together_hold_no_more_bytes_than_allowed() -> None:
    size = entry(CompiledPool(), 8)[0].bytes
    assert size == 4 * (64 * 8 + 8 + 8 * 10 + 10 + 1) + 8  # weights, rate and steps
    pool = CompiledPool(size=2 * size)
    models = [entry(pool, width)[1] for width in (8, 7, 6)]
    gc.collect()
    assert [model() is not None for model in models] == [False, True, True]
    assert pool.bytes <= 2 * size


def test_python_looks_for_dead_models_once_they_hold_much(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, collected = CompiledPool(), []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    small = Candidate(dense(layers.Dense(1)), None)
    pool.leave(small)
    assert not collected
    monkeypatch.setattr(compiled_pool, "UNCOLLECTED_BYTES", small.bytes)
    pool.leave(small)
    assert collected
