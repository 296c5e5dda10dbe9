"""The epoch graph trains to the bits of ``model.fit``, and steps aside where it cannot."""

from __future__ import annotations

import functools
import gc
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits

from modeltune.engine.fit import epoch_graph
from modeltune.engine.fit.epoch_graph import FitResult
from modeltune.engine.internals.keras_internals import KERAS
from modeltune.engine.internals.names import Feature, private
from modeltune.engine.internals.tensorflow_internals import OPS
from tests.support.missing_names import lacking

PIXELS, LABELS = load_digits(return_X_y=True)
X, Y = PIXELS[:200] / 16.0, LABELS[:200]
VX, VY = PIXELS[1000:1070] / 16.0, LABELS[1000:1070]
"""Float64 features, int64 labels; neither 200 nor 70 is a multiple of 32."""

Build = Callable[[], Any]


def dense(**compile_options: Any) -> Build:
    return sequence(layers.Dense(16, activation="relu"), **compile_options)


def sequence(*hidden: Any, shape: tuple[int, ...] = (64,), **compile_options: Any) -> Build:
    configs = [keras.saving.serialize_keras_object(layer) for layer in hidden]

    def build() -> Any:
        # Keras draws the seeds of layers from it; setting TensorFlow's too empties its caches.
        random.seed(3)
        fresh = [keras.saving.deserialize_keras_object(config) for config in configs]
        model = keras.Sequential(
            [keras.Input(shape), *fresh, layers.Dense(10, activation="softmax", dtype="float32")]
        )
        options = {
            "optimizer": "sgd",
            "loss": "sparse_categorical_crossentropy",
            "metrics": ["accuracy"],
        }
        options.update({k: v() if callable(v) else v for k, v in compile_options.items()})
        model.compile(**options)
        return model

    return build


def state(model: Any) -> list[np.ndarray]:
    """Weights, statistics, random states and optimizer variables."""
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same_state(ours: Any, reference: Any) -> None:
    for one, other in zip(state(ours), state(reference), strict=True):
        np.testing.assert_array_equal(one, other)


@functools.cache
def kept(build: Build, trained_by: str) -> tuple[Any, list[np.ndarray]]:
    """Return the one model of a build that is trained by ours or by Keras, and its first state."""
    model = build()
    model.optimizer.build(model.trainable_variables)
    return model, state(model)


def as_new(build: Build, trained_by: str) -> Any:
    """Return the kept model in its first state: a new one but for the steps it has traced."""
    model, first = kept(build, trained_by)
    for variable, value in zip([*model.variables, *model.optimizer.variables], first, strict=True):
        variable.assign(value)
    keras.utils.set_random_seed(3)
    return model


def assert_as_fit(
    build: Build,
    x: Any = X,
    y: Any = Y,
    sample_weight: Any = None,
    *,
    validation_data: Any = None,
    trained_by: str = "graph",
    callbacks: Callable[[], list[Any]] = list,
    n_epochs: int = 2,
    **options: Any,
) -> FitResult:
    """Train by ours and by ``model.fit`` in natural order; every bit and name must agree.

    Tests whose claim is not the model share one of ``SHARED``, and thus the steps it has traced.
    """
    shares = build in SHARED
    options |= {"validation_data": validation_data, "shuffle": False, "epochs": n_epochs}
    options.setdefault("batch_size", 32)
    reference = as_new(build, "fit") if shares else build()
    history = reference.fit(
        x, y, sample_weight=sample_weight, callbacks=callbacks(), verbose=0, **options
    ).history
    model = as_new(build, "ours") if shares else build()
    fitted = epoch_graph.fit_graph(
        model, x, y, sample_weight, callbacks=callbacks(), seed=0, **options
    )
    assert fitted.trained_by == trained_by
    assert list(fitted.curve) == list(history)
    assert fitted.curve == history
    assert_same_state(model, reference)
    return fitted


PLAIN, WEIGHED = SHARED = dense(), dense(weighted_metrics=["accuracy"])
"""The builds of tests whose claim lies elsewhere."""

VALIDATION = (VX, VY)


