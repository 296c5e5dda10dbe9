"""Verdicts: what each gate and check came to, and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from modeltune.ground import Word, in_a_line, later
from modeltune.records.check_codes import CHECK_AREAS, number_of, section_of
from modeltune.records.check_details import CheckDetails
from modeltune.records.drops import Drop
from modeltune.records.facts import Area, CheckFacts, Facts, MetricFacts
from modeltune.records.families import Family
from modeltune.records.probes import Probe
from modeltune.specs import Severity


class Outcome(Word):
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
        plain_function = (Outcome.NO_BASELINE, Outcome.INCONCLUSIVE)
        return self in (Outcome.FAILED, Outcome.INVALID, Outcome.ERROR) or (
            strict and self in plain_function
        )


class Question(Word):
    """What a comparison is about: the one model that was trained, or the way it is trained."""

    ARTIFACT = "artifact"
    """Is this artifact worse? Both are judged on the same test samples."""

    RECIPE = "recipe"
    """Is this recipe worse? Both are trained under several seeds."""

    RECIPE_ON_NEW_DATA = "recipe_on_new_data"
    """Is this recipe worse for new data and new seeds? Both are trained under several, and judged on the same samples."""

    def asked(self, claim: str) -> str:
        """Return the question in words; a claim is what is asked: "worse", "the same"."""
        if self is Question.RECIPE_ON_NEW_DATA:
            return f"is this recipe {claim} for new data and new seeds"
        return f"is this {self.value} {claim}"


class Unit(Word):
    """What a comparison counts as its evidence."""

    SAMPLES = "samples"
    GROUPS = "groups"
    BLOCKS = "blocks"
    SEEDS = "seeds"
    FOLDS = "folds"


@dataclass(frozen=True)
class Regression:
    """A comparison with a recorded run, with everything it takes to redo it.

    *Better is positive*: a delta of -0.02 is a drop of 0.02, in the metric's own unit.

    Args:
        question, test: what was asked, and the statistical test's name.
        n, unit: how much evidence there was: the common test samples, their
            groups or blocks in time, or this run's seeds.
        reference: the id of the run compared with.
        reference_value: what that run measured, by the same refits or samples.
        reference_refits: how many refits it has.
        rescored: whether its kept model was scored on today's data.
        delta: how much better this run is; ``interval`` holds it at confidence 1 - 2 alpha.
        margin: the drop that is allowed, negative where an improvement is demanded.
        p, p_adjusted: of "not worse", and the same with Holm's correction over the spec's gates.
        alpha: how often the gate may fail by chance.
        settle: how many of these would decide, were the truth as observed.
        detectable: the smallest drop the gate can detect.
        settle_unit: what ``settle`` counts, None where it is the unit.
        samples, sample_unit: how many common test samples (groups, blocks) there were beside the seeds, and
            what they are; None where only one of both was looked at.
        p_on_new_data: as ``p``, for new data and new seeds, whichever question decided; None where that
            could not be asked.
        level: what ``p_adjusted`` is held against for a failure, None where that is alpha.
        family: the specs that share the error rate, None where it is the spec's own.
        look: how often the spec was judged against the same baseline, this time included; None
            where its error rate holds for each time alone.
        drop: what explains it, of a gate that is red.
    """

    KIND: ClassVar[str] = "regression"

    question: Question
    test: str
    n: int
    unit: Unit
    reference: str
    reference_value: float
    reference_refits: int
    rescored: bool
    delta: float
    margin: float
    p: float
    p_adjusted: float
    interval: tuple[float, float]
    alpha: float
    settle: int | None = None
    detectable: float | None = None
    settle_unit: Unit | None = None
    samples: int | None = None
    sample_unit: Unit | None = None
    p_on_new_data: float | None = None
    level: float | None = None
    family: Family | None = None
    look: int | None = None
    drop: Drop | None = None


@dataclass(frozen=True)
class SliceResult:
    """What a gate came to on one slice.

    Args:
        slice: its name as reports show it: ``class 7``, ``slice "dark"``, ``region "south"``.
        n: how many test samples it has.
        outcome, measured, bound, reason: as of a verdict.
        label: the class, None of a named slice.
        regression: the comparison with a recorded run, where one was made.
        group: the value of a group's samples, None of a slice or class.
    """

    slice: str
    n: int
    outcome: Outcome
    measured: float | None
    bound: float | None
    reason: str
    label: int | None = None
    regression: Regression | None = None
    group: str | None = None


@dataclass(frozen=True)
class BetweenGroups:
    """How far the values of groups are apart, by a test that knows it takes the largest of all pairs.

    Args:
        lowest, highest: the groups of the smallest and the largest value.
        groups: how many were compared, those that are large enough.
        p: the chance of such a distance beyond the bound in some pair, were all within it.
        alpha: how often the gate may fail by chance.
        settle: how many samples in each of the two would decide, were the truth as measured.
    """

    lowest: str
    highest: str
    groups: int
    p: float
    alpha: float
    settle: int | None = None


@dataclass(frozen=True)
class SliceResults:
    """What a gate came to on every slice, the worst first: its verdict is the gate's.

    ``between`` is there where what is between groups was judged, and not each of them, ``drop`` what
    explains a red comparison with a recorded run.
    """

    KIND: ClassVar[str] = "slices"

    slices: tuple[SliceResult, ...]
    between: BetweenGroups | None = None
    drop: Drop | None = None


@dataclass(frozen=True)
class MeasuredInterval:
    """The confidence interval of a number that was measured several times, such as a time.

    ``drop`` explains a red comparison with a recorded run.
    """

    KIND: ClassVar[str] = "interval"

    low: float
    high: float
    confidence: float
    drop: Drop | None = None


@dataclass(frozen=True)
class BehaviourResult:
    """What was tried on the model's behaviour.

    ``low`` and ``high`` are the one-sided 95 % bounds of the share of violations, None where
    the gate allows none.
    """

    KIND: ClassVar[str] = "behaviour"

    probe: Probe
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class RaisedError:
    """What a metric of the author's raised, from its own code down."""

    KIND: ClassVar[str] = "raised"

    traceback: str


