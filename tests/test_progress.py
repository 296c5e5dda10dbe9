"""A user reads what happens while it happens: each event's lines, whole."""

from __future__ import annotations

import pytest
from sample_runs import DIGITS

import modeltune as mt
from modeltune.events import (
    Event,
    Note,
    RefitFinished,
    RunRecorded,
    SearchStarted,
    TrialFinished,
    ValidationStarted,
)
from modeltune.reports.progress import duration, lines
from modeltune.runs import Trial, TrialStatus
from modeltune.validations import Refit


def trial(
    id: int, score: float | None, parent: int | None = None, reason: str | None = None
) -> Trial:
    status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    return Trial(id, status, {}, score, reason, 2, 0, parent, 1, 1.0, 0, {}, "graph")


BEST = trial(1, 0.9612)
HYPERBAND = mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            SearchStarted("spec_a.py::mlp", mt.RandomSearch(mt.minimize("val_loss"), max_trials=8)),
            ["spec_a.py::mlp: RandomSearch, up to 8 trials, min val_loss"],
        ),
        (
            SearchStarted("spec_a.py::mlp", mt.GridSearch(mt.minimize("val_loss"))),
            ["spec_a.py::mlp: GridSearch, every combination once, min val_loss"],
        ),
        (
            TrialFinished(BEST, BEST, 8, seconds=2.0),
            ["  trial 1/8: 0.9612 in 2 epochs, best 0.9612 (trial 1), 14s left"],
        ),
        (
            TrialFinished(trial(8, 0.5), BEST, 8, seconds=2.0),
            ["  trial 8/8: 0.5 in 2 epochs, best 0.9612 (trial 1)"],
        ),
        (
            TrialFinished(trial(3, 1.5e-7, parent=1), BEST, None, seconds=2.0),
            ["  trial 3: 1.5e-07 in 2 epochs (continues trial 1), best 0.9612 (trial 1)"],
        ),
        (
            TrialFinished(trial(1, None, reason="ValueError: no\n\x1b[31mroom"), None, 2, seconds=1.0),
            ["  trial 1/2: failed: ValueError: no [31mroom, 1.0s left"],
        ),
        (
            ValidationStarted(mt.Holdout(seeds=1), 1),
            ["  validating the best values: 1 refit of 1 epoch"],
        ),
        (
            ValidationStarted(mt.KFold(k=4), 30),
            ["  validating the best values: 4 refits of 30 epochs"],
        ),
        (
            RefitFinished(Refit(0), 1, 3, "accuracy", 0.95, seconds=0.25),
            ["  refit 1/3 (seed 0): accuracy 0.95 on test, 0.2s"],
        ),
        (
            RefitFinished(Refit(0, fold=2), 3, 4, "auc", None, seconds=70),
            ["  refit 3/4 (seed 0, fold 3), 1m 10s"],
        ),
        (Note("test is cut\nfrom train"), ["  note: test is cut from train"]),
        (RunRecorded(DIGITS), []),
    ],
)  # fmt: skip
def test_an_event_is_told(event: Event, said: list[str]) -> None:
    assert list(lines(event)) == said


def test_hyperband_shows_its_schedule_first() -> None:
    first, *schedule = lines(SearchStarted("spec_a.py::mlp", HYPERBAND))
    trials = sum(rung.trials for rung in HYPERBAND.schedule)
    assert first.startswith(f"spec_a.py::mlp: Hyperband, {trials} trials, ")
    assert len(schedule) == len(HYPERBAND.schedule)
    assert schedule[0].startswith("  bracket 1, round 0: ")
    assert schedule[1].endswith("from epoch 1 to 3")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.6, "1m 00s"),
        (3599, "59m 59s"),
        (7620, "2h 07m"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text
