"""What a spec demands of its model: a metric, a comparison, a bound."""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, NoReturn

from modeltune.ground import Problem, Word, is_finite_number, is_integer, typed
from modeltune.specs.operating_points import (
    CurvePoint,
    MetricFunction,
    at_point,
    call_problems,
    plain_function,
)


class Severity(Word):
    """What a gate outside its bound does to the run."""

    FAIL = "fail"
    WARN = "warn"


class Statistic(Word):
    """Which number of a metric's values over refits is judged."""

    MEAN = "mean"
    WORST = "worst"
    STD = "std"


class Operator(Word):
    """How a gate compares what was measured with its bound; the value is what an author types."""

    AT_LEAST = ">="
    AT_MOST = "<="
    ABOVE = ">"
    BELOW = "<"
    WITHIN = "within"
    """No farther from the bound than a margin, on either side."""

    @property
    def wants_more(self) -> bool:
        """Whether larger values are on the right side of the bound."""
        return self in (Operator.AT_LEAST, Operator.ABOVE)

    @property
    def is_strict(self) -> bool:
        """Whether a value on the bound is on the wrong side."""
        return self in (Operator.ABOVE, Operator.BELOW)

    def holds(self, value: float, bound: float) -> bool:
        """Tell whether a value is on the right side of the bound; ``WITHIN`` has no side.

        Raises:
            KeyError: it is ``WITHIN``.
        """
        compare: Callable[[float, float], bool] = {
            Operator.AT_LEAST: operator.ge,
            Operator.AT_MOST: operator.le,
            Operator.ABOVE: operator.gt,
            Operator.BELOW: operator.lt,
        }[self]
        return compare(value, bound)


@dataclass(frozen=True)
class Waiver:
    """A gate known to fail: green until the day ``until`` is over, and red once it passes."""

    until: str
    reason: str

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the waiver."""
        if _day(self.until) is None:
            yield f'until is {typed(self.until)}; write a day such as "2027-01-31"'
        if not isinstance(self.reason, str) or not self.reason.strip():
            yield f"reason is {typed(self.reason)}; write why this gate may fail until then"

    def is_over(self, today: date) -> bool:
        """Tell whether the last day of the waiver has passed."""
        last = _day(self.until)
        return last is None or today > last

    def __repr__(self) -> str:
        return f".waive(until={typed(self.until)}, reason={typed(self.reason)})"


@dataclass(frozen=True)
class PerClass:
    """Judge each class for itself; one with fewer than ``min_n`` test samples is inconclusive."""

    min_n: int = 30

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the slices."""
        if not is_integer(self.min_n) or self.min_n < 1:
            yield f"min_n is {typed(self.min_n)}; write the fewest samples a class may have"

    def __repr__(self) -> str:
        return f".per_class(min_n={self.min_n!r})"


@dataclass(frozen=True)
class On:
    """Judge a part of the test samples: those for which ``select`` says True."""

    name: str
    select: Callable[..., Any]
    min_n: int = 30

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the slice."""
        if not isinstance(self.name, str) or not self.name:
            yield f"the slice is named {typed(self.name)}; write a name"
        if not callable(self.select):
            yield (
                f"select is {typed(self.select)}; write a function of x and y of the test part "
                "that returns True or False for each sample"
            )
        if not is_integer(self.min_n) or self.min_n < 1:
            yield f"min_n is {typed(self.min_n)}; write the fewest samples the slice may have"

    def __repr__(self) -> str:
        few = "" if self.min_n == 30 else f", min_n={self.min_n!r}"
        return f".on({typed(self.name)}, {typed(self.select)}{few})"


class Between(Word):
    """What is held of a metric between groups, in place of its value in each."""

    GAP = "gap"
    """The largest value minus the smallest."""
    RATIO = "ratio"
    """The smallest value by the largest."""


@dataclass(frozen=True)
class By:
    """Judge each group of the test samples: those that have the same value of a column of metadata.

    ``function`` computes the values where they are no column. ``between`` tells that the gap or the
    ratio between the groups is judged, None that each group is.
    """

    name: str
    function: Callable[..., Any] | None = None
    min_n: int = 30
    between: Between | None = None

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the groups."""
        if not isinstance(self.name, str) or not self.name:
            yield f"the groups are by {typed(self.name)}; write the name of a column of metadata"
        if self.function is not None and not callable(self.function):
            yield (
                f"the groups are by {typed(self.function)}; write a function of metadata, or of x and "
                "y of the test part, that returns a value for each sample"
            )
        if not is_integer(self.min_n) or self.min_n < 1:
            yield f"min_n is {typed(self.min_n)}; write the fewest samples a group may have"

    def __repr__(self) -> str:
        function = "" if self.function is None else f", {typed(self.function)}"
        few = "" if self.min_n == 30 else f", min_n={self.min_n!r}"
        between = "" if self.between is None else f".{self.between.value}"
        return f".by({typed(self.name)}{function}{few}){between}"


