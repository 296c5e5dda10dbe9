"""What a terminal and a log show while specs run: every screen is that of a real emulator."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pyte
import pytest
import xdist.newhooks
from hypothesis import given
from hypothesis import strategies as st

import modeltune as mt
from modeltune.engine.fit import epoch_progress
from modeltune.harness.executors.inline import Inline
from modeltune.histories.store import open_store
from modeltune.plugin.live_hooks import CHANNEL, HERE, Watching
from modeltune.plugin.live_terminal import HEARTBEAT, Live, Screen, Terminal, _is_live, watched
from modeltune.records.events import Event, Note, SearchStarted, TrialFinished, Underway
from modeltune.records.runs import Trial, TrialStatus
from modeltune.records.tasks import RefitTask, TrialTask
from modeltune.reports.progress import lines
from modeltune.specs.validations import Refit
from tests.support.tiny_specs import IN_PROCESS

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
        shown = [line.rstrip() for line in [*above, *self.screen.display]]
        while shown and not shown[-1]:
            shown.pop()
        return shown


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
            ended += "".join(f"{said}\n" for said in argument)
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


def live_on(terminal: Terminal, clock: Callable[[], float], is_live: bool = True) -> Live:
    return Live(terminal, is_live, clock=clock)


class Plugins(dict[str, Any]):
    """What is asked of pytest's plugin manager."""

    getplugin = dict.get
    hasplugin = dict.__contains__


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
    for event in (SEARCH, Underway(1, None, 5, None, 0.0)):
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
    said = [
        "spec_a.py::mlp: RandomSearch, up to 8 trials, max val_accuracy",
        "spec_a.py::mlp: trial 1/8: 0.9 in 2 epochs, best 0.9 (trial 1), 14s left",
    ]
    assert emulator.text == [*said, "spec_b.py::net: preparing, 0.0s", "spec_a.py::mlp: 0/8 trials"]
    live.end("gw1")
    live.tell("gw1", SEARCH)
    clock.now = 1.0
    live.tick()
    assert emulator.text == [*said, "spec_b.py::net: preparing, 1.0s"]
    live.pause()
    live.tick()
    assert emulator.text == said
    live.resume()
    live.tick()
    assert emulator.text == [*said, "spec_b.py::net: preparing, 1.0s"]
    live.stop()
    live.tick()
    assert emulator.text == said


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
    reporter = surroundings.get("reporter", object.__new__(pytest.TerminalReporter))
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
        writer = SimpleNamespace(_file=log, _current_line="")
        plugins = Plugins(terminalreporter=SimpleNamespace(_tw=writer))
        config: Any = SimpleNamespace(pluginmanager=plugins)
        watching = watched(config, str)
        live = watching.__enter__()
        assert live is not None
        monkeypatch.setattr(live._thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            watching.__exit__(None, None, None)
        assert writer._file is log
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


# from a process that trains to who looks


def test_a_fit_tells_its_follower_a_few_times_a_second() -> None:
    told: list[int] = []
    clock = Clock()
    with epoch_progress.followed_by(lambda epoch, value: told.append(epoch)):
        tell = epoch_progress.follower(clock)
        assert tell is not None
        for epoch in range(1, 101):
            clock.now = epoch * 0.018
            tell(epoch, 0.5)
    assert told == [12, 24, 36, 48, 60, 72, 84, 96]
    assert epoch_progress.follower() is None


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
    told = [(e.task, e.epoch, e.epochs, e.value) for e in events if isinstance(e, Underway)]
    assert told == [
        (7, None, 5, None),
        (7, 2, 5, 0.5),
        (refit, None, 3, None),
        (refit, 2, 3, 0.5),
    ]
    assert [line for event in events for line in lines(event)] == []


def test_a_process_that_tells_much_is_looked_at_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from multiprocessing import Pipe

    from modeltune.harness.executors import processes, worker

    monkeypatch.setattr(processes, "LOOK", 0.0)

    class Talkative:
        """A process that tells far more than it does, and holds too much."""

        tellings = 0

        def __init__(self) -> None:
            self.pipe, self._other = Pipe()
            self.sentinel, self._end = Pipe()
            self._other.send(None)  # it is there

        def send(self, name: str, *arguments: object) -> None:
            pass

        def receive(self) -> object:
            self.tellings += 1
            self._other.send(worker.Reached(self.tellings, 0.5))
            if self.tellings > 100:
                raise EOFError
            return self.pipe.recv()

        def end(self) -> str:
            return "exited"

        def memory(self) -> int:
            return 10

        def kill(self) -> None:
            for end in (self.pipe, self._other, self.sentinel, self._end):
                end.close()

    events: list[Event] = []
    start: Any = Talkative
    executor = processes.Processes(start, 1, None, memory=9, listen=events.append)
    executor.submit(TrialTask(7, {"values": {}}, 5, 0, 1))
    _, result = executor.wait()
    executor.close()
    assert result.failure is not None
    assert "more than" in result.failure.reason


# through pytest-xdist


class Channel:
    """A way between two processes that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.heard: Any = None
        self.is_closed = False

    def setcallback(self, heard: Any, endmarker: object) -> None:
        self.heard = heard

    def send(self, message: bytes) -> None:
        if self.is_closed:
            raise OSError("cannot send (already closed?)")
        self.sent.append(message)


class Config(SimpleNamespace):
    """What watching asks of pytest's configuration."""

    verbosity = 0

    def get_verbosity(self) -> int:
        return self.verbosity


def test_what_workers_tell_is_said_until_the_session_ends() -> None:
    class Log(StringIO):
        """Where all that a worker told is written while the session cannot end."""

        def write(self, text: str) -> int:
            assert watching._hearing.locked() or text == "F\n"
            return super().write(text)

    log = Log()
    writer = SimpleNamespace(_file=log, _current_line="gw0 [1]\r..")
    plugins = Plugins(terminalreporter=SimpleNamespace(_tw=writer))
    channel = Channel()
    config: Any = Config(pluginmanager=plugins)
    node: Any = SimpleNamespace(
        gateway=SimpleNamespace(id="gw0", newchannel=lambda: channel), workerinput={}
    )
    watching = Watching(config)
    watching.pytest_configure_node(node)
    assert node.workerinput == {CHANNEL: channel}
    session = watching.pytest_runtestloop()
    next(session)

    # Workers without specs leave pytest alone, as does every thread but its own.
    watching.pytest_xdist_node_collection_finished()
    channel.heard(pickle.dumps((None, None)))
    assert writer._file is log
    watching.pytest_xdist_node_collection_finished()
    assert writer._file._line == ".."
    for event in (None, SEARCH, Underway(1, None, 5, None, 0.0), FINISHED):
        channel.heard(pickle.dumps(("spec_a.py::mlp", event)))
    writer._file.write("F\n")
    live = watching._live
    assert live is not None
    assert [*live._following] == ["gw0"]
    channel.heard(None)  # the worker has died
    assert not live._following

    with pytest.raises(StopIteration):
        session.send(True)
    # Workers do not know that it is over.
    for event in (None, SEARCH):
        channel.heard(pickle.dumps(("spec_a.py::mlp", event)))
    channel.heard(None)
    assert writer._file is log
    assert log.getvalue().splitlines() == [
        "",
        "spec_a.py::mlp: RandomSearch, up to 8 trials, max val_accuracy",
        "spec_a.py::mlp: trial 1/8: 0.9 in 2 epochs, best 0.9 (trial 1), 14s left",
        "F",
    ]


def test_a_worker_goes_on_when_its_controller_is_gone() -> None:
    channel = Channel()
    config: Any = Config(workerinput={CHANNEL: channel})
    worker = Watching(config)
    # An execnet channel is nothing that other plugins could make JSON of.
    assert config.workerinput == {}
    worker.tell(SEARCH)
    channel.is_closed = True
    worker.tell(SEARCH)
    assert [pickle.loads(message)[1] for message in channel.sent] == [SEARCH]


def test_nothing_of_a_spec_file_s_own_travels_to_the_controller() -> None:
    class Metric(StrEnum):
        """What cannot be pickled without this function."""

        ACCURACY = "val_accuracy"

    channel = Channel()
    config: Any = Config(workerinput={CHANNEL: channel})
    worker = Watching(config)
    search = replace(SEARCH.search, objective=mt.maximize(Metric.ACCURACY), hyperparameters=Metric)
    trial = replace(BEST, values={"metric": Metric.ACCURACY}, curve={Metric.ACCURACY: (0.9,)})
    worker.tell(replace(SEARCH, search=search))
    worker.tell(replace(FINISHED, trial=trial, best=trial))
    assert [pickle.loads(message)[1] for message in channel.sent] == [SEARCH, FINISHED]


def test_a_worker_without_a_channel_tells_nobody() -> None:
    config: Any = Config(workerinput={})
    Watching(config).tell(Note("as under another xdist, or an older controller"))


def test_other_plugins_make_json_of_what_a_worker_is_given() -> None:
    class Other:
        """A plugin that was registered before ours, and would be called after it."""

        def pytest_configure_node(self, node: Any) -> None:
            json.dumps(node.workerinput)

    config: Any = Config(pluginmanager=Plugins(terminalreporter=SimpleNamespace()))
    node = SimpleNamespace(gateway=SimpleNamespace(id="gw0", newchannel=Channel), workerinput={})
    plugins = pytest.PytestPluginManager()
    plugins.add_hookspecs(xdist.newhooks)
    plugins.register(Other())
    plugins.register(Watching(config))
    plugins.hook.pytest_configure_node(node=node)
    assert [*node.workerinput] == [CHANNEL]


def test_nothing_is_said_under_q() -> None:
    channel = Channel()
    config: Any = Config(workerinput={CHANNEL: channel}, verbosity=-1)
    Watching(config).tell(SEARCH)
    assert channel.sent == []
    node: Any = SimpleNamespace(workerinput={})
    without_terminal: Any = Config(pluginmanager=Plugins())
    for controller in (config, without_terminal):
        Watching(controller).pytest_configure_node(node)
        assert node.workerinput == {}
    # Without plugins there is nobody to print it.
    Watching(cast(pytest.Config, Config(verbosity=-1))).tell(SEARCH)


# real sessions on a real terminal


CONFTEST = """
import contextlib, os, sys
sys.path.insert(0, {tests!r})
from tests.support import scripted_runs
from modeltune.engine.fit import epoch_progress
from modeltune.harness import pipeline
from modeltune.plugin import live_terminal
from modeltune.harness.executors.inline import Inline

epoch_progress.EVERY = 0.0
live_terminal.HEARTBEAT = 0.1

class Watched(scripted_runs.Script):
    def perform(self, task):
        if tell := epoch_progress.follower():
            tell(1, 0.5)
        if getattr(task, "id", None) == 1:
            print("printed by a trial")
            with open({gate!r}):
                pass
        if getattr(task, "id", None) == 2 and "BREAK" in os.environ:
            open(os.environ["BREAK"]).close()
            breakpoint()
            open(os.environ["BREAK"]).close()
        return super().perform(task)

@contextlib.contextmanager
def scripted(spec, fixtures, workers, folder, listen):
    folder.mkdir(exist_ok=True, parents=True)
    log = folder / "log"
    log.touch()
    script = Watched(log)
    yield script, Inline(script.perform, listen), None

pipeline._engine = scripted
"""
SPEC = """
import modeltune as mt

@mt.spec(
    data=lambda: None,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
    validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= 0.5],
)
def {name}(hp):
    raise NotImplementedError
"""


class Session:
    """A pytest session on a terminal of its own; ``gate`` keeps its first trials until it opens."""

    def __init__(self, folder: Path, arguments: Sequence[str], environment: dict[str, str]):
        self.emulator = Emulator(columns=90, rows=40)
        self.raw = b""
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        self._opened: int | None = None
        environment = {k: v for k, v in os.environ.items() if k not in REMOVED} | environment
        self._terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=folder,
            env=environment,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def until(self, *patterns: str) -> str:
        """Read until the screen matches all patterns; return the screen."""
        begun = time.monotonic()
        while not all(re.search(pattern, self.screen, re.MULTILINE) for pattern in patterns):
            # What is shown goes on changing, whatever it is.
            is_late = time.monotonic() - begun > 100
            assert not is_late, f"never seen {patterns}:\n{self.screen}"
            assert self._read(), f"it ended without {patterns}:\n{self.screen}"
        return self.screen

    def open(self) -> None:
        """Let the trials go on."""
        self._opened = os.open(self.gate, os.O_RDWR)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does in a terminal."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while self._read():
            pass
        return self._process.wait(timeout=60)

    @property
    def screen(self) -> str:
        return "\n".join(self.emulator.text)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], 60)
        assert ready, f"nothing for a minute:\n{self.screen}"
        try:
            read = os.read(self._terminal, 65536)
        except OSError:
            return False  # the other end is closed
        self.raw += read
        self.emulator.write(read.decode(errors="replace").replace("\r\n", "\n"))
        return bool(read)

    def close(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._terminal)
        if self._opened is not None:
            os.close(self._opened)


