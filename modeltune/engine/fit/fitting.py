"""Fit a model: by whole epochs in one graph, on its head alone, or by ``model.fit``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import keras
import numpy as np

from modeltune.engine.backends import is_tensorflow
from modeltune.engine.data import Part, is_batch_function, is_dataset, read_here
from modeltune.engine.fit import compiled_pool, epoch_graph, frozen_prefix
from modeltune.engine.fit.class_weights import is_by_output, weighted
from modeltune.engine.fit.compiled_pool import Candidate
from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.epoch_progress import Follower, follower
from modeltune.engine.fit.hypermodel_fit import history_of_override, overrides_fit
from modeltune.engine.fit.input_texts import with_text_inputs
from modeltune.engine.fit.model_inputs import for_model
from modeltune.engine.fit.model_structure import can_evaluate
from modeltune.engine.fit.own_phases import take_calls
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.ground import SpecError
from modeltune.records import HYPERMODEL_FIT, Failure, Phase
from modeltune.specs import Spec

Curve: TypeAlias = dict[str, tuple[float, ...]]
"""A fit history: the value of every metric at each epoch, by the metric's name."""

MOST_NUMBERS = 100
"""How many numbers the array that a metric gives may have."""


@dataclass(frozen=True, eq=False)
class FitPlan:
    """How a candidate is trained: on which data, for how many epochs, under which seed.

    ``validation`` is evaluated after every epoch. ``features`` is the folder that keeps the
    outputs of frozen layers, for any trial and run; None: they are kept in memory.
    """

    spec: Spec
    hp: ReadHyperParameters
    train: Part
    validation: Part
    epochs: int
    seed: int
    initial_epoch: int = 0
    features: Path | None = None


def fit(plan: FitPlan, candidate: Candidate) -> tuple[Curve, str]:
    """Train the candidate; return its fit history and which path trained it.

    Where it changes no number, frozen layers at the start run once, ``plan.features`` keeps
    their outputs, and only the rest of the model is trained.
    """
    with read_here([plan.train.stream, plan.validation.stream]):
        return _fit(plan, candidate)


def _fit(plan: FitPlan, candidate: Candidate) -> tuple[Curve, str]:
    plan = _for_model(plan, candidate.model)
    spec = plan.spec
    callbacks = _callbacks(spec)
    train, validation = (
        with_text_inputs(candidate.model, part) for part in (plan.train, plan.validation)
    )
    if overrides_fit(spec.model):
        # With TensorFlow it gets arrays of texts as they are.
        own = plan if is_tensorflow() else replace(plan, train=train, validation=validation)
        arguments = _fit_arguments(own, callbacks)
        if not plan.initial_epoch:
            del arguments["initial_epoch"]
        history = history_of_override(spec, plan.hp, candidate.model, arguments)
        return _curve(history), HYPERMODEL_FIT
    plan = replace(plan, train=train, validation=validation)
    is_streamed = train.stream is not None or validation.stream is not None
    if is_streamed or train.steps is not None:
        with warnings.catch_warnings():
            # Keras warns so at the end of any dataset of unknown length, as after filter().
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
            arguments = _fit_arguments(plan, callbacks)
            if not can_evaluate(candidate.model):
                del arguments["validation_data"]
            fitted = candidate.model.fit(**arguments)
        why = "streamed data" if is_streamed else "steps_per_epoch"
        return _curve(fitted.history), f"model.fit: {why}"
    cut = candidate.cut_of(train, validation) or _cut(plan, candidate.model, callbacks)
    model = candidate.model
    if isinstance(cut, frozen_prefix.Cut):
        candidate.keep_cut(cut, train, validation)
        model, train, validation = cut.head, cut.train, cut.validation
    graphs = epoch_graph.graphs(model)
    result = epoch_graph.fit_graph(
        model,
        train.x,
        train.y,
        train.sample_weight,
        batch_size=spec.fit.batch_size,
        epochs=plan.epochs,
        initial_epoch=plan.initial_epoch,
        validation_data=_evaluation(validation) if can_evaluate(model) else None,
        callbacks=callbacks,
        class_weight=_by_index(spec),
        shuffle=spec.fit.shuffle,
        seed=plan.seed,
    )
    trained_by = result.trained_by
    if isinstance(cut, frozen_prefix.Cut):
        trained_by = f"frozen prefix + {trained_by}"
    elif cut.reason is not None:
        trained_by += f"; frozen layers not cut off: {cut.reason}"
    if compiled_pool.POOL.off is not None:
        trained_by += f"; compiled steps not reused: {compiled_pool.POOL.off}"
    elif graphs and graphs == epoch_graph.graphs(model):
        trained_by += ", compiled step reused"
    return _curve(result.curve), trained_by


