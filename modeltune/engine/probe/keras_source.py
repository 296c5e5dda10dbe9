"""Predictions of a Keras model for probes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from modeltune.engine.data import Arrays, Part, map_arrays
from modeltune.engine.fit import Model, fixed_batch, input_tensors, predict_batch
from modeltune.engine.probe.transforms import PREDICTION_BATCH
from modeltune.engine.score import Output, predict


class KerasSource:
    """A Keras model; its predictions have the structure that its call returns."""

    def __init__(self, model: Model, part: Part):
        self.batch: int | None = fixed_batch(model)
        self._model = model
        self._part = part

    @functools.cached_property
    def outputs(self) -> Sequence[Output]:
        """As ``PredictionSource.outputs``, with a batch of the part."""
        few = np.arange(min(self._part.size, PREDICTION_BATCH))
        part = self._part.take(np.resize(few, PREDICTION_BATCH))
        return predict(self._model, part, PREDICTION_BATCH).outputs

    def predict(self, x: Arrays) -> Arrays:
        """As ``PredictionSource.predict``."""
        tensors = input_tensors(self._model, x)
        return map_arrays(np.asarray, predict_batch(self._model, tensors))