TESTS = str(Path(__file__).parents[2])
REMOVED = {"CI", "BUILD_NUMBER", "NO_COLOR", "MODELTUNE_STORE", "PYTEST_XDIST_WORKER"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(CONFTEST.format(tests=TESTS, gate=str(tmp_path / "gate")))
    (tmp_path / "spec_a.py").write_text(SPEC.format(name="mlp"))
    (tmp_path / "test_other.py").write_text("def test_one(): pass\n\ndef test_two(): pass\n")
    return tmp_path


@contextlib.contextmanager
def session(folder: Path, *arguments: str, **environment: str) -> Iterator[Session]:
    begun = Session(
        folder, arguments, {"TERM": "xterm", "PYTEST_ADDOPTS": IN_PROCESS} | environment
    )
    try:
        yield begun
    finally:
        begun.close()


EVENTS = [
    r"spec_a.py::mlp: Hyperband, \d+ trials, \d+ epochs, max val_accuracy",
    *[r"  bracket \d, round \d: .*"] * 3,
    *[rf"  trial {n}/\d+: [\d.]+ in \d epochs?.*" for n in range(1, 7)],
    r"  validating the best values: 2 refits of 3 epochs",
    r"  refit 1/2 \(seed 0\): accuracy 0.75 on test, 1.0s",
    r"  refit 2/2 \(seed 1\): accuracy 0.75 on test, 1.0s",
]


def test_a_terminal_shows_the_trial_that_runs_and_a_debugger_has_it_for_itself(
    project: Path,
) -> None:
    second = project / "second-gate"
    os.mkfifo(second)
    with session(project, "test_other.py", "spec_a.py", BREAK=str(second)) as pytest_:
        shown = pytest_.until(r"^  trial 1: epoch 1/1, val_accuracy 0.5, \d")
        assert re.search(r"^spec_a.py::mlp: 0/\d+ trials, 1 running$", shown, re.MULTILINE)
        pytest_.open()
        pytest_.until("^  trial 2: epoch")
        second.open("w").close()
        shown = pytest_.until(r"^\(Pdb\)\Z")
        assert ">>> PDB set_trace (IO-capturing turned off) >>>" in shown
        assert not re.search("running|trial 2", shown)
        pytest_.type("tbreak scripted_runs.Script.perform\n")
        pytest_.until(r"^\(Pdb\)\Z", "Breakpoint 1")
        pytest_.type("continue\n")
        pytest_.until("^  trial 2: epoch")
        second.open("w").close()
        assert not re.search("running|trial 2", pytest_.until(r"^\(Pdb\)\Z"))
        pytest_.type("continue\n")
        assert pytest_.end() == 0
    assert "printed by a trial" not in pytest_.screen
    assert "running" not in pytest_.screen
    told = [
        line for line in pytest_.emulator.text if re.match("  (tri|val|ref)|spec_a.py::mlp:", line)
    ]
    assert len(told) == len(EVENTS) - 3


def test_specs_in_workers_of_xdist_are_shown_by_name_while_they_run(project: Path) -> None:
    (project / "spec_b.py").write_text(SPEC.format(name="net"))
    arguments = "-n2", "--dist=loadfile", "test_other.py", "spec_a.py", "spec_b.py"
    with session(project, *arguments) as pytest_:
        trial = r"  trial 1: epoch 1/1, val_accuracy 0\.5, [\d.]+s"
        both = rf"^spec_a.py::mlp: 0/6 trials, 1 running\n{trial}"
        pytest_.until(both, both.replace("spec_a.py::mlp", "spec_b.py::net"))
        pytest_.open()
        assert pytest_.end() == 0
    for spec in ("spec_a.py::mlp", "spec_b.py::net"):
        told = [line for line in pytest_.emulator.text if line.startswith(f"{spec}: ")]
        assert [told[0], *(line.removeprefix(spec) for line in told[1:])] == [
            ANY(EVENTS[0].replace("spec_a.py::mlp", spec)),
            *(ANY(event.replace("  ", ": ", 1)) for event in EVENTS[1:]),
        ]
    assert re.search(r"^\.{4} +\[100%\]$", pytest_.screen, re.MULTILINE)
    assert "running" not in pytest_.screen


def test_an_interrupted_session_leaves_nothing_on_the_terminal(project: Path) -> None:
    with session(project, "spec_a.py") as pytest_:
        pytest_.until("^  trial 1: epoch")
        pytest_.interrupt()
        assert pytest_.end() == pytest.ExitCode.INTERRUPTED
    assert not re.search("running|  trial 1", pytest_.screen)
    assert "KeyboardInterrupt" in pytest_.screen


def test_a_log_gets_a_line_per_trial_and_heartbeats(project: Path) -> None:
    gate = project / "gate"
    os.mkfifo(gate)
    arguments = [sys.executable, "-m", "pytest", "spec_a.py", "test_other.py"]
    environment = {k: v for k, v in os.environ.items() if k not in REMOVED}
    with subprocess.Popen(
        arguments,
        cwd=project,
        env=environment | {"TERM": "xterm", "PYTEST_ADDOPTS": IN_PROCESS},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if "running for" in line:
                break
        opened = os.open(gate, os.O_RDWR)
        said += process.stdout.read().splitlines()
        os.close(opened)
    assert process.returncode == 0
    beats = [line for line in said if "running for" in line]
    assert beats[0] == ANY(
        r"spec_a.py::mlp: running for [\d.]+s: 0/6 trials, trial 1 at epoch 1/1 for [\d.]+s"
    )
    told = [line for line in said if re.match("  |spec_a.py::mlp: H", line)]
    assert told[: len(EVENTS)] == [ANY(event) for event in EVENTS]
    assert not any("\x1b" in line for line in said)


TRAINED = """
import keras
import modeltune as mt
from modeltune.engine.fit import epoch_progress
from tests.support.tiny_specs import RULES

epoch_progress.EVERY = 0.0
exec(RULES)

def wait(epoch, logs):
    if epoch == 1:
        with open({gate!r}):
            pass

@spec(
    fit=mt.Fit(
        epochs=2,
        batch_size=20,
        callbacks=[lambda: keras.callbacks.LambdaCallback(on_epoch_begin=wait)],
    ),
)
def dense(hp):
    model = keras.Sequential([
        keras.Input((2,)),
        keras.layers.Dense(3, trainable=False),
        keras.layers.Dense(2, activation="softmax"),
    ])
    rate = hp.Choice("rate", [0.1, 0.01])
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
    return model
"""


def test_trials_in_two_processes_are_shown_while_they_train(project: Path) -> None:
    (project / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {TESTS!r})\n")
    (project / "spec_a.py").write_text(TRAINED.format(gate=str(project / "gate")))
    with session(project, "--modeltune-workers=2", "spec_a.py", "test_other.py") as pytest_:
        pytest_.until(
            r"^spec_a.py::dense: 0/2 trials, 2 running\n"
            r"  trial 1: epoch 1/2, val_accuracy [\d.]+, [\d.]+s\n"
            r"  trial 2: epoch 1/2, val_accuracy [\d.]+, [\d.]+s$"
        )
        pytest_.open()
        assert pytest_.end() == 0
    assert "running" not in pytest_.screen
    assert pytest_.screen.count("  trial ") == 2
    with open_store(f"sqlite:///{project}/.modeltune/history.db") as store:
        run = store.run("-1")
    # Who looks changes nothing about how it is trained.
    assert {trial.trained_by.partition(",")[0] for trial in run.trials} == {"frozen prefix + graph"}


class ANY:
    """Equal to every text that matches a pattern."""

    def __init__(self, pattern: str):
        self._pattern = pattern

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(self._pattern, other) is not None

    def __hash__(self) -> int:
        return hash(self._pattern)

    def __repr__(self) -> str:
        return self._pattern
