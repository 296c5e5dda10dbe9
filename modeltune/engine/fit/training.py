"""Build, seed and train one candidate; the door to keras for the search and the refits."""

from __future__ import annotations

import contextlib
import inspect
import logging
import random
import re
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from modeltune.engine.data import Part
from modeltune.engine.fit import compiled_pool, frozen_prefix
from modeltune.engine.fit import epoch_graph as epoch_graph
from modeltune.engine.fit.epoch_progress import Follower, follower
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.ground import SpecError, frames_of_others
from modeltune.records import Failure, Trained, TrialTask, own_values
from modeltune.specs import Spec

Model: TypeAlias = Any
"""A compiled ``keras.Model``."""


def train_trial(
    spec: Spec, train: Part, validation: Part, task: TrialTask, features: Path | None = None
) -> Trained:
    """Train one candidate; whatever it raises becomes its failure.

    ``features`` is the folder that keeps the outputs of frozen layers, for any trial and
    run; without one they are kept in memory.
    """
    started = time.monotonic()
    hp = ReadHyperParameters.of(task.hyperparameters)
    try:
        with candidate(spec, hp, task.seed, (train, validation), task, features) as model:
            if task.continue_from is not None:
                if not model.built:
                    model.predict_on_batch(next(train.batches(1))[0])
                load_state(model, task.continue_from)
            curve, trained_by = fit(
                spec,
                hp,
                model,
                train,
                validation,
                task.epochs,
                task.initial_epoch,
                task.seed,
                features=features,
            )
            failure = not_finite(spec, curve, task.initial_epoch)
            if task.keep_state is not None and failure is None:
                save_state(model, task.keep_state)
    except Exception as error:  # noqa: BLE001  whatever a candidate raises is its own failure
        curve, trained_by = {}, "not trained"
        failure = failure_of(error)
    seconds = time.monotonic() - started
    return Trained(curve, trained_by, seconds, hp.get_config(), frozenset(hp.read), failure)


