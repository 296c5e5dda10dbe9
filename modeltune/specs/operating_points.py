"""Declare operating points: the condition under which a metric of yes or no is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from modeltune.ground import is_finite_number, typed

CONDITIONS = ("threshold", "precision", "recall", "false_positive_rate", "specificity")
"""What ``.at`` takes: a threshold, or what the best one has to reach."""

DECISION_METRICS = (
    "accuracy", "balanced_accuracy", "f1", "false_positive_rate", "mcc", "precision", "recall",
    "specificity",
)  # fmt: skip
"""The metrics that depend on which samples are taken to be of class 1."""

TRIVIAL: Mapping[str, tuple[str, ...]] = {
    "precision": ("precision", "false_positive_rate", "specificity"),
    "recall": ("recall",),
    "false_positive_rate": ("false_positive_rate", "specificity"),
    "specificity": ("false_positive_rate", "specificity"),
}
"""By condition the metrics that are at their best where it is reached too well: they say nothing of a model."""


@dataclass(frozen=True)
class CurvePoint:
    """Where on a curve a metric is read: the conditions as they were typed, of which there has to be one."""

    conditions: tuple[tuple[str, object], ...]
    unnamed: tuple[object, ...] = ()

    @property
    def condition(self) -> str:
        """The name of the condition."""
        return self.conditions[0][0]

    @property
    def value(self) -> float:
        """What the condition asks for."""
        return float(self.conditions[0][1])  # type: ignore[arg-type]  # ``problems`` has looked

    @property
    def is_threshold(self) -> bool:
        """Whether the threshold itself is named, so that there is nothing to look for."""
        return self.condition == "threshold"

    def problems(self, metric: str) -> Iterator[str]:
        """Yield what is wrong with it for a metric of this name, "" of a function."""
        listed = ", ".join(f"{name}=" for name in CONDITIONS)
        if self.unnamed or len(self.conditions) != 1:
            count = len(self.unnamed) + len(self.conditions)
            has = {0: "no condition"}.get(count, f"{count} conditions")
            if self.unnamed and count == 1:
                has = f"{typed(self.unnamed[0])} without a name"
            yield f".at has {has}; write one of {listed} as .at(precision=0.9)"
            return
        if self.condition not in CONDITIONS:
            yield f".at has no condition {self.condition}=; write one of {listed} as .at(precision=0.9)"
            return
        number = self.conditions[0][1]
        if isinstance(number, bool) or not is_finite_number(number) or not 0 <= self.value <= 1:
            yield f"{self.condition} is {typed(number)}; write a number from 0 to 1"
        if not metric:
            if not self.is_threshold:
                yield (
                    "a function is computed at a threshold, as of others it cannot be told which is its "
                    "best; write .at(threshold=0.3)"
                )
            return
        named = [name for name in DECISION_METRICS if f"_{metric}".endswith(f"_{name}")]
        if not named:
            yield (
                f"{typed(metric)} does not depend on a threshold; .at takes {', '.join(DECISION_METRICS)}, "
                "or a function of (y_true, y_pred)"
            )
            return
        name = max(named, key=len)
        if name in TRIVIAL.get(self.condition, ()):
            yield (
                f"the best {name} at such a {self.condition} is that of a threshold that hardly a sample "
                f"reaches, whatever the model; write .at(threshold=...), or another metric"
            )

    def __str__(self) -> str:
        typed_out = [typed(one) for one in self.unnamed]
        typed_out += [f"{name}={_number(value)}" for name, value in self.conditions]
        return f".at({', '.join(typed_out)})"


@dataclass(frozen=True)
class DecidedMetric:
    """A metric of the author's that gets 0 or 1 for each sample, decided at a threshold, in place of scores."""

    function: Callable[..., Any]
    threshold: float


MetricFunction: TypeAlias = Callable[..., Any] | DecidedMetric
"""A metric of the author's: a function, as it is or at a threshold."""


def at_point(function: MetricFunction, point: CurvePoint) -> MetricFunction:
    """Return a metric of the author's that is computed at a point, as far as it is a threshold."""
    plain = plain_function(function)
    is_known = not point.unnamed and len(point.conditions) == 1 and point.is_threshold
    is_number = is_known and is_finite_number(point.conditions[0][1])
    return DecidedMetric(plain, point.value) if is_number else plain


def plain_function(function: MetricFunction) -> Callable[..., Any]:
    """Return the function that the author gave, without a point."""
    return function.function if isinstance(function, DecidedMetric) else function


def _number(value: object) -> str:
    """Return a number as it is typed, one of NumPy as Python's."""
    is_number = not isinstance(value, bool | int) and is_finite_number(value)
    return repr(float(value)) if is_number else typed(value)  # type: ignore[arg-type]
