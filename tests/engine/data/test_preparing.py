"""What models are built with is fitted on train, and on nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import modeltune as mt
from modeltune.engine.data.loading import load_data
from modeltune.engine.data.preparing import prepared_spec
from modeltune.engine.data.sharing import is_shareable
from modeltune.ground import DataError
from modeltune.records import PreparationFinished
from modeltune.reports import html, markdown, show
from modeltune.reports.reported_run import ReportedRun
from modeltune.specs import Refit
from modeltune.specs.spec_type import Spec
from tests.support.small_models import dense, spec_of, values

X = np.arange(30, dtype="float32")[:, None]
Y = np.arange(30) % 2


def normalized(hp: Any, prepared: Any) -> Any:
    hp.Choice("unused", [1, 2])
    return dense(prepared, keras.layers.Dense(2, activation="softmax"), shape=(1,))


def scaled(train: Any) -> Any:
    layer = keras.layers.Normalization()
    layer.adapt(train[0])
    return layer


def parts(**fields: Any) -> mt.Data:
    return mt.Data((X[:20], Y[:20]), (X[20:25], Y[20:25]), (X[25:], Y[25:]), **fields)


def prepared_by(prepare: Any, data: Any = None, build: Any = normalized) -> Spec:
    spec = spec_of(build, lambda: data or parts(prepare=prepare))
    loaded = load_data(spec)
    return prepared_spec(spec, loaded, loaded.train)


def test_a_build_function_gets_what_was_fitted_on_train() -> None:
    spec = prepared_by(scaled)
    model = spec(values(unused=1))
    assert model.layers[0].mean.numpy() == pytest.approx(X[:20].mean())


@pytest.mark.parametrize(
    ("train", "given"),
    [
        ((X, Y), "x y"),
        ((X, Y, np.ones(30)), "x y weight"),
        (X, "x"),
        (tf.data.Dataset.from_tensor_slices((X, Y)).batch(5), "stream"),
    ],
)
def test_it_is_called_with_train_as_a_data_function_returns_it(train: Any, given: str) -> None:
    seen = []

    def fit(part: Any) -> str:
        names = ("x", "y", "weight")
        seen.append(" ".join(names[: len(part)]) if isinstance(part, tuple) else "stream")
        return "prepared"

    prepared_by(fit, mt.Data(train, train, train, prepare=fit))
    assert seen == [given]


def test_a_fold_is_prepared_on_its_own_train_part(tmp_path: Path) -> None:
    """Else the samples a fold is scored on would tell of themselves."""
    from modeltune.engine.engine import Engine

    seen: list[set[float]] = []

    def fit(train: Any) -> Any:
        seen.append(set(train[0][:, 0].tolist()))
        return keras.layers.Rescaling(1.0)

    validation = mt.KFold(k=5)
    spec = spec_of(normalized, lambda: parts(prepare=fit), validation=validation)
    engine = Engine(spec, {}, tmp_path)
    described, _ = engine.load()
    for fold in range(2):
        engine.prepared(Refit(0, fold))
        engine.prepared(Refit(0, fold))
    assert [len(rows) for rows in seen] == [20, 20, 20], "once for each"
    assert seen[0] == set(X[:20, 0].tolist())
    assert len(seen[1] & seen[2]) == 15
    assert described["prepared"]["by"] == "fit"
    assert described["prepared"]["samples"] == 20


def fails(train: Any) -> Any:
    raise ValueError("no such column")


def test_what_it_raises_names_it_and_nothing_is_trained() -> None:
    with pytest.raises(DataError, match="data: prepare: fails raised ValueError: no such column"):
        prepared_by(fails)
    with pytest.raises(DataError, match="returned None; return what the build function takes"):
        prepared_by(lambda train: None)


def test_a_build_function_without_data_that_prepare_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"the build function has a second argument.*prepare=fit_on_train"
    ):
        load_data(spec_of(normalized, lambda: parts()))
    with pytest.raises(TypeError, match="prepare is 3; write a function"):
        parts(prepare=3)


def test_a_model_that_takes_nothing_prepared_shares_the_data_of_one_that_does() -> None:
    calls = list[Any]()
    prepared_by(calls.append, parts(prepare=calls.append), build=lambda hp: None)
    assert not calls


@pytest.mark.parametrize(("prepare", "is_shared"), [(scaled, True), (lambda train: train, False)])
def test_data_are_shared_where_every_process_can_name_the_function(
    prepare: Any, is_shared: bool
) -> None:
    assert is_shareable(load_data(spec_of(normalized, parts(prepare=prepare)))) == is_shared


@pytest.mark.parametrize("validation", [mt.Holdout(seeds=1), mt.KFold(k=2)])
def test_a_run_scores_the_model_that_was_built_with_it(validation: Any, tmp_path: Path) -> None:
    spec, told = spec_of(normalized, parts(prepare=scaled), validation=validation), list[Any]()
    run = mt.run(spec, store=f"sqlite:///{tmp_path}/history.db", listen=told.append)
    assert run.status.value == "passed"
    prepared = run.data["prepared"]
    assert told[0] == PreparationFinished(spec.id, "scaled", 20, prepared["seconds"])
    for report in (html([ReportedRun(run)]), markdown([run]), show(run)):
        assert "scaled" in report
    assert "(prepared by scaled on 20 samples of train, " in html([ReportedRun(run)])
    assert [check.reason for check in run.checks if check.gate.startswith("round_trip")] == []
