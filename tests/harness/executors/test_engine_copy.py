"""An engine in a copy of this process: what a behaviour ruins is replaced, and costs its own gate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from modeltune.ground.errors import DataError, SearchError
from modeltune.harness.executors.engine_copy import EngineCopy, lend_engine_copy
from modeltune.records.events import Event, Note
from modeltune.records.probes import Probe
from modeltune.records.tasks import Examination, ExamineTask, GivenModels
from tests.support.small_models import spec_of

PRINTS = {"data/test": "1"}


class Ruinous:
    """An engine of plain data, whose process ends where its author's code is said to do so."""

    def __init__(self, *ruins: str, other: bool = False):
        self.ruins = ruins
        self.other = other

    def load(self) -> tuple[dict[str, str], dict[str, str]]:
        return {}, dict(PRINTS)

    def take(self, written: None, fingerprints: Mapping[str, str]) -> None:
        assert fingerprints == PRINTS
        if self.other:
            raise DataError("data: test differ each time they are loaded")

    def identify(self, with_behaviours: bool = True) -> GivenModels:
        self._reach("identify")
        if with_behaviours:
            self._reach("rehearsal")
        return GivenModels(("a digest",))

    def examine(self, task: ExamineTask) -> Examination:
        for demand in task.behaviours:
            self._reach(demand)
        return Examination({demand: Probe(1, 0, True) for demand in task.behaviours})

    def _reach(self, place: str) -> None:
        if place in self.ruins:
            os._exit(7)


def run_of(copy: EngineCopy) -> GivenModels:
    """Load and identify as a run does, which adds the models to the fingerprints."""
    _, prints = copy.load()
    given: GivenModels = copy.identify()
    prints["model/1"] = given.digests[0]
    return given


def examination(*demands: str) -> ExamineTask:
    return ExamineTask({}, Path("none"), behaviours=demands)


def test_a_behaviour_that_ruins_its_process_leaves_the_others_theirs() -> None:
    with lend_engine_copy(spec_of(), Ruinous("rehearsal", "dies")) as (copy, _):
        assert run_of(copy).digests == ("a digest",)
        ended = copy.examine(examination("lives", "dies"))
        assert ended.failure is not None
        assert ended.failure.reason.startswith("its process exited with status 7, peak memory")
        assert ended.failure.reason.endswith(", for the second time")
        assert "in _reach" in str(ended.failure.traceback)
        assert "multiprocessing" not in str(ended.failure.traceback)
        assert list(copy.examine(examination("lives")).probed) == ["lives"]


def test_a_predictor_that_ruins_its_process_cannot_be_identified() -> None:
    heard: list[Event] = []
    with (
        lend_engine_copy(spec_of(), Ruinous("identify"), heard.append) as (copy, _),
        pytest.raises(SearchError, match=r"exited with status 7.*during identify"),
    ):
        run_of(copy)
    assert not [event for event in heard if isinstance(event, Note)]


def test_other_data_in_the_copy_that_replaces_one_are_refused() -> None:
    with lend_engine_copy(spec_of(), Ruinous("dies", other=True)) as (copy, _):
        run_of(copy)
        with pytest.raises(DataError, match="differ each time"):
            copy.examine(examination("dies"))