def rehearse(plan: FitPlan, candidate: Candidate, head: bool) -> Any:
    """Take a few steps as ``fit`` will, on the head or on the whole model; return the logs."""
    plan = _for_model(plan, candidate.model)
    model, train, validation = candidate.model, plan.train, plan.validation
    if head:
        cut = candidate.cut_of(train, validation) or _cut(plan, model, [])
        if isinstance(cut, frozen_prefix.Whole):
            return cut
        model, train, validation = cut.head, cut.train, cut.validation
    return epoch_graph.first_steps(
        model,
        train.x,
        train.y,
        train.sample_weight,
        batch_size=plan.spec.fit.batch_size,
        validation_data=_evaluation(validation),
        class_weight=_by_index(plan.spec),
    )


def _for_model(plan: FitPlan, model: Model) -> FitPlan:
    train, validation = (for_model(model, part) for part in (plan.train, plan.validation))
    spec = plan.spec
    if is_by_output(spec.fit.class_weight):
        train = weighted(train, model, cast(Any, spec.fit.class_weight))
        spec = spec.with_fields(fit=replace(spec.fit, class_weight=None))
    return replace(plan, spec=spec, train=train, validation=validation)


class StopWhenNotFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """End a fit whose loss or objective is NaN or infinite: ``not_finite`` makes it a failure."""

    def __init__(self, objective: str):
        super().__init__()
        self._watched = ("loss", objective)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if any(not np.isfinite((logs or {}).get(name, 0.0)).all() for name in self._watched):
            self.model.stop_training = True


class TellEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Report the number of finished epochs to a follower."""

    def __init__(self, tell: Follower, objective: str):
        super().__init__()
        self._tell = tell
        self._objective = objective

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        value = (logs or {}).get(self._objective)
        self._tell(epoch + 1, value if isinstance(value, float) else None)


BLIND_CALLBACKS = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.ReduceLROnPlateau,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.CSVLogger,
    keras.callbacks.TerminateOnNaN,
    keras.callbacks.LambdaCallback,
    StopWhenNotFinite,
    TellEpochs,
)
"""Callbacks that cannot tell whether their ``model`` is the full model or its head."""


def not_finite(
    spec: Spec, curve: Mapping[str, tuple[float, ...]], initial_epoch: int = 0
) -> Failure | None:
    """Return the failure of a fit whose loss or objective is NaN or infinite at any epoch."""
    for name in ("loss", spec.search.objective.metric):
        for epoch, value in enumerate(curve.get(name, ()), start=initial_epoch + 1):
            if not np.isfinite(value):
                return Failure(f"{name} is {value} at epoch {epoch}")
    return None


def _cut(
    plan: FitPlan, model: Model, callbacks: list[Any]
) -> frozen_prefix.Cut | frozen_prefix.Whole:
    """Return the head to train in the model's place, or why the model is trained whole."""
    if not frozen_prefix.freezes(model):
        return frozen_prefix.Whole()
    for callback in callbacks:
        if type(callback) not in BLIND_CALLBACKS:
            return frozen_prefix.Whole(f"{type(callback).__name__} could see the model")
    train, validation = plan.train, plan.validation
    if why := epoch_graph.why_only_arrays(model, [train.x, validation.x]):
        return frozen_prefix.Whole(why)
    return frozen_prefix.cut_model(
        model, train, validation, plan.spec.fit.batch_size, plan.features
    )


