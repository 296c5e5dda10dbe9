"""Build, seed and train one candidate; the door to keras for the search and the refits."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from modeltune import epochs as epoch_graph
from modeltune.errors import SpecError
from modeltune.loading import Part
from modeltune.oracles import HyperParameters, ReadHyperParameters
from modeltune.specs import Spec

Model: TypeAlias = Any
"""A compiled ``keras.Model``."""


@dataclass(frozen=True)
class Failure:
    """Why a candidate has no score: one line for tables, and the traceback when it raised."""

    reason: str
    traceback: str | None = None


@dataclass(frozen=True)
class Trained:
    """What one fit left behind: a value per epoch and metric, or the failure that ended it."""

    curve: Mapping[str, tuple[float, ...]]
    trained_by: str
    seconds: float
    hyperparameters: HyperParameters
    read: frozenset[str]
    failure: Failure | None = None


@dataclass(frozen=True)
class TrialTask:
    """One candidate to train during the search.

    ``continue_from`` names the state its parent left in ``keep_state``: weights,
    optimizer variables and random states, so that a promotion goes on as if never
    interrupted.
    """

    id: int
    hyperparameters: HyperParameters
    epochs: int
    initial_epoch: int
    seed: int
    continue_from: Path | None = None
    keep_state: Path | None = None


def train_trial(spec: Spec, train: Part, validation: Part, task: TrialTask) -> Trained:
    """Train one candidate; whatever it raises becomes its failure."""
    started = time.monotonic()
    hp = ReadHyperParameters.of(task.hyperparameters)
    objective = spec.search.objective.metric
    try:
        with candidate(spec, hp, task.seed) as model:
            if task.continue_from is not None:
                load_state(model, task.continue_from)
            curve, trained_by = fit(
                spec, hp, model, train, validation, task.epochs, task.initial_epoch, task.seed
            )
            if task.keep_state is not None:
                save_state(model, task.keep_state)
            failure = not_finite(curve, ("loss", objective), task.initial_epoch)
    except Exception as error:  # noqa: BLE001  whatever a candidate raises is its own failure
        curve, trained_by = {}, "not trained"
        failure = failure_of(error)
    seconds = time.monotonic() - started
    return Trained(curve, trained_by, seconds, hp, frozenset(hp.read), failure)


class _RetracingIsExpected(logging.Filter):
    """Drop TensorFlow's advice on retracing: every candidate is another model."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in str(record.msg)


logging.getLogger("tensorflow").addFilter(_RetracingIsExpected())


@contextlib.contextmanager
def candidate(spec: Spec, hp: HyperParameters, seed: int) -> Iterator[Model]:
    """Build the model for these values under the spec's dtype policy and a seed; restore both after.

    Raises:
        SpecError: the build function returned something other than a compiled model.
    """
    policy_before = keras.config.dtype_policy()
    random_before, numpy_before = random.getstate(), np.random.get_state()
    # Layer and metric names count up over a session; a candidate's must not depend on
    # those before it. Freeing memory is left to Python: collecting per trial is slow.
    keras.utils.clear_session(free_memory=False)
    try:
        keras.config.set_dtype_policy(spec.fit.dtype_policy or policy_before)
        keras.utils.set_random_seed(seed)
        model = spec(hp)
        _check_model(spec, model)
        yield model
    finally:
        keras.config.set_dtype_policy(policy_before)
        random.setstate(random_before)
        np.random.set_state(numpy_before)


def fit(
    spec: Spec,
    hp: HyperParameters,
    model: Model,
    train: Part,
    validation: Part,
    epochs: int,
    initial_epoch: int,
    seed: int,
) -> tuple[dict[str, tuple[float, ...]], str]:
    """Train the model; return its fit history, one value per epoch, and which path trained it."""
    callbacks = [factory() for factory in spec.fit.callbacks]
    callbacks.append(StopWhenNotFinite(spec.search.objective.metric))
    if _overrides_fit(spec.model):
        curve = _fit_of_hypermodel(
            spec, hp, model, train, validation, epochs, initial_epoch, callbacks
        )
        return curve, "HyperModel.fit"
    if train.stream is not None or validation.stream is not None:
        fitted = model.fit(
            **_fit_arguments(spec, train, validation),
            epochs=epochs,
            initial_epoch=initial_epoch,
            callbacks=callbacks,
            verbose=0,
        )
        return _curve(fitted.history), "model.fit: streamed data"
    graph = epoch_graph.fit(
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
    return _curve(graph.curve), graph.trained_by


class StopWhenNotFinite(keras.callbacks.Callback):  # type: ignore[misc]
    """End a fit whose loss or objective is NaN or infinite: it cannot come back."""

    def __init__(self, objective: str):
        super().__init__()
        self._watched = ("loss", objective)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        if any(not np.isfinite((logs or {}).get(name, 0.0)) for name in self._watched):
            self.model.stop_training = True


def not_finite(
    curve: Mapping[str, tuple[float, ...]], watched: tuple[str, ...], initial_epoch: int = 0
) -> Failure | None:
    """Return the failure of a curve in which a watched metric is NaN or infinite at any epoch."""
    for name in watched:
        for epoch, value in enumerate(curve.get(name, ()), start=initial_epoch + 1):
            if not np.isfinite(value):
                return Failure(f"{name} is {value} at epoch {epoch}")
    return None


def failure_of(error: Exception) -> Failure:
    """Return one line naming the error, and its traceback from the user's code down."""
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0]}".rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    ours = Path(__file__).parent
    kept = [frame for frame in frames if Path(frame.filename).parent != ours] or frames
    text = "".join(traceback.format_list(kept) + traceback.format_exception_only(error))
    return Failure(reason, f"Traceback (most recent call last):\n{text}")


def save_state(model: Model, path: Path) -> None:
    """Write weights, optimizer variables and random states to an ``.npz`` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    variables = [*model.variables, *model.optimizer.variables]
    np.savez(path, *(np.asarray(variable) for variable in variables))


def load_state(model: Model, path: Path) -> None:
    """Restore what ``save_state`` wrote into a model of the same architecture."""
    model.optimizer.build(model.trainable_variables)
    with np.load(path) as stored:
        values = [stored[name] for name in stored.files]
    for variable, value in zip([*model.variables, *model.optimizer.variables], values, strict=True):
        variable.assign(value)


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


def _overrides_fit(model: Any) -> bool:
    return hasattr(model, "build") and not type(model).fit.__module__.startswith("keras_tuner.")


def _fit_of_hypermodel(
    spec: Spec,
    hp: HyperParameters,
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
        return _curve({name: [value] for name, value in returned.items()})
    if isinstance(returned, int | float | np.number):
        return _curve({spec.search.objective.metric: [returned]})
    what = "None" if returned is None else f"a {type(returned).__name__}"
    raise SpecError(
        f"{spec.file}:{spec.line}: {type(spec.model).__name__}.fit returned {what}; return "
        "model.fit(...), a dict of metrics, or the objective as a float"
    )


def _fit_arguments(spec: Spec, train: Part, validation: Part) -> dict[str, Any]:
    arguments: dict[str, Any] = {"validation_data": _evaluation(validation)}
    if train.stream is not None:
        arguments["x"] = train.stream
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
    return {name: tuple(float(value) for value in values) for name, values in history.items()}
