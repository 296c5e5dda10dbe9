"""Average models that are built of several values: one Keras model, whose members are trained alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras

from modeltune.engine.fit.epoch_graph import Model
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
    """Return what the spec builds of these values; of those of an ensemble, the average of its members."""
    members = members_of(hp.values)
    if not members:
        model = spec(hp)
    else:
        models = []
        for values in members:
            of_member = ReadHyperParameters()
            of_member.values = dict(values)
            models.append(spec(of_member))
        model = average(models)
    give_prepared_numbers(model, spec.prepared)
    return model


def average(models: list[Model]) -> Model:
    """Return one model of all these, whose outputs are the means of theirs, compiled as the first is.

    Outputs keep their names, shapes and structure. The models become its members.
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
    means = [
        # A mean of half numbers would lose what the members tell apart.
        keras.layers.Average(name=name, dtype=same[0].dtype)(list(same))
        for name, same in zip(names, zip(*predicted, strict=True), strict=True)
    ]
    whole = keras.Model(inputs, keras.tree.pack_sequence_as(outputs, means), name="ensemble")
    keras.Model.compile(whole, **arguments, auto_scale_loss=False)
    return whole


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
    if any(is_from_logits(loss) for loss in losses):
        return (
            "outputs are averaged as probabilities, and the loss says from_logits=True; end the model "
            "with a softmax or sigmoid and leave from_logits out, or leave ensemble out"
        )
    kinds = [tensor.dtype for tensor in model.outputs if "float" not in str(tensor.dtype)]
    if kinds:
        return f"an output is of {kinds[0]}, which has no mean; leave ensemble out"
    return None


def _is_own(model: Model, name: str) -> bool:
    owner = next(kind for kind in type(model).__mro__ if name in vars(kind))
    return owner.__module__.partition(".")[0] != "keras"
