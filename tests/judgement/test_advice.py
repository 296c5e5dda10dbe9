"""Advice names gates that have fallen behind, and says nothing of those that have not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

import modeltune as mt
from modeltune.judgement.advice import ENOUGH, STALE_DAYS, advise
from modeltune.records.past import Past
from modeltune.records.runs import Durations, RunStatus, Scores, Summary
from modeltune.records.verdicts import Outcome, Regression
from modeltune.specs.gates import Gate
from tests.support.verdicts import regression, verdict_on

TODAY = date(2026, 11, 21)
ACCURACIES = (0.951, 0.955, 0.953, 0.958, 0.952, 0.956)


def summaries(metric: str, means: Sequence[float], noise: float = 0.002) -> list[Summary]:
    return [
        Summary(
            seq=number,
            id=f"{number}",
            created="2026-11-20T00:00:00+00:00",
            spec="spec_a.py::mlp",
            file="spec_a.py",
            status=RunStatus.PASSED,
            objective="maximize val_accuracy",
            best_score=None,
            durations=Durations(),
            git_revision=None,
            git_dirty=None,
            error=None,
            cached=False,
            fingerprints={},
            scores={metric: Scores((mean - noise, mean, mean + noise))},
        )
        for number, mean in enumerate(means)
    ]


def advice(
    gate: Gate,
    recent: Sequence[Summary] = (),
    accepted: Past | None = None,
    details: Regression | None = None,
) -> tuple[str, ...]:
    verdict = verdict_on(gate, Outcome.INCONCLUSIVE, 0.95, 0.94, details=details)
    return advise([gate], [verdict], recent, accepted, TODAY)


def test_a_bound_far_below_the_last_runs_is_named_with_one_that_would_have_held() -> None:
    (text,) = advice(mt.metric("accuracy") >= 0.8, summaries("accuracy", ACCURACIES))
    assert text == (
        'mt.metric("accuracy") >= 0.8 is far from what is measured: 0.951 to 0.958 in the last 6 '
        "runs; >= 0.935 would have passed them all"
    )


@pytest.mark.parametrize(
    ("gate", "metric", "means"),
    [
        (mt.metric("accuracy") >= 0.93, "accuracy", ACCURACIES),
        (mt.metric("accuracy") >= 0.8, "accuracy", ACCURACIES[: ENOUGH - 1]),
        (mt.metric("accuracy") >= 0.8, "accuracy", (0.81, 0.95, 0.88, 0.99, 0.84)),
        (mt.metric("accuracy").std <= 0.9, "accuracy", ACCURACIES),
        (mt.metric("f1") >= 0.1, "accuracy", ACCURACIES),
        (mt.metric("parameters") <= 50_000, "parameters", (48_000.0,) * 6),
    ],
    ids=["close", "few runs", "noisy", "a deviation", "not measured", "a count"],
)
def test_a_bound_that_fits_is_left_alone(gate: Gate, metric: str, means: Sequence[float]) -> None:
    assert advice(gate, summaries(metric, means)) == ()


def test_a_bound_far_above_a_loss_is_named() -> None:
    (text,) = advice(mt.metric("loss") <= 5.0, summaries("loss", (0.21, 0.2, 0.22, 0.19, 0.2)))
    assert "0.19 to 0.22" in text
    assert "<= 0.699 would have passed" in text


def test_a_suggested_bound_would_have_passed_every_run() -> None:
    for bound in (-3.0, 0.0, 0.2, 0.5):
        texts = advice(mt.metric("accuracy") >= bound, summaries("accuracy", ACCURACIES))
        for text in texts:
            suggested = float(text.partition("; >= ")[2].split()[0])
            assert bound < suggested <= min(ACCURACIES)


def test_a_gate_that_cannot_see_its_margin_is_named() -> None:
    gate = mt.metric("accuracy") >= mt.baseline - 0.01
    regressed = regression(margin=0.01, detectable=0.05, n=200)
    (text,) = advice(gate, details=regressed)
    assert "detects only drops of 0.05 or more with the 200 test samples there are" in text
    assert advice(gate, details=replace(regressed, detectable=0.015)) == ()
    assert "no drop at all" in advice(gate, details=replace(regressed, detectable=None))[0]


def accepted(mean: float, day: str) -> Past:
    return Past("0a1b2c3d", "the accepted run", {"accuracy": Scores((mean,))}, accepted=day)


def test_an_old_baseline_is_named() -> None:
    gate = mt.metric("accuracy") >= mt.baseline - 0.01
    (text,) = advice(gate, accepted=accepted(0.95, "2025-01-01T00:00:00+00:00"))
    assert "accepted 689 days ago" in text
    assert STALE_DAYS < 689
    assert advice(gate, accepted=accepted(0.95, "2026-11-01T00:00:00+00:00")) == ()


def test_a_baseline_that_every_run_has_left_behind_is_named() -> None:
    gate = mt.metric("accuracy") >= mt.baseline - 0.01
    recent = summaries("accuracy", ACCURACIES)
    (text,) = advice(gate, recent, accepted(0.90, "2026-11-01T00:00:00+00:00"))
    assert "all of the last 6 runs are better than the baseline in accuracy, by 0.051" in text
    assert advice(gate, recent, accepted(0.949, "2026-11-01T00:00:00+00:00")) == ()
