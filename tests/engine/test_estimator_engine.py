"""Estimators that follow scikit-learn's conventions are specs: searched, refitted, judged and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn import metrics
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from skops import io as files

import modeltune as mt
from modeltune import harness
from modeltune.engine.score.estimator_files import (
    load_estimator,
    parts_of_estimator,
    write_estimator,
)
from modeltune.ground.errors import HistoryError, SpecError
from modeltune.harness.replay import export_kept, rescore_run
from modeltune.histories.store import open_store
from modeltune.records.runs import Run
from tests.support.small_models import LABELS, PIXELS, dense, digits

ACCURATE = mt.maximize("val_accuracy")
ONE = mt.Holdout(seeds=1)


def parts() -> list[tuple[Any, Any]]:
    data: Any = digits()
    return [data.train, data.validation, data.test]


def images() -> mt.Data:
    return mt.Data(*((x.reshape(-1, 8, 8, 1), y) for x, y in parts()))


def run_of(build: Callable[[Any], Any], folder: Path, **fields: Any) -> Run:
    # Declared for it alone: in one line with what it decorates.
    return run(
        mt.spec(**{"data": digits, "search": None, "validation": ONE, **fields})(build), folder
    )


def run(spec: Any, folder: Path, **options: Any) -> Run:
    store = f"sqlite:///{folder}/history.db"
    return mt.run(spec, store=store, listen=lambda event: None, **options)


def forest(hp: Any) -> Any:
    return RandomForestClassifier(
        n_estimators=12, max_depth=hp.Int("max_depth", 2, 8), random_state=None
    )


def test_its_numbers_are_those_of_plain_scikit_learn_on_the_same_seeds(tmp_path: Path) -> None:
    found = run_of(
        forest,
        tmp_path,
        data=images,
        search=mt.Hyperband(mt.minimize("val_loss"), max_epochs=3, seed=1),
        validation=mt.Holdout(seeds=2),
        gates=[mt.metric("loss") <= 3, mt.gap("accuracy") <= 0.5, mt.metric("artifact_bytes") >= 9],
        metrics=["roc_auc"],
    )
    assert found.passed, found.verdicts
    (x, y), (x_val, y_val), (x_test, y_test) = parts()
    for trial in found.trials:
        # Bracket by bracket it is fitted for a part of its trees, anew each time.
        trees = {1: 4, 2: 8, 3: 12}
        fits = [
            RandomForestClassifier(
                size, max_depth=trial.values["max_depth"], random_state=trial.seed
            )
            .fit(x, y)
            .predict_proba(x_val)
            for size in trees.values()
        ]
        losses = [metrics.log_loss(y_val, shares, labels=range(10)) for shares in fits]
        assert trial.score in [pytest.approx(loss) for loss in losses]
        if trial.initial_epoch:
            assert trial.score == pytest.approx(losses[-1])
    assert found.best is not None
    for seed in range(2):
        plain = RandomForestClassifier(
            12, max_depth=found.best.values["max_depth"], random_state=seed
        )
        shares = plain.fit(x, y).predict_proba(x_test)
        expected = {
            "accuracy": metrics.accuracy_score(y_test, plain.predict(x_test)),
            "f1": metrics.f1_score(y_test, plain.predict(x_test), average="macro"),
            "loss": metrics.log_loss(y_test, shares, labels=range(10)),
            "roc_auc": metrics.roc_auc_score(y_test, shares, multi_class="ovr"),
        }
        for name, value in expected.items():
            assert found.scores[name].values[seed] == pytest.approx(value), name
    assert {c.gate: c.outcome.value for c in found.checks}["integrity.round_trip"] == "passed"
    assert found.model["name"] == "RandomForestClassifier"
    shown = json.loads((tmp_path / found.files["examples"].path).read_text())
    plain = RandomForestClassifier(12, max_depth=found.best.values["max_depth"], random_state=0)
    answers = plain.fit(x, y).predict(x_test)
    assert shown["wrong"] == (answers != y_test).sum()
    worst = shown["samples"][0]
    assert (worst["is_wrong"], worst["outputs"]["output"]["truth"]) == (
        True,
        y_test[worst["index"]],
    )


def test_folds_are_fitted_apart_and_runs_are_reused_replayed_exported_and_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    protocol = mt.spec(
        data=digits,
        search=mt.RandomSearch(mt.maximize("val_f1"), max_trials=2),
        fit=mt.Fit(class_weight={0: 2.0}),
        validation=mt.KFold(k=2),
        gates=[mt.metric("fold_accuracy") >= 0.5, mt.gain_over_dummy("accuracy") >= 0.1],
    )

    @protocol
    def linear(hp: Any) -> Any:
        c = hp.Float("c", 0.1, 10.0, sampling="log")
        return make_pipeline(StandardScaler(), SGDClassifier("log_loss", alpha=c / 1000))

    found = run(linear, tmp_path)
    assert found.passed, found.verdicts
    assert found.scores["fold_accuracy"].values[0] != found.scores["accuracy"].values[0]
    again = run(linear, tmp_path, reuse=True)
    assert again.cached
    store = f"sqlite:///{tmp_path}/history.db"
    with open_store(store) as history:
        replayed = rescore_run(linear, {}, found, history)
        notes = export_kept(found, history, tmp_path / "linear.skops")
        with pytest.raises(
            HistoryError, match=r"Pipeline is written to a file that ends in \.skops"
        ):
            export_kept(found, history, tmp_path / "linear.keras")
    recorded = {name: score.values[0] for name, score in found.scores.items()}
    assert replayed.again == pytest.approx(recorded)
    lent = harness.winner_of(found, linear, {}, store)
    trusted = json.loads(notes[0].partition("trusted=")[2].rstrip(")").replace("'", '"'))
    exported = files.load(tmp_path / "linear.skops", trusted=trusted)
    assert lent[-1].random_state == 0  # of its seed
    x = parts()[-1][0]
    assert (lent.predict(x) == exported.predict(x)).all()


REFUSED: dict[str, tuple[dict[str, Any], Callable[[Any], Any], str]] = {
    "epochs": (
        {
            "fit": mt.Fit(epochs=3, callbacks=[list]),
            "validation": mt.Holdout(epochs=2, fine_tune=mt.FineTune()),
        },
        forest,
        "fit.epochs: a RandomForestClassifier is fitted once, by its own fit, without epochs.*"
        "fit.callbacks: .*validation.epochs: .*validation.fine_tune: ",
    ),
    "no budget": (
        {"search": mt.Hyperband(ACCURATE, max_epochs=3)},
        lambda hp: KNeighborsClassifier(),
        "search: Hyperband fits most candidates for a part of their budget, and a KNeighborsClassifier has "
        "none: no n_estimators or max_iter .* search it with mt.RandomSearch",
    ),
    "objective": (
        {"search": mt.RandomSearch(mt.maximize("val_acc"))},
        forest,
        r'mt.maximize\("val_acc"\) is none of what an estimator is measured by; there are: val_accuracy, '
        ".*val_f1, .*val_loss",
    ),
    "gates": (
        {"gates": [mt.metric("parameters") <= 10, mt.metric("auc") >= 0.5]},
        forest,
        'gates.1.: .*no metric "auc" .*measured: accuracy.*gates.0.: .*only the weights of a Keras model',
    ),
    "outputs": (
        {"data": mt.Data(train=(PIXELS[:60], {"a": LABELS[:60], "b": LABELS[:60]}))},
        forest,
        "data: train has the targets a, b; an estimator is fitted to one array",
    ),
    "inputs": (
        {"data": mt.Data(train=({"a": PIXELS[:60], "b": PIXELS[:60]}, LABELS[:60]))},
        forest,
        "data: train x has the inputs a, b, and a has several values for each sample",
    ),
    "streams": (
        {"data": mt.Data(*(tf.data.Dataset.from_tensors((PIXELS[:9], LABELS[:9])),) * 3)},
        forest,
        "data: train, validation, test: a stream, which only a Keras model reads",
    ),
    "weights": (
        {"fit": mt.Fit(class_weight={0: 2.0})},
        lambda hp: KNeighborsClassifier(),
        r"fit.class_weight: KNeighborsClassifier.fit takes no sample_weight",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_estimator_cannot_do_is_refused_before_anything_is_fitted(
    case: str, tmp_path: Path
) -> None:
    fields, build, message = REFUSED[case]
    with pytest.raises(SpecError, match=f"(?s){message}"):
        run_of(build, tmp_path, **fields)


def test_under_a_protocol_of_several_models_fields_of_epochs_are_left_to_the_others(
    tmp_path: Path,
) -> None:
    for_all = mt.spec(
        data=images,
        search=mt.RandomSearch(ACCURATE, max_trials=1),
        fit=mt.Fit(batch_size=16),
        validation=mt.Holdout(epochs=2, seeds=1),
    )
    seen: list[tuple[int, ...]] = []

    def flat(x: Any) -> Any:
        seen.append(x.shape[1:])
        return x.reshape(len(x), -1)

    @for_all
    def linear(hp: Any) -> Any:
        # A first step that takes anything gets the images as they are.
        return make_pipeline(FunctionTransformer(flat), LogisticRegression(C=hp.Float("c", 1, 2)))

    found = run(linear, tmp_path)
    assert set(seen) == {(8, 8, 1)}
    (note,) = [note for note in found.notes if "of its protocol" in note]
    assert "fit.batch_size, validation.epochs of its protocol say how Keras models" in note
    # A function of a function cannot be found again by its name.
    assert "the estimator is not kept, for skops cannot keep it" in note
    assert "artifact_bytes" not in found.scores
    with (
        open_store(f"sqlite:///{tmp_path}/history.db") as history,
        pytest.raises(HistoryError, match="kept no estimator, for skops cannot keep it"),
    ):
        rescore_run(linear, {}, found, history)


def ridge(hp: Any) -> Any:
    return Ridge()


def test_tables_labels_and_numbers_are_judged_by_what_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=90), "town": rng.choice(["a", "b"], 90)})
    price = 3 * frame["size"].to_numpy() + (frame["town"] == "a") + rng.normal(size=90) / 9

    def table(hp: Any) -> Any:
        columns = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
        return make_pipeline(columns, Ridge())

    found = run_of(table, tmp_path, data=mt.Data(train=(frame, price)))
    assert found.scores["r2"].mean > 0.9
    assert found.scores["loss"].mean == pytest.approx(found.scores["mse"].mean)
    labels = np.stack([PIXELS[:120, 20] > 0.5, PIXELS[:120, 30] > 0.5], axis=1).astype(int)
    found = run_of(
        lambda hp: MultiOutputClassifier(LogisticRegression()),
        tmp_path,
        data=mt.Data(train=(PIXELS[:120], labels)),
        gates=[mt.metric("loss") <= 1],
    )
    assert found.task_report["output"]["task"] == "multilabel"
    assert found.passed


def test_the_best_are_averaged_where_validation_proves_that_better(tmp_path: Path) -> None:
    def stump(hp: Any) -> Any:
        features = hp.Choice("features", [0.1, 0.2, 0.3])
        return DecisionTreeClassifier(max_depth=9, max_features=features, splitter="random")

    def many() -> mt.Data:
        return digits(train=200, validation=600, test=400)

    declared = mt.spec(
        data=many,
        search=mt.GridSearch(ACCURATE),
        validation=mt.Holdout(seeds=1, ensemble=3),
        gates=[mt.metric("accuracy") >= 0.1],
    )(stump)
    found = run(declared, tmp_path)

    choice = found.validation["ensemble_choice"]
    assert choice["is_ensemble"], choice["reason"]
    known: Any = many()
    (x, y), (x_test, y_test) = known.train, known.test
    alone = [
        DecisionTreeClassifier(max_depth=9, max_features=one, splitter="random", random_state=0)
        .fit(x, y)
        .predict_proba(x_test)
        for one in (member["values"]["features"] for member in choice["members"])
    ]
    right = np.mean(alone, axis=0).argmax(axis=1) == y_test
    assert found.scores["accuracy"].values == (pytest.approx(right.mean()),)
    assert "VotingClassifier" in found.model["estimator"]
    store = f"sqlite:///{tmp_path}/history.db"
    with open_store(store) as history:
        again = rescore_run(declared, {}, found, history)
        export_kept(found, history, tmp_path / "all.skops")
    assert again.again["accuracy"] == pytest.approx(right.mean())
    for kept in (
        load_estimator(tmp_path / "all.skops", ["sklearn.tree._tree.Tree"]),
        harness.winner_of(found, declared, {}, store),
    ):
        np.testing.assert_allclose(kept.predict_proba(x_test), np.mean(alone, axis=0))


@pytest.mark.parametrize("kinds", [["net", "trees"], ["trees", "net"]])
def test_a_search_may_choose_between_a_keras_model_and_an_estimator_in_any_order(
    kinds: list[str], tmp_path: Path
) -> None:
    def either(hp: Any) -> Any:
        if hp.Choice("kind", kinds) == "net":
            return dense(keras.layers.Dense(10, activation="softmax"))
        return RandomForestClassifier(9)

    found = run_of(
        either, tmp_path, search=mt.GridSearch(ACCURATE), fit=mt.Fit(epochs=1), validation=ONE
    )
    by = {trial.values["kind"]: trial.trained_by for trial in found.trials}
    assert by["trees"] == "the estimator's own fit" != by["net"]
    assert {trial.status.value for trial in found.trials} == {"completed"}
    assert found.best is not None
    assert found.best.values["kind"] == "trees"


def linear_or_trees(hp: Any) -> Any:
    if hp.Choice("kind", ["linear", "trees"]) == "linear":
        return LogisticRegression(C=hp.Float("c", 0.1, 1.0))
    return make_pipeline(
        FunctionTransformer(np.negative), RandomForestClassifier(hp.Int("n", 2, 9))
    )


def test_an_estimator_in_a_file_is_held_to_the_gates_of_a_spec_of_any_kind(tmp_path: Path) -> None:
    (x, y), _, (x_test, y_test) = parts()
    fitted = make_pipeline(FunctionTransformer(np.negative), RandomForestClassifier(5)).fit(x, y)
    write_estimator(fitted, tmp_path / "given.skops", tmp_path / "of_no_use")
    gates = [mt.metric("accuracy") >= 0.1, mt.metric("artifact_bytes") >= 9]
    declared = mt.spec(data=digits, search=None, validation=ONE, gates=gates)(linear_or_trees)

    found = run(declared.with_file(tmp_path / "given.skops"), tmp_path)

    assert found.passed, found.verdicts
    shares = fitted.predict_proba(x_test)
    expected = {
        "accuracy": metrics.accuracy_score(y_test, fitted.predict(x_test)),
        "loss": metrics.log_loss(y_test, shares, labels=range(10)),
        "artifact_bytes": (tmp_path / "given.skops").stat().st_size,
    }
    for name, value in expected.items():
        assert found.scores[name].values == (pytest.approx(value),), name
    assert (
        f"the estimator is given, in {tmp_path / 'given.skops'}; nothing was trained" in found.notes
    )
    (tmp_path / "given.skops").unlink()
    with open_store(f"sqlite:///{tmp_path}/history.db") as history:
        again = rescore_run(declared, {}, found, history)
    assert again.again["loss"] == pytest.approx(expected["loss"])
    # Of what a spec of Keras models knows nothing of, skops itself takes this for harmless.
    linear = LogisticRegression().fit(x, y)
    write_estimator(linear, tmp_path / "linear.skops", tmp_path / "of_no_use")
    of_keras = mt.spec(data=digits, search=None, gates=gates[:1])(
        lambda hp: dense(keras.layers.Dense(10, activation="softmax"))
    )
    assert run(of_keras.with_file(tmp_path / "linear.skops"), tmp_path).passed
    write_estimator(
        make_pipeline(FunctionTransformer(os.system), fitted[-1]),
        tmp_path / "other.skops",
        tmp_path / "of_no_use",
    )
    with pytest.raises(SpecError, match=r"linear_or_trees: other\.skops: it holds posix\.system"):
        run(declared.with_file(tmp_path / "other.skops"), tmp_path)


def test_a_kept_file_that_holds_other_parts_than_the_spec_builds_is_not_loaded(
    tmp_path: Path,
) -> None:
    write_estimator(make_pipeline(FunctionTransformer(os.system)), tmp_path / "a", tmp_path / "b")
    known = parts_of_estimator(RandomForestClassifier(2).fit(PIXELS[:9], LABELS[:9]))
    with pytest.raises(
        HistoryError, match=r"it holds posix\.system, which the estimator that its spec"
    ):
        load_estimator(tmp_path / "a", known)
