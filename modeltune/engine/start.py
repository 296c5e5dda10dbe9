"""Start the engine of a run: with Keras, or without where no Keras model is involved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from modeltune.engine.environments import KERAS_PACKAGES
from modeltune.ground import SpecError
from modeltune.specs import Spec, uses_package

if TYPE_CHECKING:
    from modeltune.engine.engine import Engine
    from modeltune.engine.predictor_engine import PredictorEngine


def start_engine(
    spec: Spec, fixtures: Mapping[str, object], features: Path
) -> Engine | PredictorEngine:
    """Set up what computes in this process as the spec wants it, and return an engine of its run.

    Nothing of it is imported for a model that is given by code that leads to no Keras.

    Raises:
        SpecError: Keras computes with a backend that does not train.
    """

    def with_keras() -> Engine:
        from modeltune.engine.backends import backend, is_tensorflow, why_no_training
        from modeltune.engine.engine import Engine
        from modeltune.engine.internals import KERAS, Feature, keras_internals

        if not spec.is_given and (why := why_no_training()):
            raise SpecError(f"{spec.id}: {why}")
        if not is_tensorflow() and not KERAS.why_not(Feature.ALONE):
            keras_internals.leave_tensorflow_out()
        backend().set_up(spec.fit.threads)
        return Engine(spec, fixtures, features)

    if needs_keras(spec):
        return with_keras()
    from modeltune.engine.predictor_engine import PredictorEngine

    return PredictorEngine(spec, fixtures, with_keras)


def needs_keras(spec: Spec) -> bool:
    """Tell whether a spec's model is trained here, is a file of Keras's, or comes from code that uses Keras."""
    return not spec.is_given or spec.given_file is not None or uses_package(spec, KERAS_PACKAGES)
