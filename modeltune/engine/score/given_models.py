"""Load models that are trained already, whatever they are made with. No Keras is needed."""

from __future__ import annotations

from typing import Any

from modeltune.ground import SpecError, error_line
from modeltune.specs import Predictions, Spec

RETURN = (
    "return a trained keras.Model, an object with predict(x), mt.Predictions, or a list of one kind"
)


def load_given(spec: Spec) -> list[Any]:
    """Return the trained models, or predictors, that a build function without arguments returns.

    Raises:
        SpecError: it raised, or returned something else; says what.
    """
    where = f"{spec.file}:{spec.line}: {spec.name}"
    try:
        models = spec.given_models()
    except (Exception, SystemExit) as error:
        raise SpecError(f"{where}: the model cannot be loaded: {error_line(error)}") from error
    if not models:
        raise SpecError(f"{where} returned no model; {RETURN}")
    for model in models:
        if not is_keras_model(model) and not is_predictor(model):
            what = "None" if model is None else f"a {type(model).__name__}"
            raise SpecError(f"{where} returned {what}; {RETURN}")
    if len(set(map(is_keras_model, models))) > 1:
        raise SpecError(f"{where} returned Keras models and others; {RETURN}")
    if spec.task is not None and is_keras_model(models[0]):
        raise SpecError(
            f"{where}: task: a Keras model says it by its loss and last layer; leave it out"
        )
    return models


def is_keras_model(model: Any) -> bool:
    """Tell a Keras model from anything else, without importing Keras."""
    return any(
        kind.__name__ == "Model" and kind.__module__.partition(".")[0] == "keras"
        for kind in type(model).__mro__
    )


def is_predictor(model: Any) -> bool:
    """Tell whether an object predicts, or is predictions."""
    if isinstance(model, Predictions):
        return True
    names = ("predict", "predict_proba")
    return not isinstance(model, type) and any(callable(getattr(model, n, None)) for n in names)