class _RetracingIsExpected(logging.Filter):
    """Drop TensorFlow's advice on retracing: every candidate is another model."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in str(record.msg)


logging.getLogger("tensorflow").addFilter(_RetracingIsExpected())


@contextlib.contextmanager
def candidate(
    spec: Spec,
    hp: ReadHyperParameters,
    seed: int,
    parts: tuple[Part, Part] | None = None,
    task: TrialTask | None = None,
    features: Path | None = None,
) -> Iterator[Model]:
    """Build the model for these values under the spec's dtype policy and a seed; restore both after.

    With the ``parts`` it is to be trained and validated on, an equal model this process has
    trained before is given the fresh one's values and trains in its place. A ``task`` that
    continues a state this process has left needs no fresh one: it loads that state.

    Raises:
        SpecError: the build function returned something other than a compiled model, or
            Keras knows no such dtype policy.
    """
    policy_before = keras.config.dtype_policy()
    random_before, numpy_before = random.getstate(), np.random.get_state()
    data = None if parts is None else _described(spec, parts)
    entry = None
    try:
        # Layer and metric names count up over a session; a candidate's must not depend on
        # those before it.
        compiled_pool.start_anew(seed)
        _set_dtype_policy(spec, policy_before)
        entry = None if task is None or data is None else _continued(hp, task)
        if entry is None:
            model = spec(hp)
            _check_model(spec, model)
            entry = compiled_pool.Entry(
                model, None if data is None else compiled_pool.key_of(model, data)
            )
            if parts is not None:
                entry = compiled_pool.POOL.take(entry, partial(_rehearse, spec, parts, features))
        if task is not None and task.keep_state is not None and entry.key is not None:
            states = random.getstate(), np.random.get_state()
            values, read = own_values(hp.values), frozenset(hp.read)
            origin = compiled_pool.Origin(entry.key, values, seed, read, states)
            compiled_pool.POOL.remember(task.keep_state, origin)
        with compiled_pool.POOL.lent(entry):
            yield entry.model
        trained, entry = entry, None
        key = None if data is None else compiled_pool.key_of(trained.model, data)
        compiled_pool.POOL.put(trained, key)
    finally:
        if entry is not None:
            compiled_pool.POOL.leave(entry)
        keras.config.set_dtype_policy(policy_before)
        random.setstate(random_before)
        np.random.set_state(numpy_before)


def _continued(hp: ReadHyperParameters, task: TrialTask) -> compiled_pool.Entry | None:
    """Return a kept model for a promotion, everything else being as after its build, or None."""
    if task.continue_from is None:
        return None
    found = compiled_pool.POOL.again(task.continue_from, own_values(hp.values), task.seed, hp.names)
    if found is None:
        return None
    entry, origin = found
    hp.read |= origin.read
    random_state, numpy_state = origin.random_states
    random.setstate(random_state)
    np.random.set_state(numpy_state)
    return entry


def _described(spec: Spec, parts: tuple[Part, Part]) -> str | None:
    """Return all of the data that a compiled step depends on, or None where there is none to reuse."""
    if keras.backend.backend() != "tensorflow" or overrides_fit(spec.model):
        return None
    described = [f"batches of {spec.fit.batch_size}, weighed {spec.fit.class_weight is not None}"]
    for part in parts:
        arrays = part.x, part.y, part.sample_weight
        if part.stream is not None or any(
            not isinstance(leaf, np.ndarray)
            for leaf in keras.tree.flatten(arrays)
            if leaf is not None
        ):
            return None
        shapes = keras.tree.map_structure(
            lambda leaf: f"{leaf.dtype}{leaf.shape[1:]}", arrays, none_is_leaf=False
        )
        described.append(repr(shapes))
    return "; ".join(described)


def _rehearse(
    spec: Spec,
    parts: tuple[Part, Part],
    features: Path | None,
    entry: compiled_pool.Entry,
    head: bool,
) -> Any:
    """Take a few steps as ``fit`` will, and return what they log."""
    model, (train, validation) = entry.model, parts
    if head:
        cut = entry.cut_of(*parts) or _cut(spec, model, [], train, validation, features)
        if isinstance(cut, frozen_prefix.Whole):
            return cut
        model, train, validation = cut.head, cut.train, cut.validation
    return epoch_graph.rehearse(
        model,
        train.x,
        train.y,
        train.sample_weight,
        batch_size=spec.fit.batch_size,
        validation_data=_evaluation(validation),
        class_weight=spec.fit.class_weight,
    )


def fit(
    spec: Spec,
    hp: ReadHyperParameters,
    model: Model,
    train: Part,
    validation: Part,
    epochs: int,
    initial_epoch: int,
    seed: int,
    features: Path | None = None,
) -> tuple[dict[str, tuple[float, ...]], str]:
    """Train the model; return its fit history, one value per epoch, and which path trained it.

    Leading layers that are frozen are run once, their outputs kept in ``features``, and
    only the rest is trained, where that changes no number.
    """
    callbacks = _callbacks(spec)
    if overrides_fit(spec.model):
        curve = _fit_of_hypermodel(
            spec, hp, model, train, validation, epochs, initial_epoch, callbacks
        )
        return curve, "HyperModel.fit"
    if train.stream is not None or validation.stream is not None:
        with warnings.catch_warnings():
            # Said of every finite dataset whose length is unknown, as after filter().
            warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
            fitted = model.fit(
                **_fit_arguments(spec, train, validation),
                epochs=epochs,
                initial_epoch=initial_epoch,
                callbacks=callbacks,
                verbose=0,
            )
        return _curve(fitted.history), "model.fit: streamed data"
    entry = compiled_pool.POOL.entry_of(model)
    cut: frozen_prefix.Cut | frozen_prefix.Whole | None = (
        entry.cut_of(train, validation) if entry else None
    )
    if cut is None:
        cut = _cut(spec, model, callbacks, train, validation, features)
        if entry is not None and isinstance(cut, frozen_prefix.Cut):
            entry.keep_cut(cut, train, validation)
    if isinstance(cut, frozen_prefix.Cut):
        model, train, validation = cut.head, cut.train, cut.validation
    compiled = epoch_graph.graphs(model)
    graph = epoch_graph.fit_graph(
        model,
        train.x,
        train.y,
        train.sample_weight,
        batch_size=spec.fit.batch_size,
        epochs=epochs,
        initial_epoch=initial_epoch,
        validation_data=_evaluation(validation),
        callbacks=callbacks,
        class_weight=spec.fit.class_weight,
        shuffle=spec.fit.shuffle,
        seed=seed,
    )
    trained_by = graph.trained_by
    if isinstance(cut, frozen_prefix.Cut):
        trained_by = f"frozen prefix + {trained_by}"
    elif cut.reason is not None:
        trained_by += f"; frozen layers not cut off: {cut.reason}"
    if compiled_pool.POOL.off is not None:
        trained_by += f"; compiled steps not reused: {compiled_pool.POOL.off}"
    elif compiled and compiled == epoch_graph.graphs(model):
        trained_by += ", compiled step reused"
    return _curve(graph.curve), trained_by


class StopWhenNotFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """End a fit whose loss or objective is NaN or infinite: ``not_finite`` makes it a failure."""

    def __init__(self, objective: str):
        super().__init__()
        self._watched = ("loss", objective)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if any(not np.isfinite((logs or {}).get(name, 0.0)) for name in self._watched):
            self.model.stop_training = True


class TellEpochs(keras.callbacks.Callback):  # type: ignore[misc]
    """Tell a follower which epochs are done."""

    def __init__(self, told: Follower, objective: str):
        super().__init__()
        self._told = told
        self._objective = objective

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        value = (logs or {}).get(self._objective)
        self._told(epoch + 1, value if isinstance(value, float) else None)


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


def _cut(
    spec: Spec,
    model: Model,
    callbacks: list[Any],
    train: Part,
    validation: Part,
    features: Path | None,
) -> frozen_prefix.Cut | frozen_prefix.Whole:
    """Return the head to train in the model's place, or why the model is trained whole."""
    if not frozen_prefix.freezes(model):
        return frozen_prefix.Whole()
    for callback in callbacks:
        if type(callback) not in BLIND_CALLBACKS:
            return frozen_prefix.Whole(f"{type(callback).__name__} could see the model")
    if why := epoch_graph.why_only_arrays(model, [train.x, validation.x]):
        return frozen_prefix.Whole(why)
    return frozen_prefix.cut(model, train, validation, spec.fit.batch_size, features)


