"""Every kind of spec runs with another backend of Keras, in processes and in one, to the same records.

It runs with JAX, or with the backend that KERAS_BACKEND names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from modeltune.histories.store import open_store
from modeltune.records.json_form import to_json
from modeltune.records.runs import Run
from tests.support.backend_runs import ALONE, IN_PROCESSES

BACKEND = os.environ.get("KERAS_BACKEND", "jax")

COMPILE_LITTLE = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
"""XLA takes most of the time of models this small."""

ROOT = Path(__file__).parents[2]


def end(folder: Path, *arguments: str) -> str:
    """Run Python with the backend in a folder; return all it printed once it has ended well."""
    environ = {
        **os.environ,
        **COMPILE_LITTLE,
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "KERAS_BACKEND": BACKEND,
        "PYTHONPATH": str(ROOT),
        "PYTEST_ADDOPTS": "",
    }
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose specs have run in processes, then in one process."""
    folder = tmp_path_factory.mktemp("project")
    specs = folder / "model_specs"
    specs.mkdir()
    (specs / "__init__.py").touch()
    shutil.copy(ROOT / "tests/support/backend_specs.py", specs / "spec_kinds.py")
    (folder / "printed.txt").write_text(end(folder, "-m", "tests.support.backend_runs"), "utf-8")
    return folder


def runs_of(folder: Path, store: str) -> dict[str, Run]:
    with open_store(store.replace("sqlite:///", f"sqlite:///{folder}/"), create=False) as history:
        runs = [history.run(summary.id) for summary in history.runs()]
    return {run.spec.rpartition("::")[2]: run for run in runs}


@pytest.fixture(scope="module")
def runs(folder: Path) -> Mapping[str, Run]:
    """The runs of several processes by the names of their specs."""
    return runs_of(folder, IN_PROCESSES)


def numbers(run: Run) -> dict[str, Any]:
    """Return all of a run that does not say when, where or how fast."""
    data = to_json(run)
    for timed in (*data["trials"], *data["validation"]["refits"]):
        del timed["seconds"]
    return {
        "trials": data["trials"],
        "refits": data["validation"]["refits"],
        "scores": data["scores"],
        "weights": data["artifact"]["sha256"],
        "best": data["best"],
        "environment": data["environment"],
    }


def test_every_kind_of_spec_is_trained_judged_and_recorded(runs: Mapping[str, Run]) -> None:
    assert sorted(runs) == ["classifier", "texts", "two_outputs"]
    for run in runs.values():
        assert run.passed
        assert run.environment["backend"] == BACKEND
        assert run.environment["versions"][BACKEND].startswith(metadata.version(BACKEND))
        assert "tensorflow" not in run.environment["versions"]


def test_the_same_numbers_come_from_several_processes_and_from_one(
    folder: Path, runs: Mapping[str, Run]
) -> None:
    alone = runs_of(folder, ALONE)
    assert sorted(alone) == ["classifier"]
    for name, run in alone.items():
        assert numbers(run) == numbers(runs[name])


def test_one_note_says_what_is_slower_or_not_available(runs: Mapping[str, Run]) -> None:
    for run in runs.values():
        (note,) = [
            note for note in run.notes if note.startswith(f"Keras computes with {BACKEND}: ")
        ]
        assert "model.fit takes every step by itself" in note
    trained = {trial.trained_by for trial in runs["classifier"].trials}
    assert trained == {f"fit: the backend is {BACKEND}"}


def test_a_run_of_several_processes_is_exported_and_replayed(folder: Path) -> None:
    printed = (folder / "printed.txt").read_text("utf-8")
    assert printed.count("numbers agree with the recorded ones") == 1
    assert '"text" takes numbers of words, int32 of shape (n, 4)' in printed


def test_texts_are_probed_as_they_are_and_trained_on_as_numbers(runs: Mapping[str, Run]) -> None:
    run = runs["texts"]
    assert run.data["prepared"]["by"] == "mt.texts"
    assert [v.outcome.value for v in run.verdicts if "invariant" in v.gate] == ["passed"]
