"""A run is loaded, searched, validated, judged and recorded, however it ends."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
from keras import layers

import modeltune as mt
from modeltune.engine import data_engine
from modeltune.engine.data.loading import load_data
from modeltune.engine.fit.candidate import lend_model
from modeltune.engine.fit.states import load_weights
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.engine.score.scoring import evaluate
from modeltune.ground.deadlines import Deadline
from modeltune.harness import pipeline
from modeltune.histories.artifacts import verify
from modeltune.histories.store import Store, open_store
from modeltune.records.events import Event, Note, RunRecorded, SearchStarted, ValidationStarted
from modeltune.records.json_form import to_json
from modeltune.records.runs import Run, RunStatus
from modeltune.records.tasks import Caution, RehearsalResult, TrialTask
from modeltune.records.verdicts import Outcome
from modeltune.specs.spec_type import Spec
from tests.support import scripted_runs
from tests.support.scripted_runs import scripting
from tests.support.small_models import LABELS, PIXELS, dense, digits, spec_of

PASSING = [mt.metric("accuracy") >= 0, mt.gap("loss") <= 99]


def silent(event: Event) -> None: ...


def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'history.db'}"


def run(spec: Spec, folder: Path, **options: Any) -> Run:
    standard: dict[str, Any] = {"store": store(folder), "listen": silent}
    return pipeline.run(spec, **(standard | options))


def recorded(folder: Path) -> list[Run]:
    with open_store(store(folder)) as history:
        return [history.run(summary.id) for summary in reversed(history.runs())]


class Counted(keras.utils.PyDataset):
    """A test part that knows how often it was read."""

    num_batches = 2

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.read += 1
        rows = slice(300 + 40 * index, 340 + 40 * index)
        return PIXELS[rows], LABELS[rows]


class Finished:
    """One run searched for the whole module, with all it told."""

    def __init__(self, folder: Path):
        self.folder, self.test = folder, Counted()
        self.events: list[Event] = []
        self.reads: dict[type, int] = {}
        data = digits()
        self.spec = spec_of(
            data=mt.Data(data.train, data.validation, self.test),
            gates=PASSING,
            validation=mt.Holdout(epochs=2, seeds=2),
        )
        self.run = run(self.spec, folder, listen=self.listen)

    def listen(self, event: Event) -> None:
        self.events.append(event)
        self.reads.setdefault(type(event), self.test.read)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(tmp_path_factory.mktemp("finished"))


# a run that passes


def test_a_run_that_holds_its_gates_passes_and_is_recorded(finished: Finished) -> None:
    assert finished.run.passed
    assert [verdict.outcome for verdict in finished.run.verdicts] == [Outcome.PASSED] * 2
    assert [to_json(one) for one in recorded(finished.folder)] == [to_json(finished.run)]
    json.dumps(to_json(finished.run), allow_nan=False)


def test_the_search_never_reads_the_test_part(finished: Finished) -> None:
    # To check and fingerprint it, and its beginning once more: it may change with each reading.
    before = finished.reads[SearchStarted]
    assert finished.test.num_batches <= before <= 2 * finished.test.num_batches
    assert finished.reads[ValidationStarted] == before < finished.test.read


def test_the_best_trial_is_named_with_its_own_values(finished: Finished) -> None:
    best, trials = finished.run.best, finished.run.trials
    assert best is not None
    assert best.score == max(trial.score for trial in trials if trial.score is not None)
    (trial,) = (trial for trial in trials if trial.id == best.trial)
    assert best.values == trial.values
    assert set(best.values) == {"width"}


def test_a_run_says_where_and_how_long(finished: Finished) -> None:
    result = finished.run
    assert min(vars(result.durations).values()) > 0
    assert result.data["samples"] == {"train": 160, "validation": 60, "test": 80}
    assert set(result.fingerprints) >= {"spec", "source", "data/train", "data/test"}
    assert result.environment["versions"]["keras"] == keras.__version__
    assert (result.objective, result.search["max_trials"]) == ("maximize val_accuracy", 2)
    assert [refit["seed"] for refit in result.validation["refits"]] == [0, 1]


def test_recording_is_told_last(finished: Finished) -> None:
    assert finished.events[-1] == RunRecorded(finished.run)


def test_scratch_is_gone_and_the_weights_are_kept(finished: Finished) -> None:
    assert not list((finished.folder / "scratch").iterdir())
    assert finished.run.artifact is not None
    verify(finished.folder, finished.run.artifact, finished.run.id)


def test_kept_weights_score_what_was_recorded_in_a_rebuilt_model(finished: Finished) -> None:
    spec, result = finished.spec, finished.run
    assert result.artifact is not None
    assert result.best is not None
    hp = ReadHyperParameters()
    hp.values = dict(result.best.values)
    with lend_model(spec, hp, 12345) as model:
        load_weights(model, verify(finished.folder, result.artifact, result.id))
        again = evaluate(model, load_data(spec).test, spec.fit.batch_size)
    assert again == {name: result.scores[name].values[0] for name in again}


def test_the_same_spec_gives_the_same_trials_scores_and_weights(
    finished: Finished, tmp_path: Path
) -> None:
    again = run(finished.spec, tmp_path)
    assert again.id != finished.run.id
    assert again.scores == finished.run.scores
    assert again.best == finished.run.best
    assert again.fingerprints == finished.run.fingerprints
    assert again.artifact is not None
    assert finished.run.artifact is not None
    assert again.artifact.sha256 == finished.run.artifact.sha256
    curves = [[trial.curve for trial in one.trials] for one in (again, finished.run)]
    assert curves[0] == curves[1]


# runs that do not


def fast(**fields: Any) -> Spec:
    data = digits(40, 20, 20)
    return spec_of(
        data=data, search=mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=1), **fields
    )


def scripted(**fields: Any) -> Spec:
    """Return a spec for a script to train: for what is not about models."""
    return spec_of(search=mt.Hyperband(mt.maximize("val_accuracy"), max_epochs=3), **fields)


def test_a_failed_gate_is_a_failed_run(tmp_path: Path) -> None:
    bounds = [mt.metric("accuracy") >= 1.5, mt.metric("accuracy") >= 0, mt.metric("accuracy") <= 9]
    with scripting(tmp_path / "trained.txt"):
        result = run(scripted(gates=bounds), tmp_path)
    assert (result.status, result.passed) == (RunStatus.FAILED, False)
    assert [v.outcome.value for v in result.verdicts] == ["failed", "passed", "passed"]
    assert recorded(tmp_path)[0].status is RunStatus.FAILED


def test_a_run_without_gates_says_that_nothing_was_demanded(tmp_path: Path) -> None:
    with scripting(tmp_path / "trained.txt"):
        result = run(scripted(), tmp_path, keep_trials=True)
    assert result.passed
    assert "no gates declared: nothing was demanded of this model" in result.notes
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == [result.id]


def test_what_a_search_warns_of_is_recorded_also_when_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ranges(text: str) -> tuple[Caution, ...]:
        return (Caution("search.ranges", text),)

    train = scripted_runs.Script.perform

    def cautious(script: Any, task: Any) -> Any:
        name = f"trial {task.id}" if isinstance(task, TrialTask) else "refit"
        return replace(train(script, task), cautions=ranges(name))

    def interrupt() -> None:
        raise KeyboardInterrupt

    rehearsed = RehearsalResult({}, cautions=ranges("rehearsal"))
    monkeypatch.setattr(scripted_runs.Script, "begin", lambda *_: rehearsed)
    notes: list[Event] = []
    with monkeypatch.context() as patched:
        patched.setattr(scripted_runs.Script, "perform", cautious)
        with scripting(tmp_path / "log", interrupt), pytest.raises(KeyboardInterrupt):
            run(scripted_runs.scripted, tmp_path, listen=notes.append)
    # Before anything is trained.
    first = notes.index(Note("search.ranges: rehearsal"))
    assert not any(isinstance(event, SearchStarted) for event in notes[:first])
    with scripting(tmp_path / "log"):
        run(scripted_runs.scripted, tmp_path)
    for result in recorded(tmp_path):
        (check,) = (check for check in result.checks if check.gate == "search.ranges")
        assert check.outcome is Outcome.WARNED
        assert check.reason.startswith("rehearsal; trial 1; trial 2; ... (")
        assert not any("rehearsal" in note for note in result.notes)
    assert check.measured == 8  # the rehearsal, six trials and a refit, of which one was not kept


def test_an_open_question_is_red_only_when_strict(tmp_path: Path) -> None:
    spec = scripted(gates=[mt.metric("accuracy") >= mt.baseline])
    with scripting(tmp_path / "trained.txt"):
        assert run(spec, tmp_path).status is RunStatus.PASSED
        assert run(spec, tmp_path, strict=True).status is RunStatus.FAILED


def test_a_spec_that_cannot_travel_is_trained_in_this_process_and_the_run_says_why(
    tmp_path: Path,
) -> None:
    search = mt.RandomSearch(mt.maximize("val_accuracy"), max_trials=1, trial_minutes=5)
    spec = spec_of(data=digits(40, 20, 20), search=search)
    result = run(spec, tmp_path, workers=2)
    assert result.passed
    assert result.notes[:2] == (
        "trained in this process: PicklingError: module tests.support.small_models has no "
        "name for tests/support/small_models.py::softmax",
        "trial_minutes, trial_gigabytes and data_minutes limit nothing in a run without workers",
    )
    assert run(spec, tmp_path).notes[0] == (
        "trial_minutes, trial_gigabytes and data_minutes limit nothing in a run without workers"
    )
    # Nor where a recorded run is served: its data are loaded in this process to be compared.
    heard: list[Event] = []
    assert run(spec, tmp_path, reuse=True, listen=heard.append).cached
    assert heard[0] == Note(
        "trial_minutes, trial_gigabytes and data_minutes limit nothing while a recorded run is "
        "looked up without workers"
    )


def streams() -> mt.Data:
    parts = digits(40, 20, 20)
    train, validation, test = (
        tf.data.Dataset.from_tensor_slices(part).batch(20)
        for part in (parts.train, parts.validation, parts.test)
    )
    return mt.Data(train, validation, test, version="7")


@pytest.mark.parametrize("load", [lambda: digits(40, 20, 20), streams], ids=["arrays", "streams"])
def test_data_that_were_loaded_to_be_compared_are_not_loaded_again(
    load: Callable[[], mt.Data], tmp_path: Path
) -> None:
    calls: list[int] = []
    events: list[Event] = []

    def data() -> mt.Data:
        calls.append(1)
        return load()

    spec = spec_of(data=data, search=None, gates=PASSING)
    trained = run(spec, tmp_path, reuse=True, listen=events.append)
    assert len(calls) == 1
    assert trained.durations.data > 0
    assert isinstance(events[0], Note)
    assert events[0].text.startswith("no recorded run was reused: ")
    assert not trained.cached
    # A stream's version is a note of the run, and no cut.
    is_of_version = 'train: a stream of version "7"' in trained.notes
    assert is_of_version is (load is streams)
    assert trained.data["cuts"] == []


def test_a_search_cut_short_by_its_deadline_is_judged_on_what_it_found(tmp_path: Path) -> None:
    with scripting(tmp_path / "trained.txt"):
        spec = scripted(gates=[mt.metric("accuracy") >= 0])
        result = run(spec, tmp_path, deadline=Deadline.after(0, "1s"))
    message = "the budget of 1s leaves time for validation only"
    assert result.passed
    assert len(result.trials) == 1
    assert f"search stopped after 1 trials: {message}" in result.notes
    assert result.search["cut_short"] == message


def wrong_data() -> Any:
    return None


def raises(hp: Any) -> Any:
    raise RuntimeError("no such layer")


ERRORS: dict[str, tuple[Spec, type[Exception], str]] = {
    "data": (spec_of(data=wrong_data, gates=PASSING), mt.DataError, "data: wrong_data returned None"),
    "data function": (spec_of(data=lambda: 1 / 0, gates=PASSING), ZeroDivisionError, "division"),
    "spec": (fast(gates=[mt.metric("auc") >= 0]), mt.SpecError, 'no metric "auc"'),
    "search": (fast(build=raises, gates=PASSING), mt.SearchError, "RuntimeError: no such layer\nTraceb"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_recorded_with_every_gate_not_measured(tmp_path: Path, case: str) -> None:
    spec, kind, message = ERRORS[case]
    events: list[Event] = []
    with pytest.raises(kind) as raised:
        run(spec, tmp_path, listen=events.append)
    assert message in str(raised.value)
    (result,) = recorded(tmp_path)
    assert result.status is RunStatus.ERROR
    assert message in str(result.error)
    assert len(result.verdicts) == len(spec.gates)
    for verdict in result.verdicts:
        assert verdict.outcome is Outcome.ERROR
        assert verdict.reason.startswith("not measured: ")
    assert events[-1] == RunRecorded(result)
    assert not (tmp_path / "scratch").exists() or not list((tmp_path / "scratch").iterdir())
    assert result.environment["versions"]
    # A trial that failed says where in the author's code, and nothing of ours.
    for trial in result.trials:
        assert trial.traceback is not None
        assert re.findall('File ".*/(.*)", line', trial.traceback) == ["test_pipeline.py"]
        assert trial.traceback.endswith("RuntimeError: no such layer\n")
    assert bool(result.trials) is (case == "search")


def test_an_interrupt_in_the_second_trial_keeps_the_first(tmp_path: Path) -> None:
    fits: list[int] = []

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            fits.append(epoch)
            if len(fits) == 3:  # the rehearsal, trial 1, trial 2
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec_of(fit=mt.Fit(epochs=1, callbacks=[Interrupt]), gates=PASSING), tmp_path)
    (result,) = recorded(tmp_path)
    assert (result.status, result.error) == (RunStatus.INTERRUPTED, "KeyboardInterrupt")
    assert [(trial.id, trial.status.value) for trial in result.trials] == [(1, "completed")]
    assert {verdict.reason for verdict in result.verdicts} == {"not measured: interrupted"}


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM])
def test_a_closed_terminal_or_sigterm_interrupts_a_run_and_does_not_cost_its_record(
    tmp_path: Path, sent: signal.Signals
) -> None:
    closed = False

    def close() -> None:
        nonlocal closed
        closed = True
        signal.raise_signal(sent)

    def listen(event: Event) -> None:
        if closed:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    # Under nohup a process ignores it.
    inherited = signal.signal(sent, signal.SIG_DFL)
    try:
        with scripting(tmp_path / "log", close), pytest.raises(KeyboardInterrupt, match=sent.name):
            run(scripted_runs.scripted, tmp_path, listen=listen)
    finally:
        signal.signal(sent, inherited)
    (result,) = recorded(tmp_path)
    assert (result.status, result.error) == (
        RunStatus.INTERRUPTED,
        f"KeyboardInterrupt: {sent.name}",
    )
    assert len(result.trials) == 6


def test_a_refit_that_fails_keeps_the_trials_and_the_best(tmp_path: Path) -> None:
    def fragile(hp: Any) -> Any:
        return dense(layers.Dense(10, activation="softmax"))

    fits: list[int] = []

    class Fail(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            fits.append(1)
            if len(fits) == 3:  # the rehearsal, the trial, the refit
                raise OSError("disk gone")

    spec = fast(build=fragile, fit=mt.Fit(epochs=1, callbacks=[Fail]), gates=PASSING)
    with pytest.raises(mt.SearchError, match="validation failed at seed 0: OSError: disk gone"):
        run(spec, tmp_path)
    (result,) = recorded(tmp_path)
    assert result.best is not None
    assert len(result.trials) == 1
    assert result.artifact is None


# what cannot be recorded


def unreachable(*args: Any) -> Any:
    raise AssertionError("training started")


def test_a_store_that_does_not_open_stops_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_engine, "load_data", unreachable)
    (tmp_path / "history.db").write_text("a letter, not a database " * 99)
    with pytest.raises(mt.HistoryError):
        run(spec_of(), tmp_path)


def full(*args: Any) -> Any:
    raise mt.HistoryError("disk full")


def test_a_run_that_cannot_be_recorded_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "record", full)
    events: list[Event] = []
    spec = scripted(gates=[mt.metric("accuracy") >= 0])
    with (
        scripting(tmp_path / "trained.txt"),
        pytest.raises(mt.HistoryError, match="disk full"),
    ):
        run(spec, tmp_path, listen=events.append)
    assert not any(isinstance(event, RunRecorded) for event in events)
    # What was trained waits for the next attempt.
    assert list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("ending", [KeyboardInterrupt, ZeroDivisionError])
def test_what_ended_a_run_is_not_hidden_when_it_cannot_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: type[BaseException]
) -> None:
    def ends() -> mt.Data:
        raise ending

    monkeypatch.setattr(Store, "record", full)
    events: list[Event] = []
    with pytest.raises(ending) as raised:
        run(spec_of(data=ends), tmp_path, listen=events.append)
    message = "this run could not be recorded: disk full"
    first, second = raised.value.__notes__
    assert first == message
    assert "is not recorded, but waits in" in second
    assert Note(message) in events