def not_finite(
    spec: Spec, curve: Mapping[str, tuple[float, ...]], initial_epoch: int = 0
) -> Failure | None:
    """Return the failure of a fit whose loss or objective is NaN or infinite at any epoch."""
    for name in ("loss", spec.search.objective.metric):
        for epoch, value in enumerate(curve.get(name, ()), start=initial_epoch + 1):
            if not np.isfinite(value):
                return Failure(f"{name} is {value} at epoch {epoch}")
    return None


def failure_of(error: Exception) -> Failure:
    """Return one line naming the error, and its traceback from the user's code down."""
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0]}".rstrip(": ")
    frames = traceback.format_list(frames_of_others(error.__traceback__))
    text = "".join(frames + traceback.format_exception_only(error))
    return Failure(reason, f"Traceback (most recent call last):\n{text}")


def save_state(model: Model, path: Path) -> None:
    """Write weights, optimizer variables and random states to an ``.npz`` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = [*model.variables, *model.optimizer.variables]
    np.savez(path, *(np.asarray(variable) for variable in variables))


def load_state(model: Model, path: Path) -> None:
    """Restore what ``save_state`` wrote into a model of the same architecture."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    with np.load(path) as stored:
        values = [stored[name] for name in stored.files]
    for variable, value in zip([*model.variables, *model.optimizer.variables], values, strict=True):
        variable.assign(value)


def save_weights(model: Model, path: Path) -> None:
    """Write the weights, without the optimizer's, to a ``.weights.h5`` file of Keras."""
    with _without_optimizer(model):
        model.save_weights(path)


def load_weights(model: Model, path: Path) -> None:
    """Read what ``save_weights`` wrote into a model of the same architecture."""
    with _without_optimizer(model):
        model.load_weights(path)


@contextlib.contextmanager
def _without_optimizer(model: Model) -> Iterator[None]:
    # Keras would write its variables too, three times the file for Adam, and complain about
    # them when it reads the file into a model whose optimizer has not taken a step.
    optimizer, model.optimizer = model.optimizer, None
    try:
        yield
    finally:
        model.optimizer = optimizer


def _check_model(spec: Spec, model: object) -> None:
    builder = getattr(spec.model, "__name__", type(spec.model).__name__)
    if not isinstance(model, keras.Model):
        what = "None" if model is None else f"a {type(model).__name__}"
        raise SpecError(
            f"{spec.file}:{spec.line}: {builder} returned {what}; end it with `return model`, "
            "a compiled keras.Model"
        )
    if not model.compiled:
        raise SpecError(
            f"{spec.file}:{spec.line}: {builder} returned a model that is not compiled; "
            "call model.compile(...) before returning it"
        )


