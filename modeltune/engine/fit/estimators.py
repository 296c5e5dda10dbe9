"""Fit estimators that follow scikit-learn's conventions: their seeds, inputs, weights and budgets."""

from __future__ import annotations

import contextlib
import inspect
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from sklearn import base, ensemble, pipeline, preprocessing
from threadpoolctl import threadpool_limits

from modeltune.engine.data import Arrays, Part, class_labels, leaves
from modeltune.ground import SpecError
from modeltune.specs import Spec

Estimator: TypeAlias = Any
"""An object with ``fit`` and ``predict`` as scikit-learn's have them."""

BUDGETS = ("n_estimators", "max_iter")
"""The parameters that say how long an estimator is fitted; Hyperband begins with a part of them."""

SEED_PARAMETER = "random_state"


TWO_KINDS = (
    "some of the best trials are of Keras models and some of estimators, which have no average"
)
"""Why such trials have no ensemble."""


class OtherKindBuild(BaseException):
    """Tell the engine that a build function returned an estimator and no Keras model, or the other way round.

    It is no ``Exception``: what handles the failures of candidates lets it pass.
    """


def is_estimator(model: Any) -> bool:
    """Tell whether an object is fitted and predicts as scikit-learn's estimators do."""
    names = ("fit", "predict")
    return not isinstance(model, type) and all(callable(getattr(model, n, None)) for n in names)


def fit_estimator(
    spec: Spec, estimator: Estimator, train: Part, seed: int, budget: Fraction | None = None
) -> list[str]:
    """Fit a newly built estimator on a part, from a seed; return what its fit warned of.

    Each ``random_state`` in it that is None, in the steps of a pipeline as well, becomes the seed.

    Args:
        budget: the share of its budget parameter that it is fitted for; None: all.

    Raises:
        SpecError: the data, or the spec, are not for an estimator; says what to do.
    """
    for name in _parameters(estimator, SEED_PARAMETER):
        if estimator.get_params()[name] is None:
            estimator.set_params(**{name: seed})
    if budget is not None:
        longest = budget_of(estimator)
        if longest is None:
            raise SpecError(no_budget(estimator))
        share = math.ceil(estimator.get_params()[longest] * budget)
        estimator.set_params(**{longest: share})
    x, y = inputs_for(estimator, train), targets_for(spec, estimator, train)
    weights = _weights(spec, estimator, train)
    with threadpool_limits(spec.fit.threads), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        estimator.fit(x, y, **weights)
    if budget is not None and budget < 1:
        return []  # that it did not converge is as it has to be
    texts = (f"{one.category.__name__}: {' '.join(str(one.message).split())}" for one in heard)
    return list(dict.fromkeys(texts))


def average_of(fitted: Sequence[Estimator]) -> Estimator:
    """Return the estimator of scikit-learn that averages fitted ones: their probabilities, or their values.

    Raises:
        SpecError: they have no average; says why.
    """
    named = [(f"member_{number}", estimator) for number, estimator in enumerate(fitted, start=1)]
    if all(map(base.is_regressor, fitted)):
        average: Estimator = ensemble.VotingRegressor(named)
    elif all(base.is_classifier(one) and hasattr(one, "predict_proba") for one in fitted):
        average = ensemble.VotingClassifier(named, voting="soft")
        classes: list[Any] = [getattr(one, "classes_", None) for one in fitted]
        first = classes[0]
        if not all(isinstance(one, np.ndarray) and np.array_equal(one, first) for one in classes):
            raise SpecError(
                "the estimators have no one array of classes, so that they have no average"
            )
        average.le_ = preprocessing.LabelEncoder().fit(first)
        average.classes_ = average.le_.classes_
    else:
        names = ", ".join(dict.fromkeys(type(one).__name__ for one in fitted))
        raise SpecError(
            f"{names}: estimators have an average where all are regressors, or all have predict_proba"
        )
    # As its own fit leaves it, which would fit the members again.
    average.estimators_ = list(fitted)
    return average


def budget_of(estimator: Estimator) -> str | None:
    """Return the parameter that says how long an estimator is fitted; None where it has none, or no number."""
    for budget in BUDGETS:
        for name in _parameters(estimator, budget):
            value = estimator.get_params()[name]
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return name
    return None


def no_budget(estimator: Estimator) -> str:
    """Return why Hyperband cannot search an estimator that has no budget."""
    return (
        f"search: Hyperband fits most candidates for a part of their budget, and a "
        f"{type(estimator).__name__} has none: no {' or '.join(BUDGETS)} that is a number; search it with "
        "mt.RandomSearch or mt.BayesianOptimization"
    )


def inputs_for(estimator: Estimator, part: Part) -> Arrays:
    """Return the inputs of a part as an estimator takes them: a frame, or an array with a row for each sample.

    A frame, or a dict of one value for each sample, is a pandas frame. Of an array with more axes, such as
    images, each sample is one row of numbers; an estimator whose first step says that it takes the array as
    it is, as ``FunctionTransformer`` does, gets that.

    Raises:
        SpecError: there are several arrays.
    """
    columns: Mapping[str, Any] = part.by_column()
    if not columns and isinstance(part.x, Mapping):
        if several := [name for name, one in leaves(part.x) if one.size != len(one)]:
            raise SpecError(
                f"data: {part.name} x has the inputs {', '.join(map(str, part.x))}, and {several[0]} has "
                "several values for each sample; an estimator takes one array, or a frame: return that"
            )
        columns = {name: one.reshape(-1) for name, one in leaves(part.x)}
    if columns:
        import pandas as pd

        return pd.DataFrame(dict(columns))
    if not isinstance(part.x, np.ndarray):
        raise SpecError(
            f"data: {part.name} x is a {type(part.x).__name__} of several arrays; an estimator takes one "
            "array, or a frame: return that"
        )
    return part.x if part.x.ndim < 3 or _takes_axes(estimator) else part.x.reshape(part.size, -1)


