"""Real sessions on a real terminal show what runs, and leave the terminal to a debugger."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from modeltune.histories.store import open_store
from tests.support import forked
from tests.support.example import IN_PROCESS, ROOT, scripted_source
from tests.support.terminals import Emulator

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
def scripted(spec, fixtures, workers, folder, listen, *limits):
    folder.mkdir(exist_ok=True, parents=True)
    log = folder / "log"
    log.touch()
    script = Watched(log)
    yield script, Inline(script.perform, listen)

pipeline.lend_engine = scripted
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
        options = "-p", "no:cacheprovider", *arguments
        self._process = forked.Command(
            forked.pytest, *options, folder=folder, environ=environment, terminal=other
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
        return self._process.end()[0]

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
        if not self._process.has_ended:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.end()
        os.close(self._terminal)
        if self._opened is not None:
            os.close(self._opened)


REMOVED = {"CI", "BUILD_NUMBER", "NO_COLOR", "MODELTUNE_STORE", "PYTEST_XDIST_WORKER"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(
        CONFTEST.format(tests=str(ROOT), gate=str(tmp_path / "gate"))
    )
    (tmp_path / "spec_a.py").write_text(scripted_source("mlp"))
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
        screen = pytest_.until(r"^  trial 1: epoch 1/1, val_accuracy 0.5, \d")
        assert re.search(r"^spec_a.py::mlp: 0/\d+ trials, 1 running$", screen, re.MULTILINE)
        pytest_.open()
        pytest_.until("^  trial 2: epoch")
        second.open("w").close()
        screen = pytest_.until(r"^\(Pdb\)\Z")
        assert ">>> PDB set_trace (IO-capturing turned off) >>>" in screen
        assert not re.search("running|trial 2", screen)
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
    lines = [
        line for line in pytest_.emulator.text if re.match("  (tri|val|ref)|spec_a.py::mlp:", line)
    ]
    assert len(lines) == len(EVENTS) - 3


def test_specs_in_workers_of_xdist_are_shown_by_name_while_they_run(project: Path) -> None:
    (project / "spec_b.py").write_text(scripted_source("net"))
    arguments = "-n2", "--dist=loadfile", "test_other.py", "spec_a.py", "spec_b.py"
    with session(project, *arguments) as pytest_:
        trial = r"  trial 1: epoch 1/1, val_accuracy 0\.5, [\d.]+s"
        both = rf"^spec_a.py::mlp: 0/6 trials, 1 running\n{trial}"
        pytest_.until(both, both.replace("spec_a.py::mlp", "spec_b.py::net"))
        pytest_.open()
        assert pytest_.end() == 0
    for spec in ("spec_a.py::mlp", "spec_b.py::net"):
        lines = [line for line in pytest_.emulator.text if line.startswith(f"{spec}: ")]
        assert [lines[0], *(line.removeprefix(spec) for line in lines[1:])] == [
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
        log = []
        for line in process.stdout:
            log.append(line.rstrip("\n"))
            if "running for" in line:
                break
        opened = os.open(gate, os.O_RDWR)
        log += process.stdout.read().splitlines()
        os.close(opened)
    assert process.returncode == 0
    beats = [line for line in log if "running for" in line]
    assert beats[0] == ANY(
        r"spec_a.py::mlp: running for [\d.]+s: 0/6 trials, trial 1 at epoch 1/1 for [\d.]+s"
    )
    events = [line for line in log if re.match("  |spec_a.py::mlp: H", line)]
    assert events[: len(EVENTS)] == [ANY(event) for event in EVENTS]
    assert not any("\x1b" in line for line in log)


TRAINED = """
import keras
import modeltune as mt
from modeltune.engine.fit import epoch_progress
from tests.support.example import RULES

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
    (project / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n")
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
