"""What a spec demands of its model: a metric, a comparison, a bound; and the verdicts on them."""

from __future__ import annotations

import dataclasses
import enum
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from modeltune.declarations import Problem, is_finite_number, is_integer, typed


class Severity(enum.Enum):
    """What a gate outside its bound does to the run."""

    FAIL = "fail"
    WARN = "warn"


class Statistic(enum.Enum):
    """Which number of a metric's values over refits is judged."""

    MEAN = "mean"
    WORST = "worst"
    STD = "std"


class Outcome(enum.Enum):
    """What a gate came to; the value is what every report says."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NO_BASELINE = "no_baseline"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    ERROR = "error"
    WAIVED = "waived"

    def is_red(self, strict: bool = False) -> bool:
        """Tell whether this outcome fails the run; ``strict`` admits no open question."""
        undecided = (Outcome.NO_BASELINE, Outcome.INCONCLUSIVE)
        return self in (Outcome.FAILED, Outcome.INVALID, Outcome.ERROR) or (
            strict and self in undecided
        )


@dataclass(frozen=True)
class Verdict:
    """One gate's outcome with the numbers behind it; measured and bound are None when unknown."""

    gate: str
    outcome: Outcome
    measured: float | None
    bound: float | None
    reason: str


@dataclass(frozen=True)
class Reference:
    """A bound taken from recorded runs, with arithmetic applied to it: ``mt.baseline - 0.01``.

    ``operations`` are applied in order; ``text`` is what was typed.
    """

    source: str
    operations: tuple[tuple[str, float], ...] = ()
    text: str = ""

    def _then(self, symbol: str, operand: float, *, left: bool = False) -> Reference:
        is_sum = bool(self.operations) and self.operations[-1][0] != "*"
        own = f"({self!r})" if symbol == "*" and is_sum else repr(self)
        text = f"{operand!r} {symbol} {own}" if left else f"{own} {symbol} {operand!r}"
        if not is_finite_number(operand):
            raise TypeError(f"{text}: a reference takes + - * with a finite number")
        return Reference(self.source, (*self.operations, (symbol, operand)), text)

    def __add__(self, operand: float) -> Reference:
        return self._then("+", operand)

    def __sub__(self, operand: float) -> Reference:
        return self._then("-", operand)

    def __mul__(self, operand: float) -> Reference:
        return self._then("*", operand)

    def __rmul__(self, operand: float) -> Reference:
        return self._then("*", operand, left=True)

    def __radd__(self, operand: float) -> Reference:
        return self._then("+", operand, left=True)

    def __repr__(self) -> str:
        return self.text or f"mt.{self.source}"


baseline = Reference("baseline")
"""The accepted run's value of the same metric."""

previous = Reference("previous")
"""The value of the run before this one."""


def median(runs: int) -> Reference:
    """Return the median over the last ``runs`` recorded runs, to be used as a bound."""
    if not is_integer(runs) or runs < 1:
        raise TypeError(f"mt.median({runs!r}): write the number of runs, 1 or more")
    return Reference(f"median({runs})")


class Subject(enum.Enum):
    """What is measured under a metric's name."""

    METRIC = "metric"
    GAP = "gap"
    GAIN_OVER_DUMMY = "gain_over_dummy"