@dataclass(frozen=True)
class Seeds:
    """How far a validation may go when a gate stays inconclusive: up to ``max`` seeds."""

    max: int

    def problems(self) -> Iterator[Problem]:
        """Yield every broken field with its remedy."""
        if not is_integer(self.max) or self.max < 2:
            yield "max", f"{typed(self.max)}: write 2 or more"

    def __repr__(self) -> str:
        return f"mt.seeds(max={self.max!r})"


def seeds(*, max: int) -> Seeds:
    """Return the most seeds a spec may spend on a gate that is inconclusive with fewer."""
    return Seeds(max)


class Source(Word):
    """Which recorded runs a bound is taken from; the value is what an author types."""

    BASELINE = "baseline"
    """The accepted run."""
    PREVIOUS = "previous"
    """The run before this one."""
    MEDIAN = "median"
    """The last runs, as many as are asked for."""
    OTHER = "other"
    """The run of another spec."""
    TUNED = "tuned"
    """The tuned model of the same run, which an export is made of."""


@dataclass(frozen=True)
class Reference:
    """A bound taken from recorded runs, with arithmetic applied to it: ``mt.baseline - 0.01``.

    ``runs`` is how many runs a median is taken over, ``other`` the other spec. ``operations`` are applied
    in order; ``text`` is what was typed.
    """

    source: Source
    runs: int | None = None
    operations: tuple[tuple[str, float], ...] = ()
    text: str = ""
    other: Any = None

    @property
    def name(self) -> str:
        """What the runs are looked up by: ``baseline``, ``previous``, ``median(10)``, ``other(spec_a.py::mlp)``."""
        if self.other is not None:
            return f"{self.source.value}({self.other.id})"
        return self.source.value if self.runs is None else f"{self.source.value}({self.runs})"

    def _then(self, symbol: str, operand: float, *, left: bool = False) -> Reference:
        is_sum = bool(self.operations) and self.operations[-1][0] != "*"
        own = f"({self!r})" if symbol == "*" and is_sum else repr(self)
        text = f"{operand!r} {symbol} {own}" if left else f"{own} {symbol} {operand!r}"
        if not is_finite_number(operand):
            raise TypeError(f"{text}: a reference takes + - * with a finite number")
        operations = (*self.operations, (symbol, operand))
        return dataclasses.replace(self, operations=operations, text=text)

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

    def bound_at(self, value: float) -> float:
        """Return the bound for a recorded value.

        ``*`` scales the distance from the value by its size, ``value + (factor - 1) * |value|``:
        ``* 0.98`` is 2 % below, and ``* 1.02`` 2 % above, whatever the value's sign.
        """
        for symbol, operand in self.operations:
            if symbol == "*":
                value += (operand - 1) * abs(value)
            else:
                value += operand if symbol == "+" else -operand
        return value

    def __repr__(self) -> str:
        return self.text or f"mt.{self.name}"


baseline = Reference(Source.BASELINE)
"""The accepted run's value of the same metric."""

previous = Reference(Source.PREVIOUS)
"""The value of the run before this one."""


tuned = Reference(Source.TUNED)
"""The value of the tuned model that an export of the same run is made of: for ``.of("lite")``."""


def median(runs: int) -> Reference:
    """Return the median over the last ``runs`` recorded runs, to be used as a bound."""
    if not is_integer(runs) or runs < 1:
        raise TypeError(f"mt.median({runs!r}): write the number of runs, 1 or more")
    return Reference(Source.MEDIAN, runs)