class TestEqualsFit:
    def test_of_a_classifier_with_a_remainder_in_both_parts(self) -> None:
        fitted = assert_as_fit(dense(optimizer="adam"), validation_data=VALIDATION)
        assert list(fitted.curve) == ["accuracy", "loss", "val_accuracy", "val_loss"]

    def test_without_remainder(self) -> None:
        assert_as_fit(PLAIN, X[:192], Y[:192], validation_data=(VX[:64], VY[:64]))

    def test_when_one_batch_is_all(self) -> None:
        assert_as_fit(PLAIN, batch_size=500, validation_data=VALIDATION)

    def test_without_validation_data(self) -> None:
        assert_as_fit(PLAIN)

    def test_of_a_shuffled_fit_fed_the_same_order(self) -> None:
        reference = as_new(PLAIN, "fit")
        curve: dict[str, list[float]] = {}
        for epoch in range(3):
            rows = np.random.Generator(np.random.PCG64([7, epoch])).permutation(len(X))
            history = reference.fit(
                X[rows],
                Y[rows],
                batch_size=32,
                epochs=epoch + 1,
                initial_epoch=epoch,
                validation_data=(VX, VY),
                shuffle=False,
                verbose=0,
            ).history
            for name, values in history.items():
                curve.setdefault(name, []).extend(values)
        model = as_new(PLAIN, "ours")
        fitted = epoch_graph.fit_graph(
            model, X, Y, batch_size=32, epochs=3, validation_data=(VX, VY), seed=7
        )
        assert fitted == FitResult(curve, "graph")
        assert_same_state(model, reference)

    def test_of_every_numeric_type(self) -> None:
        x_types, y_types = ("float16", "uint8", "int64"), ("uint8", "float64", "bool")

        def build() -> Any:
            keras.utils.set_random_seed(3)
            inputs = [keras.Input((64,), dtype=x_type) for x_type in x_types]
            hidden = [layers.Dense(16, activation="relu")(one) for one in inputs]
            ends = [
                layers.Dense(10, activation="softmax", name=name)(one)
                for name, one in zip(("one", "two", "three"), hidden, strict=True)
            ]
            model = keras.Model(inputs, ends)
            model.compile("sgd", ["sparse_categorical_crossentropy"] * 3, metrics=["accuracy"] * 3)
            return model

        assert_as_fit(
            build,
            [PIXELS[:200].astype(x_type) for x_type in x_types],
            [Y.astype(y_type) for y_type in y_types],
            n_epochs=1,
        )

    def test_of_labels_in_a_column(self) -> None:
        assert_as_fit(dense(), X, Y[:, None], validation_data=(VX, VY[:, None]))

    def test_of_one_hot_labels_with_class_weights(self) -> None:
        hot = np.eye(10)[Y]
        build = dense(loss="categorical_crossentropy", weighted_metrics=["accuracy"])
        weights = {label: 1.0 + label / 3 for label in range(9)}
        assert_as_fit(build, X, hot, validation_data=(VX, np.eye(10)[VY]), class_weight=weights)

    def test_with_class_weights(self) -> None:
        assert_as_fit(WEIGHED, class_weight={0: 5.0, 3: 0.25}, validation_data=VALIDATION)

    def test_with_sample_weights_in_both_parts(self) -> None:
        weights = np.linspace(0.1, 3.0, 200)
        assert_as_fit(
            WEIGHED,
            sample_weight=weights,
            validation_data=(VX, VY, weights[:70]),
        )

    def test_with_sample_weights_in_training_only(self) -> None:
        weights = np.linspace(0, 1, 200)
        assert_as_fit(WEIGHED, sample_weight=weights, validation_data=VALIDATION)

    def test_with_metrics_that_keep_more_than_sums(self) -> None:
        column, more = (np.asarray(y > 4, "float32")[:, None] for y in (Y, VY))

        def two_classes() -> Any:
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.Input((64,)), layers.Dense(1, activation="sigmoid")])
            metrics = [keras.metrics.F1Score(name="f1"), LargestError()]
            model.compile("sgd", "binary_crossentropy", metrics=metrics)
            return model

        assert_as_fit(two_classes, X, column, validation_data=(VX, more))

    @pytest.mark.parametrize(
        ("inputs", "outputs", "weights"),
        [("dict", "dict", np.linspace(0, 2, 200)), ("tuple", "list", None)],
        ids=["dicts, one sample weight shared by several outputs", "tuple and list"],
    )
    def test_of_several_inputs_and_outputs(self, inputs: str, outputs: str, weights: Any) -> None:
        assert_as_fit(
            two_towers(inputs, outputs),
            arranged(inputs, {"top": X[:, :32], "bottom": X[:, 32:]}),
            arranged(outputs, {"digit": Y, "odd": Y % 2}),
            weights,
            validation_data=(
                arranged(inputs, {"top": VX[:, :32], "bottom": VX[:, 32:]}),
                arranged(outputs, {"digit": VY, "odd": VY % 2}),
            ),
        )

    def test_of_masked_sequences_both_ways_with_a_state_and_attention(self) -> None:
        def build() -> Any:
            keras.utils.set_random_seed(3)
            words = keras.Input((16,), batch_size=50, dtype="int32")
            x = layers.Embedding(17, 4, mask_zero=True)(words)
            x = layers.Bidirectional(layers.GRU(3, return_sequences=True, stateful=True))(x)
            x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x))
            x = layers.GlobalAveragePooling1D()(x)
            model = keras.Model(words, layers.Dense(10, activation="softmax")(x))
            model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

        words, more = PIXELS[:200, :16].astype("int32"), PIXELS[1000:1050, :16].astype("int32")
        validation = more, VY[:50]
        assert_as_fit(build, words, validation_data=validation, batch_size=50)

    def test_of_convolutions_with_batch_normalisation_and_dropout(self) -> None:
        build = sequence(
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.SpatialDropout2D(0.2, seed=1),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4, seed=2),
        )
        assert_as_fit(build, validation_data=VALIDATION)

    def test_of_layers_that_draw_from_keras_global_seed_add_losses_or_are_frozen(self) -> None:
        assert_as_fit(
            sequence(
                layers.Dense(16, trainable=False),
                layers.GaussianNoise(0.5),
                layers.Dense(16, kernel_regularizer="l2"),
                layers.ActivityRegularization(l1=1e-3),
                layers.Dropout(0.5),
            )
        )

    def test_of_layers_that_draw_from_tensorflow_global_seed(self) -> None:
        def build() -> Any:
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.Input((64,)), Noise(), layers.Dense(10), Noise()])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("sgd", loss)
            return model

        assert_as_fit(build)

    @pytest.mark.parametrize(
        "optimizer",
        [
            pytest.param(lambda: keras.optimizers.SGD(schedule()), id="schedule"),
            pytest.param(
                lambda: keras.optimizers.AdamW(weight_decay=0.1, clipnorm=0.1),
                id="weight_decay and clipnorm",
            ),
            pytest.param(
                lambda: keras.optimizers.SGD(
                    *(0.1, 0.9, True),
                    use_ema=True,
                    ema_momentum=0.9,
                    ema_overwrite_frequency=5,
                    gradient_accumulation_steps=3,
                ),
                id="momentum, accumulation and ema",
            ),
            pytest.param(
                lambda: keras.optimizers.LossScaleOptimizer(
                    keras.optimizers.SGD(), initial_scale=2.0**120, dynamic_growth_steps=4
                ),
                id="loss_scale",
            ),
        ],
    )
    def test_with_every_kind_of_optimizer_state(self, optimizer: Any) -> None:
        assert_as_fit(dense(optimizer=optimizer), n_epochs=3)

    def test_in_mixed_precision_with_loss_scaling(self) -> None:
        def build() -> Any:
            before = keras.config.dtype_policy()
            keras.config.set_dtype_policy("mixed_float16")
            try:
                model = dense()()
            finally:
                keras.config.set_dtype_policy(before)
            assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
            return model

        assert_as_fit(build)

    def test_of_a_custom_train_step_with_logs_of_its_own_that_sees_the_types_keras_gives_it(
        self,
    ) -> None:
        fitted = assert_as_fit(lambda: of_class(OwnStep), X, Y * 1.0)
        assert "gradient_norm" in fitted.curve
        assert (X.dtype, fitted.curve["x_bytes"][0], fitted.curve["y_bytes"][0]) == (
            "float64",
            4,
            4,
        )

    def test_of_a_custom_compute_loss_of_a_model_that_can_only_be_called_in_training(self) -> None:
        assert_as_fit(lambda: of_class(OwnLoss))

    def test_of_a_subclass_not_built_before_its_first_batch(self) -> None:
        def build() -> Any:
            keras.utils.set_random_seed(3)
            model = Late()
            model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
            return model

        assert_as_fit(build, validation_data=VALIDATION)

    def test_of_a_sequential_not_built_before_its_first_batch(self) -> None:
        def build() -> Any:
            keras.utils.set_random_seed(3)
            model = keras.Sequential([layers.Dense(8), layers.Dropout(0.1), layers.Dense(10)])
            model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            return model

        assert_as_fit(build)

    def test_compiled_by_xla(self) -> None:
        assert_as_fit(dense(jit_compile=True), n_epochs=2)


