"""Rebuild the model of a recorded run, from its spec or its architecture, and score it again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

# TensorFlow logs its view of the machine to stderr when it is imported, below.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

from modeltune.engine.data import LoadedData, Part
from modeltune.engine.environments import devices, use_threads
from modeltune.engine.fit import Model, built, load_weights
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.refit import derived, measured, parts_of
from modeltune.engine.score.scoring import predict
from modeltune.ground import SpecError
from modeltune.records import Values
from modeltune.specs import Measure, Refit, Spec, Subject


@contextlib.contextmanager
def rebuilt_model(
    spec: Spec, values: Values, seed: int, weights: Path, test: Part | None = None
) -> Iterator[Model]:
    """Lend the model the spec builds of these values today, with the weights in a file.

    Args:
        seed: the refit's, for what a model draws when it is built and does not train.
        test: called on once when the build function leaves the model's shapes open.

    Raises:
        SpecError: the spec's build function raised, or the weights do not fit what it built.
    """
    use_threads(spec.fit.threads)
    devices()  # its search for a GPU logs
    hp = ReadHyperParameters()
    hp.values = dict(values)
    with contextlib.ExitStack() as stack:
        try:
            model = stack.enter_context(built(spec, hp, seed))
            if not model.built and test is not None:
                model.predict_on_batch(next(test.batches(1))[0])
            load_weights(model, weights)
        except Exception as error:
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise SpecError(
                f"{spec.id}: the model of the run cannot be rebuilt by the spec: {said}"
            ) from error
        yield model


def scores_again(
    spec: Spec, model: Model, loaded: LoadedData, refit: Refit, recorded: Collection[str]
) -> dict[str, float]:
    """Return what the model scores today by the names that were recorded, as far as it measures them.

    Args:
        spec: under the validation of the run, which says what the refit was given.
        model: the run's, as ``rebuilt_model`` lends it.
        loaded: the run's data.
        refit: whose weights they are: of a fold, the parts are those of this fold.
        recorded: names of scores, those of gaps and gains among them.
    """
    size = spec.fit.batch_size
    on_test = predict(model, loaded.test, size)
    scores, _ = measured(model, loaded.test, on_test, size)
    asked = [
        Measure(subject, metric)
        for subject in (Subject.GAP, Subject.GAIN_OVER_DUMMY)
        for metric in scores
        if Measure(subject, metric).key in recorded
    ]
    train, watched = parts_of(spec, loaded, refit)
    scores |= derived(spec, model, train, watched, on_test, scores, asked)
    return {metric: scores[metric] for metric in recorded if metric in scores}


def of_architecture(architecture: Path, weights: Path) -> Model | str:
    """Return the compiled model as it was kept, whatever its spec has become, or why there is none.

    Keras refuses what is not data in it, such as lambdas, which would be run.
    """
    try:
        model = keras.models.model_from_json(architecture.read_text(encoding="utf-8"))
        load_weights(model, weights)
    except Exception as error:  # noqa: BLE001  classes of the user's, refused lambdas, ...
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if not model.compiled:
        return "what it was compiled with was not kept"
    return model
