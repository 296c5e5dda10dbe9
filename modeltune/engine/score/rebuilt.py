"""Rebuild the model of a recorded run from its spec or its architecture, and score it again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

# TensorFlow, imported below, logs facts about the machine to stderr otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from modeltune.engine.backends import backend
from modeltune.engine.data import LoadedData, Part
from modeltune.engine.fit import (
    Model,
    data_for_model,
    for_model,
    lend_model,
    load_weights,
    model_of,
    without_assets,
)
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.refit import parts_of, score_test, scores_beyond_test, with_weights
from modeltune.engine.score.scoring import random_metrics
from modeltune.ground import SpecError, error_line, read_bounded
from modeltune.records import LARGEST_ARCHITECTURE, Values
from modeltune.specs import STRONG_BASELINES, Measure, Refit, Spec, Subject


@contextlib.contextmanager
def rebuilt_model(
    spec: Spec, values: Values, seed: int, weights: Path, test: Part
) -> Iterator[Model]:
    """Lend the model that the spec builds today from these values, with the weights in a file.

    Args:
        seed: the refit's seed, for random numbers in layers that have no trainable weights.
        test: the model is called on a sample of it if the build function leaves its shapes open.

    Raises:
        SpecError: the spec's build function raised, or the weights do not fit its model.
    """
    backend().set_up(spec.fit.threads)
    hp = ReadHyperParameters()
    hp.values = dict(values)
    with contextlib.ExitStack() as stack:
        try:
            model = stack.enter_context(lend_model(spec, hp, seed))
            with_weights(model, weights, test)
        except Exception as error:
            raise SpecError(
                f"{spec.id}: the spec cannot rebuild the run's model: {error_line(error)}"
            ) from error
        yield model


def scores_again(
    spec: Spec, model: Model, loaded: LoadedData, refit: Refit, recorded: Collection[str]
) -> dict[str, float]:
    """Return the model's scores today, for those recorded names that can be measured again.

    Args:
        spec: with the run's validation, from which the parts of the refit follow.
        model: the run's model, as ``rebuilt_model`` lends it.
        loaded: the run's data.
        refit: the refit whose weights the model has; its fold decides the parts.
        recorded: names of scores, including gaps and gains.
    """
    loaded = data_for_model(model, loaded)
    parts = parts_of(spec, loaded, refit)
    on_test, points = score_test(spec, model, parts)
    measures = [
        Measure(subject, metric)
        for subject in (Subject.GAP, Subject.GAIN_OVER_DUMMY)
        for metric in on_test.scores
        if Measure(subject, metric).key in recorded
    ]
    measures += [
        Measure(Subject.GAIN_OVER, name)
        for name in STRONG_BASELINES
        if Measure(Subject.GAIN_OVER, name).key in recorded
    ]
    further, _ = scores_beyond_test(spec, model, parts, on_test, measures, points)
    scores = {**on_test.scores, **further}
    return {metric: scores[metric] for metric in recorded if metric in scores}


def random_scores(model: Model, loaded: LoadedData, batch_size: int) -> list[str]:
    """Return the names of scores that are random, since evaluations of the same weights differ.

    With a metric, its gap, its gain and its score on a fold are random too.
    """
    names: list[str] = []
    for metric in random_metrics(model, for_model(model, loaded.test), batch_size):
        derived = (Measure(s, metric).key for s in (Subject.GAP, Subject.GAIN_OVER_DUMMY))
        names += [metric, f"fold_{metric}", *derived]
    return names


def of_architecture(architecture: Path, weights: Path) -> Model | str:
    """Return the compiled model from its stored architecture, or the reason why it cannot be made.

    This does not use the spec. Keras refuses an architecture that contains code, such as lambdas.
    """
    try:
        config = read_bounded(architecture, LARGEST_ARCHITECTURE).decode()
        model = model_of(config)
        load_weights(model, weights)
        lacking = without_assets(model, weights)
    except Exception as error:  # noqa: BLE001  classes of the user's, refused lambdas, ...
        return error_line(error)
    if lacking:
        return f"the run did not keep what {', '.join(lacking)} learned, such as a vocabulary"
    if not model.compiled:
        return "its architecture does not say how it was compiled"
    return model
