"""What a terminal and a log show while specs run: every screen is that of a real emulator."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from _pytest.terminal import TerminalReporter
from hypothesis import given
from hypothesis import strategies as st

from modeltune.plugin.live_hooks import HERE
from modeltune.plugin.live_terminal import (
    HEARTBEAT,
    LiveDisplay,
    Screen,
    Terminal,
    _is_live,
    display,
)
from modeltune.records.events import TaskProgress
from tests.support.terminals import FINISHED, SEARCH, Emulator, Plugins, Writer


def terminal_on(emulator: Emulator, line: str = "", is_live: bool = True) -> Terminal:
    file: Any = emulator
    return Terminal(file, Screen(emulator.write, lambda: emulator.size, is_live), line)


# one screen for pytest and us


def test_lines_stand_below_what_pytest_writes_and_go_before_it_writes_more() -> None:
    emulator = Emulator()
    terminal = terminal_on(emulator)
    terminal.write("test_a.py ")
    terminal.write("..")
    terminal.show(["one", "two"])
    assert emulator.text == ["test_a.py ..", "one", "two"]
    terminal.write(".")
    assert emulator.text == ["test_a.py ..."]
    terminal.show(["one", "three"])
    terminal.show(["four"])
    assert emulator.text == ["test_a.py ...", "four"]
    terminal.say(["a finished trial"])
    assert emulator.text == ["a finished trial", "test_a.py ..."]
    terminal.show(["five"])
    terminal.write("\n")
    terminal.show(["six"])
    assert emulator.text == ["a finished trial", "test_a.py ...", "six"]
    terminal.show([])
    terminal.write("done\n")
    assert emulator.text == ["a finished trial", "test_a.py ...", "done"]


def test_what_does_not_change_is_not_sent_again() -> None:
    emulator = Emulator()
    terminal = terminal_on(emulator)
    terminal.show(["one"])
    sent = emulator.sent
    terminal.show(["one"])
    assert emulator.sent == sent


def test_colours_and_commands_of_pytest_take_no_columns() -> None:
    emulator = Emulator(columns=10)
    terminal = terminal_on(emulator)
    terminal.write("above\n")
    terminal.write("\x1b[32m.\x1b[0m" * 6 + "\x1b]9;4;1;50;\x1b\\")
    terminal.show(["one"])
    terminal.write("F")
    assert emulator.text == ["above", "......F"]


def test_lines_are_cut_to_the_terminal() -> None:
    emulator = Emulator(columns=10, rows=4)
    terminal = terminal_on(emulator)
    terminal.show(["字" * 9, "b", "c", "d", "e"])
    assert emulator.text == ["字字字字…", "b", "  ... 3 …"]
    terminal.write("x" * 25)
    terminal.show(["a", "b"])
    assert emulator.text[-1] == "x" * 5
    terminal.show([])
    assert emulator.text == ["x" * 10, "x" * 10, "x" * 5]


def test_another_size_of_the_terminal_is_heeded() -> None:
    emulator = Emulator(columns=20)
    terminal = terminal_on(emulator)
    terminal.show(["a long line of text"])
    emulator.size = (10, 8)
    emulator.screen.resize(8, 10)
    emulator.sent = ""
    terminal.show(["a long line of text"])
    assert emulator.text == ["a long l…"]
    # Those that people use have made two rows of it meanwhile.
    assert emulator.sent.startswith("\x1b[2A\r")
    emulator.size = (5, 8)
    emulator.sent = ""
    terminal.write("F")
    assert emulator.sent.startswith("\x1b[2A\r")


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.text(alphabet="ab字\n", max_size=25)),
        st.tuples(st.just("say"), st.lists(st.text(alphabet="cd字", max_size=25), max_size=2)),
        st.tuples(st.just("show"), st.lists(st.text(alphabet="e…字", max_size=25), max_size=6)),
    ),
    max_size=12,
)


@given(OPERATIONS)
def test_law_nothing_written_is_lost_moved_or_left_over(operations: list[tuple[str, Any]]) -> None:
    emulator, plain = Emulator(columns=12, rows=9), Emulator(columns=12, rows=9)
    terminal = terminal_on(emulator)
    ended, line = "", ""
    for name, argument in operations:
        getattr(terminal, name)(argument)
        if name == "write":
            whole, _, line = (line + argument).rpartition("\n")
            ended += f"{whole}\n" if "\n" in argument else ""
        elif name == "say":
            ended += "".join(f"{message}\n" for message in argument)
        # A line of many rows leaves the screen, where no command reaches it.
        if len(line) > 40:
            terminal.write("\n")
            ended, line = f"{ended}{line}\n", ""
    terminal.show([])
    plain.write(ended + line)
    assert emulator.text == plain.text
    terminal.write("|")
    plain.write("|")
    assert emulator.text == plain.text


def test_a_log_gets_whole_lines_and_no_command() -> None:
    emulator = Emulator()
    terminal = terminal_on(emulator, "test_a.py ", is_live=False)
    terminal.say(["one", "two"])
    terminal.say(["three"])
    # pytest ends the line that is not its own any more.
    terminal.write("\n")
    terminal.write("four\n")
    terminal.write("\n")
    assert emulator.sent == "\none\ntwo\nthree\nfour\n\n"


# when, and when not


def live_on(terminal: Terminal, clock: Callable[[], float], is_live: bool = True) -> LiveDisplay:
    return LiveDisplay(terminal, is_live, clock=clock)


class Clock:
    """Time that goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_is_told_what_runs_after_a_silent_minute() -> None:
    emulator, clock = Emulator(columns=200), Clock()
    terminal = terminal_on(emulator, is_live=False)
    live = live_on(terminal, clock, is_live=False)
    live.tick()
    live.begin(HERE, "spec_a.py::mlp")
    for event in (SEARCH, TaskProgress(1, None, 5, None, 0.0)):
        live.tell(HERE, event)

    def beats_at(seconds: float) -> int:
        clock.now = seconds
        live.tick()
        return emulator.sent.count("running for")

    assert beats_at(HEARTBEAT - 1) == 0
    terminal.write("something\n")
    assert beats_at(HEARTBEAT) == 0
    assert beats_at(2 * HEARTBEAT - 1) == 0
    assert beats_at(2 * HEARTBEAT) == 1
    assert emulator.text[-1] == (
        "spec_a.py::mlp: running for 2m 00s: 0/8 trials, trial 1 starting for 2m 00s"
    )
    assert beats_at(2 * HEARTBEAT + 1) == 1
    assert beats_at(3 * HEARTBEAT + 1) == 2
    live.end(HERE)
    assert beats_at(9 * HEARTBEAT) == 2


