"""How long queries take in a history of 100 000 runs: python benchmarks/history.py

Builds a history of twenty specs with 30 trials a run, and prints medians in milliseconds. Every run
is as large as a recorded search of digits (Hyperband, 120 epochs, three refits).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import modeltune as mt
from modeltune.cli import main as modeltune
from modeltune.harness.cached_runs import find_reusable
from modeltune.histories import baselines, schema
from modeltune.histories.find_references import TEST_PART, TRAIN_PART, references
from modeltune.histories.frames import history
from modeltune.histories.store import Store, open_store
from modeltune.records.facts import Area, facts_of
from modeltune.records.runs import Best, Durations, Run, RunStatus, Scores, Trial, TrialStatus
from modeltune.records.verdicts import Outcome, Verdict, check_verdict
from modeltune.specs.identity.parts import run_identity
from modeltune.specs.spec_type import Spec

SPECS = 20
PRINTS = {TEST_PART: "a" * 64, TRAIN_PART: "b" * 64}
TARGET = 100
"""Milliseconds that recording, finding a baseline and ``modeltune history`` may take."""


def samples() -> mt.Data:
    """Return nothing: no model is trained here."""
    raise AssertionError


@mt.spec(
    data=samples,
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=10),
    validation=mt.Holdout(epochs=30, seeds=3),
    gates=[
        mt.metric("accuracy") >= mt.baseline - 0.01,
        mt.metric("accuracy") >= mt.previous - 0.01,
        mt.metric("accuracy") >= mt.median(10) - 0.01,
    ],
)
def model0(hp: Any) -> Any:
    """A spec to look for."""
    raise AssertionError


def template(file: Path) -> Run:
    """Return a run as large as one of the digits spec."""
    dice = random.Random(1)

    def curves(epochs: int) -> dict[str, tuple[float, ...]]:
        names = ("accuracy", "loss", "val_accuracy", "val_loss")
        return {name: tuple(dice.random() for _ in range(epochs)) for name in names}

    classes = [str(digit) for digit in range(10)]
    trials = tuple(
        Trial(number, TrialStatus.COMPLETED, {"units": 64, "learning_rate": dice.random()},
              dice.random(), None, 4, 0, None, 3, dice.random(), dice.getrandbits(32), curves(4),
              "graph")
        for number in range(30)
    )  # fmt: skip
    names = ("accuracy", "loss", "precision", "recall", "f1", "parameters")
    return Run(
        id="0" * 16,
        created="2026-01-01T00:00:00+00:00",
        spec=model0.id,
        file=str(file),
        status=RunStatus.PASSED,
        objective="maximize val_accuracy",
        scores={name: Scores((0.97, 0.96, 0.98)) for name in names},
        verdicts=tuple(
            Verdict(repr(gate), Outcome.PASSED, 0.97, 0.96, "not worse", facts_of(gate))
            for gate in model0.gates
        ),
        best=Best(3, 0.97, {"units": 64, "learning_rate": 0.001}),
        trials=trials,
        search={"kind": "Hyperband", "max_epochs": 10, "factor": 3, "seed": 0},
        fit={"epochs": None, "batch_size": 32, "shuffle": True},
        validation={
            "kind": "Holdout",
            "epochs": 30,
            "refits": [{"seed": seed, "fold": None, "curve": curves(30)} for seed in range(3)],
        },
        durations=Durations(0.2, 12.0, 3.0),
        data={part: {"samples": 450, "classes": classes} for part in ("train", "test")},
        task_report={
            "confusion": [[dice.randrange(45) for _ in classes] for _ in classes],
            "classes": {name: {"precision": 0.97, "recall": 0.96, "n": 45} for name in classes},
        },
        environment={f"package-{number}": "1.2.3" for number in range(20)},
        fingerprints=dict(run_identity(model0)) | PRINTS,
        checks=tuple(
            check_verdict(Area.DATA, f"data.check_{number}", Outcome.PASSED, 0.0, 0.0, "none found")
            for number in range(15)
        ),
        model={
            "parameters": 5000,
            "trainable": 5000,
            "layers": [
                {"name": f"dense_{number}", "kind": "Dense", "shape": [None, 64],
                 "parameters": 64, "trainable": True, "depth": 0}
                for number in range(6)
            ],
            "layers_total": 6,
        },
    )  # fmt: skip


def fill(store: Store, run: Run, count: int) -> None:
    """Record the run many times under other ids and names; the database copies its parts."""
    dice = random.Random(2)
    store.record(run)
    with store._engine.execution_options(immediate=True).begin() as connection:
        row = dict(connection.execute(sa.select(schema.runs)).one()._mapping)
        del row["seq"]
        for start in range(1, count, 1000):
            connection.execute(
                schema.runs.insert(),
                [
                    row
                    | {
                        "id": f"{dice.getrandbits(64):016x}",
                        "spec": run.spec.replace("0", str(number % SPECS)),
                        "created": f"2026-{number % 12 + 1:02}-01T00:00:00+00:00",
                    }
                    for number in range(start, min(start + 1000, count))
                ],
            )
        for table in (schema.trials, schema.scores, schema.verdicts):
            kept = [column for column in table.c if column.name != "run"]
            copied = (
                sa.select(schema.runs.c.id, *kept)
                .select_from(schema.runs.join(table, sa.true()))
                .where(table.c.run == run.id, schema.runs.c.id != run.id)
            )
            columns = ["run", *(column.name for column in kept)]
            connection.execute(table.insert().from_select(columns, copied))
        if connection.dialect.name == "sqlite":
            return
    with store._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # As the server does by itself within a minute.
        connection.exec_driver_sql("VACUUM ANALYZE")


def accepted(folder: Path, run: Run) -> Path:
    """Write a spec file, and a baseline beside it for each spec in it; return the file."""
    file = folder / "history.py"
    file.write_text("")
    for number in range(SPECS):
        spec = run.spec.replace("0", str(number))
        baselines.accept(replace(run, spec=spec), None, file, why="the first")
    return file


def milliseconds(act: Callable[[], object], times: int = 9) -> tuple[float, float]:
    """Return the median wall and CPU times, after a first call that warms caches and imports."""
    measurements = []
    for _ in range(times + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        act()
        measurements.append(
            ((time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000)
        )
    walls, cpus = zip(*measurements[1:], strict=True)
    return statistics.median(walls), statistics.median(cpus)


def main() -> int:
    """Print a line per query; return 1 when a query with a target misses it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--store", help="an empty PostgreSQL database; default: a new SQLite file")
    parser.add_argument("--kept", type=Path, help="a folder to keep the history in, and find it")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        made = options.kept or stack.enter_context(tempfile.TemporaryDirectory())
        folder = Path(made).absolute()
        folder.mkdir(exist_ok=True)
        url = options.store or f"sqlite:///{folder}/history.db"
        file = folder / "history.py"
        run = template(file)
        with open_store(url) as store:
            if not store.specs():
                started = time.perf_counter()
                fill(store, run, options.runs)
                print(f"built in {time.perf_counter() - started:.0f} s")
            accepted(folder, run)
            spec = Spec(model0.protocol, model0.model, "model0", model0.module, str(file), 1)
            missed = ask(store, url, spec, run)
    return int(missed)


