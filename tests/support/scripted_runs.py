"""A run whose training is a script: harness, ledger and history are real, and it takes a moment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modeltune as mt
from modeltune.harness import pipeline
from modeltune.harness.executors.inline import Inline
from modeltune.records.samples import Groups, Samples, pack_samples
from modeltune.records.scored_rows import ScoredRows
from modeltune.records.tasks import (
    ARCHITECTURE,
    Proposal,
    RefitResult,
    RefitTask,
    RehearsalResult,
    TrialResult,
    TrialTask,
)
from modeltune.records.verdicts import Verdict


@mt.spec(
    data=lambda: None,  # type: ignore[arg-type,return-value]
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3),
    validation=mt.Holdout(seeds=2),
    gates=[mt.metric("accuracy") >= 0.5],
)
def scripted(hp: Any) -> Any:
    raise NotImplementedError


class Script:
    """An engine that proposes four candidates, then more epochs for two, and trains none.

    What it is asked to train is appended to a file, by a call that nothing else makes; once all
    is trained ``at_the_end`` is called.
    """

    def __init__(self, log: Path, at_the_end: Callable[[], object] = lambda: None):
        self._log = log
        self._at_the_end = at_the_end
        self._scores: dict[str, float] = {}
        self._waiting = [Proposal(name, _space(name), epochs=1) for name in "abcd"]
        self._promoted: frozenset[str] = frozenset()

    def environment(self) -> dict[str, Any]:
        return {}

    def identity(self) -> dict[str, str]:
        return {}

    def notes(self) -> tuple[str, ...]:
        return ()

    def load(self, loaded: Any = None) -> tuple[dict[str, Any], dict[str, str]]:
        return {"samples": {"validation": 40}}, {"data/train": "0123"}

    def test_columns(self) -> dict[str, Groups]:
        return {"site": Groups.of(np.array(["north", "south", "north", "north"]))}

    def check(self) -> tuple[Verdict, ...]:
        return ()

    def scored_rows(self) -> ScoredRows:
        return ScoredRows(40)

    def begin(self, scratch: Path) -> RehearsalResult:
        return RehearsalResult({})

    def ask(self) -> Proposal | None:
        return self._waiting.pop(0) if self._waiting else None

    def tell(self, proposal: str, score: float, *_: object) -> frozenset[str]:
        self._scores[proposal] = score
        if len(self._scores) < 4:
            return frozenset("abcd")
        if len(self._scores) == 4:
            self._promoted = frozenset(sorted(self._scores, key=self._scores.__getitem__)[2:])
            self._waiting = [
                Proposal(f"{name}+", _space(name), epochs=3, initial_epoch=1, parent=name)
                for name in sorted(self._promoted)
            ]
        return self._promoted - {name[0] for name in self._scores if name.endswith("+")}

    def space_at(self, values: Any) -> Any:
        return _space(values["name"])

    def perform(self, task: TrialTask | RefitTask) -> TrialResult | RefitResult:
        name = f"trial {task.id}" if isinstance(task, TrialTask) else f"refit {task.refit.seed}"
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND)
        os.writev(descriptor, [f"{name}\n".encode()])
        os.close(descriptor)
        if isinstance(task, RefitTask):
            if task.refit.seed == 1:
                self._at_the_end()
            if task.weights is not None:
                task.weights.write_bytes(b"weights" * 1000)
                task.weights.with_name(ARCHITECTURE).write_text('{"layers": []}')
            samples = pack_samples(Samples(RIGHT.shape[1], 1, values={"accuracy": RIGHT}))
            return RefitResult({**SCORES}, {}, {"loss": (0.5,)}, name, 1.0, samples=samples)
        if task.continue_from is not None:
            assert task.continue_from.read_bytes() == b"state" * 1000
        assert task.keep_state is not None
        task.keep_state.parent.mkdir(parents=True, exist_ok=True)
        task.keep_state.write_bytes(b"state" * 1000)
        score = task.seed % 997 / 997 + task.epochs
        curve = {"val_accuracy": (score,) * (task.epochs - task.initial_epoch)}
        return TrialResult(curve, name, 1.0, task.hyperparameters, frozenset({"name"}))


RIGHT = np.array([[True, True, False, True]])

# A metric is what NumPy makes of it, which is no float to everybody.
SCORES: dict[str, float] = {"accuracy": np.float64(0.75)}
"""What every refit scores."""


def _space(name: str) -> Any:
    return {"space": [], "values": {"name": name}}


ALL = {*(f"trial {number}" for number in range(1, 7)), "refit 0", "refit 1"}


@contextlib.contextmanager
def scripting(log: Path, at_the_end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Have specs trained by the script while this lasts; it logs what it trains."""
    log.touch()

    @contextlib.contextmanager
    def lent(*arguments: Any) -> Iterator[Any]:
        script = Script(log, at_the_end)
        yield script, Inline(script.perform, listen=arguments[4])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "lend_engine", lent)
        yield


def pytest_configure(config: pytest.Config) -> None:
    """Have a session's specs trained by the script, as its plugin: ``-p tests.support.scripted_runs``."""
    training = contextlib.ExitStack()
    training.enter_context(scripting(config.rootpath / "trained.txt"))
    config.add_cleanup(training.close)


def run(folder: Path, log: Path) -> str:
    """Run the script in this process; only its harness, its ledger and its history are real."""
    with scripting(log):
        pipeline.run(scripted, store=f"sqlite:///{folder}/history.db", listen=lambda event: None)
    return "recorded"