def _callbacks(spec: Spec) -> list[Any]:
    callbacks = [factory() for factory in spec.fit.callbacks]
    for index, callback in enumerate(callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            raise SpecError(
                f"fit.callbacks[{index}] made {callback!r}; "
                "write a factory that returns a keras.callbacks.Callback"
            )
    metric = spec.search.objective.metric
    tell = follower()
    return [
        *callbacks,
        StopWhenNotFinite(metric),
        *([] if tell is None else [TellEpochs(tell, metric)]),
    ]


def _fit_arguments(plan: FitPlan, callbacks: list[Any]) -> dict[str, Any]:
    """Return what to call ``model.fit`` with to train by this plan."""
    spec, train = plan.spec, plan.train
    arguments: dict[str, Any] = {
        "validation_data": _evaluation(plan.validation),
        "epochs": plan.epochs,
        "initial_epoch": plan.initial_epoch,
        "callbacks": callbacks,
        "verbose": 0,
    }
    if train.stream is not None:
        arguments["x"] = train.stream
        # Keras warns when it is asked to shuffle a tf.data.Dataset, its default, or endless data.
        has_order = is_dataset(train.stream) or is_batch_function(train.stream)
        arguments["shuffle"] = spec.fit.shuffle and not has_order and not train.is_endless
    else:
        arguments |= {"x": train.x, "y": train.y, "batch_size": spec.fit.batch_size}
        arguments["shuffle"] = spec.fit.shuffle
        if train.sample_weight is not None:
            arguments["sample_weight"] = train.sample_weight
    if train.steps is not None:
        arguments["steps_per_epoch"] = train.steps
    if (weights := _by_index(spec)) is not None:
        arguments["class_weight"] = _class_weight(weights, train)
    return arguments


def _by_index(spec: Spec) -> Mapping[int, float] | None:
    """Return the weights of classes; those of several outputs have become sample weights."""
    return cast("Mapping[int, float] | None", spec.fit.class_weight)


def _class_weight(weights: Mapping[int, float], train: Part) -> dict[int, float]:
    """Return the weight of every class: of a dataset Keras takes no other, of arrays those are 1."""
    if train.stream is None or not weights:
        return dict(weights)
    last = int(max(*weights, *(high for _, high in train.labels.values()), 0))
    for name, shape in train.shapes.items():
        if name.startswith("y") and shape and shape[-1] is not None:
            last = max(last, shape[-1] - 1)  # one-hot
    return {label: weights.get(label, 1.0) for label in range(last + 1)}


def _evaluation(part: Part) -> Any:
    """Return a part as Keras takes it for ``validation_data``."""
    if part.stream is not None:
        return part.stream
    if part.sample_weight is None:
        return part.x, part.y
    return part.x, part.y, part.sample_weight


def _curve(history: Mapping[str, Any]) -> Curve:
    curve: dict[str, list[float]] = {}
    for name, values in history.items():
        for value in values:
            for own_name, number in logged_numbers({name: value}).items():
                curve.setdefault(own_name, []).append(number)
    return {name: tuple(values) for name, values in curve.items()}


MOST_PHASES = 10
"""Calls of ``model.fit`` that are phases; of more, each is an epoch of a loop."""


def take_phases() -> tuple[Phase, ...]:
    """Return once the phases in which a fit of the author's has trained, as far as ``model.fit`` logged them.

    None where it was called once, or more than ``MOST_PHASES`` times.
    """
    calls = take_calls()
    if not 1 < len(calls) <= MOST_PHASES:
        return ()
    phases = []
    for number, (seconds, history) in enumerate(calls, start=1):
        curve = _curve(history)
        epochs = max(map(len, curve.values()), default=0)
        phases.append(Phase(f"fit {number}", epochs, seconds, HYPERMODEL_FIT, curve))
    return tuple(phases)


def logged_numbers(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return logged values as floats by name, one number under each.

    A metric whose result is a dict logs the names in it, as Keras has it. An array, as of
    ``F1Score(average=None)``, logs each of its numbers: "f1_score_0", "f1_score_1", ...

    Raises:
        SpecError: an array has more numbers than ``MOST_NUMBERS``.
    """
    numbers: dict[str, float] = {}
    for name, value in logs.items():
        if isinstance(value, Mapping):
            numbers |= logged_numbers(value)
            continue
        array = np.asarray(value)
        if array.size > MOST_NUMBERS:
            raise SpecError(
                f'metric "{name}" is an array of shape {array.shape}, not a number; have it '
                'averaged (average="macro"), or leave it out: the report holds every class'
            )
        if array.size == 1:
            numbers[name] = float(array.item())
            continue
        for place in np.ndindex(array.shape):
            numbers["_".join((name, *map(str, place)))] = float(array[place])
    return numbers
