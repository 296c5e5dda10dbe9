"""Verdicts for tests: on a gate as an author types it, with a comparison where one is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from modeltune.records.facts import facts_of
from modeltune.records.probes import Counterexample, InputChange, Probe
from modeltune.records.verdicts import (
    BehaviourResult,
    Details,
    Outcome,
    Question,
    Regression,
    Unit,
    Verdict,
)
from modeltune.specs.behaviours import Behaviour
from modeltune.specs.gates import Gate

T = TypeVar("T")


def verdict_on(
    gate: Gate | Behaviour,
    outcome: Outcome = Outcome.PASSED,
    measured: float | None = None,
    bound: float | None = None,
    reason: str = "",
    details: Details | None = None,
) -> Verdict:
    """Return a verdict on a gate, with its facts."""
    return Verdict(repr(gate), outcome, measured, bound, reason, facts_of(gate), details)


def regression(**fields: Any) -> Regression:
    """Return a comparison on 200 samples that came to a drop of 0.01, or with these fields."""
    usual = Regression(
        question=Question.ARTIFACT,
        test="exact McNemar",
        n=200,
        unit=Unit.SAMPLES,
        reference="0a1b",
        reference_value=0.96,
        reference_refits=1,
        rescored=False,
        delta=-0.01,
        margin=0.01,
        p=0.2,
        p_adjusted=0.2,
        interval=(-0.03, 0.01),
        alpha=0.05,
        settle=None,
        detectable=0.05,
    )
    return replace(usual, **fields)


def violation(text: str, *changes: InputChange) -> BehaviourResult:
    """Return what was tried on a behaviour that a counter-example was found against."""
    return BehaviourResult(Probe(1, 1, counterexample=Counterexample(text, shown=changes)))


def details_of(verdict: Verdict, kind: type[T]) -> T:
    """Return a verdict's details, which are of this kind."""
    assert isinstance(verdict.details, kind), verdict
    return verdict.details
