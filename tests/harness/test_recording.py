"""A run whose process was killed is found by the next one, whatever that runs."""

from __future__ import annotations

import json
import os
import signal
import zlib
from pathlib import Path
from typing import Any

import pytest

from modeltune.harness import pipeline
from modeltune.harness.recording import RunDraft, first_draft
from modeltune.harness.validation import ValidationResult
from modeltune.histories import open_store
from modeltune.histories.ledgers import LEDGER_FILE
from modeltune.records import Event, Note, Run
from modeltune.specs import Spec
from tests.support import scripted_runs
from tests.support.scripted_runs import scripting
from tests.support.traced import in_child

SPEC = "tests/support/scripted_runs.py::scripted"


def other() -> Spec:
    return scripted_runs.scripted.with_fields(name="other")


def run(folder: Path, spec: Spec, at_the_end: Any = lambda: None) -> list[str]:
    """Run a spec here; return the notes."""
    events: list[Event] = []
    with scripting(folder / "log", at_the_end):
        pipeline.run(spec, store=f"sqlite:///{folder}/history.db", listen=events.append)
    return [event.text for event in events if isinstance(event, Note)]


def killed(folder: Path) -> None:
    """Run the spec in another process, which is killed in its last refit."""

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    status, _ = in_child(lambda: run(folder, scripted_runs.scripted, die))
    assert status == signal.SIGKILL


def recorded(folder: Path) -> list[Run]:
    """Return the recorded runs, the oldest record first."""
    with open_store(f"sqlite:///{folder}/history.db", create=False) as history:
        return [history.run(summary.id) for summary in reversed(history.runs())]


def test_a_killed_run_is_recorded_as_crashed_by_the_next_and_resumes(tmp_path: Path) -> None:
    killed(tmp_path)
    assert recorded(tmp_path) == []
    notes = run(tmp_path, other())
    crashed, second = recorded(tmp_path)
    assert (crashed.spec, crashed.status.value, second.status.value) == (
        SPEC,
        "crashed",
        "passed",
    )
    why = (
        "it ended before it could be recorded, as a run that is killed; 6 finished trials are kept"
    )
    assert crashed.error == why
    assert notes == [f"run {crashed.id} of {SPEC} is recorded as crashed: {why}"]
    assert [verdict.outcome.value for verdict in crashed.verdicts] == ["error"]
    assert crashed.created <= second.created
    # It is recorded once, and still resumes.
    assert run(tmp_path, scripted_runs.scripted) == ["resumes after 6 finished trials and 1 refit"]
    assert [one.status.value for one in recorded(tmp_path)] == ["crashed", "passed", "passed"]


@pytest.mark.parametrize(
    "change",
    [
        {"history": "sqlite:////elsewhere/history.db"},
        {"run": "no run"},
        {"run": {"id": "../../etc"}},
        {"run": None},
        {"run": {"status": "passed"}},
        {"run": {"files": 3}},
    ],
)
def test_what_is_no_record_of_a_crash_of_this_history_is_left_alone(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    killed(tmp_path)
    (path,) = tmp_path.glob(f"scratch/*/{LEDGER_FILE}")
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines):
        entry = json.loads(line.partition(b" ")[2])
        if entry["key"].startswith("run "):
            for key, value in change.items():
                is_part = isinstance(value, dict)
                entry["value"][key] = {**entry["value"][key], **value} if is_part else value
            text = json.dumps(entry).encode()
            lines[number] = b"%08x %s" % (zlib.crc32(text), text)
    path.write_bytes(b"\n".join([*lines, b""]))
    run(tmp_path, other())
    assert [one.status.value for one in recorded(tmp_path)] == ["passed"]


def test_the_dtype_policy_on_record_is_that_of_the_model_as_trained(tmp_path: Path) -> None:
    spec = scripted_runs.scripted
    with open_store(f"sqlite:///{tmp_path}/history.db") as history:
        draft = RunDraft(first_draft("0" * 16, spec), spec, history, lambda event: None)
        draft.add_environment({"dtype_policy": "float32", "cpus": 2})
        model = {"dtype_policy": "mixed_float16, float32"}
        draft.add_validation(ValidationResult({}, {}, (), model=model))
    assert draft.run.environment == {"dtype_policy": "mixed_float16, float32", "cpus": 2}