@dataclass(frozen=True, eq=False)
class Measure:
    """The left side of a gate: what is measured, which statistic of it, how severe.

    ``.mean`` (the default), ``.worst`` and ``.std`` choose the statistic over
    seeds and folds. Comparing with ``>=``, ``<=``, ``>`` or ``<`` makes a gate.
    """

    subject: Subject
    metric: str
    statistic: Statistic = Statistic.MEAN
    severity: Severity | str = Severity.FAIL

    @property
    def mean(self) -> Measure:
        """The mean over refits."""
        return dataclasses.replace(self, statistic=Statistic.MEAN)

    @property
    def worst(self) -> Measure:
        """The refit farthest on the wrong side: the lowest under ``>=``, the highest under ``<=``."""
        return dataclasses.replace(self, statistic=Statistic.WORST)

    @property
    def std(self) -> Measure:
        """The sample standard deviation over refits (ddof 1)."""
        return dataclasses.replace(self, statistic=Statistic.STD)

    @property
    def key(self) -> str:
        """The name its values are recorded under: ``accuracy``, ``gap(accuracy)``."""
        return (
            self.metric
            if self.subject is Subject.METRIC
            else f"{self.subject.value}({self.metric})"
        )

    def __ge__(self, bound: object) -> Gate:
        return Gate(self, ">=", bound)

    def __le__(self, bound: object) -> Gate:
        return Gate(self, "<=", bound)

    def __gt__(self, bound: object) -> Gate:
        return Gate(self, ">", bound)

    def __lt__(self, bound: object) -> Gate:
        return Gate(self, "<", bound)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"{self!r} == ...: a gate compares with >=, <=, > or <")

    def __ne__(self, other: object) -> NoReturn:
        raise TypeError(f"{self!r} != ...: a gate compares with >=, <=, > or <")

    __hash__ = object.__hash__

    def __str__(self) -> str:
        return self.key + ("" if self.statistic is Statistic.MEAN else f".{self.statistic.value}")

    def __repr__(self) -> str:
        severity = (
            ""
            if self.severity in (Severity.FAIL, "fail")
            else f", severity={_value(self.severity)}"
        )
        suffix = "" if self.statistic is Statistic.MEAN else f".{self.statistic.value}"
        return f"mt.{self.subject.value}({typed(self.metric)}{severity}){suffix}"


COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, eq=False)
class Gate:
    """A measure, a comparison and a bound; ``repr`` is what was typed, ``str`` its short form."""

    measure: Measure
    comparison: str
    bound: object

    @property
    def wants_more(self) -> bool:
        """Whether larger values are on the right side of the bound."""
        return self.comparison in (">=", ">")

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with this gate, as ("", text): a gate has no named fields."""
        if not isinstance(self.measure.metric, str) or not self.measure.metric:
            yield "", f"{self!r}: {self.measure.metric!r} is no metric name; write a string"
        if not isinstance(self.bound, Reference):
            if isinstance(self.bound, bool) or not isinstance(self.bound, int | float):
                yield (
                    "",
                    f"{self!r}: the bound is {typed(self.bound)}; write a number, or mt.baseline, "
                    "mt.previous or mt.median(n) with + - *",
                )
            elif not is_finite_number(self.bound):
                yield "", f"{self!r}: no value can be judged against {self.bound!r}"
        if _severity(self.measure.severity) is None:
            yield (
                "",
                f'{self!r}: severity is {typed(self.measure.severity)}; write "fail" or "warn"',
            )

    @property
    def severity(self) -> Severity:
        """The severity as an enum member."""
        return _severity(self.measure.severity) or Severity.FAIL

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} has no truth value: it is judged after training. "
            "For a range write two gates: [m >= low, m <= high]"
        )

    def __str__(self) -> str:
        return f"{self.measure} {self.comparison} {self.bound!r}"

    def __repr__(self) -> str:
        return f"{self.measure!r} {self.comparison} {typed(self.bound)}"


def metric(name: str, *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure a metric on the test part, by the name ``model.evaluate`` gives it.

    Besides the compiled metrics and ``loss`` there are ``parameters`` and the
    task's report: ``precision``, ``recall`` and ``f1`` (macro averages) for
    classification; ``mae``, ``mse``, ``rmse``, ``r2`` and ``explained_variance``
    for regression. A compiled metric of the same name comes first.
    """
    return Measure(Subject.METRIC, name, severity=severity)


def gap(name: str, *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure train minus test of a metric, both evaluated on the final weights."""
    return Measure(Subject.GAP, name, severity=severity)


def gain_over_dummy(name: str, *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure the part of the way from a dummy to a perfect model that this model went.

    ``(score - dummy) / (perfect - dummy)`` on the test part: 0 is the dummy (class
    shares or target mean of train as constant prediction), 1 is perfect.
    """
    return Measure(Subject.GAIN_OVER_DUMMY, name, severity=severity)


def _severity(value: Severity | str) -> Severity | None:
    try:
        return Severity(value)
    except ValueError:
        return None


def _value(severity: Severity | str) -> str:
    return typed(severity.value if isinstance(severity, Severity) else severity)