class TestCallbacks:
    def test_early_stopping_restores_the_best_weights(self) -> None:
        fitted = assert_as_fit(
            PLAIN,
            callbacks=lambda: [
                keras.callbacks.LearningRateScheduler(lambda epoch, rate: 2.0),
                keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
            ],
            validation_data=VALIDATION,
            n_epochs=30,
        )
        assert 1 < len(fitted.curve["loss"]) < 30

    def test_learning_rates_change_between_epochs(self) -> None:
        fitted = assert_as_fit(
            PLAIN,
            callbacks=lambda: [
                keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5),
                keras.callbacks.ReduceLROnPlateau(patience=0, min_delta=10.0),
            ],
            validation_data=VALIDATION,
            n_epochs=3,
        )
        assert len(set(fitted.curve["learning_rate"])) == 3

    def test_ema_weights_are_swapped_for_evaluation(self) -> None:
        assert_as_fit(
            dense(optimizer=lambda: keras.optimizers.SGD(use_ema=True, ema_momentum=0.5)),
            callbacks=lambda: [keras.callbacks.SwapEMAWeights()],
            validation_data=VALIDATION,
        )

    def test_csv_logger_writes_the_same_file(self, tmp_path: Path) -> None:
        reference, ours = tmp_path / "reference.csv", tmp_path / "ours.csv"
        paths = iter([reference, ours])
        assert_as_fit(
            PLAIN,
            callbacks=lambda: [keras.callbacks.CSVLogger(next(paths))],
            validation_data=VALIDATION,
            n_epochs=3,
        )
        assert ours.read_text() == reference.read_text()
        assert len(ours.read_text().splitlines()) == 4

    def test_hooks_are_called_in_the_same_order_with_the_same_logs(self) -> None:
        heard: list[list[Any]] = []

        def listener() -> list[Any]:
            heard.append([])
            return [Listener(heard[-1])]

        assert_as_fit(PLAIN, callbacks=listener, validation_data=VALIDATION)
        reference, ours = heard
        assert ours == reference
        assert [name for name, *_ in ours[:5]] == [
            "set_params",
            "on_train_begin",
            "on_epoch_begin",
            "on_test_begin",
            "on_test_end",
        ]

    @pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_test_end"])
    def test_a_stop_asked_for_at_any_hook_ends_where_fit_ends(self, hook: str) -> None:
        assert_as_fit(PLAIN, callbacks=lambda: [StopAt(hook)], validation_data=VALIDATION)

    def test_values_set_at_the_first_epoch_are_seen(self) -> None:
        def set_rate(epoch: int, logs: Any) -> None:
            models[-1].layers[0].rate = 0.5

        models: list[Any] = []

        def build() -> Any:
            models.append(sequence(layers.Dropout(0.1, seed=1))())
            return models[-1]

        assert_as_fit(
            build, callbacks=lambda: [keras.callbacks.LambdaCallback(on_epoch_begin=set_rate)]
        )


