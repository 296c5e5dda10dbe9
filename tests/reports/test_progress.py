"""A user reads what happens while it happens: each event's lines, whole."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.records.events import (
    Event,
    Note,
    PreparationFinished,
    RefitFinished,
    RunRecorded,
    SearchStarted,
    TaskProgress,
    TrialFinished,
    ValidationStarted,
    portable,
)
from modeltune.records.runs import Trial, TrialStatus
from modeltune.reports.columns import cut, width
from modeltune.reports.progress import (
    RunProgress,
    duration,
    follow,
    heartbeat,
    lines,
    live,
)
from modeltune.specs.validations import Refit
from tests.support.histories import DIGITS
from tests.support.hostile import HOSTILE


def trial(
    id: int, score: float | None, parent: int | None = None, reason: str | None = None
) -> Trial:
    status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    return Trial(id, status, {}, score, reason, 2, 0, parent, 1, 1.0, 0, {}, "graph")


BEST = trial(1, 0.9612)
HYPERBAND = mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3)


@pytest.mark.parametrize(
    ("event", "texts"),
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
            TrialFinished(BEST, BEST, 8, seconds=2.0, left=14.0),
            ["  trial 1/8: 0.9612 in 2 epochs, best 0.9612 (trial 1), 14s left"],
        ),
        (
            TrialFinished(trial(8, 0.5), BEST, 8, seconds=2.0, left=0.0),
            ["  trial 8/8: 0.5 in 2 epochs, best 0.9612 (trial 1)"],
        ),
        (
            TrialFinished(trial(3, 1.5e-7, parent=1), BEST, None, seconds=2.0, left=None),
            ["  trial 3: 1.5e-07 in 2 epochs (continues trial 1), best 0.9612 (trial 1)"],
        ),
        (
            TrialFinished(trial(1, None, reason="ValueError: no\n\x1b[31mroom"), None, 2, seconds=1.0, left=1.0),
            ["  trial 1/2: failed: ValueError: no room, 1.0s left"],
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
            ValidationStarted(mt.Holdout(fine_tune=mt.FineTune(epochs=5)), 30),
            ["  validating the best values: 3 refits of 30 epochs, then 5 epochs of fine-tuning"],
        ),
        (
            ValidationStarted(mt.Holdout(fine_tune=mt.FineTune(epochs=lambda hp: 5)), 30),
            ["  validating the best values: 3 refits of 30 epochs, then some of fine-tuning"],
        ),
        (
            RefitFinished(Refit(0), 1, 3, "accuracy", 0.95, seconds=0.25),
            ["  refit 1/3 (seed 0): accuracy 0.95 on test, 0.2s"],
        ),
        (
            RefitFinished(Refit(0, fold=2), 3, 4, "auc", None, seconds=70),
            ["  refit 3/4 (seed 0, fold 3), 1m 10s"],
        ),
        (
            PreparationFinished("spec_a.py::net", "mt.table", 36, seconds=0.25),
            ["spec_a.py::net: prepared by mt.table on 36 samples of train, 0.2s"],
        ),
        (Note("test is cut\nfrom train"), ["  note: test is cut from train"]),
        (RunRecorded(DIGITS), []),
        # Too many to be lines.
        (TaskProgress(3, 2, 10, 0.5, 1.0), []),
    ],
)  # fmt: skip
def test_an_event_is_told(event: Event, texts: list[str]) -> None:
    assert list(lines(event)) == list(lines(portable(event))) == texts


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


# while it goes on


def progress_after(*events: Event) -> RunProgress:
    """Return what is known of a spec begun at second 0, its events told a second apart from 1 on."""
    known = RunProgress("spec_a.py::mlp", 0.0, 0.0)
    for second, event in enumerate(events, start=1):
        known = follow(known, event, float(second))
    return known


SEARCH = SearchStarted("spec_a.py::mlp", mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=8))
FINISHED = TrialFinished(BEST, BEST, 8, seconds=2.0, left=14.0)
THIRD, LAST = Refit(0, fold=2), Refit(0, fold=3)


@pytest.mark.parametrize(
    ("events", "expected", "beat"),
    [
        (
            (),
            ["spec_a.py::mlp: preparing, 10s"],
            "spec_a.py::mlp: running for 10s: preparing, 10s",
        ),
        (
            (SEARCH, TaskProgress(1, None, 5, None, 0.0)),
            ["spec_a.py::mlp: 0/8 trials, 1 running", "  trial 1: starting, 8.0s"],
            "spec_a.py::mlp: running for 10s: 0/8 trials, trial 1 starting for 8.0s",
        ),
        (
            (SEARCH, TaskProgress(1, None, 5, None, 0.0), TaskProgress(2, 3, 5, 0.9, 1.0), FINISHED),
            [
                "spec_a.py::mlp: 1/8 trials, best 0.9612 (trial 1), 1 running, 8.0s left",
                "  trial 2: epoch 3/5, val_accuracy 0.9, 8.0s",
            ],
            "spec_a.py::mlp: running for 10s: 1/8 trials, best 0.9612 (trial 1), "
            "trial 2 at epoch 3/5 for 8.0s",
        ),
        (
            # One that is trained again starts anew.
            (SEARCH, TaskProgress(2, 3, 5, 0.9, 2.0), TaskProgress(2, None, 5, None, 0.0)),
            ["spec_a.py::mlp: 0/8 trials, 1 running", "  trial 2: starting, 7.0s"],
            "spec_a.py::mlp: running for 10s: 0/8 trials, trial 2 starting for 7.0s",
        ),
        (
            (SearchStarted("spec_a.py::mlp", mt.GridSearch(mt.minimize("loss"))), TaskProgress(1, 4, 5, None, 1.0)),
            ["spec_a.py::mlp: 0 trials, 1 running", "  trial 1: epoch 4/5, 9.0s"],
            "spec_a.py::mlp: running for 10s: 0 trials, trial 1 at epoch 4/5 for 9.0s",
        ),
        (
            (
                SEARCH,
                FINISHED,
                ValidationStarted(mt.KFold(k=4), 30),
                TaskProgress(LAST, 2, 30, 0.5, 0.0),
                TaskProgress(THIRD, None, 30, None, 0.0),
                RefitFinished(Refit(0, fold=0), 1, 4, "accuracy", 0.9, seconds=1.0),
            ),
            [
                "spec_a.py::mlp: 1/4 refits, 2 running",
                "  refit (seed 0, fold 3): starting, 5.0s",
                "  refit (seed 0, fold 4): epoch 2/30, val_accuracy 0.5, 6.0s",
            ],
            "spec_a.py::mlp: running for 10s: 1/4 refits, best 0.9612 (trial 1), "
            "refit (seed 0, fold 3) starting for 5.0s, refit (seed 0, fold 4) at epoch 2/30 for 6.0s",
        ),
        (
            (
                SEARCH,
                ValidationStarted(mt.Holdout(seeds=1), 30),
                TaskProgress(Refit(0), None, 30, None, 0.0),
                RefitFinished(Refit(0), 1, 1, "accuracy", 0.9, seconds=1.0),
                Note("more seeds would settle it"),
            ),
            ["spec_a.py::mlp: judging, 6.0s"],
            "spec_a.py::mlp: running for 10s: judging, 6.0s",
        ),
        (
            # They do.
            (
                SEARCH,
                ValidationStarted(mt.Holdout(seeds=2), 30),
                RefitFinished(Refit(1), 2, 2, "accuracy", 0.9, seconds=1.0),
                TaskProgress(Refit(2), None, 30, None, 0.0),
                TaskProgress(Refit(3), None, 30, None, 0.0),
            ),
            [
                "spec_a.py::mlp: 2 refits, 2 running",
                "  refit (seed 2): starting, 6.0s",
                "  refit (seed 3): starting, 5.0s",
            ],
            "spec_a.py::mlp: running for 10s: 2 refits, refit (seed 2) starting for 6.0s, "
            "refit (seed 3) starting for 5.0s",
        ),
    ],
)  # fmt: skip
def test_what_runs_is_shown_and_told_to_logs(
    events: tuple[Event, ...], expected: list[str], beat: str
) -> None:
    known = progress_after(*map(portable, events))
    assert list(live(known, 10.0)) == expected
    assert heartbeat(known, 10.0) == beat


def test_a_search_that_takes_longer_than_expected_promises_no_end() -> None:
    first, *_ = live(progress_after(SEARCH, FINISHED), 16.1)
    assert first == "spec_a.py::mlp: 1/8 trials, best 0.9612 (trial 1)"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_names_are_one_inert_line_each(text: str) -> None:
    search = mt.RandomSearch(mt.maximize(text or "?"), max_trials=8)
    known = RunProgress(text, 0.0, 0.0)
    for event in (SearchStarted(text, search), TaskProgress(1, 1, 5, 0.5, 0.0)):
        known = follow(known, event, 0.0)
    finished = RefitFinished(Refit(0), 1, 2, text, 0.5, seconds=1.0)
    display = [*live(known, 1.0), heartbeat(known, 1.0)]
    log = [*lines(SearchStarted(text, search)), *lines(finished), *lines(Note(text))]
    assert len(display) == len(log) == 3
    for line in display + log:
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Cf", "Cs")]


@given(st.text(alphabet="ab …é\u0301字🎉"), st.integers(0, 12))
def test_law_a_cut_line_takes_no_more_columns_than_there_are(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns
    assert cut(text, width(text)) == text
    assert text.startswith(cut(text, columns).removesuffix("…"))


def test_columns_are_those_of_a_terminal() -> None:
    assert [width(text) for text in ("abc", "字", "e\u0301", "🎉")] == [3, 2, 1, 2]
    assert cut("字字字", 5) == "字字…"
    assert cut("字字字", 4) == "字…"
