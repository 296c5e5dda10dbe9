"""Groups come of a column of metadata or of a function, and what cannot be one is told before training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import modeltune as mt
from modeltune.engine.data.loading import Part
from modeltune.engine.score.slice_masks import check_own_metrics, check_slices, slice_masks
from modeltune.specs.gates import By, On

X = np.arange(12, dtype="float32").reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])
KNOWN = pd.DataFrame(
    {
        "region": pd.Categorical(["north", "south", None, "north", "south", "north"]),
        "age": [17, 30, 45, 17, 61, 30],
        "id": ["x" * 250] * 6,
    }
)
TEST = Part("test", 6, "", x=X, y=Y, metadata=KNOWN)


def groups(by: By, part: Part = TEST) -> list[str]:
    found: list[str] = slice_masks([by], part.x, part.y, part)[by.name].tolist()
    return found


def test_groups_are_those_of_a_column_and_of_what_has_no_value() -> None:
    assert groups(By("region")) == ["north", "south", "missing", "north", "south", "north"]
    assert groups(By("age")) == ["17", "30", "45", "17", "61", "30"]


def test_a_slice_of_no_sample_is_refused_unless_samples_were_left_out() -> None:
    nobody = On("nobody", lambda x, y: y > 1)
    with pytest.raises(
        mt.SpecError, match=r'slice "nobody": <lambda> returned True for none of the 6'
    ):
        check_slices([nobody], TEST)
    check_slices([nobody], TEST, is_whole=False)


def decade(metadata: Any) -> Any:
    return metadata["age"] // 10


def side(x: Any) -> Any:
    return np.where(x[:, 0] > 5, "right", "left")


def both(x: Any, y: Any) -> Any:
    return y


def of_all(x: Any, metadata: Any) -> Any:
    return [f"{one > 5}" for one in x[:, 0]]


def old(metadata: Any) -> Any:
    return metadata["age"] > 40


def test_groups_are_computed_of_what_a_function_asks_for() -> None:
    assert groups(By("decade", decade)) == ["1", "3", "4", "1", "6", "3"]
    assert groups(By("side", side)) == ["left"] * 3 + ["right"] * 3
    assert groups(By("class", both)) == ["0", "1", "0", "1", "0", "1"]
    assert groups(By("all", of_all)) == ["False"] * 3 + ["True"] * 3


def test_a_slice_may_be_chosen_by_metadata() -> None:
    masks = slice_masks([On("old", old)], X, Y, TEST)
    assert masks["old"].tolist() == [False, False, True, False, True, False]


def short(x: Any) -> Any:
    return ["a"]


def wrong(metadata: Any) -> Any:
    return metadata["heigt"]


BARE = replace(TEST, metadata=None)
REFUSED: dict[str, tuple[By | On, Part, str]] = {
    "no metadata": (
        By("region"),
        BARE,
        'groups by "region": there are no metadata of test; return mt.Data(..., metadata=frame) with a '
        'column "region"',
    ),
    "no column": (
        By("regoin"),
        TEST,
        'groups by "regoin": the metadata of test have no such column; the columns are region, age, id',
    ),
    "another shape": (
        By("short", short),
        TEST,
        'groups by "short": short returned list of shape (1,) for 6 samples; return one value per sample',
    ),
    "a function that raises": (
        By("wrong", wrong),
        TEST,
        "it got metadata with the columns region, age, id",
    ),
    "a function without metadata": (
        By("decade", decade),
        BARE,
        'groups by "decade": decade takes metadata, and there are none of test',
    ),
    "a slice without metadata": (On("old", old), BARE, 'slice "old": old takes metadata'),
    "a long text": (By("id"), TEST, "has 250 characters; name groups by 200 or fewer"),
    "an id": (
        By("number"),
        replace(
            TEST,
            size=1001,
            x=np.zeros((1001, 1)),
            metadata=pd.DataFrame({"number": np.arange(1001)}),
        ),
        "there are 1001 values, more than the 1000 groups that are judged",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_groups_is_told_before_anything_is_trained(what: str) -> None:
    by, part, words = REFUSED[what]
    with pytest.raises(mt.SpecError) as raised:
        check_slices([by], part)
    assert words in str(raised.value)


def cost(y_true: Any, y_pred: Any, metadata: Any) -> Any:
    raise AssertionError


def plain(y_true: Any, y_pred: Any, metadata: Any = None) -> Any:
    raise AssertionError


def test_a_metric_that_takes_metadata_is_refused_where_there_are_none() -> None:
    with pytest.raises(
        mt.SpecError, match="metric cost takes metadata, and there are none of test"
    ):
        check_own_metrics({"cost": cost}, BARE)
    check_own_metrics({"cost": cost}, TEST)
    check_own_metrics({"plain": plain, "accuracy": None}, BARE)
