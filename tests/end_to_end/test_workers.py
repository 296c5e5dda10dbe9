"""Runs in several processes: the same numbers, no TensorFlow in pytest, nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from modeltune.harness import pipeline
from modeltune.histories.store import open_store
from modeltune.records.json_form import to_json
from tests.support import forked
from tests.support.example import Example, source
from tests.support.forked import Interruption, interrupt

WITHOUT_TENSORFLOW = """
import sys

def pytest_sessionfinish():
    assert not {"tensorflow", "keras", "keras_tuner"} & sys.modules.keys()
"""

LONG = source("search=mt.RandomSearch(mt.maximize('val_accuracy'), max_trials=500)").replace(
    "[0.1, 0.01]", "[rate / 1000 for rate in range(1, 999)]"
)  # fmt: skip


DEAF = "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]"
LONG = LONG.replace("import keras\n", "import keras\nimport signal\n", 1)


@pytest.fixture
def environ() -> dict[str, str]:
    """Let other processes import what tests import."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTEST_ADDOPTS": ""}


def run_alike() -> None:
    """Run a spec in two processes, and in this."""
    from tests.support.process_specs import searched

    # The server is forked from this process, before TensorFlow has run here.
    for workers in (2, 0):
        store = f"sqlite:///{workers}.db"
        pipeline.run(searched, workers=workers, store=store, listen=lambda event: None)


def numbers(store: Path) -> dict[str, Any]:
    """Return all of a recorded run that does not say when, where or how fast."""
    with open_store(f"sqlite:///{store}", create=False) as history:
        run = to_json(history.run("-1"))
    for timed in (*run["trials"], *run["validation"]["refits"]):
        del timed["seconds"]
        # Which process trained which candidate before decides what it can use again.
        del timed["trained_by"]
    return {
        "trials": run["trials"],
        "refits": run["validation"]["refits"],
        "scores": run["scores"],
        "weights": run["artifact"]["sha256"],
        "best": run["best"],
        "threads": run["environment"]["threads"],
    }


def test_the_same_numbers_come_from_any_number_of_processes(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    ended = forked.Command(run_alike, folder=tmp_path, environ=environ).end()
    assert ended == (0, "")
    none, two = (numbers(tmp_path / f"{workers}.db") for workers in (0, 2))
    assert none["threads"] == {"intra_op": 1, "inter_op": 1}
    assert len(none["trials"]) == 8
    assert none == two


def test_an_interrupt_keeps_what_was_found_and_leaves_no_process(
    example: Example, environ: dict[str, str]
) -> None:
    # The other trial processes are busy when one has told of its first, and ignore what is sent.
    text = LONG.replace("    rate = hp", f"    {DEAF}\n    rate = hp", 1)
    done = interrupted(example.with_spec(text), environ, signal.SIGINT)
    assert done.status == 2, done.lines
    assert not any("INTERNALERROR" in line for line in done.lines)
    assert_gone(done.family)
    (run,) = example.report()["runs"]
    assert (run["status"], run["trials"][0]["status"]) == ("interrupted", "completed")
    assert run["error"] == "KeyboardInterrupt"


def test_a_killed_pytest_leaves_no_process(example: Example, environ: dict[str, str]) -> None:
    done = interrupted(example.with_spec(LONG), environ, signal.SIGKILL)
    assert done.status == -signal.SIGKILL, done.lines
    assert_gone(done.family)


def test_an_unchanged_spec_is_served_from_the_history_without_tensorflow(
    example: Example, environ: dict[str, str]
) -> None:
    def ran(text: str, *arguments: str) -> tuple[int, str]:
        folder = example.with_spec(text).write()
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:hypothesispytest", *arguments]
        done = subprocess.run(
            [*command, "-p", "witness"],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout

    def ran_warm(text: str, *arguments: str) -> tuple[int, str]:
        folder = example.with_spec(text).write()
        options = "-v", "-p", "no:hypothesispytest", *arguments
        return forked.Command(forked.pytest, *options, folder=folder, environ=environ).end()

    def spec(bound: float, rate: float = 0.01) -> str:
        gates = f"gates=[mt.metric('accuracy') >= {bound}]"
        text = source(gates).replace("[0.1, 0.01]", f"[0.1, {rate}]")
        return text.replace("    y = np", "    open('loaded', 'a').write('once ')\n    y = np", 1)

    def loaded() -> int:
        return len((example.path / "loaded").read_text().split())

    example = example.with_files({"witness.py": WITHOUT_TENSORFLOW})
    status, output = ran(spec(0.0), "--modeltune-workers=1", "--modeltune-reuse")
    assert status == 0, output
    assert "note: no recorded run was reused: no finished run of this spec is recorded" in output
    # What was loaded to be compared is what the processes train on.
    assert loaded() == 1
    status, output = ran(spec(0.0), "--modeltune-reuse")
    assert status == 0, output
    assert "spec_a.py::dense CACHED" in output
    assert "passed (cached)" in output
    assert loaded() == 2
    # Another gate trains nothing, but judges.
    status, output = ran(spec(1.5), "--modeltune-reuse")
    assert status == 1, output
    assert "failed (cached)" in output
    (run,) = example.report()["runs"]
    assert run["cached"] is True
    assert run["verdicts"][0]["outcome"] == "failed"
    # Another model does; that pytest is without TensorFlow while another process trains, the first
    # has shown.
    status, output = ran_warm(spec(0.0, rate=0.02), "--modeltune-workers=1", "--modeltune-reuse")
    assert status == 0, output
    assert "note: no recorded run was reused: code in spec_a.py changed since run " in output
    assert loaded() == 4
    assert len(example.history()) == 2


def interrupted(example: Example, environ: dict[str, str], sent: signal.Signals) -> Interruption:
    """Run pytest until a trial has ended, and stop it."""
    done = interrupt(
        example.write(), "-p", "no:hypothesispytest", at="  trial 1/", sent=sent, environ=environ
    )
    # The server, the oracle's process, a trial's.
    assert len(done.family) >= 3, done.lines
    return done


def assert_gone(family: list[psutil.Process]) -> None:
    """Wait until all have ended: they follow a pytest that could not end them itself."""
    deadline = time.monotonic() + 60
    while alive := [process for process in family if runs(process)]:
        assert time.monotonic() < deadline, alive
        psutil.wait_procs(alive, timeout=0.1)


def runs(process: psutil.Process) -> bool:
    """Tell whether it has not ended: what nobody waits for stays a zombie."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
