"""Samples that look as if they belonged together are pointed at where nobody said so, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import modeltune as mt
from modeltune.engine.data.loading import load_data
from tests.support.small_models import spec_of

N = 200
RANDOM = np.random.default_rng(0)
Y = np.arange(N) % 2
PATIENT = RANDOM.integers(0, 40, N)
NUMBERS = RANDOM.normal(size=(N, 12)).astype("float32")


def hints(x: Any, y: Any = Y, **fields: Any) -> list[str]:
    return [note for note in load_data(spec_of(data=mt.Data((x, y), **fields))).notes if note]


def table(name: str, values: Any) -> pd.DataFrame:
    return pd.DataFrame({"age": RANDOM.integers(20, 80, N), name: values})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patient", PATIENT),
        ("patient_id", PATIENT % 7),
        ("userId", [f"u{n}" for n in PATIENT]),
        ("id", PATIENT),
        ("Session", PATIENT),
    ],
)
def test_a_column_of_ids_that_rows_share_is_pointed_at(name: str, values: Any) -> None:
    (hint,) = hints(NUMBERS[:, :3], metadata=table(name, values))
    assert hint.startswith(f'column "{name}" has {len(set(values))} different values in 200 rows, ')
    assert "mt.Data(..., groups=labels)" in hint
    if not isinstance(values, list):
        assert hints(table(name, values)) == [hint], "of an input too"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", np.arange(N)),  # of one row each
        ("age_group", PATIENT % 5),  # of a kind
        ("device", np.where(PATIENT > 20, "phone", "tablet")),
        ("paid", PATIENT),
        ("humid", PATIENT),
        ("grid", PATIENT),
        ("price", PATIENT),
        ("category_id", PATIENT % 9),
        ("room_number", PATIENT),
    ],
)
def test_other_columns_are_not(name: str, values: Any) -> None:
    assert not hints(NUMBERS[:, :3], metadata=table(name, values))


def test_rows_that_are_nearly_copies_are_pointed_at() -> None:
    copies = np.repeat(NUMBERS[:100], 2, axis=0) + RANDOM.normal(scale=0.01, size=(N, 12))
    (hint,) = hints(copies.astype("float32"))
    assert "rows of train are nearly copies of another" in hint
    assert not hints(copies, groups=np.arange(N) // 2), "it is declared"
    assert not hints(copies, ordered=True)


@pytest.mark.parametrize(
    "x",
    [
        NUMBERS,
        np.repeat(NUMBERS[:100], 2, axis=0),  # which checks.duplicates tells
        NUMBERS[:, :1] @ RANDOM.normal(size=(1, 40)),
        NUMBERS[:, :3] @ RANDOM.normal(size=(3, 40)),
        load_digits().data[:N] / 16,
        np.eye(N)[PATIENT],
    ],
    ids=[
        "noise",
        "equal rows",
        "one number behind forty",
        "three numbers behind forty",
        "digits",
        "one-hot",
    ],
)
def test_rows_that_differ_as_others_do_are_not(x: Any) -> None:
    assert not hints(x)
