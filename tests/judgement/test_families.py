"""Runs of a session judged together: what fails is what all of them leave, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import modeltune as mt
from modeltune.judgement.allowances import share_of_look
from modeltune.judgement.families import compared_specs, family_of, judge_family, open_gates
from modeltune.records.families import Family, FamilyKind
from modeltune.records.runs import Run, RunStatus
from modeltune.records.verdicts import Outcome, SliceResult, SliceResults, Verdict
from tests.support.histories import DIGITS
from tests.support.verdicts import regression, verdict_on

TODAY = date(2026, 12, 1)
GATE = mt.metric("accuracy") >= mt.baseline - 0.01


def compared(p: float, specs: int = 2, gate: Any = GATE, **fields: Any) -> Verdict:
    """Return the verdict on a drop of 0.05 with this p-value, as it is when its spec ends."""
    outcome = Outcome.FAILED if p <= 0.05 / specs else Outcome.INCONCLUSIVE
    family = Family(FamilyKind.SESSION, specs) if specs > 1 else None
    details = regression(
        **{
            "delta": -0.05,
            "p": p,
            "p_adjusted": p,
            "level": 0.05 / specs,
            "family": family,
            **fields,
        }
    )
    return verdict_on(gate, outcome, 0.91, 0.95, "0.05 worse", details)


def run_of(*verdicts: Verdict, **fields: Any) -> Run:
    red = any(verdict.outcome.is_red() for verdict in verdicts)
    status = RunStatus.FAILED if red else RunStatus.PASSED
    return replace(
        DIGITS, **{"verdicts": verdicts, "checks": (), "status": status, "strict": False, **fields}
    )


def outcomes(*runs: Run, kind: FamilyKind = FamilyKind.SESSION, specs: int | None = None) -> str:
    judged = judge_family(runs, Family(kind, specs or len(runs)), TODAY)
    return ", ".join(f"{run.status}: {run.verdicts[0].outcome}" for run in judged)


def test_what_is_red_alone_is_not_where_the_session_s_specs_leave_it_less() -> None:
    runs = [run_of(compared(0.03)), run_of(compared(0.9))]
    assert outcomes(*runs) == "passed: inconclusive, passed: inconclusive"
    # Judged before as if it were alone, as in a job of its own.
    alone = run_of(compared(0.03, specs=1))
    assert alone.status is RunStatus.FAILED
    (judged, _) = judge_family([alone, runs[1]], Family(FamilyKind.SESSION, 2), TODAY)
    assert (judged.status, judged.verdicts[0].outcome) == (RunStatus.PASSED, Outcome.INCONCLUSIVE)
    assert judged.verdicts[0].reason.endswith(
        "judged with all specs it cannot tell: p = 0.03, and 0.025 or less fails "
        "(2 specs share the session's error rate)"
    )


def test_runs_whose_session_leaves_them_no_more_stay_as_they_were() -> None:
    staged: dict[str, Any] = {"alpha": 0.025, "look": 3, "level": 0.025 * share_of_look(3) / 7}
    runs = (run_of(compared(0.4, specs=7)), run_of(compared(0.9, specs=7, **staged)))
    assert judge_family(runs, Family(FamilyKind.SESSION, 7), TODAY) == runs


def test_what_other_specs_leave_turns_a_gate_red_in_the_end() -> None:
    runs = [run_of(compared(0.001)), run_of(compared(0.03))]
    assert outcomes(*runs) == "failed: failed, failed: failed"
    assert open_gates(runs[0]) == []
    assert open_gates(runs[1]) == ['mt.metric("accuracy") >= mt.baseline - 0.01']
    # A spec that has not ended keeps its share.
    assert outcomes(*runs, specs=3) == "failed: failed, passed: inconclusive"


def test_the_share_of_false_alarms_lets_more_fail_than_the_chance_of_any() -> None:
    runs = [run_of(compared(p, specs=4)) for p in (0.02, 0.024, 0.03, 0.9)]
    assert outcomes(*runs).count("failed: failed") == 0
    assert outcomes(*runs, kind=FamilyKind.FDR).count("failed: failed") == 3


def test_a_drop_within_the_margin_neither_fails_nor_spends_anything() -> None:
    within = compared(0.001, delta=-0.005)
    within = replace(within, outcome=Outcome.INCONCLUSIVE)
    assert outcomes(run_of(within), run_of(compared(0.03))) == (
        "passed: inconclusive, passed: inconclusive"
    )


def test_severity_and_waiver_hold_for_what_fails_in_the_end() -> None:
    first = run_of(compared(0.001))
    warning = mt.metric("accuracy", severity="warn") >= mt.baseline - 0.01
    waived = GATE.waive(until="2027-01-01", reason="known")
    assert outcomes(first, run_of(compared(0.03, gate=warning))).endswith("passed: warned")
    assert outcomes(first, run_of(compared(0.03, gate=waived))).endswith("passed: waived")
    over = run_of(
        replace(compared(0.9, gate=waived), outcome=Outcome.FAILED), status=RunStatus.FAILED
    )
    assert outcomes(first, over).endswith("failed: failed")


def test_looks_and_stages_spend_their_part_before_the_session_does() -> None:
    # The second of two stages at the first look: 0.05 / 2 / 2.2858 are left for all specs.
    staged: dict[str, Any] = {"alpha": 0.025, "look": 1}
    assert outcomes(run_of(compared(0.005, **staged)), run_of(compared(0.9))).startswith("failed")
    assert outcomes(run_of(compared(0.0056, **staged)), run_of(compared(0.9))).startswith("passed")


def test_the_worst_slice_is_a_gate_s_verdict_then_too() -> None:
    gate = mt.metric("accuracy").per_class(min_n=30) >= mt.baseline - 0.01
    parts = tuple(
        SliceResult(f"class {label}", 90, v.outcome, 0.91, 0.95, v.reason, label, v.regression)
        for label, v in enumerate([compared(0.9), compared(0.03)])
    )
    verdict = verdict_on(gate, Outcome.INCONCLUSIVE, 0.91, 0.95, "class 0", SliceResults(parts))
    judged = judge_family(
        [run_of(compared(0.001)), run_of(verdict)], Family(FamilyKind.SESSION, 2), TODAY
    )
    (of_slices,) = judged[1].verdicts
    assert of_slices.outcome is Outcome.FAILED
    assert of_slices.reason.endswith("(1 of 2 slices failed)")
    assert isinstance(of_slices.details, SliceResults)
    assert [part.slice for part in of_slices.details.slices] == ["class 1", "class 0"]


def test_the_family_of_a_session_counts_all_specs_that_are_held_against_runs() -> None:
    number = verdict_on(mt.metric("accuracy") >= 0.9)
    runs = [
        run_of(number),
        run_of(verdict_on(GATE, Outcome.NO_BASELINE)),
        run_of(compared(0.5, specs=7)),
    ]
    assert compared_specs(runs) == 2
    assert family_of(runs) == Family(FamilyKind.SESSION, 7)
    assert family_of(runs[:2]) is None