class TestContinuing:
    def test_a_later_call_goes_on_in_the_same_order(self) -> None:
        build = sequence(layers.Dropout(0.3, seed=1))
        whole, parts = build(), build()
        options: dict[str, Any] = {"batch_size": 32, "seed": 5, "validation_data": (VX, VY)}
        curve = epoch_graph.fit_graph(whole, X, Y, epochs=4, **options).curve
        first = epoch_graph.fit_graph(parts, X, Y, epochs=1, **options).curve
        second = epoch_graph.fit_graph(parts, X, Y, epochs=4, initial_epoch=1, **options).curve
        assert {name: first[name] + second[name] for name in curve} == curve
        assert_same_state(parts, whole)

    def test_a_model_compiled_anew_trains_by_its_new_loss(self) -> None:
        ours, reference = dense()(), dense()()
        for loss in ("sparse_categorical_crossentropy", SquaredError()):
            ours.compile("sgd", loss)
            reference.compile("sgd", loss)
            fitted = epoch_graph.fit_graph(
                ours, X, Y, batch_size=32, epochs=1, shuffle=False, seed=0
            )
            history = reference.fit(X, Y, batch_size=32, epochs=1, shuffle=False, verbose=0)
            assert fitted.curve == history.history
        assert_same_state(ours, reference)

    def test_later_calls_may_bring_other_data(self) -> None:
        ours, reference = as_new(PLAIN, "ours"), as_new(PLAIN, "fit")
        for count in (200, 192, 64, 200):
            part = X[:count], Y[:count]
            fitted = epoch_graph.fit_graph(
                ours, *part, batch_size=32, epochs=1, shuffle=False, seed=0
            )
            history = reference.fit(*part, batch_size=32, epochs=1, shuffle=False, verbose=0)
            assert fitted.curve == history.history
        assert_same_state(ours, reference)

    def test_tensorflow_global_randomness_goes_on_in_a_later_call(self) -> None:
        def build() -> Any:
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.Input((64,)), Noise(), layers.Dense(10), Noise()])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile("sgd", loss)
            return model

        ours, reference = build(), build()
        for _ in range(3):
            fitted = epoch_graph.fit_graph(
                ours, X, Y, batch_size=32, epochs=1, shuffle=False, seed=0
            )
            history = reference.fit(X, Y, batch_size=32, epochs=1, shuffle=False, verbose=0)
            assert fitted.curve == history.history

    def test_an_epoch_order_depends_on_seed_and_epoch_alone(self) -> None:
        options: dict[str, Any] = {"batch_size": 32, "epochs": 2}
        np.random.seed(1)
        first = epoch_graph.fit_graph(as_new(PLAIN, "ours"), X, Y, seed=1, **options)
        np.random.seed(2)
        assert epoch_graph.fit_graph(as_new(PLAIN, "ours"), X, Y, seed=1, **options) == first
        assert epoch_graph.fit_graph(as_new(PLAIN, "ours"), X, Y, seed=2, **options) != first

    def test_the_random_states_of_the_process_are_left_alone(self) -> None:
        model = as_new(PLAIN, "ours")
        before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
        epoch_graph.fit_graph(model, X, Y, batch_size=32, epochs=1, seed=1)
        assert (
            random.getstate(),
            np.random.get_state(legacy=False)["state"]["key"].tolist(),
        ) == before


