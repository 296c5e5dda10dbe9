"""Declare operating points: where on a curve a metric is computed, and how a threshold is chosen."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from modeltune.ground import Problem, is_finite_number, typed

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


MAXIMIZED = tuple(name for name in DECISION_METRICS if name != "false_positive_rate")
"""The metrics that a threshold can be chosen by."""


@dataclass(frozen=True, repr=False, eq=False)
class Threshold:
    """How the threshold is chosen from which on a probability means yes; ``mt.threshold`` makes it."""

    maximize: str | Callable[..., Any] | None = None
    cost: Callable[..., Any] | None = None

    @property
    def function(self) -> Callable[..., Any] | None:
        """The author's function, None where a metric is named."""
        return (
            self.cost
            if self.cost is not None
            else self.maximize
            if callable(self.maximize)
            else None
        )

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy, "" where none or both are given."""
        if (self.maximize is None) == (self.cost is None):
            has = "neither maximize nor cost" if self.cost is None else "both maximize and cost"
            yield "", f'{self!r} has {has}; write mt.threshold(maximize="f1") or (cost=function)'
            return
        name, value = ("cost", self.cost) if self.maximize is None else ("maximize", self.maximize)
        if callable(value):
            for text in call_problems(value):
                yield name, f"{typed(value)}: {text}"
        elif name == "cost":
            yield (
                name,
                f"{typed(value)}: write a function of (y_true, y_pred) that returns a number",
            )
        elif value not in MAXIMIZED:
            fixed = "; a threshold itself is threshold=0.3" if is_finite_number(value) else ""
            yield (
                name,
                f"{typed(value)} does not depend on a threshold, or less of it is better; write "
                f"{', '.join(MAXIMIZED)}, or a function of (y_true, y_pred){fixed}",
            )

    def __repr__(self) -> str:
        fields = {"maximize": self.maximize, "cost": self.cost}
        given = [f"{name}={typed(value)}" for name, value in fields.items() if value is not None]
        return f"mt.threshold({', '.join(given)})"


def threshold(
    maximize: str | Callable[..., Any] | None = None, *, cost: Callable[..., Any] | None = None
) -> Threshold:
    """Choose the threshold from which on a model's probability means yes, on validation and never on test.

    It is the one among the different scores of validation at which the metric is largest, or the cost
    smallest; of equals the highest. A sample is of class 1 where its probability is at least the
    threshold, as in scikit-learn's ``TunedThresholdClassifierCV``. Every refit chooses its own, for what
    is judged is the recipe, and a threshold is a part of what a model has learned: on the validation part,
    under ``mt.KFold`` on the fold that it was not trained on. Of labels each has a threshold of its own,
    chosen on this label alone.

    Args:
        maximize: "f1" or another metric of decisions, of class 1; or a function ``(y_true, y_pred)`` that
            gets 0 and 1 for each sample and returns a number, or one per sample whose mean counts.
        cost: such a function of which less is better.
    """
    return Threshold(maximize, cost)


def threshold_problems(declared: object) -> Iterator[Problem]:
    """Yield what is wrong with the threshold of a spec, which may be a number too."""
    if isinstance(declared, Threshold):
        for field, text in declared.problems():
            yield f"threshold.{field}" if field else "threshold", text
    elif not is_finite_number(declared) or not 0 <= declared <= 1:
        yield (
            "threshold",
            f'{typed(declared)}: write mt.threshold(maximize="f1"), mt.threshold(cost=function), or a '
            "number from 0 to 1",
        )


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


def call_problems(function: Any) -> Iterator[str]:
    """Yield why a function cannot be called as a metric, as far as its signature tells."""
    if isinstance(function, type):
        yield f"{typed(function)} is a class; write a function of (y_true, y_pred)"
        return
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    more = {"metadata": None} if "metadata" in signature.parameters else {}
    try:
        signature.bind(None, None, **more)
    except TypeError as error:
        yield (
            f"it cannot be called with (y_true, y_pred): {error}; bind what else it takes by "
            "functools.partial"
        )


def _number(value: object) -> str:
    """Return a number as it is typed, one of NumPy as Python's."""
    is_number = not isinstance(value, bool | int) and is_finite_number(value)
    return repr(float(value)) if is_number else typed(value)  # type: ignore[arg-type]
