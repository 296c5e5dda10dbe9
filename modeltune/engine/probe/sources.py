"""Where probes get predictions from: a Keras model, or a predictor, which needs no Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from modeltune.engine.data import Arrays, Part
from modeltune.engine.score import GivenPredictor, Output

if TYPE_CHECKING:
    from modeltune.engine.fit import Model


class PredictionSource(Protocol):
    """A model as probes use it."""

    batch: int | None
    """The batch size that it is built for; None when it takes any."""

    @property
    def outputs(self) -> Sequence[Output]:
        """Its outputs that have targets."""

    def predict(self, x: Arrays) -> Arrays:
        """Return what it predicts for a batch, a row for each sample, as arrays."""


def source_of(model: Model | PredictorSource, part: Part) -> PredictionSource:
    """Return what predicts for probes; Keras is imported for its models alone.

    Args:
        part: the samples in memory that are probed.
    """
    if isinstance(model, PredictorSource):
        return model
    from modeltune.engine.probe.keras_source import KerasSource

    return KerasSource(model, part)


class PredictorSource:
    """A predictor; its predictions have the form in which a part is scored.

    Args:
        part: the samples that are scored, all of which it predicts once.

    Raises:
        SpecError: as ``GivenPredictor.outputs``.
    """

    batch: int | None = None

    def __init__(self, given: GivenPredictor, part: Part):
        self.outputs, self._read = given.reader(part)

    def predict(self, x: Arrays) -> Arrays:
        """As ``PredictionSource.predict``.

        Raises:
            ValueError: the predictions have another form than those of the part.
        """
        return self._read(x)