def _set_dtype_policy(spec: Spec, current: Any) -> None:
    try:
        keras.config.set_dtype_policy(spec.fit.dtype_policy or current)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"{spec.file}:{spec.line}: {spec.name}: fit.dtype_policy: {spec.fit.dtype_policy!r} is "
            'no dtype policy of Keras; write "float32", "mixed_float16", "mixed_bfloat16", ...'
        ) from error


def _callbacks(spec: Spec) -> list[Any]:
    callbacks = [factory() for factory in spec.fit.callbacks]
    for index, callback in enumerate(callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            raise SpecError(
                f"fit.callbacks[{index}] made {callback!r}; "
                "write a factory that returns a keras.callbacks.Callback"
            )
    metric = spec.search.objective.metric
    told = follower()
    return [
        *callbacks,
        StopWhenNotFinite(metric),
        *([] if told is None else [TellEpochs(told, metric)]),
    ]


def overrides_fit(model: Any) -> bool:
    """Tell whether a spec's model is a HyperModel with a ``fit`` of its own."""
    fit_of_model = getattr(model, "fit", None)
    if fit_of_model is None or not hasattr(model, "build"):
        return False
    return not fit_of_model.__module__.startswith("keras_tuner.")


def _fit_of_hypermodel(
    spec: Spec,
    hp: ReadHyperParameters,
    model: Model,
    train: Part,
    validation: Part,
    epochs: int,
    initial_epoch: int,
    callbacks: list[Any],
) -> dict[str, tuple[float, ...]]:
    """Train by the user's ``HyperModel.fit``, which may return a History, a dict or a float."""
    arguments = _fit_arguments(spec, train, validation)
    first = [arguments.pop(name) for name in ("x", "y") if name in arguments]
    arguments |= {"epochs": epochs, "callbacks": callbacks, "verbose": 0}
    if initial_epoch:
        arguments["initial_epoch"] = initial_epoch
    taken = inspect.signature(spec.model.fit).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        # Keras-tuner passes these only when asked to, so an override need not take them.
        for name in {"batch_size", "shuffle", "verbose"} - taken.keys():
            arguments.pop(name, None)
    while True:
        try:
            returned = spec.model.fit(hp, model, *first, **arguments)
            break
        except TypeError as error:
            # What the override passes to model.fit itself wins: batch_size=hp.Choice(...).
            twice = re.search(r"multiple values for (?:keyword )?argument '(\w+)'", str(error))
            if twice is None or arguments.pop(twice[1], None) is None:
                raise
    if hasattr(returned, "history"):
        return _curve(returned.history)
    if isinstance(returned, Mapping):
        return _curve({n: v if isinstance(v, list | tuple) else [v] for n, v in returned.items()})
    if isinstance(returned, int | float | np.number) and not isinstance(returned, bool):
        return _curve({spec.search.objective.metric: [returned]})
    what = "None" if returned is None else f"a {type(returned).__name__}"
    raise SpecError(
        f"{type(spec.model).__name__}.fit returned {what}; return "
        "model.fit(...), a dict of metrics, or the objective as a float"
    )


def _fit_arguments(spec: Spec, train: Part, validation: Part) -> dict[str, Any]:
    arguments: dict[str, Any] = {"validation_data": _evaluation(validation)}
    if train.stream is not None:
        arguments["x"] = train.stream
        # Keras warns when it is asked to shuffle a tf.data.Dataset, its default.
        is_dataset = isinstance(train.stream, tf.data.Dataset)
        arguments["shuffle"] = spec.fit.shuffle and not is_dataset
    else:
        arguments |= {"x": train.x, "y": train.y, "batch_size": spec.fit.batch_size}
        arguments["shuffle"] = spec.fit.shuffle
        if train.sample_weight is not None:
            arguments["sample_weight"] = train.sample_weight
    if spec.fit.class_weight is not None:
        arguments["class_weight"] = dict(spec.fit.class_weight)
    return arguments


def _evaluation(part: Part) -> Any:
    if part.stream is not None:
        return part.stream
    if part.sample_weight is None:
        return part.x, part.y
    return part.x, part.y, part.sample_weight


def _curve(history: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(number(name, v) for v in values) for name, values in history.items()}


def number(metric: str, value: Any) -> float:
    """Return a logged value as a float.

    Raises:
        SpecError: it is an array, as of ``F1Score(average=None)``.
    """
    if np.size(value) != 1:
        raise SpecError(
            f'metric "{metric}" is an array of shape {np.shape(value)}, not a number; have it '
            'averaged (average="macro"), or leave it out: the report holds every class'
        )
    return float(np.asarray(value).item())