def ask(store: Store, url: str, spec: Spec, run: Run) -> bool:
    """Print how long each query takes; return whether one takes too long."""
    dice = random.Random()

    def record() -> None:
        store.record(replace(run, id=f"{dice.getrandbits(64):016x}"))

    def command(*arguments: str) -> Callable[[], None]:
        def act() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                assert modeltune([*arguments, "--store", url]) == 0

        return act

    record()
    newest = store.run("-1").id
    aimed: dict[str, Callable[[], object]] = {
        "record one more run": record,
        "baseline, previous and median(10)": lambda: references(spec, store, PRINTS, newest),
        "--modeltune-reuse, unchanged": lambda: find_reusable(spec, store, PRINTS),
        "--modeltune-reuse, changed": lambda: find_reusable(
            spec, store, {TEST_PART: "c", TRAIN_PART: "d"}
        ),
        "known counter-examples": lambda: list(store.counterexamples(spec.id)),
        "modeltune history": command("history"),
        "modeltune history SPEC": command("history", spec.id),
        "modeltune show -1": command("show", "-1"),
        "modeltune show START": command("show", newest[:9]),
        "modeltune compare -2 -1": command("compare", "-2", "-1"),
    }
    slow = False
    for name, act in aimed.items():
        wall, cpu = milliseconds(act)
        slow |= wall > TARGET
        line = f"{name:36} {wall:10.1f} ms, {cpu:6.1f} ms of CPU"
        print(f"{line}{'  TOO SLOW' if wall > TARGET else ''}", flush=True)
    shell = [str(Path(sys.executable).with_name("modeltune")), "history", "--store", url]
    others: dict[str, Callable[[], object]] = {
        "modeltune history, the whole command": lambda: subprocess.run(
            shell, check=True, capture_output=True
        ),
        "frame(SPEC)": lambda: history(url).frame(spec.id),
        "frame()": lambda: history(url).frame(),
    }
    for name, act in others.items():
        wall, cpu = milliseconds(act, 3)
        print(f"{name:36} {wall:10.1f} ms, {cpu:6.1f} ms of CPU here", flush=True)
    return slow


if __name__ == "__main__":
    sys.exit(main())
