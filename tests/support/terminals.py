"""A terminal that is a real emulator, what is asked of pytest to write on one, and events to be shown."""

from __future__ import annotations

from typing import IO, Any

import pyte

import modeltune as mt
from modeltune.records.events import SearchStarted, TrialFinished
from modeltune.records.runs import Trial, TrialStatus

SEARCH = SearchStarted("spec_a.py::mlp", mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=8))
BEST = Trial(1, TrialStatus.COMPLETED, {}, 0.9, None, 2, 0, None, 1, 1.0, 0, {}, "graph")
FINISHED = TrialFinished(BEST, BEST, 8, seconds=2.0, left=14.0)


class Emulator:
    """A terminal of so many columns and rows, and all it has shown."""

    def __init__(self, columns: int = 40, rows: int = 8):
        self.screen = pyte.HistoryScreen(columns, rows, history=5000)
        self.screen.set_mode(pyte.modes.LNM)  # a line break is also a carriage return
        self._stream = pyte.Stream(self.screen)
        self.sent = ""
        self.size = (columns, rows)

    def write(self, text: str) -> int:
        self.sent += text
        self._stream.feed(text)
        return len(text)

    def flush(self) -> None:
        """There is no buffer."""

    @property
    def text(self) -> list[str]:
        """All lines, also those that have left the screen, without blanks at their ends."""
        columns = range(self.screen.columns)
        above = ["".join(line[x].data for x in columns) for line in self.screen.history.top]
        lines = [line.rstrip() for line in [*above, *self.screen.display]]
        while lines and not lines[-1]:
            lines.pop()
        return lines


class Plugins(dict[str, Any]):
    """What is asked of pytest's plugin manager."""

    getplugin = dict.get
    hasplugin = dict.__contains__


class Writer:
    """Pytest's writer of a terminal, as far as it is asked for its file and its line."""

    def __init__(self, file: IO[str], line: str = ""):
        self._file = file
        self._current_line = line

    @property
    def file(self) -> IO[str]:
        return self._file
