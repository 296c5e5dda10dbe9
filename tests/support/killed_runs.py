"""Runs to be killed: the four searches over a tiny model, each run in a process that starts warm."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import select
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Any

import modeltune as mt
from modeltune.harness import pipeline
from modeltune.harness.executors import supervision, worker
from modeltune.histories.store import open_store
from modeltune.records.runs import Run, RunStatus
from modeltune.specs.searches import Search
from modeltune.specs.spec_type import Protocol, Spec
from tests.support.forked import fork_a_server
from tests.support.small_models import digits, softmax

PATIENCE = 60.0
"""Seconds within which a run begins, and within which all of a killed one is gone."""

OBJECTIVE = mt.maximize("val_accuracy")


def data() -> mt.Data:
    return digits()


def searched(search: Search) -> Protocol:
    return mt.spec(
        data=data,
        search=search,
        fit=mt.Fit(epochs=2),
        validation=mt.Holdout(seeds=2),
        gates=[mt.metric("accuracy") >= 0],
    )


@searched(mt.RandomSearch(OBJECTIVE, max_trials=5, seed=3))
def random(hp: Any) -> Any:
    hp.Float("unused", 0, 1)
    return softmax(hp)


@searched(mt.GridSearch(OBJECTIVE))
def grid(hp: Any) -> Any:
    hp.Boolean("unused")
    return softmax(hp)


@searched(mt.BayesianOptimization(OBJECTIVE, max_trials=5, num_initial_points=2, seed=3))
def bayesian(hp: Any) -> Any:
    hp.Float("unused", 0, 1)
    return softmax(hp)


@searched(mt.Hyperband(OBJECTIVE, max_epochs=3, factor=2, seed=3))
def hyperband(hp: Any) -> Any:
    hp.Float("unused", 0, 1)
    return softmax(hp)


SPECS: tuple[Spec, ...] = (random, grid, bayesian, hyperband)


# what is claimed


def outcome(run: Run) -> dict[str, object]:
    """Return what depends on neither time, nor processes, nor how often the run was interrupted."""
    parts: dict[str, object] = {"best": run.best, "scores": run.scores, "checks": run.checks}
    for trial in run.trials:
        # Whether a compiled step was at hand depends on what its process had trained before.
        how = trial.trained_by.partition(", compiled step reused")[0]
        parts[f"trial {trial.id}"] = {**vars(trial), "seconds": None, "trained_by": how}
    parts["weights"] = run.artifact and run.artifact.sha256
    parts |= {name: file.sha256 for name, file in run.files.items()}
    # As text, in which NaN equals itself.
    return {name: repr(part) for name, part in parts.items()}


def check_same(run: Run, expected: Run) -> None:
    """Check that two runs have the same outcome."""
    one, other = outcome(run), outcome(expected)
    differing = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    assert not differing, "".join(
        f"\n{name}: {one.get(name)}\nand not {other.get(name)}" for name in differing
    )


def integrity(history: Path) -> None:
    """Check a history by sqlite3 itself: the judge shares no code with the accused."""
    with closing(sqlite3.connect(history)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.execute("SELECT * FROM runs").fetchall()


def finished(folder: Path) -> list[Run]:
    """Return the runs in a store's folder that were not killed, after checking them and their files.

    Of those that were killed there is a record and nothing else.
    """
    integrity(folder / "history.db")
    with open_store(url(folder), create=False) as history:
        recorded = [history.run(summary.id) for summary in history.runs()]
    crashed = [run for run in recorded if run.status is RunStatus.CRASHED]
    assert not any(run.artifact or run.files or run.trials for run in crashed)
    runs = [run for run in recorded if run.status is not RunStatus.CRASHED]
    for run in runs:
        assert run.passed, f"{run.status}: {run.error}"
        assert run.artifact is not None
        for kept in (run.artifact, *run.files.values()):
            content = (folder / kept.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == kept.sha256
    assert not list((folder / "scratch").iterdir())
    return runs


def killed_until_done(
    spec: Spec, workers: int, folder: Path, expected: Run, instants: Iterator[float], most: int
) -> int:
    """Run a spec until it ends by itself, and return how often it was killed: once to ``most`` times.

    Raises:
        AssertionError: it ended otherwise than the expected run, or a kill left more than
            a whole history, the ledger and the shared data.
    """
    kills = 0
    while True:
        if attempt(spec, workers, folder, next(instants) if kills < most else None).killed:
            kills += 1
            if (folder / "history.db").exists():
                integrity(folder / "history.db")
            left = [path.name for path in (folder / "scratch").glob("*")]
            # The ledger's folder, and what the processes shared: the next run removes both.
            assert len([name for name in left if not name.startswith("data-")]) <= 1, left
        elif kills:
            break
    for run in finished(folder):
        check_same(run, expected)
    return kills


# how a run is killed


@dataclass(frozen=True)
class Attempt:
    """How long a run was under way, and whether the kill ended it."""

    seconds: float
    killed: bool


def attempt(spec: Spec, workers: int, folder: Path, kill_after: float | None = None) -> Attempt:
    """Run a spec, and SIGKILL its process when it still runs after so many seconds.

    Every process of the run holds the writing end of a pipe, as its stdout and stderr: the
    reading end is at its end once none is left, whatever has become of parents and groups.
    """
    context = multiprocessing.get_context("forkserver")
    reading, writing = os.pipe()
    arguments = worker.Descriptor(writing), spec, workers, url(folder)
    process = context.Process(target=_run, args=arguments)
    supervision.warm_up()
    with supervision.main_left_alone():
        process.start()
    os.close(writing)
    with open(reading, "rb", buffering=0) as output:
        assert _read(output, 1) == b".", "the run's process did not begin"
        begun = time.monotonic()
        process.join(kill_after)
        process.kill()  # nothing, when it has ended
        process.join()
        seconds = time.monotonic() - begun
        printed = _read(output).decode()
    assert process.exitcode in (0, -signal.SIGKILL), f"exit {process.exitcode}: {printed}"
    return Attempt(seconds, killed=process.exitcode != 0)


def _run(output: worker.Descriptor, spec: Spec, workers: int, store: str) -> None:
    for number in (1, 2):
        os.dup2(output.number, number)
    os.close(output.number)
    util.spawnv_passfds = fork_a_server  # type: ignore[assignment]
    os.write(1, b".")
    pipeline.run(spec, store=store, workers=workers, listen=lambda event: None)


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/history.db"


def _read(output: Any, most: int | None = None) -> bytes:
    """Return so many bytes, or all until every writer is gone."""
    deadline, content = time.monotonic() + PATIENCE, b""
    while most is None or len(content) < most:
        ready, _, _ = select.select([output], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"processes of the run are still there after {PATIENCE:g} s: {content!r}"
        if not (read := output.read(most or 2**16)):
            break
        content += read
    return content