def targets_for(spec: Spec, estimator: Estimator, part: Part) -> Any:
    """Return the targets of a part as an estimator is fitted to them: one-hot rows as classes.

    Raises:
        SpecError: there are none, or several outputs.
    """
    found = list(leaves(part.y))
    if len(found) != 1:
        what = "no targets (y)" if not found else f"the targets {', '.join(p for p, _ in found)}"
        raise SpecError(
            f"data: {part.name} has {what}; an estimator is fitted to one array, with a column for each "
            "label or number"
        )
    y = found[0][1]
    if y.ndim == 2 and y.shape[1] == 1:
        return y[:, 0]
    is_of_classes = spec.task != "multilabel" and base.is_classifier(estimator)
    classes = class_labels(y) if y.ndim == 2 and is_of_classes else None
    return y if classes is None else classes


def refusals(spec: Spec, estimator: Estimator, has_epochs: bool) -> Iterator[str]:
    """Yield what a spec declares that an estimator cannot be trained with, and what to do.

    Fields of epochs are for other candidates where these are Keras models, so that it ``has_epochs``.
    """
    if spec.has_own_protocol and not has_epochs:
        for field in spec.fields_of_epochs:
            yield (
                f"{field}: a {type(estimator).__name__} is fitted once, by its own fit, without epochs, "
                "batches and callbacks; leave it out"
            )
    if spec.exports:
        yield (
            f"exports: a {type(estimator).__name__} is no Keras model, and only these are converted; leave "
            "exports out"
        )
    if type(spec.model).__name__ != "function" and _overrides_fit(spec.model):
        yield (
            f"{type(spec.model).__name__}.fit: what build returns is fitted by its own fit; make that a step "
            "of a pipeline, and leave fit out"
        )


def note_on_fields(spec: Spec) -> str | None:
    """Say which fields of a protocol for several models do nothing here; None where there are none."""
    if spec.has_own_protocol or not spec.fields_of_epochs:
        return None
    listed = ", ".join(spec.fields_of_epochs)
    return f"{listed} of its protocol say how Keras models are trained; an estimator's own fit needs none"


def _overrides_fit(model: Any) -> bool:
    fit = getattr(model, "fit", None)
    return fit is not None and not fit.__module__.startswith("keras_tuner.")


def _parameters(estimator: Estimator, name: str) -> list[str]:
    """Return the parameters of an estimator and its steps that have a name, its own first."""
    if not hasattr(estimator, "get_params"):
        return []
    found = (one for one in estimator.get_params() if one == name or one.endswith(f"__{name}"))
    return sorted(found, key=lambda one: (one.count("__"), one))


def _takes_axes(estimator: Estimator) -> bool:
    """Tell whether an estimator's first step takes arrays of more than two axes."""
    averages = ensemble.VotingClassifier, ensemble.VotingRegressor
    while isinstance(estimator, (pipeline.Pipeline, *averages)):
        is_pipeline = isinstance(estimator, pipeline.Pipeline)
        estimator = (estimator.steps if is_pipeline else estimator.estimators)[0][1]
    if isinstance(estimator, preprocessing.FunctionTransformer):
        return not estimator.validate
    with contextlib.suppress(Exception):  # older versions have other tags, objects of others none
        return bool(estimator.__sklearn_tags__().input_tags.three_d_array)
    return not isinstance(estimator, base.BaseEstimator)


def _weights(spec: Spec, estimator: Estimator, train: Part) -> dict[str, Any]:
    """Return the argument of ``fit`` with the weight of each sample: its own, times that of its class.

    Raises:
        SpecError: the estimator takes no weights.
    """
    found = [one for _, one in leaves(train.sample_weight)]
    weight = found[0] if found else None
    by_class: Mapping[Any, Any] | None = spec.fit.class_weight
    if by_class is not None and any(isinstance(name, str) for name in by_class):
        raise SpecError("fit.class_weight: an estimator has one output; write {0: 1.0, 1: 5.0}")
    if by_class is not None:
        classes = class_labels(next(y for _, y in leaves(train.y)))
        if classes is None:
            raise SpecError("fit.class_weight: the targets are no classes; leave it out")
        of_class = np.array([float(by_class.get(label, 1.0)) for label in classes.tolist()])
        weight = of_class if weight is None else weight * of_class
    if weight is None:
        return {}
    prefix, last = "", estimator
    while isinstance(last, pipeline.Pipeline):
        name, last = last.steps[-1]
        prefix += f"{name}__"
    if "sample_weight" not in inspect.signature(last.fit).parameters:
        declared = "fit.class_weight" if by_class is not None else "data: train has sample weights"
        raise SpecError(
            f"{declared}: {type(last).__name__}.fit takes no sample_weight; leave them out, or take another "
            "estimator"
        )
    return {f"{prefix}sample_weight": weight}