RESOURCES = ("parameters", "artifact_bytes", "latency_ratio", "flops")
"""The resources that ``mt.metric`` can measure, by name."""


NEGATIVE_FLIPS = "negative_flips"
"""The share of test samples that the accepted model has right and this one wrong, by name."""

OF_NO_EXPORT = {
    "parameters": "its file keeps them in another form; hold artifact_bytes",
    "flops": "they are counted of the tuned model alone",
}
"""The resources that an export has no value of, and why or what to do."""


class Subject(Word):
    """What a gate measures under a metric's name."""

    METRIC = "metric"
    GAP = "gap"
    GAIN_OVER_DUMMY = "gain_over_dummy"
    GAIN_OVER = "gain_over"


STRONG_BASELINES = ("hist_gradient_boosting", "knn")
"""The models of scikit-learn that ``mt.gain_over`` takes by name."""


@dataclass(frozen=True, eq=False)
class Measure:
    """The left side of a gate: what is measured, which statistic of it, how severe.

    ``.mean`` (the default), ``.worst`` and ``.std`` choose the statistic over
    seeds and folds. Comparing with ``>=``, ``<=``, ``>`` or ``<`` makes a gate.
    ``metric`` is the name its values are recorded under; ``function`` computes it if it is the
    author's own. ``point`` is where on the curve of all thresholds it is computed, part of the name.
    ``path`` is the name as it was typed with its output before a slash, "price/mae" of "price_mae".
    ``export`` is the name of the export that is measured in place of the tuned model.
    """

    subject: Subject
    metric: str
    statistic: Statistic = Statistic.MEAN
    severity: Severity | str = Severity.FAIL
    slices: PerClass | On | By | None = None
    waiver: Waiver | None = None
    function: MetricFunction | None = None
    point: CurvePoint | None = None
    path: str | None = None
    export: str | None = None

    def of(self, export: str) -> Measure:
        """Measure an export in place of the tuned model: what its file predicts, by its real runtime.

        Metrics are those of the tuned model, on the same test samples. ``artifact_bytes`` is the size of
        the file, ``latency_ratio`` the time of one sample by the file's runtime over that by the tuned
        model's ``predict_on_batch``, and ``negative_flips`` the share of samples that the tuned model
        has right and the export wrong. The export is made of the model whose weights the run keeps.

        Args:
            export: its name in ``mt.spec(..., exports={"lite": mt.LiteRT()})``.
        """
        return dataclasses.replace(self, export=export)

    def at(self, *unnamed: object, **condition: float) -> Measure:
        """Compute the metric at a point of the curve of all thresholds, on the part that is scored.

        One of ``threshold``, ``precision``, ``recall``, ``false_positive_rate`` or ``specificity``, from 0
        to 1. ``.at(threshold=0.3)`` takes a sample to be of class 1 where its probability is at least
        0.3, as scikit-learn's ``FixedThresholdClassifier``. The others are looked for among the scores
        that occur, anew on each part, slice and resample: ``mt.metric("recall").at(precision=0.9)`` is the
        best recall with a precision of 0.9 or more, as Keras's ``RecallAtPrecision`` and the points of
        scikit-learn's ``precision_recall_curve``; a recall is 0 where no threshold reaches it. So it is a
        number of the curve, and not of the decisions of ``mt.spec(threshold=...)``.

        Precision, recall and F1 are those of class 1 here, of labels their mean. A function gets 0 and 1
        in place of probabilities, at a threshold.
        """
        point = CurvePoint(tuple(condition.items()), unnamed)
        function = None if self.function is None else at_point(self.function, point)
        metric = f"{self._named}{point}" if isinstance(self.metric, str) else self.metric
        return dataclasses.replace(self, metric=metric, function=function, point=point)

    @property
    def _named(self) -> str:
        """The metric's name without the point."""
        return self.metric.removesuffix(str(self.point or ""))

    def per_class(self, min_n: int = 30) -> Measure:
        """Judge each class for itself, worst first.

        Precision, recall and F1 of a class are its row of the report; any other metric is its
        mean over the class's test samples. A class without any fails, one with fewer than
        ``min_n`` is inconclusive.
        """
        return dataclasses.replace(self, slices=PerClass(min_n))

    def on(self, name: str, select: Callable[..., Any], min_n: int = 30) -> Measure:
        """Judge a part of the test samples.

        ``select(x, y)`` gets the whole test part and returns one True or False per sample. One that
        selects none is refused before anything is trained; a slice with fewer than ``min_n`` samples is
        inconclusive, but for ``negative_flips``, of which these very samples are meant.
        """
        return dataclasses.replace(self, slices=On(name, select, min_n))

    def by(self, name: str, function: Callable[..., Any] | None = None, min_n: int = 30) -> Measure:
        """Judge each group of the test samples, worst first; ``.gap`` and ``.ratio`` judge between them.

        A group is the samples of one value: of the column ``name`` of ``mt.Data(..., metadata=)``, or of
        what ``function`` returns, one value per sample. By its arguments it gets ``metadata``, a frame,
        or ``x`` and, where it takes two, ``y`` of the whole test part. A group of fewer than ``min_n``
        samples is inconclusive.
        """
        return dataclasses.replace(self, slices=By(name, function, min_n))

    @property
    def gap(self) -> Measure:
        """After ``.by(...)``: the largest value of a group minus the smallest.

        It fails where the gap is larger than the bound beyond chance, as it is the largest of many
        differences; a gap above the bound that may be chance is inconclusive.
        """
        return self._between(Between.GAP)

    @property
    def ratio(self) -> Measure:
        """After ``.by(...)``: the smallest value of a group by the largest, as ``.gap`` is judged."""
        return self._between(Between.RATIO)

    def _between(self, between: Between) -> Measure:
        if not isinstance(self.slices, By):
            raise AttributeError(
                f"{self!r}.{between.value}: it is between groups; write "
                f'.by("column").{between.value}, or mt.gap(name) for train minus test'
            )
        return dataclasses.replace(self, slices=dataclasses.replace(self.slices, between=between))

    def waive(self, *, until: str, reason: str) -> Measure:
        """Waive the gate this becomes, as ``Gate.waive`` does; write it before the bound."""
        return dataclasses.replace(self, waiver=Waiver(until, reason))

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
    def needs_train(self) -> bool:
        """Whether it compares test with train."""
        return self.subject is not Subject.METRIC

    @property
    def key(self) -> str:
        """The name its values are recorded under: ``accuracy``, ``gap(accuracy)``."""
        return (
            self.metric
            if self.subject is Subject.METRIC
            else f"{self.subject.value}({self.metric})"
        )

    def within(self, reference: object, margin: float) -> Gate:
        """Hold the metric to be the same as in a recorded run, up to a margin on either side.

        It passes only where both are proven: that it is no worse, and no better, than by the margin (two
        one-sided tests at 5 %; Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987,
        657-680). It fails where it is proven to be farther away, else it is inconclusive. For models that
        were rewritten, converted or moved to other versions.

        Args:
            reference: ``mt.baseline``, ``mt.previous``, ``mt.median(n)`` or ``mt.other(spec)``; of an
                export ``mt.tuned``.
            margin: above 0, in the metric's own unit.
        """
        return Gate(self, Operator.WITHIN.value, reference, margin=margin)

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
        statistic = "" if self.statistic is Statistic.MEAN else f".{self.statistic.value}"
        export = "" if self.export is None else f".of({typed(self.export)})"
        return f"{self.key}{export}{self.slices or ''}{statistic}"

    def __repr__(self) -> str:
        severity = (
            ""
            if self.severity in (Severity.FAIL, "fail")
            else f", severity={_value(self.severity)}"
        )
        suffix = "" if self.statistic is Statistic.MEAN else f".{self.statistic.value}"
        refined = f"{self.slices or ''}{suffix}{self.waiver or ''}"
        measured = typed(self.metric)
        if self.function is not None:
            measured = typed(plain_function(self.function))
        elif self.path is not None or self.point is not None:
            measured = typed(self.path or self._named)
        export = "" if self.export is None else f".of({typed(self.export)})"
        return f"mt.{self.subject.value}({measured}{severity}){self.point or ''}{export}{refined}"


