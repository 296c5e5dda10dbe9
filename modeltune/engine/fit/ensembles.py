"""Average models that are built of several values: one Keras model, whose members are trained alone."""

from __future__ import annotations

import enum
import functools
from collections.abc import Collection, Mapping
from typing import Any

import keras

from modeltune.engine.fit.epoch_graph import Model
from modeltune.engine.fit.estimators import OtherKindBuild
from modeltune.engine.fit.input_texts import give_prepared_numbers
from modeltune.engine.fit.model_structure import is_from_logits
from modeltune.engine.internals import keras_internals
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.ground import SpecError
from modeltune.records import members_of
from modeltune.specs import Spec

NOT_AVERAGED = (
    *("call", "compile", "train_step", "test_step", "predict_step"),
    *("compute_loss", "compute_metrics"),
)
"""What an average could not take over from its members, where their class has its own."""

MEMBER = "member_"
"""How the name of a member begins, by which it is found in the average."""


def build(spec: Spec, hp: ReadHyperParameters) -> Any:
    """Return what the spec builds of these values; of those of an ensemble, the average of its members.

    Raises:
        OtherKindBuild: a member is no Keras model.
    """
    members = members_of(hp.values)
    if not members:
        model = spec(hp)
    else:
        models = []
        for values in members:
            of_member = ReadHyperParameters()
            of_member.values = dict(values)
            member = spec(of_member)
            if not isinstance(member, keras.Model):
                raise OtherKindBuild
            models.append(member)
        model = average(models)
    give_prepared_numbers(model, spec.prepared)
    return model


def average(models: list[Model]) -> Model:
    """Return one model of all these, whose outputs are the means of theirs, compiled as the first is.

    Outputs keep their names, shapes and structure. Of an output whose loss takes logits the mean is that
    of the probabilities, as logits again: their softmax, or sigmoid, is the mean of the members'. The
    models become its members.
    """
    first = models[0]
    inputs, outputs, names = _ends(first)
    arguments = keras_internals.compile_arguments(first)
    predicted = []
    for number, model in enumerate(models, start=1):
        model.name = f"{MEMBER}{number}"
        # Only the average is compiled: its optimizer would be another's of each member in a file.
        model.compiled, model.optimizer = False, None
        predicted.append(keras.tree.flatten(model(inputs)))
    losses = _losses(arguments.get("loss"), outputs, names)
    means = [
        _mean(list(same), name, loss)
        for name, same, loss in zip(names, zip(*predicted, strict=True), losses, strict=True)
    ]
    whole = keras.Model(inputs, keras.tree.pack_sequence_as(outputs, means), name="ensemble")
    keras.Model.compile(whole, **arguments, auto_scale_loss=False)
    return whole


def _mean(same: list[Any], name: str, loss: Any) -> Any:
    """Return the mean of an output of all members, by the name of that output."""
    if not is_from_logits(loss):
        # A mean of half numbers would lose what the members tell apart.
        return keras.layers.Average(name=name, dtype=same[0].dtype)(same)
    # In logarithms all the way, so that no share is rounded to 0 or 1. A constant added to all logits
    # of a softmax, and to both sides of a sigmoid, changes neither: the number of members is left out.
    full = [keras.ops.cast(one, "float32") for one in same]
    if _kind_of_logits(loss) is LogitsKind.SOFTMAX:
        axis = getattr(loss, "axis", -1)
        mean = _log_of_sum([keras.ops.log_softmax(one, axis=axis) for one in full])
    else:
        yes = _log_of_sum([keras.ops.log_sigmoid(one) for one in full])
        mean = yes - _log_of_sum([keras.ops.log_sigmoid(-one) for one in full])
    return keras.layers.Identity(name=name, dtype="float32")(mean)


def _log_of_sum(logarithms: list[Any]) -> Any:
    return keras.ops.logsumexp(keras.ops.stack(logarithms, axis=0), axis=0)


