"""What runs in this process is told of while it runs."""

from __future__ import annotations

import pytest

from modeltune.engine.fit import epoch_progress
from modeltune.harness.executors.inline import Inline
from modeltune.records.events import Event, TaskProgress
from modeltune.records.tasks import RefitTask, TrialTask
from modeltune.reports.progress import lines
from modeltune.specs.validations import Refit


def test_trials_and_refits_in_this_process_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_progress, "EVERY", 0.0)
    events: list[Event] = []

    def perform(task: TrialTask | RefitTask) -> str:
        tell = epoch_progress.follower()
        assert tell is not None
        tell(2, 0.5)
        return "done"

    executor = Inline(perform, events.append)
    refit = Refit(1, fold=2)
    for task in (TrialTask(7, {}, 5, 0, 1), RefitTask(refit, {}, 3, None)):
        executor.submit(task)
        executor.wait()
    progress = [(e.task, e.epoch, e.epochs, e.value) for e in events if isinstance(e, TaskProgress)]
    assert progress == [
        (7, None, 5, None),
        (7, 2, 5, 0.5),
        (refit, None, 3, None),
        (refit, 2, 3, 0.5),
    ]
    assert [line for event in events for line in lines(event)] == []
