"""Progress in a notebook is one line: it moves a few times a second, and ends with what the run came to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import IPython.display
import pytest

import modeltune as mt
from modeltune.harness.notebook_line import NotebookLine
from modeltune.records import BaselineAccepted, Note, RunRecorded, SearchStarted, TaskProgress
from tests.support.histories import DIGITS

SEARCH = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=4)


class Cell:
    """The output of a cell: what was shown first, and what replaced it."""

    def __init__(self) -> None:
        self.versions: list[str] = []

    def update(self, data: dict[str, str], **_: Any) -> Any:
        self.versions.append(data["text/plain"])
        return self


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    shown = Cell()
    monkeypatch.setattr(IPython.display, "display", shown.update)
    return shown


def test_the_line_moves_with_the_run_and_ends_with_what_it_came_to(cell: Cell) -> None:
    times = iter([0.0, 0.0, 0.0, 1.0, 1.1, 1.5, 1.6])
    line = NotebookLine("digits.ipynb::net", clock=lambda: next(times))
    line(SearchStarted("digits.ipynb::net", SEARCH))
    line(TaskProgress(0, 3, 10, 0.91, 0.5))
    line(TaskProgress(0, 4, 10, 0.92, 0.6))  # too soon after the last
    line(Note("oh"))
    line(RunRecorded(replace(DIGITS, verdicts=())))
    assert cell.versions == [
        "digits.ipynb::net: 0/4 trials",
        "digits.ipynb::net: 0/4 trials, 1 running; trial 0: epoch 3/10, val_accuracy 0.91, 0.5s",
        "digits.ipynb::net: 0/4 trials, 1 running; trial 0: epoch 4/10, val_accuracy 0.92, 1.0s",
        "digits.ipynb::net: failed, accuracy 0.9496 ± 0.0014, run 20261120-211000-0a1b2c3d; "
        "1 note in run.notes",
    ]


def test_what_a_line_is_told_is_shown_as_text_on_a_line(cell: Cell) -> None:
    line = NotebookLine("a\x1b[31m\nb.ipynb::net", clock=lambda: 0.0)
    line(RunRecorded(replace(DIGITS, error="no\nroom" * 500)))
    line(BaselineAccepted(("accepted:\nfine", "more")))
    for shown in cell.versions:
        assert shown.isprintable()
        assert len(shown) < 600
    assert cell.versions[-1].endswith("; accepted: fine")
