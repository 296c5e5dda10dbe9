"""Give a stepped range of floats its upper end, which keras-tuner loses to rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from keras_tuner.engine import hyperparameters

CLOSE = 1e-9
"""The relative difference by which a step may miss an end of the range: that of rounding."""


class Float(hyperparameters.Float):  # type: ignore[misc]
    """keras-tuner's hyperparameter of this name, with all values of its steps.

    keras-tuner counts steps by ``(0.5 - 0) // 0.1``, which is 4: 0.5 is never tried. Ranges that it
    counts rightly keep their values, and what a seed draws from them.
    """

    @property
    def values(self) -> Iterable[float]:
        """The values on the steps; without a step, those by which keras-tuner stands for the range."""
        if self.step is None:
            points: Iterable[float] = super().values
            return points
        if self.sampling != "linear":
            return tuple(self._snapped(value) for value in super().values)
        return tuple(self._at(index) for index in range(self._count))

    def prob_to_value(self, prob: float) -> float:
        """Return the value at a cumulative probability in [0, 1)."""
        if self.step is None or self.sampling != "linear":
            drawn: float = super().prob_to_value(prob)
            return self._snapped(drawn)
        return self._at(min(math.floor(prob / (1 / self._count)), self._count - 1))

    def value_to_prob(self, value: float) -> float:
        """Return the cumulative probability in the middle of a value's share."""
        if self.step is None or self.sampling != "linear":
            probability: float = super().value_to_prob(value)
            return probability
        index = round((value - self.min_value) / self.step)
        return float((index + 0.5) / self._count)

    @property
    def _count(self) -> int:
        steps: float = (self.max_value - self.min_value) / self.step
        return math.floor(steps * (1 + CLOSE) + CLOSE) + 1

    def _at(self, index: int) -> float:
        value: float = self.min_value + index * self.step
        return self._snapped(value)

    def _snapped(self, value: float) -> float:
        """Return the end of the range that a value misses by rounding, else the value."""
        # Beside an end of 0 no relative difference is small.
        apart = CLOSE * self.step if self.step and self.sampling == "linear" else 0.0
        for end in (self.min_value, self.max_value):
            if math.isclose(value, end, rel_tol=CLOSE, abs_tol=apart):
                return float(end)
        return value


def with_upper_end(hyperparameter: Any) -> Any:
    """Return a hyperparameter that has its upper end: floats as the class above, others as they are."""
    if type(hyperparameter) is not hyperparameters.Float:
        return hyperparameter
    return Float.from_config(hyperparameter.get_config())
