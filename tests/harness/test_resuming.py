"""A search that was cut short goes on at its next trial and ends like one that was not."""

from __future__ import annotations

import json
import os
import signal
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.engine import engine
from modeltune.engine.oracles import Oracle, ReadHyperParameters
from modeltune.engine.score.refit import train_refit
from modeltune.harness import pipeline
from modeltune.harness.executors.inline import Inline
from modeltune.harness.executors.interface import discard_event
from modeltune.harness.recording import drop_lost
from modeltune.harness.resuming import TRIALS, ResumingExecutor, trial_notation
from modeltune.harness.search import SearchProgress, Tuner, search
from modeltune.histories import baselines
from modeltune.histories.artifacts import keep, verify
from modeltune.histories.ledgers import LEDGER_FILE, Ledgers
from modeltune.histories.store import open_store
from modeltune.records.events import Event, Note
from modeltune.records.runs import Phase, Run, RunStatus, Trial
from modeltune.records.tasks import Failure, TrialResult, TrialTask
from modeltune.records.verdicts import Outcome
from modeltune.specs.searches import Search
from tests.support import forked, scripted_runs
from tests.support.histories import DIGITS
from tests.support.scripted_runs import Script
from tests.support.small_models import spec_of

OBJECTIVE = mt.maximize("val_accuracy")
SEARCHES: dict[str, Search] = {
    "random": mt.RandomSearch(OBJECTIVE, max_trials=6, seed=3, max_retries_per_trial=1),
    "grid": mt.GridSearch(OBJECTIVE, max_trials=7),
    "bayesian": mt.BayesianOptimization(OBJECTIVE, max_trials=6, num_initial_points=3, seed=3),
    "hyperband": mt.Hyperband(OBJECTIVE, max_epochs=4, factor=2, seed=3),
}


class Cut(BaseException):
    """What ends a process between two of its instructions."""


class Trainer:
    """Trains nothing: the score follows from the seed; every eleventh seed fails."""

    def __init__(self, cut_at: int | None = None):
        self.trained: list[int] = []
        self._cut_at = cut_at

    def __call__(self, task: TrialTask) -> TrialResult:
        if len(self.trained) == self._cut_at:
            raise Cut
        self.trained.append(task.id)
        hp = ReadHyperParameters.of(task.hyperparameters)
        width, depth = hp.Int("width", 1, 9), hp.Choice("depth", [1, 2])
        if task.continue_from is not None:
            assert task.continue_from.exists(), "the parent's state is gone"
        if task.keep_state is not None:
            task.keep_state.parent.mkdir(parents=True, exist_ok=True)
            task.keep_state.write_text("weights")
        score = task.seed % 997 / 997 + width + depth + task.epochs
        failure = Failure("bad luck", f"line {task.id}") if task.seed % 11 == 0 else None
        curve = {"val_accuracy": (score,), "loss": (float("nan") if failure else 0.5,)}
        calls = (Phase("fit 1", 1, 0.5, "fit", {"loss": (score,)}),) * (task.id % 3)
        return TrialResult(
            curve, "graph", 1.0, hp.get_config(), frozenset(hp.read), failure, phases=calls
        )


class Backwards(Inline[TrialTask, TrialResult]):
    """Three at once, of which the newest always finishes first."""

    slots = 3

    def wait(self) -> tuple[TrialTask, TrialResult]:
        newest = min(self.slots, len(self._tasks)) - 1
        self._tasks.rotate(-newest)
        task = self._tasks.popleft()
        self._tasks.rotate(newest)
        return task, self._perform(task)


EXECUTORS: dict[str, type[Inline[TrialTask, TrialResult]]] = {
    "one by one": Inline,
    "three at once": Backwards,
}


