"""Unfreeze layers of a trained model and compile it anew, as a validation's ``fine_tune`` says."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras

from modeltune.engine.fit.compiled_pool import Candidate
from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.internals import Feature, keras_internals
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.ground import SpecError, error_text, typed
from modeltune.specs import FineTune, Spec

NAMED_LAYERS = 5
"""How many layers an error names, at most."""


@dataclass(frozen=True, eq=False)
class SecondPhase:
    """What is unfrozen in a model, for how many epochs and at which learning rate it is trained.

    ``states`` are all its layers, containers before what they contain, with whether each is
    trainable in this phase.
    """

    layers: tuple[Any, ...]
    states: tuple[tuple[Any, bool], ...]
    from_layer: str | None
    epochs: int
    learning_rate: float

    @property
    def variables(self) -> list[Any]:
        """The variables of the layers that are unfrozen."""
        return [variable for layer in self.layers for variable in layer.variables]

    @contextlib.contextmanager
    def begun(self, candidate: Candidate) -> Iterator[Candidate]:
        """Unfreeze the layers and compile the model with a fresh optimizer; freeze them afterwards.

        They may belong to a base that other models are built upon. No other candidate reuses the
        steps of this one, whose optimizer has variables for more layers than a new one's.
        """
        model, candidate.key = candidate.model, None
        before = [(layer, layer.trainable) for layer, _ in self.states]
        try:
            _set_trainable(self.states)
            # Not the author's compile(), which may want more than Keras's own.
            compiled = {
                **keras_internals.compile_arguments(model),
                "optimizer": _fresh_optimizer(model, self.learning_rate),
            }
            keras.Model.compile(model, **compiled, auto_scale_loss=False)
            yield Candidate(model)
        finally:
            _set_trainable(before)


def fine_tuning(spec: Spec, hp: ReadHyperParameters, model: Model) -> SecondPhase | None:
    """Return how this model is fine-tuned, None where the spec's validation does not.

    Raises:
        SpecError: a function of the values raised or returned something else, the model has no
            such layer or nothing frozen from there on, or an optimizer that cannot be made again.
    """
    declared = spec.validation.fine_tune
    if declared is None:
        return None
    where = f"{spec.file}:{spec.line}: {spec.name}: validation.fine_tune"
    if missing := keras_internals.KERAS.why_not(Feature.FROZEN_PREFIX):
        raise SpecError(f"{where}: {missing}, so that no layer can be unfrozen")
    from_layer, epochs, learning_rate = _of_values(declared, hp, where)
    try:
        _fresh_optimizer(model, learning_rate)
    except Exception as error:
        raise SpecError(
            f"{where}: the optimizer {type(model.optimizer).__name__} cannot be made again for the second "
            f"phase from its get_config(): {error_text(error)}"
        ) from error
    paths = list(_paths(model))
    first = 0 if from_layer is None else _place(from_layer, paths, where)
    inside = [layer for _, layer in paths[first:] if _is_frozen(layer)]
    if not inside and model.built:
        raise SpecError(f"{where}: {_nothing_frozen(from_layer, paths[:first])}")
    # A container is trainable as soon as something in it is.
    unfrozen = {id(layer) for layer in inside}
    containers = {
        id(layer)
        for _, layer in paths
        if not unfrozen.isdisjoint(map(id, keras_internals.inner_layers(layer)[1:]))
    }
    states = [
        (layer, layer.trainable or id(layer) in unfrozen or id(layer) in containers)
        for _, layer in paths
    ]
    return SecondPhase(tuple(inside), tuple(states), from_layer, epochs, learning_rate)


def _of_values(
    declared: FineTune, hp: ReadHyperParameters, where: str
) -> tuple[str | None, int, float]:
    """Return the first layer, the epochs and the learning rate, with the values of functions."""
    values: dict[str, Any] = {}
    for name in ("from_layer", "epochs", "learning_rate"):
        function = getattr(declared, name)
        if callable(function):
            try:
                values[name] = function(hp)
            except Exception as error:
                known = ", ".join(sorted(hp.names)) or "none"
                raise SpecError(
                    f"{where}.{name}: {typed(function)} raised {error_text(error)}; the "
                    f"hyperparameters are {known}"
                ) from error
    chosen: Any = replace(declared, **values)
    for name, text in chosen.problems():
        raise SpecError(f"{where}.{name}: {typed(getattr(declared, name))} returned {text}")
    return chosen.from_layer, int(chosen.epochs), float(chosen.learning_rate)


def _paths(model: Model) -> Iterator[tuple[str, Any]]:
    """Yield all layers of a model with their path, each once, containers before what they contain."""
    known = {id(model)}

    def inside(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
        for inner in keras_internals.child_layers(layer):
            if id(inner) not in known:
                known.add(id(inner))
                yield f"{path}{inner.name}", inner
                yield from inside(inner, f"{path}{inner.name}/")

    yield from inside(model, "")


def _is_frozen(layer: Any) -> bool:
    """Tell whether a layer has frozen weights of its own that fine-tuning trains."""
    is_normalization = isinstance(layer, keras.layers.BatchNormalization)
    is_out = layer.trainable or is_normalization
    return not is_out and bool(keras_internals.freezable_variables(layer))


def _place(name: str, paths: list[tuple[str, Any]], where: str) -> int:
    """Return the place of the layer of this name or path."""
    places = [n for n, (path, layer) in enumerate(paths) if name in (path, layer.name)]
    if len(places) > 1:
        listed = ", ".join(typed(paths[place][0]) for place in places[:NAMED_LAYERS])
        raise SpecError(f"{where}: {len(places)} layers are named {typed(name)}; write {listed}")
    if places:
        return places[0]
    names = list(dict.fromkeys(layer.name for _, layer in paths))
    close = difflib.get_close_matches(name, names, NAMED_LAYERS)
    if close:
        hint = f"did you mean {' or '.join(map(typed, close))}?"
    else:
        frozen = [layer.name for _, layer in paths if _is_frozen(layer)]
        listed = ", ".join(map(typed, frozen[-NAMED_LAYERS:]))
        hint = f"its last frozen layers are {listed}" if frozen else "it has no frozen layer"
    raise SpecError(f"{where}: the model has no layer {typed(name)}; {hint}")


def _nothing_frozen(name: str | Any, before: list[tuple[str, Any]]) -> str:
    """Say that there is nothing to unfreeze, and from which layers on there would be."""
    frozen = [layer.name for _, layer in before if _is_frozen(layer)]
    if not frozen:
        return (
            "the model has no frozen layer with weights to unfreeze; freeze the base in the build "
            "function (base.trainable = False), or leave fine_tune out"
        )
    listed = ", ".join(map(typed, frozen[-NAMED_LAYERS:]))
    return (
        f"from {typed(name)} on the model has no frozen layer with weights to unfreeze; name an earlier "
        f"one: the last frozen layers before it are {listed}"
    )


def _set_trainable(states: Any) -> None:
    # In this order: what is set on a container is set on all it contains.
    for layer, is_trainable in states:
        layer.trainable = is_trainable


def _fresh_optimizer(model: Model, learning_rate: Any) -> Any:
    """Return an optimizer of the same kind and settings, at this learning rate, that has taken no step."""
    optimizer = model.optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(f"it is no optimizer of Keras, but {optimizer!r}")
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = _at_rate(optimizer.inner_optimizer, learning_rate)
        config = optimizer.get_config()
        settings = {name: config[name] for name in ("initial_scale", "dynamic_growth_steps")}
        return keras.optimizers.LossScaleOptimizer(inner, **settings)
    return _at_rate(optimizer, learning_rate)


def _at_rate(optimizer: Any, learning_rate: Any) -> Any:
    return type(optimizer).from_config(
        {**optimizer.get_config(), "learning_rate": float(learning_rate)}
    )
