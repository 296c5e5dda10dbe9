"""Train by the ``fit`` of a user's HyperModel, called with the arguments its signature takes."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.own_fit_effects import OwnFitEffects
from modeltune.engine.fit.own_phases import calls_noted
from modeltune.ground import SpecError
from modeltune.specs import Spec

SETTINGS = frozenset({"batch_size", "shuffle", "steps_per_epoch", "verbose"})
"""Arguments that keras-tuner passes to ``HyperModel.fit`` only on request; an override may set them."""


def overrides_fit(model: Any) -> bool:
    """Tell whether a spec's model is a HyperModel with a ``fit`` of its own."""
    fit_of_model = getattr(model, "fit", None)
    if fit_of_model is None or not hasattr(model, "build"):
        return False
    return not fit_of_model.__module__.startswith("keras_tuner.")


def history_of_override(
    spec: Spec, hp: Any, model: Model, arguments: dict[str, Any]
) -> Mapping[str, Any]:
    """Call the user's ``HyperModel.fit`` once; return the values it logged, a list by name.

    The override gets the arguments its signature names. One with ``**kwargs`` gets the
    others there, except for ``SETTINGS``: those are defaults of ``model.fit`` meanwhile, so
    ``model.fit(*args, batch_size=hp.Choice(...), **kwargs)`` names none of them twice.

    It is warned of data that the override changes, and of a model that it does not train.

    Args:
        arguments: those of ``model.fit``; ``x`` and ``y`` are passed by position.

    Raises:
        SpecError: the spec declares callbacks that the override does not take, or the
            override returned neither a History nor metrics nor a number.
    """
    override = spec.model.fit
    builder = type(spec.model).__name__
    taken = inspect.signature(override).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
    if "callbacks" not in taken and not takes_all:
        if spec.fit.callbacks:
            raise SpecError(
                f"{builder}.fit takes no callbacks, but the spec declares fit.callbacks; "
                "add a parameter callbacks and pass it to model.fit"
            )
        del arguments["callbacks"]
    settings = {name: arguments.pop(name) for name in SETTINGS & arguments.keys() - taken.keys()}
    effects = OwnFitEffects(builder, model, arguments)
    data = [arguments.pop(name) for name in ("x", "y") if name in arguments]
    if not takes_all:
        # Nothing else ends an epoch of endless data.
        settings = {name: settings[name] for name in settings.keys() & {"steps_per_epoch"}}
    with _defaults_of_fit(model, settings), calls_noted(model):
        returned = override(hp, model, *data, **arguments)
    effects.warn()
    if hasattr(returned, "history"):
        history: Mapping[str, Any] = returned.history
        return history
    if isinstance(returned, Mapping):
        return {n: v if isinstance(v, list | tuple) else [v] for n, v in returned.items()}
    if isinstance(returned, int | float | np.number) and not isinstance(returned, bool):
        return {spec.search.objective.metric: [returned]}
    what = "None" if returned is None else f"a {type(returned).__name__}"
    raise SpecError(
        f"{builder}.fit returned {what}; return "
        "model.fit(...), a dict of metrics, or the objective as a float"
    )


@contextlib.contextmanager
def _defaults_of_fit(model: Model, settings: Mapping[str, Any]) -> Iterator[None]:
    """Make these settings the defaults of ``model.fit`` meanwhile."""
    if not settings or type(model).fit is not keras.Model.fit or "fit" in vars(model):
        yield
        return
    model.fit = _with_defaults(model.fit, settings)
    try:
        yield
    finally:
        del model.fit


def _with_defaults(function: Callable[..., Any], settings: Mapping[str, Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        named = signature.bind_partial(*args, **kwargs).arguments
        return function(*args, **kwargs, **{n: v for n, v in settings.items() if n not in named})

    return call