def searched(
    declared: Search,
    folder: Path,
    trainer: Trainer,
    executor: str = "one by one",
    note: Callable[[str], None] = print,
) -> list[Trial]:
    spec = spec_of(search=declared)
    ledgers = Ledgers(folder)
    ledger, _ = ledgers.begin(spec.id, {"code": "1"}, "run", lambda runs: ())
    oracle, progress = Oracle(declared, ledger.folder), SearchProgress()
    resuming = ResumingExecutor(EXECUTORS[executor](trainer), ledger, trial_notation(spec), note)
    try:
        search(spec, Tuner(oracle, resuming, ledger.folder), lambda event: None, progress)
    finally:
        ledgers.close(drop=False)
    return progress.trials


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_cut_before_any_trial_ends_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, executor: str
) -> None:
    # This process goes on after the cut, and needs nothing to be on the disk.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    whole = Trainer()
    expected = searched(SEARCHES[kind], tmp_path / "whole", whole, executor)
    assert len(expected) >= 6
    for cut_at in range(len(whole.trained)):
        folder, first, second = tmp_path / str(cut_at), Trainer(cut_at), Trainer()
        with pytest.raises(Cut):
            searched(SEARCHES[kind], folder, first, executor)
        trials = searched(SEARCHES[kind], folder, second, executor)
        assert repr(trials) == repr(expected)
        assert [trial.phases for trial in trials] == [trial.phases for trial in expected]
        # Nothing that was finished is trained again.
        assert sorted(first.trained + second.trained) == sorted(whole.trained)
        if executor == "one by one":
            assert first.trained + second.trained == whole.trained


def test_what_a_ledger_holds_is_a_score_that_the_run_can_be_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, trained_before = Trainer(), list[int]()

    class Watched(Inline[TrialTask, TrialResult]):
        def hold_trials_to_budget(self) -> None:
            trained_before.append(len(trainer.trained))

    monkeypatch.setitem(EXECUTORS, "watched", Watched)
    with pytest.raises(Cut):
        searched(SEARCHES["grid"], tmp_path, Trainer(3))
    searched(SEARCHES["grid"], tmp_path, trainer, "watched")
    assert trained_before[0] == 0


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_goes_on_with_another_number_of_slots(tmp_path: Path, kind: str) -> None:
    whole, first, second = Trainer(), Trainer(4), Trainer()
    expected = searched(SEARCHES[kind], tmp_path / "whole", whole)
    with pytest.raises(Cut):
        searched(SEARCHES[kind], tmp_path, first, "three at once")
    assert repr(searched(SEARCHES[kind], tmp_path, second)) == repr(expected)
    assert sorted(first.trained + second.trained) == sorted(whole.trained)


def test_a_state_is_on_disk_before_the_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    searched(SEARCHES["hyperband"], tmp_path, Trainer())
    first = synced.index("1.npz")
    assert synced[first + 1] == "states"
    assert "ledger.jsonl" in synced[first + 2 : first + 4]


# what others have changed meanwhile


