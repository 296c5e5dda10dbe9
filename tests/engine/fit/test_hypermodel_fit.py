"""A HyperModel's own fit is called once, with what its signature takes."""

from __future__ import annotations

import copy
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit.trial import train_trial
from modeltune.engine.score.refit import train_refit
from modeltune.records.tasks import RefitResult, RefitTask, TrialResult, TrialTask
from modeltune.specs.spec_type import Spec
from modeltune.specs.validations import Refit
from tests.support.small_models import digits, softmax, spec_of, values


def trained(spec: Spec, epochs: int = 1, hp: Any = None) -> TrialResult:
    data = load_data(spec)
    task = TrialTask(1, (hp or values()).get_config(), epochs, initial_epoch=0, seed=5)
    return train_trial(spec, data.train, data.validation, task)


def failure(spec: Spec) -> str:
    fault = trained(spec).failure
    assert fault is not None
    return fault.reason


class Batched(keras_tuner.HyperModel):
    """Searches its batch size, as keras-tuner's guide does."""

    steps: int

    def build(self, hp: Any) -> Any:
        return softmax(hp)

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        history = model.fit(*args, batch_size=hp.Choice("batch", [80, 20]), **kwargs)
        self.steps = int(model.optimizer.iterations)
        return history


def returning(value: Any) -> type:
    class Fitting(Batched):
        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return value

    return Fitting


def test_a_hypermodels_fit_reads_its_batch_size_from_the_values() -> None:
    model = Batched()
    result = trained(spec_of(model), hp=values(batch=20))
    assert (result.failure, result.trained_by) == (None, "HyperModel.fit")
    assert (result.read, model.steps) == ({"width", "batch"}, 160 / 20)


@pytest.mark.parametrize(
    ("returned", "curve"),
    [
        ({"val_accuracy": 0.5, "loss": 1}, {"val_accuracy": (0.5,), "loss": (1.0,)}),
        ({"val_accuracy": [0.5, 0.75]}, {"val_accuracy": (0.5, 0.75)}),
        (0.5, {"val_accuracy": (0.5,)}),
        (np.float32(0.5), {"val_accuracy": (0.5,)}),
    ],
    ids=["dict", "dict of lists", "float", "numpy"],
)
def test_a_hypermodels_fit_may_return(returned: Any, curve: dict[str, tuple[float, ...]]) -> None:
    assert trained(spec_of(returning(returned))).curve == curve


@pytest.mark.parametrize(("returned", "what"), [(None, "None"), ("0.5", "a str"), (True, "a bool")])
def test_a_hypermodels_fit_may_not_return(returned: Any, what: str) -> None:
    assert f"Fitting.fit returned {what}; return model.fit(...)" in failure(
        spec_of(returning(returned))
    )


def test_a_hypermodels_fit_need_not_take_what_keras_tuner_does_not_pass() -> None:
    class Narrow(Batched):
        def fit(
            self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, epochs: int,
            callbacks: Any,
        ) -> Any:  # fmt: skip
            return model.fit(
                x, y, validation_data=validation_data, epochs=epochs, callbacks=callbacks, verbose=0
            )

    assert trained(spec_of(Narrow), epochs=2).failure is None


def test_a_builder_that_only_builds_is_fitted_by_us() -> None:
    class Builder:
        def build(self, hp: Any) -> Any:
            return softmax(hp)

    assert trained(spec_of(Builder)).trained_by == "graph"


def fitted_by(fit: Any, builds: Any = softmax) -> type:
    """Return a HyperModel with this method as its fit."""
    return type(
        "Fitting", (keras_tuner.HyperModel,), {"build": lambda self, hp: builds(hp), "fit": fit}
    )


def test_a_fit_without_callbacks_trains() -> None:
    def fit(
        self: Any, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, epochs: int
    ) -> Any:
        return model.fit(x, y, validation_data=validation_data, epochs=epochs, verbose=0)

    result = trained(spec_of(fitted_by(fit)), epochs=2)
    assert (result.failure, len(result.curve["val_accuracy"])) == (None, 2)


def test_a_fit_without_callbacks_is_refused_where_the_spec_declares_some() -> None:
    def fit(
        self: Any, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, epochs: int
    ) -> Any:
        raise NotImplementedError

    fields = mt.Fit(callbacks=[keras.callbacks.TerminateOnNaN])
    assert failure(spec_of(fitted_by(fit), fit=fields)) == (
        "SpecError: Fitting.fit takes no callbacks, but the spec declares fit.callbacks; "
        "add a parameter callbacks and pass it to model.fit"
    )


def steps_of(fit: Any, batch_size: int = 40) -> int:
    """Train 160 samples by this override under a spec of this batch size; return the steps taken."""
    models: list[Any] = []

    def kept(hp: Any) -> Any:
        models.append(softmax(hp))
        return models[-1]

    assert trained(spec_of(fitted_by(fit, kept), fit=mt.Fit(batch_size=batch_size))).failure is None
    assert "fit" not in vars(models[-1])
    return int(models[-1].optimizer.iterations)


