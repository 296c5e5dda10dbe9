"""Show how far a run is in a notebook: one line in the cell's output that moves; it loads IPython."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modeltune.ground import count_of, monotonic
from modeltune.records import BaselineAccepted, Event, Note, RunRecorded
from modeltune.reports import RunProgress, clean, cut, follow, live

REDRAWN_EVERY = 0.2
"""Seconds between two versions of the line, unless it is the last one: each is a message to the browser."""

LONGEST_PROGRESS = 120


class NotebookLine:
    """Listen to a run, and show its progress in one line, replaced until the run is recorded."""

    def __init__(self, spec: str, clock: Callable[[], float] = monotonic):
        self._clock = clock
        self._progress = RunProgress(spec, clock(), clock())
        self._shown_at = -REDRAWN_EVERY
        self._notes = 0
        self._accepted = ""
        self._ended = ""
        self._handle: Any = None

    def __call__(self, event: Event) -> None:
        now = self._clock()
        self._progress = follow(self._progress, event, now)
        if isinstance(event, Note):
            self._notes += 1
        if isinstance(event, RunRecorded):
            self._ended = f"{event.run.in_short}, run {event.run.id}"
        if isinstance(event, BaselineAccepted):
            self._accepted = event.lines[0] if event.lines else ""
        if self._ended or now - self._shown_at >= REDRAWN_EVERY:
            self._shown_at = now
            self._show(self._text(now))

    def _text(self, now: float) -> str:
        spec = clean(self._progress.spec)
        if self._ended:
            notes = f"{count_of(self._notes, 'note')} in run.notes" if self._notes else ""
            return f"{spec}: " + "; ".join(filter(None, (self._ended, notes, self._accepted)))
        first, *running = live(self._progress, now)
        return "; ".join([first, *(line.strip() for line in running)])

    def _show(self, text: str) -> None:
        import IPython.display

        display: Any = IPython.display.display
        # The end is said in full.
        line = {"text/plain": clean(text) if self._ended else cut(text, LONGEST_PROGRESS)}
        if self._handle is None:
            self._handle = display(line, raw=True, display_id=True)
        else:
            self._handle.update(line, raw=True)