@dataclass(frozen=True, eq=False)
class Gate:
    """A measure, a comparison and a bound; ``repr`` is what was typed, ``str`` its short form.

    ``margin`` is how far from the bound it may be on either side, of ``.within(...)``.
    """

    measure: Measure
    comparison: str
    bound: object
    waived: Waiver | None = None
    margin: float | None = None

    def waive(self, *, until: str, reason: str) -> Gate:
        """Expect this gate to fail until the end of a day, with the reason every report shows.

        Once it is over, and as soon as the gate passes, the run is red: a waiver that has
        outlived its reason would hide the next regression.

        Args:
            until: the last day, as ``"2027-01-31"``.
            reason: why it may fail until then.
        """
        return dataclasses.replace(self, waived=Waiver(until, reason))

    @property
    def waiver(self) -> Waiver | None:
        """What allows this gate to fail, if anything does."""
        return self.waived or self.measure.waiver

    @property
    def operator(self) -> Operator:
        """The comparison as an enum member."""
        return Operator(self.comparison)

    @property
    def user_code(self) -> tuple[object, ...]:
        """The user's functions that determine what is measured, that of a slice after its name."""
        slices, function = self.measure.slices, self.measure.function
        own: tuple[object, ...] = () if function is None else (plain_function(function),)
        if isinstance(slices, On):
            return (*own, slices.name, slices.select)
        if isinstance(slices, By) and slices.function is not None:
            return (*own, slices.name, slices.function)
        return own

    @property
    def wants_more(self) -> bool:
        """Whether larger values are on the right side of the bound."""
        return self.operator.wants_more

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with this gate, as ("", text): a gate has no named fields."""
        if not isinstance(self.measure.metric, str) or not self.measure.metric:
            yield "", f"{self!r}: {self.measure.metric!r} is no metric name; write a string"
        elif self.measure.function is not None:
            for text in _function_problems(plain_function(self.measure.function)):
                yield "", f"{self!r}: {text}"
        yield from self._problems_of_point()
        for text in self._problems_of_export():
            yield "", f"{self!r}: {text}"
        if self.operator is Operator.WITHIN:
            for text in self._problems_within():
                yield "", f"{self!r}: {text}"
        elif not isinstance(self.bound, Reference):
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
        for part in (self.measure.slices, self.waiver):
            for text in part.problems() if part else ():
                yield "", f"{self!r}: {text}"
        is_of_flips = str(self.measure.key).endswith(NEGATIVE_FLIPS)
        if is_of_flips and isinstance(self.bound, Reference):
            whom = "accepted run" if self.measure.export is None else "tuned model"
            yield "", f"{self!r}: it is counted against the {whom} already; write a number"
        if self.measure.key == "latency_ratio" and isinstance(self.bound, Reference):
            whose = "accepted" if self.measure.export is None else "tuned"
            yield "", f"{self!r}: it is a ratio to the {whose} model already; write a number"
        is_of_strong = self.measure.subject is Subject.GAIN_OVER
        if is_of_strong and self.measure.metric not in STRONG_BASELINES:
            listed = " or ".join(f'"{name}"' for name in STRONG_BASELINES)
            yield "", f"{self!r}: no baseline {typed(self.measure.metric)}; write {listed}"
        if self.measure.slices and self.measure.subject is not Subject.METRIC:
            yield "", f"{self!r}: only mt.metric(...) is measured on slices"
        if self.measure.slices and self.measure.statistic is Statistic.STD:
            yield "", f"{self!r}: .std of a slice is not judged; write .mean or .worst"
        between = self.measure.slices.between if isinstance(self.measure.slices, By) else None
        if between is not None:
            for text in self._problems_between(between):
                yield "", f"{self!r}: {text}"

    def _problems_within(self) -> Iterator[str]:
        """Yield why a metric cannot be held to be the same as in a recorded run."""
        if not isinstance(self.bound, Reference):
            yield (
                f"{typed(self.bound)} is no recorded run to be the same as; write mt.baseline, mt.previous, "
                "mt.median(n) or mt.other(spec), or two gates, >= and <="
            )
        elif self.bound.operations:
            yield f"the margin says how far it may be from a run; write {self.bound.source.value} alone"
        if not is_finite_number(self.margin) or not self.margin or self.margin < 0:
            yield f"the margin is {typed(self.margin)}; write a number above 0"
        if self.measure.statistic is not Statistic.MEAN:
            yield f".{self.measure.statistic.value} is not compared with that of a run; write .mean"

    def _problems_of_export(self) -> Iterator[str]:
        """Yield why an export cannot be held to this, or the tuned model not to itself."""
        measure, bound = self.measure, self.bound
        is_of_tuned = isinstance(bound, Reference) and bound.source is Source.TUNED
        if measure.export is None:
            if is_of_tuned:
                yield (
                    'mt.tuned is this run\'s own model; name an export, mt.metric(...).of("lite"), or write '
                    "mt.baseline"
                )
            return
        if not isinstance(measure.export, str) or not measure.export:
            yield f'.of({typed(measure.export)}): write the name of an export, such as .of("lite")'
        if isinstance(bound, Reference) and not is_of_tuned:
            yield (
                f"an export is held to a number or to mt.tuned, the model it is made of; hold that one to "
                f"{bound!r}, in a gate without .of"
            )
        if measure.subject is not Subject.METRIC:
            yield f"{measure.subject.value} is not measured of an export; only mt.metric(...) is"
        elif measure.metric in OF_NO_EXPORT:
            yield f"{measure.metric} is not measured of an export: {OF_NO_EXPORT[measure.metric]}"
        if measure.statistic is not Statistic.MEAN:
            yield f".{measure.statistic.value} is over refits, and one model is exported; leave it out"

    def _problems_of_point(self) -> Iterator[Problem]:
        """Yield why a metric cannot be computed at the point that is asked for."""
        point = self.measure.point
        if point is None or not isinstance(self.measure.metric, str):
            return
        if self.measure.subject is not Subject.METRIC:
            yield "", f"{self!r}: only mt.metric(...) is computed at a point"
        name = "" if self.measure.function is not None else self.measure.metric
        for text in point.problems(name.removesuffix(str(point))):
            yield "", f"{self!r}: {text}"

    def _problems_between(self, between: Between) -> Iterator[str]:
        """Yield why a gap or a ratio between groups cannot be held to this bound."""
        wanted = Operator.AT_LEAST if between is Between.RATIO else Operator.AT_MOST
        if self.operator.wants_more is not wanted.wants_more:
            yield f"groups are alike where their {between.value} is on the other side; write {wanted.value}"
        if self.measure.statistic is Statistic.WORST:
            yield f".worst of a {between.value} between groups is not judged; write .mean"
        if isinstance(self.bound, Reference):
            yield (
                f"a {between.value} between groups is held to a number; to hold each group to "
                f"{self.bound!r}, leave out .{between.value}"
            )
        elif is_finite_number(self.bound):
            most = 1.0 if between is Between.RATIO else math.inf
            if not 0 <= self.bound <= most:
                yield f"no {between.value} is {self.bound!r}; write a bound of 0 or more" + (
                    ", and at most 1" if between is Between.RATIO else ""
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
        if self.operator is Operator.WITHIN:
            return f"{self.measure} within {typed(self.margin)} of {self.bound!r}"
        return f"{self.measure} {self.comparison} {self.bound!r}"

    def __repr__(self) -> str:
        text = f"{self.measure!r} {self.comparison} {typed(self.bound)}"
        if self.operator is Operator.WITHIN:
            text = f"{self.measure!r}.within({typed(self.bound)}, {typed(self.margin)})"
            return f"{text}{self.waived or ''}"
        return f"({text}){self.waived!r}" if self.waived else text


def metric(name: str | Callable[..., Any], *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure a metric on the test part, by the name ``model.evaluate`` gives it, or by a function.

    Besides the compiled metrics and ``loss`` there are ``parameters`` and the usual numbers of the
    model's task, whatever it was compiled with. A compiled metric of the same name comes first.
    That of one of several outputs is named ``"price/mae"``, or ``"price_mae"`` as Keras logs it.
    ``negative_flips`` is the share of test samples that the kept model of the accepted run has right and
    this run's has wrong, whatever the means are.

    - Two classes or more: ``precision``, ``recall`` and ``f1`` (macro averages), ``roc_auc``,
      ``average_precision``, ``log_loss``, ``brier``, ``ece`` (15 bins of equal width),
      ``balanced_accuracy``, ``mcc``, ``false_positive_rate``, ``specificity``, and ``top_5`` or any
      other k.
    - Labels that do not exclude each other: the first three, ``roc_auc`` and
      ``average_precision``, macro averages, and each as ``roc_auc_micro`` of all labels together.
    - Numbers: ``mae``, ``mse``, ``rmse``, ``r2``, ``explained_variance``, ``median_ae``, quantiles
      of the error (predicted minus true) and of its size, ``error_q05`` and ``ae_q90`` or any
      other two digits; ``coverage`` where several quantiles are predicted for one number.

    A function is called with ``(y_true, y_pred)``, arrays with an entry per test sample, and gives
    one number, or one per sample whose mean is the metric. ``y_pred`` is what the model predicts:
    probabilities (of a model with logits those that they stand for) of shape (n,) for class 1 or
    (n, k), or numbers. ``y_true`` are classes (n,), labels (n, k) as 0 and 1, or numbers. Several
    outputs come as dicts by name. Functions of scikit-learn work as they are: those that
    take labels get the predicted ones, with options by ``functools.partial``. Its values are
    recorded under the function's name.
    """
    if isinstance(name, str) or not callable(name):
        return _of_name(Subject.METRIC, name, severity)
    return Measure(Subject.METRIC, _recorded_name(name), severity=severity, function=name)