def rewritten(folder: Path, prefix: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first value under such a key in the only ledger, as anybody can."""
    (path,) = folder.glob(f"**/{LEDGER_FILE}")
    entries = [json.loads(line.partition(b" ")[2]) for line in path.read_bytes().splitlines()]
    entry = next(entry for entry in entries if entry["key"].startswith(prefix))
    change(entry["value"])
    texts = [json.dumps(entry).encode() for entry in entries]
    path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts))


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "no curve": lambda trial: trial.pop("curve"),
    "a list as curve": lambda trial: trial.update(curve=[1]),
    "no objective": lambda trial: trial.update(curve={"loss": [1.0]}),
    "an empty curve": lambda trial: trial.update(curve={"val_accuracy": []}),
    "texts as values": lambda trial: trial.update(curve={"val_accuracy": ["1"]}),
    "a number as text": lambda trial: trial.update(trained_by=3),
    "a text as seconds": lambda trial: trial.update(seconds="long"),
    "no space": lambda trial: trial.update(hyperparameters="{}"),
    "a space that is none": lambda trial: trial.update(
        hyperparameters='{"space": [1], "values": {}}'
    ),
    "another class in the space": lambda trial: trial.update(
        hyperparameters=json.dumps(
            {"space": [{"class_name": "os>system", "config": {"conditions": []}}], "values": {}}
        )
    ),
    "a deep space": lambda trial: trial.update(hyperparameters="[" * 10**5),
    "numbers as names": lambda trial: trial.update(read=[1]),
    "a text as failure": lambda trial: trial.update(failure="bad luck"),
    "another failure": lambda trial: trial.update(failure={"because": 1}),
    "no files": lambda trial: trial.pop("files"),
    "a list as files": lambda trial: trial.update(files=[]),
}


def resumed(
    folder: Path, change: Callable[[Path], object], task: TrialTask
) -> tuple[list[int], list[str]]:
    """Train a trial, change what is kept of it, and resume; return what was trained, and the notes."""
    spec, trainer, notes = spec_of(search=SEARCHES["hyperband"]), Trainer(), list[str]()
    results = []
    for number in range(2):
        if number:
            change(folder)
        ledgers = Ledgers(folder)
        ledger, _ = ledgers.begin(spec.id, {"code": "1"}, "run", lambda runs: ())
        resuming = ResumingExecutor(
            Inline(trainer), ledger, trial_notation(spec), lambda text: notes.append(text)
        )
        resuming.submit(task)
        results.append(resuming.wait()[1])
        ledgers.close(drop=False)
    assert results[0] == results[1]
    return trainer.trained, notes


def task(state: Path) -> TrialTask:
    hyperparameters = {"space": [], "values": {"width": 3, "depth": 2}}
    return TrialTask(7, hyperparameters, 1, 0, 23, keep_state=state)


@pytest.mark.parametrize("kind", FORGED)
def test_a_trial_that_was_forged_is_trained_again_and_that_is_said(
    tmp_path: Path, kind: str
) -> None:
    trained, notes = resumed(
        tmp_path / "scratch",
        lambda folder: rewritten(folder, "trial ", FORGED[kind]),
        task(tmp_path / "states" / "7.npz"),
    )
    assert trained == [7, 7]
    (note,) = notes
    assert note.startswith("a trial of the interrupted run is trained again: what was kept of it ")


@pytest.mark.parametrize("content", [b"weightz", b"weight", b"weights\0", b""])
def test_a_trial_whose_state_was_changed_is_trained_again_before_another_continues_it(
    tmp_path: Path, content: bytes
) -> None:
    state = tmp_path / "states" / "7.npz"
    trained, notes = resumed(
        tmp_path / "scratch", lambda folder: state.write_bytes(content), task(state)
    )
    assert trained == [7, 7]
    assert notes == [
        "a trial of the interrupted run is trained again: what was kept of it has changed: 7.npz"
    ]


@pytest.mark.parametrize(
    "change", [lambda state: None, lambda state: state.unlink()], ids=["as it was", "gone"]
)
def test_a_trial_that_is_as_it_was_or_has_no_state_any_more_is_not_trained_again(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    state = tmp_path / "states" / "7.npz"
    assert resumed(tmp_path / "scratch", lambda _: change(state), task(state)) == ([7], [])


@pytest.mark.parametrize("name", ["refit.weights.h5", "refit.architecture.json", "ledger.jsonl"])
def test_a_refit_whose_files_were_changed_is_made_again(tmp_path: Path, name: str) -> None:
    """Its weights would be recorded as those that were scored."""
    log, url = tmp_path / "log", f"sqlite:///{tmp_path}/store/history.db"

    def interrupt() -> None:
        raise KeyboardInterrupt

    with scripted_runs.scripting(log, interrupt), pytest.raises(KeyboardInterrupt):
        pipeline.run(scripted_runs.scripted, store=url, listen=discard_event)
    before = log.read_text().splitlines()
    if name == LEDGER_FILE:
        rewritten(tmp_path / "store", "refit ", lambda refit: refit.update(samples={"size": 9}))
    else:
        (path,) = tmp_path.glob(f"store/scratch/*/{name}")
        path.write_bytes(path.read_bytes()[:-3] + b"xyz")
    with scripted_runs.scripting(log):
        run = pipeline.run(scripted_runs.scripted, store=url, listen=discard_event)
    assert log.read_text().splitlines()[len(before) :] == ["refit 0", "refit 1"]
    (note,) = [note for note in run.notes if "trained again" in note]
    assert note.startswith("a refit of the interrupted run is trained again: what was kept of it ")
    verify(tmp_path / "store", run.artifact or pytest.fail("no weights"), run.id)
    kept = (tmp_path / "store" / run.artifact.path).read_bytes() if run.artifact else b""
    assert kept == b"weights" * 1000


@pytest.mark.parametrize("owner", ["a baseline", "another history", "nobody"])
def test_a_ledger_that_names_runs_of_others_removes_no_file_of_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    folder = tmp_path / "store"
    gates = tuple(replace(v, outcome=Outcome.PASSED) for v in DIGITS.verdicts)
    kept = keep(folder, f"artifacts/{'a' * 16}.weights.h5", lambda to: to.write_text("theirs"))
    theirs = replace(
        DIGITS, id="a" * 16, artifact=kept, files={}, verdicts=gates, checks=(),
        status=RunStatus.PASSED,
    )  # fmt: skip
    if owner == "a baseline":
        baselines.accept(theirs, None, tmp_path / "spec_digits.py", why="good")
    elif owner == "another history":
        with open_store(f"sqlite:///{folder}/other.db") as store:
            store.record(theirs)
    with open_store(f"sqlite:///{folder}/history.db") as store:
        drop_lost(store, ["a" * 16], tmp_path)
    assert (folder / kept.path).exists() is (owner != "nobody")


# the real thing


def of(run: Run) -> tuple[Any, ...]:
    """Return what does not depend on how often a run was interrupted."""
    trials = [{**vars(trial), "seconds": None, "trained_by": None} for trial in run.trials]
    return repr(trials), run.scores, run.artifact and run.artifact.sha256


def ran(spec: Any, folder: Path) -> tuple[Run, list[str]]:
    events: list[Event] = []
    run = pipeline.run(spec, store=f"sqlite:///{folder}/history.db", listen=events.append)
    return run, [event.text for event in events if isinstance(event, Note)]


def test_an_interrupted_validation_keeps_its_finished_refits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(validation=mt.Holdout(seeds=3))
    expected, _ = ran(spec, tmp_path / "whole")
    done: list[int] = []

    def interrupted(spec: Any, loaded: Any, task: Any, features: Any) -> Any:
        if len(done) == 2:
            done.append(-1)
            raise KeyboardInterrupt
        done.append(task.refit.seed)
        return train_refit(spec, loaded, task, features)

    monkeypatch.setattr(engine, "train_refit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ran(spec, tmp_path)
    run, notes = ran(spec, tmp_path)
    assert done == [0, 1, -1, 2]
    assert of(run) == of(expected)
    assert run.checks == expected.checks
    assert [file.sha256 for file in run.files.values()] == [
        file.sha256 for file in expected.files.values()
    ]
    assert {*run.files} == {"architecture", "examples", "samples"}
    assert run.model == expected.model != {}
    assert notes[0] == "resumes after 2 finished trials and 2 refits"
    assert not list((tmp_path / "scratch").iterdir())


def test_a_run_that_could_not_be_recorded_only_needs_to_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **named: Any) -> Any:
        raise mt.HistoryError("disk full")

    log, spec = tmp_path / "log", scripted_runs.scripted
    with monkeypatch.context() as patched, scripted_runs.scripting(log):
        patched.setattr("modeltune.histories.store.Store.record", full)
        with pytest.raises(mt.HistoryError, match="disk full"):
            ran(spec, tmp_path)
    monkeypatch.setattr(Script, "perform", full)
    with scripted_runs.scripting(log):
        run, notes = ran(spec, tmp_path)
    assert run.passed
    assert notes[0] == "resumes after 6 finished trials and 2 refits"


@pytest.mark.parametrize("ending", [mt.SearchError("a process died"), ZeroDivisionError("0")])
@pytest.mark.parametrize("at", ["ask", "tell", "perform", "space_at"])
def test_a_run_that_ends_in_an_error_is_recorded_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, ending: Exception
) -> None:
    def raises(script: Script, *args: Any) -> Any:
        if log.read_text():
            raise ending
        return method(script, *args)

    log, method = tmp_path / "log", getattr(Script, at)
    with monkeypatch.context() as patched:
        patched.setattr(Script, at, raises)
        with pytest.raises(type(ending)):
            scripted_runs.run(tmp_path, log)
    before = log.read_text().splitlines()
    scripted_runs.run(tmp_path, log)
    # What had finished is not trained again, and the ledger goes with the run that ends.
    assert sorted(log.read_text().splitlines()) == sorted(scripted_runs.ALL)
    assert not list((tmp_path / "scratch").iterdir())
    with open_store(f"sqlite:///{tmp_path}/history.db", create=False) as history:
        second, first = (history.run(summary.id) for summary in history.runs())
    assert (first.status, second.status) == (RunStatus.ERROR, RunStatus.PASSED)
    assert second.notes[0].startswith(f"resumes after {min(len(before), 6)} finished trial")
    assert any("the same command resumes" in note for note in first.notes) is bool(first.trials)


def test_a_failure_that_another_run_may_not_meet_is_not_kept(tmp_path: Path) -> None:
    class Executor(Inline[TrialTask, TrialResult]):
        def __init__(self, is_final: bool):
            failure = Failure("it took too long", is_final=is_final)
            super().__init__(lambda task: TrialResult({}, "no", 1.0, SPACE, frozenset(), failure))

    task = TrialTask(1, SPACE, 1, 0, 1)
    for run, is_final, kept in [("a", False, 0), ("b", True, 1)]:
        ledgers = Ledgers(tmp_path)
        ledger, _ = ledgers.begin("spec_a.py::net", {}, run, lambda runs: ())
        executor = ResumingExecutor(Executor(is_final), ledger, TRIALS)
        executor.submit(task)
        assert executor.wait()[1].failure is not None
        assert ledger.count("trial ") == kept
        ledgers.close(drop=False)


SPACE: Any = {"space": [], "values": {}}


def test_other_data_start_a_new_search_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def other(script: Script, loaded: Any = None) -> Any:
        return {"samples": {"validation": 40}}, {"data/train": "4567"}

    log, spec = tmp_path / "log", scripted_runs.scripted
    with scripted_runs.scripting(log, interrupt), pytest.raises(KeyboardInterrupt):
        ran(spec, tmp_path)
    monkeypatch.setattr(Script, "load", other)
    with scripted_runs.scripting(log):
        _, notes = ran(spec, tmp_path)
    assert notes[0].startswith("starts from the first trial, without the 6 finished trials")
    assert notes[0].endswith("data/train changed")


SCRIPT = """
from tests.support.small_models import spec_of
import modeltune as mt

spec = spec_of(
    search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3, factor=2),
    validation=mt.Holdout(seeds=2),
)
mt.run(spec, store="sqlite:///{folder}/history.db")
"""


def test_a_search_killed_at_its_seventh_trial_goes_on_at_the_eighth(tmp_path: Path) -> None:
    expected, _ = ran(
        spec_of(
            search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3, factor=2),
            validation=mt.Holdout(seeds=2),
        ),
        tmp_path / "whole",
    )
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=tmp_path))
    process = forked.Command(forked.script, str(script), folder=tmp_path)
    for line in process.output:
        if line.startswith("  trial 7/"):
            os.kill(process.pid, signal.SIGKILL)
            break
    status, _ = process.end()
    assert status == -signal.SIGKILL
    status, output = forked.Command(forked.script, str(script), folder=tmp_path).end()
    assert status == 0, output
    assert "note: resumes after " in output
    with open_store(f"sqlite:///{tmp_path}/history.db", create=False) as history:
        statuses = [summary.status.value for summary in history.runs()]
        assert statuses == ["passed", "crashed"]
        run = history.run("-1")
    assert of(run) == of(expected)