def test_with_kwargs_the_batch_size_of_the_spec_holds_unless_the_override_sets_its_own() -> None:
    def plain(self: Any, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, **kwargs)

    def by_name(self: Any, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, batch_size=20, **kwargs)

    def by_position(self: Any, hp: Any, model: Any, x: Any, y: Any, **kwargs: Any) -> Any:
        return model.fit(x, y, 10, **kwargs)

    def named(self: Any, hp: Any, model: Any, *args: Any, batch_size: int, **kwargs: Any) -> Any:
        return model.fit(*args, batch_size=batch_size // 8, **kwargs)

    steps = {
        override.__name__: steps_of(override) for override in (plain, by_name, by_position, named)
    }
    assert steps == {"plain": 4, "by_name": 8, "by_position": 16, "named": 32}


def test_what_an_override_raises_is_the_trials_failure_and_nothing_is_trained_twice() -> None:
    calls: list[int] = []

    def fit(self: Any, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        model.fit(*args, **kwargs)
        calls.append(int(model.optimizer.iterations))
        # As CPython says it of a wrong call.
        raise TypeError("scale() got multiple values for keyword argument 'epochs'")

    fault = trained(spec_of(fitted_by(fit))).failure
    assert fault is not None
    assert fault.reason == "TypeError: scale() got multiple values for keyword argument 'epochs'"
    assert calls == [5]


def test_an_argument_named_twice_is_the_trials_failure() -> None:
    def fit(self: Any, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, epochs=3, **kwargs)

    assert failure(spec_of(fitted_by(fit))).endswith(
        "got multiple values for keyword argument 'epochs'"
    )


# what an override does besides training


def test_a_trial_warns_of_data_changed_in_place_and_of_ranges_that_are_ignored() -> None:
    class Scaling(Batched):
        def build(self, hp: Any) -> Any:
            hp.Int("depth", 1, 2)
            hp.Int("depth", 1, 3)
            return softmax(hp)

        def fit(self, hp: Any, model: Any, x: Any, y: Any, **kwargs: Any) -> Any:
            x /= 2
            return model.fit(x, y, **kwargs)

    result = trained(spec_of(Scaling(), data=copy.deepcopy(digits(20, 10, 10))))
    assert result.failure is None
    ranges, changed = result.cautions
    assert (ranges.check, changed.check) == ("search.ranges", "model.own_fit")
    assert changed.text.startswith("Scaling.fit changes x in place")


def test_a_trial_warns_of_an_override_that_trains_another_model() -> None:
    class Cloning(Batched):
        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            return softmax(hp).fit(*args, **kwargs)

    result = trained(spec_of(Cloning(), data=digits(20, 10, 10)))
    assert result.failure is None
    (caution,) = result.cautions
    assert caution.text.startswith("Cloning.fit leaves the weights of the model it is given")
    assert trained(spec_of(Batched(), data=digits(20, 10, 10))).cautions == ()


@pytest.mark.parametrize("takes_all", [True, False])
def test_an_epoch_of_endless_data_ends_in_a_fit_that_names_no_steps(takes_all: bool) -> None:
    class Streaming(Batched):
        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            history = model.fit(*args, **kwargs)
            self.steps = int(model.optimizer.iterations)
            return history

    class Naming(Streaming):
        def fit(
            self, hp: Any, model: Any, x: Any, epochs: int, validation_data: Any, callbacks: Any
        ) -> Any:
            data = {"validation_data": validation_data, "shuffle": False}
            return super().fit(hp, model, x, epochs=epochs, **data)

    validation = digits().validation
    endless = tf.data.Dataset.from_tensor_slices(validation).repeat().batch(20)
    hypermodel = Streaming() if takes_all else Naming()
    data = mt.Data(endless, validation, validation)
    spec = spec_of(hypermodel, data, fit=mt.Fit(steps_per_epoch=2))
    assert trained(spec, epochs=3).failure is None
    assert hypermodel.steps == 6


class Twice(Batched):
    """Trains its head, then all of it, slower."""

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        model.fit(*args, **{**kwargs, "epochs": 2})
        model.optimizer.learning_rate = 1e-4
        return model.fit(*args, **kwargs)


def test_a_fit_that_trains_in_phases_is_recorded_phase_by_phase() -> None:
    def refit(model: Any) -> RefitResult:
        spec, hp = spec_of(model), values().get_config()
        return train_refit(spec, load_data(spec), RefitTask(Refit(0), hp, 1, None))

    twice = refit(Twice())
    assert [(phase.name, phase.epochs) for phase in twice.phases] == [("fit 1", 2), ("fit 2", 1)]
    first, second = (phase.curve for phase in twice.phases)
    assert len(first["val_accuracy"]) == 2
    assert first["loss"][-1] > second["loss"][0]  # trained on
    assert twice.curve == second  # what it returned, which the search has judged
    trial = trained(spec_of(Twice()), epochs=1)
    assert [(phase.name, phase.epochs) for phase in trial.phases] == [("fit 1", 2), ("fit 2", 1)]
    assert trial.curve == trial.phases[1].curve
    # Nothing of it is left for the next one.
    assert refit(softmax).phases == refit(Batched()).phases == ()
