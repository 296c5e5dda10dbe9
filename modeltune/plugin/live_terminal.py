"""The terminal while specs run: lines below pytest's output that are redrawn, or heartbeats."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import UnsupportedOperation
from typing import IO, TYPE_CHECKING, Any

import pytest

from modeltune.ground import monotonic
from modeltune.plugin.pytest_internals import (
    Writer,
    capture_disabled,
    capture_watched,
    is_pytests_own,
)
from modeltune.reports import RunProgress, clean, cut, follow, heartbeat, lines, live, width

if TYPE_CHECKING:
    from modeltune.records import Event

TICK = 0.1
"""Seconds between two checks whether the lines have changed."""

HEARTBEAT = 60.0
"""Seconds of silence after which a line in a log says what is running."""


@dataclass(frozen=True)
class Screen:
    """Where lines go: ``write`` sends text there, ``size`` returns its columns and rows.

    ``is_live``: the cursor can be moved, and nobody else writes while a spec runs.
    """

    write: Callable[[str], object]
    size: Callable[[], tuple[int, int]]
    is_live: bool


class Terminal:
    """The file that pytest's reporter writes to while specs run, with lines of ours below.

    Any thread may write. What pytest has written on its last line stays there.
    """

    def __init__(self, file: IO[str], screen: Screen, line: str = "") -> None:
        self._file = file
        self._screen = screen
        self._lock = threading.RLock()
        self._line = line  # pytest's last line, not ended yet
        self._is_broken = False  # it was ended here, which pytest does not know
        self._shown: list[str] = []
        self._drawn_for: tuple[object, ...] = ()
        self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Write text of pytest's."""
        with self._lock:
            self._erase()
            self.writes += 1
            # Ending a line that was ended here already would leave an empty one.
            rest = text[1:] if self._is_broken and text.startswith("\n") else text
            self._is_broken = False
            self._file.write(rest)
            self._file.flush()
            self._line = re.split(r"[\r\n]", self._line + _without_commands(rest))[-1]
            return len(text)

    def say(self, lines: Iterable[str]) -> None:
        """Write whole lines of ours."""
        text = "".join(f"{line}\n" for line in lines)
        with self._lock:
            self.writes += 1
            if self._screen.is_live:
                self._erase()
                up = max(self._rows_of_line() - 1, 0)
                self._screen.write(f"{_back(up)}\x1b[J{text}{self._line}")
            elif self._line:
                self._screen.write(f"\n{text}")
                self._line, self._is_broken = "", True
            else:
                self._screen.write(text)

    def show(self, lines: Iterable[str]) -> None:
        """Show these lines, and no others, below what is written; cut them to the room there is."""
        with self._lock:
            columns, rows = self._screen.size()
            wanted = list(lines)
            if (drawn_for := (*wanted, columns, rows)) == self._drawn_for:
                return
            room = max(rows - 1 - self._rows_of_line(), 0)
            if len(wanted) > room:
                wanted = [*wanted[: room - 1], f"  ... {len(wanted) - room + 1} more"][:room]
            # A line that fills the last column would wrap in some terminals.
            drawn = [cut(line, columns - 1) for line in wanted]
            if not drawn:
                self._erase()
                return
            # Over the old lines, so that nothing flickers.
            start = _back(self._rows_of_display()) if self._shown else "\n" * bool(self._line)
            self._shown, self._drawn_for = drawn, drawn_for
            body = "".join(f"{line}\x1b[K\n" for line in drawn)
            self._screen.write(f"{start}{body}\x1b[J")

    def _erase(self) -> None:
        """Erase our lines; the cursor is behind pytest's last character again."""
        if self._shown:
            rows = self._rows_of_display() + self._rows_of_line()
            self._shown, self._drawn_for = [], ()
            self._screen.write(f"{_back(rows)}\x1b[J{self._line}")

    def _rows_of_line(self) -> int:
        """Return how many rows pytest's last line takes; 0 if it is empty."""
        return self._rows(self._line)

    def _rows_of_display(self) -> int:
        """Return how many rows our lines take: more than lines, if the terminal became narrower."""
        return sum(max(self._rows(line), 1) for line in self._shown)

    def _rows(self, line: str) -> int:
        columns = max(self._screen.size()[0], 1)
        taken = width(re.sub(r"\x1b\[[\d;]*m", "", line))
        return -(-taken // columns)


def _back(rows: int) -> str:
    """Return the command that moves the cursor to the start of the line this many rows above."""
    return f"\x1b[{rows}A\r" if rows else "\r"


def _without_commands(text: str) -> str:
    """Return text without commands to the terminal's window, such as its tab's progress."""
    return re.sub(r"\x1b\].*?(?:\x07|\x1b\\)", "", text)


class LiveDisplay:
    """Show how far running specs are: in lines that are redrawn, or in heartbeats.

    Args:
        terminal: where it is shown.
        is_live: whether lines are redrawn; else a heartbeat is written after each minute of silence.
        printable: makes a line fit to be printed.
    """

    def __init__(
        self,
        terminal: Terminal,
        is_live: bool,
        printable: Callable[[str], str] = str,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._terminal = terminal
        self._is_live = is_live
        self._printable = printable
        self._clock = clock
        self._lock, self._ticking = threading.Lock(), threading.Lock()
        self._following: dict[str, RunProgress] = {}
        self._writes, self._silent_since = terminal.writes, clock()
        self._is_paused = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick_on, name="modeltune live", daemon=True)

    def begin(self, source: str, spec: str) -> None:
        """Show a spec from now on, which begins to run here or in a worker of pytest-xdist."""
        now = self._clock()
        with self._lock:
            self._following[source] = RunProgress(spec, now, now)

    def tell(self, source: str, event: Event) -> None:
        """Update the progress of the spec that runs there."""
        with self._lock:
            if source in self._following:
                known = self._following[source]
                self._following[source] = follow(known, event, self._clock())

    def say(self, source: str, event: Event) -> None:
        """Print the lines of an event, each with the name of the spec that runs there."""
        with self._lock:
            spec = clean(self._following[source].spec)
        texts = [
            line if line.startswith(spec) else f"{spec}: {line.strip()}" for line in lines(event)
        ]
        if texts:
            self._terminal.say(map(self._printable, texts))

    def end(self, source: str) -> None:
        """Stop showing the spec that ran there."""
        with self._lock:
            self._following.pop(source, None)

    def tick(self) -> None:
        """Show the progress as it is now."""
        with self._ticking:
            if self._is_paused:
                return
            with self._lock:
                following, now = list(self._following.values()), self._clock()
            if self._is_live:
                self._terminal.show(line for known in following for line in live(known, now))
            elif self._terminal.writes != self._writes:
                self._writes, self._silent_since = self._terminal.writes, now
            elif following and now - self._silent_since >= HEARTBEAT:
                self._terminal.say(self._printable(heartbeat(known, now)) for known in following)

    def pause(self) -> None:
        """Erase the lines and leave the terminal to somebody else, such as a debugger."""
        with self._ticking, suppress(OSError):  # the terminal is gone
            self._is_paused = True
            self._terminal.show([])

    def resume(self) -> None:
        """Show lines again after a pause."""
        self._is_paused = False

    def start(self) -> None:
        """Begin to show the progress, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and leave nothing on the screen."""
        self._over.set()
        try:
            if self._thread.is_alive():
                self._thread.join()
        finally:
            # A second Ctrl-C ends the wait: a tick that still runs must not show anything.
            self.pause()

    def _tick_on(self) -> None:
        with suppress(OSError):  # the terminal is gone
            while not self._over.wait(TICK if self._is_live else 1.0):
                self.tick()


def display(
    config: pytest.Config, printable: Callable[[str], str], stack: ExitStack
) -> LiveDisplay | None:
    """Return a display on the terminal of a pytest session; it ends when the stack is closed.

    None if there is no terminal reporter.

    Args:
        config: pytest's.
        printable: makes a line fit to be printed.
        stack: closing it ends the display and gives the terminal back.

    Raises:
        MissingNameError: this pytest lacks what is needed for it; nothing is changed.
    """
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return None
    writer = Writer(reporter)
    file = writer.file
    is_live = _is_live(config, reporter, file)
    # While a test runs, its output is captured: write to the terminal by a descriptor of our own.
    with capture_disabled(config):
        file.flush()
        descriptor = _duplicate(file)
    if descriptor is None:
        screen = Screen(file.write, lambda: (80, 24), is_live=False)
    else:
        stack.callback(os.close, descriptor)
        screen = _screen(descriptor, file.encoding or "utf-8", is_live)
    # xdist writes its line several times over: the last version is what is on the screen.
    terminal = Terminal(file, screen, re.split(r"[\r\n]", writer.line)[-1])
    live = LiveDisplay(terminal, screen.is_live, printable)
    watched = capture_watched(config, live.pause, live.resume)
    stack.callback(writer.write_to, file)
    writer.write_to(terminal)
    stack.callback(live.stop)
    live.start()
    stack.enter_context(watched)
    return live


def _is_live(config: pytest.Config, reporter: Any, file: IO[str]) -> bool:
    """Tell whether lines can be redrawn: on a terminal to which only pytest and we write."""
    has_faulthandler = config.pluginmanager.hasplugin("faulthandler")
    timeout = config.getini("faulthandler_timeout") if has_faulthandler else None
    return (
        # Another reporter, such as that of pytest-sugar, draws lines of its own.
        is_pytests_own(reporter)
        and file.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
        # As pytest does: the log of a CI job is no terminal, even where it claims to be one.
        and not (os.environ.get("CI") or os.environ.get("BUILD_NUMBER"))
        # Otherwise the output of tests and trial processes would get in between.
        and config.getoption("capture", None) == "fd"
        # faulthandler writes its tracebacks past pytest.
        and not float(timeout or 0)
    )


def _duplicate(file: IO[str]) -> int | None:
    """Return a second descriptor of an open file; None if the file is only in memory."""
    try:
        return os.dup(file.fileno())
    except (UnsupportedOperation, AttributeError, OSError):
        return None


def _screen(descriptor: int, encoding: str, is_live: bool) -> Screen:
    def write(text: str) -> None:
        left = text.encode(encoding, "replace")
        while left:
            left = left[os.write(descriptor, left) :]

    def size() -> tuple[int, int]:
        try:
            columns, rows = os.get_terminal_size(descriptor)
        except OSError:
            columns, rows = 0, 0
        return columns or 80, rows or 24

    return Screen(write, size, is_live)
