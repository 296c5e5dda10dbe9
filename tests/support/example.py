"""Example projects: a value that says which files a project has, and what a session in it came to.

``Example(...).with_files({...}).run_pytest(...)`` returns a Session. The fixtures ``example``,
``project`` and ``scripted`` are empty examples: for sessions in processes of their own; for some
in this process, which train for real; and for some whose training is a script.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.dialects.postgresql  # noqa: F401  registers names, once in a process

import modeltune as mt
from modeltune.ground import HistoryError
from modeltune.histories import open_store
from modeltune.records import Run
from tests.support import forked, scripted_runs

ROOT = Path(__file__).parents[2]

IN_PROCESS = "-p no:hypothesispytest --modeltune-workers=0"
"""What a pytest inside a test is given in PYTEST_ADDOPTS where processes are not the point.

Importing hypothesis, or keras in the server of trial processes, would take its time.
"""

REPORT = ".modeltune/report"


@dataclass(frozen=True)
class Session:
    """What a pytest session came to: how it ended, what it printed, and what it left behind.

    ``report`` is report.json, empty where there is none; ``history`` all runs that are recorded by
    then, the newest first; ``trained`` what the script was asked to train.
    """

    exit_code: int
    stdout: pytest.LineMatcher
    stderr: pytest.LineMatcher
    outcomes: Mapping[str, int]
    report: Mapping[str, Any]
    history: tuple[Run, ...]
    trained: tuple[str, ...]

    @property
    def output(self) -> str:
        return self.stdout.str()

    @property
    def lines(self) -> list[str]:
        return self.stdout.lines

    @property
    def reported(self) -> list[dict[str, Any]]:
        """The runs in report.json."""
        runs: list[dict[str, Any]] = self.report["runs"]
        return runs

    def assert_outcomes(self, **expected: int) -> None:
        """Check how many tests passed, failed and so on: those that are not named are none."""
        assert {**self.outcomes, "warnings": 0} == {**expected, "warnings": 0}, self.output


@dataclass(frozen=True)
class Example:
    """A project in a folder of its own; nothing of it is written before something is run in it.

    What sessions leave in the folder, such as histories and baselines, is there for the next.
    """

    pytester: pytest.Pytester
    files: Mapping[str, str] = field(default_factory=dict)
    is_scripted: bool = False

    @property
    def path(self) -> Path:
        return self.pytester.path

    def with_files(self, files: Mapping[str, str]) -> Example:
        """Return the project with these files as well, by their paths in it."""
        return replace(self, files={**self.files, **files})

    def with_spec(self, text: str) -> Example:
        """Return the project with this text for its ``spec_a.py``."""
        return self.with_files({"spec_a.py": text})

    def write(self) -> Path:
        """Write the files, and return the folder."""
        for name, text in self.files.items():
            file, code = self.path / name, textwrap.dedent(text).lstrip("\n")
            if not file.exists() or file.read_text(encoding="utf-8") != code:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(code, encoding="utf-8")
        return self.path

    def run_pytest(
        self, *arguments: str, at_the_end: Callable[[], object] = lambda: None
    ) -> Session:
        """Run pytest here; ``at_the_end`` is called once a script has trained all of a spec."""
        log = self.write() / "trained.txt"
        log.unlink(missing_ok=True)
        is_scripted = self.is_scripted
        with scripted_runs.scripting(log, at_the_end) if is_scripted else contextlib.nullcontext():
            return self._ended(self.pytester.runpytest_inprocess(*arguments))

    def run_pytest_apart(self, *arguments: str) -> Session:
        """Run pytest in a process of its own."""
        log = self.write() / "trained.txt"
        log.unlink(missing_ok=True)
        scripted = ("-p", scripted_runs.__name__) if self.is_scripted else ()
        return self._ended(self.pytester.runpytest_subprocess(*scripted, *arguments))

    def run_pytest_forked(self, *arguments: str) -> Session:
        """Run pytest and its workers of xdist in processes forked from one that has Keras."""
        log = self.write() / "trained.txt"
        log.unlink(missing_ok=True)
        scripted = ("-p", scripted_runs.__name__) if self.is_scripted else ()
        begun = time.monotonic()
        command = forked.Command(forked.pytest, *scripted, *arguments, folder=self.path)
        status, output = command.end()
        lines = output.splitlines()
        return self._ended(pytest.RunResult(status, lines, [], time.monotonic() - begun))

    def run_modeltune(self, *arguments: str, folder: Path | None = None) -> tuple[int, str]:
        """Run the command in a process of its own; return its exit code and all it printed."""
        return forked.Command(forked.modeltune, *arguments, folder=folder or self.write()).end()

    def history(self, database: str = ".modeltune/history.db") -> tuple[Run, ...]:
        """Return the runs that are recorded now, the newest first; none where no history is."""
        try:
            with open_store(f"sqlite:///{self.path / database}", create=False) as store:
                return tuple(store.run(summary.id) for summary in store.runs())
        except HistoryError:
            return ()

    def report(self, folder: str = REPORT) -> dict[str, Any]:
        """Return the report that is there now, nothing where none is."""
        file = self.path / folder / "report.json"
        report: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        return report

    def _ended(self, result: pytest.RunResult) -> Session:
        log = self.path / "trained.txt"
        return Session(
            int(result.ret),
            result.stdout,
            result.stderr,
            {} if not result.outlines else outcomes_of(result),
            self.report(),
            self.history(),
            tuple(log.read_text("utf-8").splitlines()) if log.is_file() else (),
        )


def outcomes_of(result: pytest.RunResult) -> dict[str, int]:
    """Return how many tests passed, failed and so on, as the last line of a session says."""
    try:
        return result.parseoutcomes()
    except ValueError:
        return {}  # quiet, or refused before it began


# What specs are made of.

RULES = """
import keras
import numpy as np
import pytest
import modeltune as mt

