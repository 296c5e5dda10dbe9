"""Declare what a search optimises: a logged metric and an explicit direction."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from modeltune.ground import Word


class Direction(Word):
    """Whether a larger or a smaller value is better; modeltune never guesses it from a name."""

    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class Objective:
    """A metric as the fit history names it (``val_accuracy``), with its direction."""

    metric: str
    direction: Direction

    def __repr__(self) -> str:
        verb = "maximize" if self.direction is Direction.MAX else "minimize"
        is_text = isinstance(self.metric, str)  # a mistake too has to print in its error
        metric = json.dumps(self.metric, ensure_ascii=False) if is_text else repr(self.metric)
        return f"mt.{verb}({metric})"

    def better(self, score: float, than: float) -> bool:
        """Tell whether ``score`` is strictly better than ``than``; a NaN never is."""
        return score > than if self.direction is Direction.MAX else score < than

    def missing_from(self, logged: Iterable[str]) -> str | None:
        """Return an error text if a fit has not logged this metric, else None."""
        names = sorted(logged)
        if self.metric in names:
            return None
        parts = [name for name in names if re.fullmatch(rf"{re.escape(self.metric)}(_\d+)+", name)]
        if parts:
            return (
                f"search.objective: {self!r} is an array of {len(parts)} numbers, but a search needs "
                'one: have the metric averaged, as keras.metrics.F1Score(average="macro") is, or '
                f"search by one of {', '.join(parts)}"
            )
        return (
            f"search.objective: {self!r} names no logged metric; logged: {', '.join(names)}. "
            "Compile the model with this metric, or name one of those logged"
        )

    @property
    def worst(self) -> float:
        """The infinity that every score is better than."""
        return -math.inf if self.direction is Direction.MAX else math.inf

    @property
    def test_metric(self) -> str:
        """The metric's name in ``model.evaluate``: the objective without ``val_``."""
        return self.metric.removeprefix("val_")


def maximize(metric: str) -> Objective:
    """Return the objective under which a larger value of ``metric`` is better."""
    return Objective(metric, Direction.MAX)


def minimize(metric: str) -> Objective:
    """Return the objective under which a smaller value of ``metric`` is better."""
    return Objective(metric, Direction.MIN)
