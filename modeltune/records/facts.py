"""What a gate or check demands, as values: reports, trackers and programs read these, not its text."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from modeltune.ground import Word
from modeltune.specs import (
    NEGATIVE_FLIPS,
    RESOURCES,
    Behaviour,
    Between,
    By,
    Gate,
    Kind,
    On,
    Operator,
    PerClass,
    Reference,
    Severity,
    Source,
    Statistic,
    Subject,
    Waiver,
)


class Quantity(Word):
    """What kind of number a gate holds."""

    METRIC = "metric"
    """A metric on the test part."""
    GAP = "gap"
    """The metric on train minus the same on test."""
    GAIN_OVER_DUMMY = "gain_over_dummy"
    """The part of the way from a dummy to a perfect model that this model went."""
    GAIN_OVER = "gain_over"
    """How much better the model is than a strong one of scikit-learn; the metric is that one's name."""
    RESOURCE = "resource"
    """What the model takes: parameters, bytes, time."""


class Area(Word):
    """What a check looks at."""

    DATA = "data"
    SEARCH = "search"
    MODEL = "model"
    GATES = "gates"


@dataclass(frozen=True)
class SliceRule:
    """The part of the test samples a gate judges: the slice of this name, each class when None.

    Where it ``is_grouped`` each group is judged that has a value of this name, or what is ``between``
    them. A slice, class or group of fewer than ``min_n`` samples is inconclusive.
    """

    name: str | None
    min_n: int
    is_grouped: bool = False
    between: Between | None = None


@dataclass(frozen=True)
class ReferenceFacts:
    """The recorded runs a bound is taken from, and the margin that was typed with them.

    The bound is ``value + (factor - 1) * |value| + offset`` of what these runs measured. Both are
    None when more was typed than one factor followed by one offset; the gate's text has it all.

    Args:
        source: which runs.
        runs: of how many a median is taken.
        factor: what was multiplied by, 1 when nothing was.
        offset: what was added, 0 when nothing was.
        other: the address of the other spec whose run is meant, None of the spec's own.
    """

    source: Source
    runs: int | None = None
    factor: float | None = 1.0
    offset: float | None = 0.0
    other: str | None = None


@dataclass(frozen=True)
class MetricFacts:
    """What a gate on a number demands.

    Args:
        quantity, metric: which number, the metric by its name without the quantity's.
        output: the model's output it is measured on, None of a single one or when not known.
        statistic: which number of the values over refits.
        comparison: on which side of the bound it has to be.
        bound: the number that was typed, None when recorded runs give it.
        reference: the recorded runs that give the bound.
        margin: how far from the bound it may be on either side, where it has to be the same.
        slices: the part of the test samples, None when all count.
        severity: what a value on the wrong side does to the run.
        waiver: what allows the gate to fail.
        export: the name of the export it is measured of, None of the tuned model.
    """

    KIND: ClassVar[str] = "metric"

    quantity: Quantity
    metric: str
    comparison: Operator
    bound: float | None = None
    reference: ReferenceFacts | None = None
    output: str | None = None
    statistic: Statistic = Statistic.MEAN
    slices: SliceRule | None = None
    severity: Severity = Severity.FAIL
    waiver: Waiver | None = None
    margin: float | None = None
    export: str | None = None

    @property
    def key(self) -> str:
        """The name its values are recorded under: ``accuracy``, ``gap(accuracy)``."""
        is_named = self.quantity in (Quantity.METRIC, Quantity.RESOURCE)
        return self.metric if is_named else f"{self.quantity.value}({self.metric})"

    @property
    def needs_baseline(self) -> bool:
        """Whether it is measured beside, or held against, the accepted run."""
        if self.export is not None:
            return False
        is_referred = self.reference is not None and self.reference.source is Source.BASELINE
        return is_referred or self.key == "latency_ratio" or self.key.endswith(NEGATIVE_FLIPS)


@dataclass(frozen=True)
class BehaviourFacts:
    """What a gate on single predictions demands.

    Args:
        behaviour: an invariance, a direction, cases or a relation.
        key: what its counter-examples are kept under.
        demand: its text without a waiver, by which a probe of it is found again.
        output: the model's output that is meant, None of a single one.
        max_violation: the share of violations allowed, None when none is.
        severity: what a violation does to the run.
        waiver: what allows the gate to fail.
    """

    KIND: ClassVar[str] = "behaviour"

    behaviour: Kind
    key: str
    demand: str
    output: str | None = None
    max_violation: float | None = None
    severity: Severity = Severity.FAIL
    waiver: Waiver | None = None


@dataclass(frozen=True)
class CheckFacts:
    """What a check that no gate asks for looks at; ``severity`` is None where a spec cannot say it."""

    KIND: ClassVar[str] = "check"

    area: Area
    name: str
    severity: Severity | None = None


Facts: TypeAlias = MetricFacts | BehaviourFacts | CheckFacts


def facts_of(gate: Gate | Behaviour, outputs: Collection[str] = ()) -> Facts:
    """Return what a gate demands; ``outputs`` are the model's, by which metrics' names begin."""
    if isinstance(gate, Behaviour):
        return BehaviourFacts(
            behaviour=gate.kind,
            key=gate.key,
            demand=gate.demand,
            output=gate.output,
            max_violation=gate.max_violation,
            severity=gate.severity,
            waiver=gate.waiver,
        )
    measure, slices = gate.measure, gate.measure.slices
    is_resource = measure.subject is Subject.METRIC and measure.metric in RESOURCES
    named = [name for name in outputs if name and measure.metric.startswith(f"{name}_")]
    return MetricFacts(
        quantity=Quantity.RESOURCE if is_resource else Quantity(measure.subject.value),
        metric=measure.metric,
        comparison=gate.operator,
        bound=None if isinstance(gate.bound, Reference) else gate.bound,  # type: ignore[arg-type]
        reference=_reference_facts(gate.bound) if isinstance(gate.bound, Reference) else None,
        output=max(named, key=len, default=None),
        statistic=measure.statistic,
        slices=None if slices is None else _slice_rule(slices),
        severity=gate.severity,
        waiver=gate.waiver,
        margin=gate.margin,
        export=measure.export,
    )


def _slice_rule(slices: PerClass | On | By) -> SliceRule:
    if isinstance(slices, By):
        return SliceRule(slices.name, slices.min_n, True, slices.between)
    return SliceRule(slices.name if isinstance(slices, On) else None, slices.min_n)


def _reference_facts(reference: Reference) -> ReferenceFacts:
    symbols = "".join(symbol for symbol, _ in reference.operations)
    other = None if reference.other is None else reference.other.id
    if symbols not in ("", "*", "+", "-", "*+", "*-"):
        return ReferenceFacts(reference.source, reference.runs, None, None, other)
    numbers = dict(reference.operations)
    offset = -numbers["-"] if "-" in numbers else numbers.get("+", 0.0)
    return ReferenceFacts(reference.source, reference.runs, numbers.get("*", 1.0), offset, other)