class LogitsKind(enum.Enum):
    """What makes probabilities of logits."""

    SOFTMAX = "categorical"
    SIGMOID = "binary"


def _kind_of_logits(loss: Any) -> LogitsKind | None:
    """Return what a loss makes of logits, by its name in Keras; None of one that is not Keras's."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    kinds = [loss] if hasattr(loss, "__name__") else type(loss).__mro__
    for kind in kinds:
        name = kind.__name__.lower()
        if kind.__module__.partition(".")[0] == "keras":
            return next((one for one in LogitsKind if one.value in name), None)
    return None


def _losses(declared: Any, outputs: Any, names: list[str]) -> list[Any]:
    """Return the loss of each output, as ``compile`` was given them by name, in order, or one for all."""
    if isinstance(declared, Mapping):
        keys = (
            {id(tensor): key for key, tensor in outputs.items()}
            if isinstance(outputs, Mapping)
            else {}
        )
        flat = keras.tree.flatten(outputs)
        return [
            declared.get(keys.get(id(tensor)), declared.get(name))
            for tensor, name in zip(flat, names, strict=True)
        ]
    if isinstance(declared, list | tuple) and len(declared) == len(names):
        return list(declared)
    return [declared] * len(names)


def _ends(model: Model) -> tuple[Any, Any, list[str]]:
    """Return the inputs and outputs of a model in their structure, and the names of its outputs."""
    if isinstance(model, keras.Sequential):
        # It has none of its own before it is called.
        return model.inputs[0], model.outputs[0], [model.layers[-1].name]
    return model.input, model.output, list(model.output_names)


def members_in(ensemble: Model) -> list[Model]:
    """Return the members of an average, in the order in which their values were given."""
    found = [layer for layer in ensemble.layers if layer.name.startswith(MEMBER)]
    return sorted(found, key=lambda layer: int(layer.name.removeprefix(MEMBER)))


def check_member(spec: Spec, model: Model, made: Collection[int]) -> None:
    """Refuse a model that no average can be made of, before it is trained.

    Args:
        made: ids of the variables that its build made.

    Raises:
        SpecError: says why, and what to do.
    """
    if why := _why_not(model, made):
        raise SpecError(f"{spec.file}:{spec.line}: {spec.name}: validation.ensemble: {why}")


def _why_not(model: Model, made: Collection[int]) -> str | None:
    if not getattr(model, "inputs", None):
        return (
            f"the inputs of {type(model).__name__} are not known before it is called, so that no average "
            "can be built on them; begin the model with keras.Input(...), or leave ensemble out"
        )
    own = [name for name in NOT_AVERAGED if _is_own(model, name)]
    if own:
        listed = ", ".join(f"{name}()" for name in own)
        return (
            f"{type(model).__name__} has its own {listed}, which an average of models does not have; "
            "leave ensemble out"
        )
    if any(id(variable) not in made for variable in model.variables):
        return (
            "the model has layers that are made outside its build function, which all members would "
            "share; make them inside, or leave ensemble out"
        )
    losses = keras.tree.flatten(keras_internals.compile_arguments(model).get("loss"))
    for loss in losses:
        if is_from_logits(loss) and _kind_of_logits(loss) is None:
            name = getattr(loss, "__name__", type(loss).__name__)
            return (
                f"outputs are averaged as probabilities, and {name}, which says from_logits=True, is no "
                "cross-entropy of Keras, so that it is not known what it makes of logits; end the model "
                "with a softmax or sigmoid and leave from_logits out, or leave ensemble out"
            )
    kinds = [tensor.dtype for tensor in model.outputs if "float" not in str(tensor.dtype)]
    if kinds:
        return f"an output is of {kinds[0]}, which has no mean; leave ensemble out"
    return None


def _is_own(model: Model, name: str) -> bool:
    owner = next(kind for kind in type(model).__mro__ if name in vars(kind))
    return owner.__module__.partition(".")[0] != "keras"
