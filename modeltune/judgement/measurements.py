"""What gates are judged by: everything a run has measured, and one gate's case on one slice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modeltune.judgement.rows import Group, Rows
from modeltune.records import (
    ClassNames,
    Details,
    MetricFacts,
    Outcome,
    Probe,
    References,
    RefitId,
    Scores,
    Verdict,
)
from modeltune.specs import Gate, Statistic

if TYPE_CHECKING:
    from modeltune.judgement.evidence import Evidence
    from modeltune.records import Samples


@dataclass(frozen=True, eq=False)
class Measurements:
    """Everything a run has measured that gates are judged by.

    Args:
        scores: every metric's values over refits.
        refits: their seeds and folds.
        samples: what happened on each test sample, None when that is not known.
        folds: k when the refits are folds, None when they differ in their seeds only.
        intervals: by metric a value with its 90 % confidence interval (value, low, high).
        unmeasured: by metric why there is no value, as outcome and words.
        tracebacks: by metric that of what a function of the author's raised.
        probes: by a behaviour gate's ``demand`` what was tried and what came out.
        class_names: by output, "" for the only one, what its classes are called.
        exports: by the name of each export what was measured of it, or why nothing was.
    """

    scores: Mapping[str, Scores]
    refits: tuple[RefitId, ...] = ()
    samples: Samples | None = None
    folds: int | None = None
    intervals: Mapping[str, tuple[float, float, float]] | None = None
    unmeasured: Mapping[str, tuple[Outcome, str]] | None = None
    tracebacks: Mapping[str, str] | None = None
    probes: Mapping[str, Probe] | None = None
    class_names: object = None
    exports: Mapping[str, Measurements | str] = field(default_factory=dict)

    @property
    def outputs(self) -> list[str]:
        """The names of the model's outputs as far as the samples tell; none of a single output."""
        truth = self.samples.truth if self.samples else ()
        return [prefix.removesuffix("_") for prefix in truth if prefix]


@dataclass(frozen=True)
class Slice:
    """A part of the test samples: those of a class, of a named slice, or of a group.

    Args:
        rows: which.
        size: how many samples it has.
        min_n: how many it takes to judge it.
        class_names: what the classes of its output are called.
    """

    rows: Rows
    size: int
    min_n: int
    class_names: ClassNames = field(default_factory=ClassNames, compare=False)

    @property
    def name(self) -> str:
        """What reports call it."""
        if isinstance(self.rows, Group):
            return str(self.rows)
        if isinstance(self.rows, str):
            return f'slice "{self.rows}"'
        return f"class {self.class_names.label(self.rows)}"


@dataclass(frozen=True, eq=False)
class Case:
    """A gate on one slice of the test samples, or on all, and what it is judged by.

    Args:
        gate, facts: the gate, as declared and as values.
        measured: what this run measured.
        references: the runs that bounds name.
        slice: the part of the test samples, None when all count.
    """

    gate: Gate
    facts: MetricFacts
    measured: Measurements
    references: References
    slice: Slice | None = None

    @property
    def key(self) -> str:
        """The name the values are recorded under."""
        return self.facts.key

    @property
    def bound(self) -> float | None:
        """The bound where it is a number."""
        return None if self.facts.bound is None else float(self.facts.bound)

    @property
    def rows(self) -> Rows | None:
        """The slice's name, the class or the group, None when all samples count."""
        return None if self.slice is None else self.slice.rows

    def on(self, part: Slice) -> Case:
        """Return the gate's case on a slice."""
        return replace(self, slice=part)

    def evidence(self) -> Evidence:
        """Return what this run left of its refits on the case's samples."""
        from modeltune.judgement.evidence import Evidence  # NumPy, which few gates need

        measured, function = self.measured, self.gate.measure.function
        whole = Evidence(dict(measured.scores), measured.refits, measured.samples, None, function)
        return whole.on(self.rows)

    def statistic(self, values: tuple[float, ...]) -> float | None:
        """Return the number that is judged of these values over refits, None when undefined."""
        scores = Scores(values)
        if self.facts.statistic is Statistic.MEAN:
            return scores.mean
        if self.facts.statistic is Statistic.STD:
            return scores.std
        if not scores.is_finite:
            return math.nan
        return min(values) if self.facts.comparison.wants_more else max(values)

    def verdict(
        self,
        outcome: Outcome,
        measured: float | None,
        bound: float | None,
        reason: str,
        details: Details | None = None,
    ) -> Verdict:
        """Return a verdict on the gate."""
        return Verdict(repr(self.gate), outcome, measured, bound, reason, self.facts, details)