def gap(name: str, *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure train minus test of a metric, both evaluated on the final weights."""
    return _of_name(Subject.GAP, name, severity)


def gain_over_dummy(name: str, *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure the part of the way from a dummy to a perfect model that this model went.

    ``(score - dummy) / (perfect - dummy)`` on the test part: 0 is the dummy (class
    shares or target mean of train as constant prediction), 1 is perfect.
    """
    return _of_name(Subject.GAIN_OVER_DUMMY, name, severity)


def gain_over(name: str, *, severity: Severity | str = Severity.FAIL) -> Measure:
    """Measure how much better this model is than a strong one of scikit-learn that nobody tuned.

    It is the share of right test samples minus the other's, of numbers R2 minus the other's: 0 where both
    are as good, below 0 where the other is better. The other is fitted to train with every refit, in
    seconds: to at most 20 000 rows and two million numbers, drawn from more; images as their pixels,
    categories one-hot.

    Args:
        name: ``"hist_gradient_boosting"`` (100 rounds) or ``"knn"`` (5 neighbours, inputs scaled).
        severity: ``"fail"`` or ``"warn"``.
    """
    return Measure(Subject.GAIN_OVER, name, severity=severity)


def _of_name(subject: Subject, name: str, severity: Severity | str) -> Measure:
    """Measure a metric by its name, or as "price/mae" by that of its output and its own."""
    parts = name.split("/") if isinstance(name, str) else []
    if len(parts) != 2 or not all(parts):
        return Measure(subject, name, severity=severity)
    return Measure(subject, "_".join(parts), severity=severity, path=name)


def _recorded_name(function: Any) -> str:
    """Return the name under which a function's values are recorded, with its options."""
    if isinstance(function, functools.partial):
        options = [*map(typed, function.args)]
        options += [f"{name}={typed(value)}" for name, value in function.keywords.items()]
        return f"{_recorded_name(function.func)}({', '.join(options)})"
    return str(getattr(function, "__name__", type(function).__name__))


def _function_problems(function: Any) -> Iterator[str]:
    """Yield why a function is no metric, as far as its name and its arguments tell."""
    if "<lambda>" in _recorded_name(function):
        yield "its values are recorded under its name, and a lambda has none; write a def"
    yield from call_problems(function)


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _severity(value: Severity | str) -> Severity | None:
    try:
        return Severity(value)
    except ValueError:
        return None


def _value(severity: Severity | str) -> str:
    return typed(severity.value if isinstance(severity, Severity) else severity)
