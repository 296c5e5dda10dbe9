"""The average of the best trials is chosen where validation proves it better, and never for test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.score.rebuilt import rebuilt_model
from modeltune.harness import pipeline
from modeltune.harness.ensembles import EnsembleChoice, best_distinct, choose_model
from modeltune.harness.executors.inline import Inline
from modeltune.harness.replay import kept_weights
from modeltune.harness.validation import TunedModel
from modeltune.histories.store import open_store
from modeltune.records.ensembles import members_of, values_of_kept
from modeltune.records.events import Event, Note
from modeltune.records.runs import Best, Trial, TrialStatus
from modeltune.records.tasks import Failure, RefitResult, RefitTask
from modeltune.reports.tables import show
from modeltune.specs.spec_type import Spec
from tests.support import small_models
from tests.support.small_models import softmax, spec_of

ALONE = (0.80, 0.82, 0.81)


def declared() -> Spec:
    return spec_of(softmax, validation=mt.Holdout(epochs=1, seeds=3, ensemble=2))


def trial(id: int, width: int, score: float | None) -> Trial:
    status = TrialStatus.FAILED if score is None else TrialStatus.COMPLETED
    return Trial(
        *(id, status, {"width": width}, score, None, 1, 0, None, 1, 0.1, 0, {}, "steps"),
    )


TRIALS = [trial(1, 4, 0.7), trial(2, 8, 0.9), trial(3, 8, 0.8), trial(4, 16, None)]


def chosen(
    together: Sequence[float | None],
    tmp_path: Path,
    notes: list[str],
    trials: Sequence[Trial] = TRIALS,
    on_test: float = 0.1,
    spec: Spec | None = None,
) -> EnsembleChoice:
    """Return the choice where the average has these scores on validation, None for a failed refit."""

    def perform(task: RefitTask) -> RefitResult:
        is_average = bool(members_of(task.hyperparameters["values"]))
        place = task.refit.seed if task.refit.fold is None else task.refit.fold
        score = (together if is_average else ALONE)[place]
        test = on_test if is_average else 0.5
        done = RefitResult({"accuracy": test}, {}, {}, "steps", 0.1)
        if score is None:
            return replace(done, failure=Failure("the loss is nan"))
        return replace(done, watched={"scores": {"accuracy": score}, "samples": None})

    def space_at(values: Any) -> Any:
        return {"space": [], "values": dict(values)}

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    executor: Any = Inline(perform)
    tuned = TunedModel(Best(2, 0.9, {"width": 8}), space_at({"width": 8}), tmp_path / "w.h5")
    choice = choose_model(spec or declared(), tuned, trials, space_at, executor, listen)
    assert executor.withdraw() == []
    assert choice.record["is_ensemble"] == (choice.tuned is not tuned)
    return choice


def test_an_average_that_is_proven_better_on_validation_is_chosen_whatever_it_does_on_test(
    tmp_path: Path,
) -> None:
    notes: list[str] = []
    choice = chosen((0.90, 0.92, 0.91), tmp_path, notes)
    assert members_of(choice.tuned.hyperparameters["values"]) == [{"width": 8}, {"width": 4}]
    assert choice.tuned.weights.parent != tmp_path
    assert [member["trial"] for member in choice.record["members"]] == [2, 1]
    assert notes[-1].startswith(
        "ensemble: trials 2, 1 averaged are chosen: val_accuracy 0.91 beside 0.81 of the winner alone (p "
    )


@pytest.mark.parametrize(
    ("together", "why"),
    [
        (ALONE, "not proven to be better (p 0.5,"),
        ((0.99, 0.79, 0.81), "not proven to be better (p 0."),
        ((0.7, 0.7, 0.7), "not proven to be better (p 0.99"),
        ((0.9, None, 0.9), "not chosen, for it could not be refitted"),
    ],
)
def test_the_winner_stays_where_the_average_is_not_proven_better(
    together: tuple[float | None, ...], why: str, tmp_path: Path
) -> None:
    notes: list[str] = []
    choice = chosen(together, tmp_path, notes, on_test=0.99)
    assert not choice.record["is_ensemble"]
    assert why in notes[-1]
    assert why in choice.record["reason"]


def test_folds_choose_an_average_by_what_they_hold_out_and_count_for_less_than_seeds(
    tmp_path: Path,
) -> None:
    folds = declared().with_fields(validation=mt.KFold(k=3, epochs=1, ensemble=2))
    notes: list[str] = []
    together = (0.90, 0.92, 0.93)
    by_fold = chosen(together, tmp_path, notes, spec=folds)
    by_seed = chosen(together, tmp_path, notes)
    assert by_fold.record["is_ensemble"]
    # Models of folds are trained on nearly the same rows.
    assert by_fold.record["p"] > by_seed.record["p"]


def test_fewer_trials_than_members_are_said_and_one_is_not_averaged(tmp_path: Path) -> None:
    notes: list[str] = []
    choice = chosen((), tmp_path, notes, trials=TRIALS[1:])
    assert not choice.record["is_ensemble"]
    assert notes == ["ensemble: not made, for 1 trial has finished with values of its own"]


def test_the_best_trials_come_best_first_and_once_for_the_same_values() -> None:
    assert [t.id for t in best_distinct(declared(), TRIALS, 5)] == [2, 1]
    assert [t.id for t in best_distinct(declared(), [*TRIALS, trial(5, 32, 0.9)], 2)] == [2, 5]
    lowest = declared().with_fields(search=mt.RandomSearch(mt.minimize("val_loss")))
    assert [t.id for t in best_distinct(lowest, TRIALS, 5)] == [1, 3]


# A whole run


def digits() -> mt.Data:
    return small_models.digits(train=200, validation=600, test=400)


class Fits(keras.callbacks.Callback):
    """Count the fits of this process."""

    count = 0

    def on_train_begin(self, logs: Any = None) -> None:
        Fits.count += 1


@pytest.fixture
def narrow() -> Spec:
    """Return a spec whose models are too narrow for the digits, each in a way of its own."""

    def build(hp: Any) -> Any:
        width = hp.Choice("width", [6, 7, 8])
        hidden = keras.layers.Dense(width, activation="relu")
        model = small_models.dense(hidden, keras.layers.Dense(10, activation="softmax"))
        model.optimizer.learning_rate = 0.5
        return model

    return spec_of(
        build,
        digits(),
        search=mt.GridSearch(mt.minimize("val_loss")),
        fit=mt.Fit(epochs=15, batch_size=32, callbacks=[Fits]),
        validation=mt.Holdout(epochs=15, seeds=1, ensemble=3),
        gates=[mt.metric("accuracy") >= 0],
    )


def test_an_interrupted_run_goes_on_with_its_ensemble_and_keeps_a_model_that_is_rebuilt(
    narrow: Spec, tmp_path: Path
) -> None:
    store = f"sqlite:///{tmp_path / 'history.db'}"
    rehearsal, Fits.count = 1, 0

    def interrupt(event: Event) -> None:
        if isinstance(event, Note) and event.text == "ensemble: averaging the 3 best trials":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(narrow, store=store, listen=interrupt)
    trained, Fits.count = Fits.count, 0
    assert trained == rehearsal + 3 + 1

    finished = pipeline.run(narrow, store=store, listen=lambda event: None)

    assert Fits.count == rehearsal + 3
    choice = finished.validation["ensemble_choice"]
    assert choice["is_ensemble"], choice["reason"]
    assert choice["ensemble"] < choice["winner"]
    assert re.search(r"^ensemble +trial \d, trial \d, trial \d$", show(finished), re.MULTILINE)
    phases = finished.validation["refits"][0]["phases"]
    assert [phase["name"] for phase in phases] == ["member 1", "member 2", "member 3"]
    with open_store(store) as history:
        kept = history.run(finished.id)
        weights = kept_weights(kept, history)
    # The winner alone has other weights, and no file of them is left.
    test = load_data(narrow).test
    with rebuilt_model(narrow, values_of_kept(kept), 0, weights, test) as model:
        predicted = model.predict(test.x, verbose=0)
    accuracy = float(np.mean(predicted.argmax(axis=1) == test.y))
    assert finished.scores["accuracy"].values == pytest.approx((accuracy,))
    assert finished.best is not None
    assert set(finished.best.values) == {"width"}
