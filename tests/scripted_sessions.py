"""Pytest sessions whose training is a script: plugin, harness and history are real."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_runs import Script, run

from modeltune import harness
from modeltune.executors.inline import Inline
from modeltune.trials import RefitTask, Refitted, Trained, TrialTask

SPEC = """
import modeltune as mt

@mt.spec(
    data=lambda: None,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
    validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= 0.5],
)
def scripted(hp):
    raise NotImplementedError
"""

OPTIONS = ("-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--modeltune-workers=0")


@functools.cache
def load() -> None:
    """Run the script once, so that a pytest inside this one finds imported what it needs.

    ``runpytest_inprocess`` and ``pytester`` forget what was imported meanwhile; NumPy cannot be
    imported twice.
    """
    # The end of a session compares with earlier runs, if there are any: by SciPy.
    importlib.import_module("modeltune.statistics")
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), Path(folder, "log"))


class Interposed(Script):
    """The script, with something that happens once all is trained."""

    def __init__(self, log: Path, at_the_end: Callable[[], object]):
        super().__init__(log)
        self._at_the_end = at_the_end

    def perform(self, task: TrialTask | RefitTask) -> Trained | Refitted:
        done = super().perform(task)
        if isinstance(task, RefitTask) and task.refit.seed == 1:
            self._at_the_end()
        return done


@contextlib.contextmanager
def scripting(log: Path, at_the_end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have specs trained by the script while this lasts; it logs what it trains."""
    log.touch()

    @contextlib.contextmanager
    def lent(*_: object) -> Iterator[Any]:
        script = Interposed(log, at_the_end)
        yield script, Inline(script.perform), None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(harness, "_engine", lent)
        yield


AT_ONCE = """
import multiprocessing, os, sys
from pathlib import Path

import psycopg, pytest
from scripted_sessions import OPTIONS, SPEC, scripting

def session(folder, url):
    folder.mkdir()
    os.chdir(folder)
    Path("spec_a.py").write_text(SPEC)
    Path("pyproject.toml").touch()
    with open("said.txt", "w") as sys.stdout, scripting(folder / "log"):
        return pytest.main(["spec_a.py", *OPTIONS, "--modeltune-store=" + url])

def with_the_others(folder, url):
    start.wait()
    os._exit(session(folder, url))

folder, urls = Path(sys.argv[1]), sys.argv[2:]
stdout = sys.stdout
session(folder / "warming-up", "sqlite:///history.db")
del sys.modules["spec_a"]
forked = multiprocessing.get_context("fork")
start = forked.Barrier(8 * len(urls))
sessions = [
    forked.Process(target=with_the_others, args=(folder / f"project-{kind}-{number}", url))
    for kind, url in enumerate(urls)
    for number in range(8)
]
for process in sessions:
    process.start()
for process in sessions:
    process.join()
print(*[process.exitcode for process in sessions], file=stdout)
"""
"""Eight processes for each URL that run pytest: forked, since importing would take them seconds."""


def path_for_imports() -> dict[str, str]:
    """Return an environment in which a new Python finds modeltune and the modules of tests."""
    folder = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": f"{folder.parent}:{folder}"}