def test_lines_of_all_that_runs_are_shown_until_it_ends() -> None:
    emulator, clock = Emulator(columns=80), Clock()
    live = live_on(terminal_on(emulator), clock)
    live.begin("gw0", "spec_b.py::net")
    live.begin("gw1", "spec_a.py::mlp")
    live.tell("gw1", SEARCH)
    live.say("gw1", SEARCH)
    live.say("gw1", FINISHED)
    live.tick()
    lines = [
        "spec_a.py::mlp: RandomSearch, up to 8 trials, max val_accuracy",
        "spec_a.py::mlp: trial 1/8: 0.9 in 2 epochs, best 0.9 (trial 1), 14s left",
    ]
    assert emulator.text == [
        *lines,
        "spec_b.py::net: preparing, 0.0s",
        "spec_a.py::mlp: 0/8 trials",
    ]
    live.end("gw1")
    live.tell("gw1", SEARCH)
    clock.now = 1.0
    live.tick()
    assert emulator.text == [*lines, "spec_b.py::net: preparing, 1.0s"]
    live.pause()
    live.tick()
    assert emulator.text == lines
    live.resume()
    live.tick()
    assert emulator.text == [*lines, "spec_b.py::net: preparing, 1.0s"]
    live.stop()
    live.tick()
    assert emulator.text == lines


@pytest.mark.parametrize(
    ("surroundings", "is_live"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": None}, False),
        ({"CI": "true"}, False),
        ({"BUILD_NUMBER": "7"}, False),
        ({"capture": "no"}, False),
        ({"capture": "sys"}, False),
        ({"capture": "tee-sys"}, False),
        ({"isatty": False}, False),
        ({"reporter": StringIO()}, False),
        ({"faulthandler": 0.0}, True),
        ({"faulthandler": "600"}, False),
    ],
)
def test_lines_are_drawn_where_nobody_else_writes(
    surroundings: dict[str, Any], is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "BUILD_NUMBER", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name in surroundings.keys() & {"TERM", "CI", "BUILD_NUMBER", "NO_COLOR"}:
        if surroundings[name] is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, surroundings[name])
    config: Any = SimpleNamespace(
        pluginmanager=Plugins(surroundings),
        getini=lambda _: surroundings["faulthandler"],
        getoption=lambda *_: surroundings.get("capture", "fd"),
    )
    reporter = surroundings.get("reporter", object.__new__(TerminalReporter))
    file: Any = SimpleNamespace(isatty=lambda: surroundings.get("isatty", True))
    assert _is_live(config, reporter, file) is is_live


def test_an_impatient_ctrl_c_leaves_nothing_of_ours_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def duplicate(file: IO[str]) -> int:
        opened.append(os.dup(file.fileno()))
        return opened[-1]

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modeltune.plugin.live_terminal._duplicate", duplicate)
    with (tmp_path / "log").open("w") as log:
        writer = Writer(log)
        plugins = Plugins(terminalreporter=SimpleNamespace(_tw=writer))
        config: Any = SimpleNamespace(pluginmanager=plugins)
        stack = contextlib.ExitStack()
        live = display(config, str, stack)
        assert live is not None
        monkeypatch.setattr(live._thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            stack.close()
        assert writer.file is log
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_of_a_line_that_was_written_anew_the_last_version_counts() -> None:
    log = StringIO()
    writer = Writer(log, "gw0 [1]\r..")
    config: Any = SimpleNamespace(
        pluginmanager=Plugins(terminalreporter=SimpleNamespace(_tw=writer))
    )
    with contextlib.ExitStack() as stack:
        display(config, str, stack)
        assert isinstance(writer.file, Terminal)
        assert writer.file._line == ".."
    assert writer.file is log