def blobs(part=slice(None)):
    y = np.arange(60) % 2
    x = np.random.default_rng(0).normal(size=(60, 2)) + 3.0 * y[:, None]
    return mt.Data(train=(x.astype("float32")[part], y[part]))

def compiled(hp, units=2):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, activation="softmax")])
    rate = hp.Choice("rate", [0.1, 0.01])
    model.compile(
        keras.optimizers.SGD(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model

def spec(**fields):
    search = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=2)
    standard = {"data": blobs, "search": search, "fit": mt.Fit(epochs=1, batch_size=20)}
    return mt.spec(**{**standard, "validation": mt.Holdout(epochs=1, seeds=1), **fields})
"""


def source(fields: str = "", body: str = "return compiled(hp)", name: str = "dense") -> str:
    """Return a spec file whose spec has these fields and this build function, and runs in a second."""
    return f"{RULES}\n@spec({fields})\ndef {name}(hp):\n    {body}\n"


def scripted_source(*names: str, fields: str = "") -> str:
    """Return a spec file whose specs a script can train: they have neither data nor models."""
    rules = f"""
import modeltune as mt

on_nothing = mt.spec(
    data=lambda: None,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
    validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= 0.5],
    {fields}
)
"""
    return rules + "".join(
        f"\n@on_nothing\ndef {name}(hp):\n    raise NotImplementedError\n"
        for name in names or ("scripted",)
    )


PARAMETRIZED = (
    scripted_source()
    .replace("import modeltune", "import pytest\nimport modeltune")
    .replace(
        "\n@on_nothing\n",
        """
@pytest.mark.parametrize(
    "gates", [[mt.metric("accuracy") >= 0.5], [mt.metric("accuracy") >= 0.99]], ids=["low", "high"]
)
@on_nothing
""",
    )
)
"""A spec file whose spec is run under two gates: one holds, one does not."""


# What a session imports: it forgets that, and TensorFlow, NumPy and SciPy cannot be imported twice.


@functools.cache
def load_keras() -> None:
    """Run a spec once, so that a pytest inside this one finds Keras imported."""
    from tests.support import lean_graphs

    lean_graphs.leave_as_traced()
    lean_graphs.note_no_stacks()
    names: dict[str, mt.Spec] = {"__name__": "tests.support.example"}  # type: ignore[dict-item]
    exec(compile(source(), __file__, "exec"), names)
    # The end of a session compares with earlier runs, if there are any: by SciPy.
    importlib.import_module("modeltune.judgement.significance")
    with tempfile.TemporaryDirectory() as folder:
        mt.run(
            names["dense"],
            store=f"sqlite:///{Path(folder, 'history.db')}",
            listen=lambda event: None,
        )


@functools.cache
def load_script() -> None:
    """Run the script once, so that a pytest inside this one finds imported what it needs."""
    importlib.import_module("modeltune.judgement.significance")
    with tempfile.TemporaryDirectory() as folder:
        scripted_runs.run(Path(folder), Path(folder, "log"))