class TestMemory:
    def test_a_model_is_freed_after_its_fit(self) -> None:
        model = dense()()
        epoch_graph.fit_graph(
            model, X, Y, batch_size=32, epochs=1, validation_data=(VX, VY), seed=0
        )
        dead = weakref.ref(model)
        del model
        gc.collect()
        assert dead() is None

    def test_no_gradient_stays_registered_and_holds_the_variables_of_its_step(self) -> None:
        def registered() -> int:
            names = private(private(OPS, "gradient_registry"), "_registry")
            return sum(name.startswith("CustomGradient-") for name in names)

        before = registered()
        dense()().fit(X[:64], Y[:64], verbose=0)
        assert registered() > before  # Keras registers one; without it this test shows nothing
        before = registered()
        epoch_graph.fit_graph(
            dense()(), X, Y, batch_size=32, epochs=1, validation_data=(VX, VY), seed=0
        )
        assert registered() == before

    def test_data_is_freed_while_its_model_lives(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []

        def convert(array: Any) -> Any:
            tensor = tf.convert_to_tensor(array)
            made.append(weakref.ref(tensor))
            return tensor

        model = dense()()
        with monkeypatch.context() as patch:
            patch.setattr(epoch_graph, "tf", Recording(tf, convert_to_tensor=convert))
            epoch_graph.fit_graph(
                model, X, Y, batch_size=32, epochs=1, validation_data=(VX, VY), seed=0
            )
        gc.collect()
        assert [tensor() for tensor in made] == [None] * 4


class TestFallback:
    """Where the graph cannot go, ``model.fit`` trains, on the same order if it can be fed it."""

    @pytest.mark.parametrize(
        ("hook", "callback"),
        [
            ("on_batch_end", keras.callbacks.TerminateOnNaN),
            (
                "on_train_batch_end",
                lambda: keras.callbacks.LambdaCallback(on_train_batch_end=nothing),
            ),
            ("on_test_batch_begin", lambda: PerTestBatch()),
        ],
    )
    def test_for_a_callback_that_watches_batches(self, hook: str, callback: Any) -> None:
        name = type(callback()).__name__
        assert_as_fit(
            PLAIN,
            callbacks=lambda: [callback()],
            validation_data=VALIDATION,
            trained_by=f"fit: {name} overrides {hook}",
        )

    def test_for_a_run_that_diverges_under_terminate_on_nan(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        x = X.copy()
        x[100] = np.nan
        fitted = epoch_graph.fit_graph(
            sequence(layers.Dense(4))(),
            x,
            Y,
            batch_size=32,
            epochs=5,
            callbacks=[keras.callbacks.TerminateOnNaN()],
            seed=0,
        )
        assert len(fitted.curve["loss"]) == 1
        assert "Invalid loss" in capsys.readouterr().out

    def test_for_a_model_that_runs_eagerly(self) -> None:
        assert_as_fit(
            dense(run_eagerly=True),
            X[:64],
            Y[:64],
            n_epochs=1,
            trained_by="fit: the model runs eagerly",
        )

    def test_for_several_steps_per_execution(self) -> None:
        assert_as_fit(dense(steps_per_execution=4), trained_by="fit: steps_per_execution is 4")

    @pytest.mark.parametrize("method", ["evaluate", "make_train_function", "make_test_function"])
    def test_for_a_class_with_its_own(self, method: str) -> None:
        own = type("Own", (keras.Model,), {method: forwarding(method)})
        why = f"fit: Own overrides {method}"
        assert_as_fit(lambda: of_class(own), X[:64], Y[:64], n_epochs=1, trained_by=why)

    def test_for_data_that_would_fill_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(epoch_graph, "_available_memory", lambda: 300_000)
        assert_as_fit(
            PLAIN,
            trained_by="fit: the data takes 0 MiB, more than a quarter of available memory",
        )

    def test_in_the_order_the_graph_would_take(self) -> None:
        graph, fit = as_new(WEIGHED, "ours"), as_new(WEIGHED, "fit")
        options: dict[str, Any] = {
            "batch_size": 32,
            "epochs": 3,
            "validation_data": (VX, VY),
            "class_weight": {0: 2.0},
            "seed": 7,
        }
        by_graph = epoch_graph.fit_graph(graph, X, Y, **options)
        by_fit = epoch_graph.fit_graph(
            fit, X, Y, callbacks=[keras.callbacks.TerminateOnNaN()], **options
        )
        assert by_graph.trained_by == "graph"
        assert by_fit.trained_by == "fit: TerminateOnNaN overrides on_batch_end"
        assert by_fit.curve == by_graph.curve
        assert_same_state(fit, graph)

    @pytest.mark.parametrize("case", ["class weights", "two outputs"])
    def test_without_a_private_name_or_with_another_backend_to_the_same_numbers(
        self, case: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def two_outputs() -> Any:
            random.seed(3)
            keras.utils.set_random_seed(3)
            inputs = keras.Input((64,))
            ends = [layers.Dense(1, name="one")(inputs), layers.Dense(1, name="other")(inputs)]
            model = keras.Model(inputs, ends)
            model.compile("sgd", "mse", weighted_metrics=[["mae"], ["mae"]])
            return model

        build = two_outputs if case == "two outputs" else dense()
        y, validation = (
            ([Y / 10, Y / 5], (VX, [VY / 10, VY / 5])) if case == "two outputs" else (Y, (VX, VY))
        )
        weights = np.linspace(0, 2, len(X)) if case == "two outputs" else None
        options: dict[str, Any] = {
            "batch_size": 32,
            "epochs": 2,
            "validation_data": validation,
            "class_weight": {0: 2.0, 3: 0.5} if case == "class weights" else None,
            "seed": 7,
        }
        graph, fit, fed = build(), build(), build()
        by_graph = epoch_graph.fit_graph(graph, X, y, weights, **options)
        with monkeypatch.context() as patched:
            patched.setattr(keras.backend, "backend", lambda: "jax")
            by_batches = epoch_graph.fit_graph(fed, X, y, weights, **options)
        assert by_batches.trained_by == "fit: the backend is jax"
        assert by_batches.curve == by_graph.curve
        assert_same_state(fed, graph)
        names = [name for name in KERAS.names if Feature.EPOCH_GRAPH in name.features]
        with lacking(*names):
            by_fit = epoch_graph.fit_graph(fit, X, y, weights, **options)
        assert by_graph.trained_by == "graph"
        assert by_fit.trained_by.startswith(f"fit: keras {keras.version()} has no ")
        assert by_fit.curve == by_graph.curve
        assert_same_state(fit, graph)

    def test_from_a_later_epoch_in_that_epoch_order(self) -> None:
        graph, fit = as_new(PLAIN, "ours"), as_new(PLAIN, "fit")
        options: dict[str, Any] = {"batch_size": 32, "epochs": 5, "initial_epoch": 3, "seed": 7}
        by_graph = epoch_graph.fit_graph(graph, X, Y, **options)
        by_fit = epoch_graph.fit_graph(
            fit, X, Y, callbacks=[keras.callbacks.TerminateOnNaN()], **options
        )
        assert by_fit.curve == by_graph.curve

    def test_says_when_the_order_is_keras_own(self) -> None:
        own = type("Own", (keras.Model,), {"fit": forwarding("fit")})
        fitted = epoch_graph.fit_graph(of_class(own), X, Y, batch_size=32, epochs=1, seed=0)
        assert fitted.trained_by == "fit: Own overrides fit, in Keras's own order"

    def test_for_a_distribution_strategy(self) -> None:
        with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
            model = dense()()
        fitted = epoch_graph.fit_graph(model, X, Y, batch_size=32, epochs=1, shuffle=False, seed=0)
        assert fitted.trained_by == "fit: a OneDeviceStrategy distributes it"

    def test_for_text(self) -> None:
        texts = np.array([["a b"], ["b c"], ["c"], ["a"]], dtype=object)

        def build() -> Any:
            keras.utils.set_random_seed(3)
            words = layers.TextVectorization(vocabulary=["a", "b", "c"], output_mode="multi_hot")
            model = keras.Sequential([keras.Input((1,), dtype="string"), words, layers.Dense(1)])
            model.compile("sgd", "mse")
            return model

        assert_as_fit(
            build,
            texts[:, 0],
            np.arange(4.0),
            n_epochs=1,
            trained_by="fit: the data holds values of dtype object",
        )

    def test_for_sparse_data(self) -> None:
        assert_as_fit(
            dense(),
            csr_matrix(X),
            trained_by="fit: the data holds a csr_matrix",
        )

    def test_leaves_wrong_data_to_keras_words(self) -> None:
        with pytest.raises(ValueError, match="same number of samples"):
            epoch_graph.fit_graph(dense()(), X, Y[:-1], batch_size=32, epochs=1, seed=0)
        with pytest.raises(ValueError, match="must call `compile"):
            epoch_graph.fit_graph(
                keras.Sequential([layers.Dense(1)]), X, Y, batch_size=8, epochs=1, seed=0
            )


class Recording:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self.__dict__ |= {**vars(module), **replaced}


class LargestError(keras.metrics.Metric):
    """The largest distance between label and prediction since the reset."""

    def __init__(self) -> None:
        super().__init__(name="largest_error")
        self.largest = self.add_weight(name="largest", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        guess = keras.ops.cast(keras.ops.argmax(y_pred, axis=-1), "float32")
        error = keras.ops.max(keras.ops.abs(guess - keras.ops.cast(y_true, "float32")))
        self.largest.assign(keras.ops.maximum(self.largest, error))

    def result(self) -> Any:
        return self.largest


class SquaredError(keras.losses.Loss):
    """The squared distance to the one-hot label."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.square(y_pred - keras.ops.one_hot(y_true, 10))


class Noise(layers.Layer):
    """Draws from TensorFlow's own random state, outside of Keras's seeds."""

    def call(self, x: Any, training: bool = False) -> Any:
        return x + 0.3 * tf.random.normal(tf.shape(x)) if training else x


class OwnStep(keras.Model):
    """Logs what no metric holds, as the last batch left it."""

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        norm = tf.linalg.global_norm(gradients)
        sizes = {"x_bytes": x.dtype.size, "y_bytes": y.dtype.size}
        return {"loss": loss, "gradient_norm": norm, "nothing": None, **sizes}


class OwnLoss(keras.Model):
    """A model with a loss of its own, and no answer outside of training."""

    def call(self, x: Any, training: bool = False) -> Any:
        assert training
        return super().call(x, training=training)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return keras.ops.mean(keras.ops.square(y_pred - keras.ops.one_hot(y, 10)))


class Late(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = layers.Dense(8, activation="relu")
        self.drop = layers.Dropout(0.2)
        self.out = layers.Dense(10, activation="softmax")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.out(self.drop(self.hidden(x), training=training))


class Listener(keras.callbacks.Callback):
    def __init__(self, heard: list[Any]) -> None:
        super().__init__()
        self.heard = heard

    def set_params(self, params: Any) -> None:
        super().set_params(params)
        self.heard.append(("set_params", dict(params)))

    def on_train_begin(self, logs: Any = None) -> None:
        self.heard.append(("on_train_begin", dict(logs)))

    def on_train_end(self, logs: Any = None) -> None:
        self.heard.append(("on_train_end", list(logs.items())))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.heard.append(("on_epoch_begin", epoch, dict(logs)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.heard.append(("on_epoch_end", epoch, list(logs.items())))

    def on_test_begin(self, logs: Any = None) -> None:
        self.heard.append(("on_test_begin", dict(logs)))

    def on_test_end(self, logs: Any = None) -> None:
        self.heard.append(("on_test_end", list(logs.items())))


class PerTestBatch(keras.callbacks.Callback):
    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        pass


class StopAt(keras.callbacks.Callback):
    def __init__(self, hook: str) -> None:
        super().__init__()
        setattr(self, hook, self.stop)

    def stop(self, *args: Any, **kwargs: Any) -> None:
        self.model.stop_training = True


def nothing(batch: int, logs: Any) -> None:
    pass


def forwarding(method: str) -> Any:
    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(keras.Model, method)(self, *args, **kwargs)

    return own


def of_class(model_class: Any) -> Any:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((64,))
    hidden = layers.Dense(16, activation="relu")(inputs)
    model = model_class(inputs, layers.Dense(10, activation="softmax")(hidden))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def schedule() -> Any:
    return keras.optimizers.schedules.CosineDecay(0.01, 12)


def arranged(structure: str, arrays: dict[str, Any]) -> Any:
    kinds: dict[str, Callable[[dict[str, Any]], object]] = {
        "dict": dict,
        "tuple": lambda a: tuple(a.values()),
        "list": lambda a: [*a.values()],
    }
    return kinds[structure](arrays)


def two_towers(ins: str, outs: str) -> Build:
    def build() -> Any:
        keras.utils.set_random_seed(3)
        inputs = {name: keras.Input((32,), name=name) for name in ("top", "bottom")}
        hidden = layers.Concatenate()([layers.Dense(8)(part) for part in inputs.values()])
        outputs = {
            "digit": layers.Dense(10, activation="softmax", name="digit")(hidden),
            "odd": layers.Dense(2, activation="softmax", name="odd")(hidden),
        }
        losses = dict.fromkeys(outputs, "sparse_categorical_crossentropy")
        metrics = {"digit": ["accuracy"], "odd": ["accuracy"]}
        weights = {"digit": 1.0, "odd": 0.3}
        model = keras.Model(arranged(ins, inputs), arranged(outs, outputs))
        model.compile(
            "sgd",
            arranged(outs, losses),
            loss_weights=arranged(outs, weights),
            metrics=arranged(outs, metrics),
            weighted_metrics=arranged(outs, {"digit": ["accuracy"], "odd": []}),
        )
        return model

    return build
