"""Pytest sessions whose training is a script: plugin, harness and history are real."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.support.scripted_runs import run, scripting

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

PARAMETRIZED = SPEC.replace("import modeltune", "import pytest\nimport modeltune").replace(
    "@mt.spec(",
    """@pytest.mark.parametrize(
    "gates", [[mt.metric("accuracy") >= 0.5], [mt.metric("accuracy") >= 0.99]], ids=["low", "high"]
)
@mt.spec(""",
)
"""The same under two gates: one holds, one does not."""

OPTIONS = ("-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--modeltune-workers=0")


@functools.cache
def load() -> None:
    """Run the script once, so that a pytest inside this one finds imported what it needs.

    ``runpytest_inprocess`` and ``pytester`` forget what was imported meanwhile; NumPy cannot be
    imported twice.
    """
    # The end of a session compares with earlier runs, if there are any: by SciPy.
    importlib.import_module("modeltune.judgement.significance")
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), Path(folder, "log"))


def at_once(folder: Path, urls: Sequence[str]) -> None:
    """Run pytest in eight processes for each URL, all at the same time; all exit with 0.

    They are forked from this process after its own session: importing would take each seconds.
    """
    _session(folder / "warming-up", "sqlite:///history.db")
    del sys.modules["spec_a"]
    gc.collect()
    gc.freeze()
    forked = multiprocessing.get_context("fork")
    start = forked.Barrier(8 * len(urls))
    sessions = [
        forked.Process(
            target=_with_the_others, args=(start, folder / f"project-{kind}-{number}", url)
        )
        for kind, url in enumerate(urls)
        for number in range(8)
    ]
    for process in sessions:
        process.start()
    for process in sessions:
        process.join()
    assert not any(process.exitcode for process in sessions), sessions


def _session(folder: Path, url: str) -> int:
    folder.mkdir()
    os.chdir(folder)
    Path("spec_a.py").write_text(SPEC)
    Path("pyproject.toml").touch()
    with (
        open("said.txt", "w") as said,
        contextlib.redirect_stdout(said),
        scripting(folder / "log"),
    ):
        return int(pytest.main(["spec_a.py", *OPTIONS, f"--modeltune-store={url}"]))


def _with_the_others(start: Barrier, folder: Path, url: str) -> None:
    start.wait()
    os._exit(_session(folder, url))
