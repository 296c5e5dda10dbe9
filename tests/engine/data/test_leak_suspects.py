"""A column that alone gives the answer is a suspect, as is a test part of an earlier time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

import modeltune as mt
from modeltune.engine.data.leak_suspects import check_suspects
from modeltune.engine.data.loading import load_data
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.specs.checks import Checks

RANDOM = np.random.default_rng(0)


def suspects(data: mt.Data, checks: Checks = Checks()) -> list[Verdict]:
    @mt.spec(data=lambda: data, search=mt.RandomSearch(mt.maximize("val_accuracy")))
    def spec(hp: Any) -> Any: ...

    return list(check_suspects(load_data(spec, {}), checks))


def features(rows: int = 200, columns: int = 4) -> Any:
    return RANDOM.normal(size=(rows, columns)).astype("float32")


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "digits"])
def test_real_data_without_a_leak_have_no_suspect(name: str) -> None:
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    assert not suspects(mt.Data((x, y)))


def test_a_column_that_follows_from_the_answer_is_named() -> None:
    classes = RANDOM.integers(0, 3, 200)
    x = features()
    x[:, 2] = classes * 10 + RANDOM.normal(size=200)
    (verdict,) = suspects(mt.Data((x, classes)))
    assert (verdict.gate, verdict.outcome) == ("checks.leaking_feature", Outcome.WARNED)
    assert verdict.reason.startswith(
        "1 column of train predicts the target alone: x[:, 2] (balanced accuracy 1.0000). "
    )
    (verdict,) = suspects(mt.Data((x, classes)), Checks(leaking_feature="fail"))
    assert verdict.outcome is Outcome.FAILED


def test_columns_of_texts_and_targets_of_numbers_are_looked_at_too() -> None:
    classes = RANDOM.integers(0, 2, 200)
    words = np.array(["sent home", "kept"], object)[classes][:, None]
    (verdict,) = suspects(mt.Data(({"age": features(columns=1), "outcome": words}, classes)))
    assert "x.outcome (balanced accuracy 1.0000)" in verdict.reason
    x, numbers = features(), RANDOM.normal(size=200)
    x[:, 1] = 3 * numbers - 1
    (verdict,) = suspects(mt.Data((x, numbers)))
    assert "x[:, 1] (R2 1.0000)" in verdict.reason


def test_an_input_of_one_column_rare_classes_and_ids_are_no_suspects() -> None:
    classes = RANDOM.integers(0, 2, 200)
    assert not suspects(mt.Data((classes[:, None].astype("float32"), classes)))
    ids = np.array([f"id {n}" for n in range(200)], object)[:, None]
    assert not suspects(mt.Data(({"id": ids, "age": features(columns=1)}, classes)))


def in_time(days: Any) -> Any:
    return pd.DataFrame({"day": pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D")})


def test_test_rows_of_an_earlier_time_are_named() -> None:
    part, y = features(60), RANDOM.normal(size=60)
    three = [(part, y)] * 3
    days = {"train": range(100, 160), "validation": range(130, 190), "test": range(140, 200)}
    frames = {name: in_time(some) for name, some in days.items()}
    (verdict,) = suspects(mt.Data(*three, metadata=frames, ordered=True))
    assert (verdict.gate, verdict.measured) == ("checks.order", pytest.approx(19 / 60))
    assert "test begins at 2026-05-21T00:00:00, train ends at 2026-06-09" in verdict.reason
    later = {**frames, "test": in_time(range(160, 220))}
    assert not suspects(mt.Data(*three, metadata=later, ordered=True))
    # Rows that are drawn at random have no order.
    assert not suspects(mt.Data(*three, metadata=frames))