Details: TypeAlias = (
    Regression
    | SliceResults
    | MeasuredInterval
    | BehaviourResult
    | RaisedError
    | Drop
    | CheckDetails
)


@dataclass(frozen=True)
class Verdict:
    """One gate's or check's outcome, with the numbers behind it.

    Args:
        gate: as it was typed, for display; of a check its name.
        measured, bound: None when unknown.
        reason: why, in words.
        facts: what the gate demands, None of an old record whose text does not say it.
        details: what else there is to show, by the kind of gate or check.
    """

    gate: str
    outcome: Outcome
    measured: float | None
    bound: float | None
    reason: str
    facts: Facts | None = None
    details: Details | None = None

    def __repr__(self) -> str:
        return f"<Verdict {self._gate_and_numbers()}>"

    def __str__(self) -> str:
        return f"{self._gate_and_numbers()}: {in_a_line(self.explanation, 300)}"

    def _repr_html_(self) -> str:
        html: str = later("reports", "verdict_view")(self)
        return html

    def _gate_and_numbers(self) -> str:
        # As many digits as tell 0.949999 from 0.95.
        measured = "" if self.measured is None else f", measured {self.measured:.10g}"
        return f"{self.outcome.value}: {in_a_line(self.gate, 160)}{measured}"

    @property
    def section(self) -> str | None:
        """Where a check that did not pass is explained, None of all others."""
        return None if self.outcome is Outcome.PASSED else section_of(self.gate)

    @property
    def explanation(self) -> str:
        """The reason; of a check that did not pass also the section of the page that explains it."""
        if self.section is None:
            return self.reason
        return f"{self.reason} ({number_of(self.gate)}: {self.section})"

    @property
    def is_incomparable(self) -> bool:
        """Whether the gate is invalid for the baseline's sake, which a new baseline would end."""
        is_of_baseline = isinstance(self.facts, MetricFacts) and self.facts.needs_baseline
        return self.outcome is Outcome.INVALID and is_of_baseline

    @property
    def regression(self) -> Regression | None:
        """The comparison with a recorded run that decided, None where none was made."""
        if isinstance(self.details, SliceResults):
            return self.details.slices[0].regression if self.details.slices else None
        return self.details if isinstance(self.details, Regression) else None

    @property
    def regressions(self) -> tuple[Regression, ...]:
        """Every comparison with a recorded run, one for each slice that was compared."""
        if isinstance(self.details, SliceResults):
            return tuple(p.regression for p in self.details.slices if p.regression is not None)
        return (self.details,) if isinstance(self.details, Regression) else ()

    @property
    def drop(self) -> Drop | None:
        """What explains a red comparison with a recorded run, None of any other verdict."""
        if isinstance(self.details, Regression | SliceResults | MeasuredInterval):
            return self.details.drop
        return self.details if isinstance(self.details, Drop) else None

    def with_drop(self, drop: Drop) -> Verdict:
        """Return the verdict with what explains it, beside the details it has."""
        if isinstance(self.details, Regression | SliceResults | MeasuredInterval):
            return replace(self, details=replace(self.details, drop=drop))
        return self if self.details is not None else replace(self, details=drop)


def without_samples(verdict: Verdict) -> Verdict:
    """Return a verdict without the test sample that it shows: a counter-example is known by its row."""
    details = verdict.details
    if not isinstance(details, BehaviourResult) or details.probe.counterexample is None:
        return verdict
    counterexample = replace(details.probe.counterexample, shown=())
    probe = replace(details.probe, counterexample=counterexample)
    return replace(verdict, details=replace(details, probe=probe))


def check_verdict(
    area: Area,
    name: str,
    outcome: Outcome,
    measured: float | None,
    bound: float | None,
    reason: str,
    details: CheckDetails | None = None,
    *,
    severity: Severity | None = None,
) -> Verdict:
    """Return the verdict of a check that no gate asks for.

    Raises:
        ValueError: no page explains a check of this code.
    """
    if CHECK_AREAS.get(name) is not area:
        raise ValueError(f"{name} is no check of the {area.value}; add it to CHECK_AREAS")
    facts = CheckFacts(area, name, severity)
    return Verdict(name, outcome, measured, bound, reason, facts, details)
