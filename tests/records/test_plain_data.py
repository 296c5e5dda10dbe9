"""Values go to strict JSON and come back equal; what is no such value is refused."""

from __future__ import annotations

import enum
import json
import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from modeltune.records.plain_data import as_number, from_plain, plain
from modeltune.records.probes import Counterexample
from modeltune.records.runs import Durations


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True)
class Square:
    KIND: ClassVar[str] = "square"
    side: float


@dataclass(frozen=True)
class Circle:
    KIND: ClassVar[str] = "circle"
    radius: float


@dataclass(frozen=True)
class Drawing:
    name: str
    shape: Square | Circle | None = None
    colour: Colour = Colour.RED
    sizes: Mapping[str, tuple[float, ...]] | None = None
    pair: tuple[int, str] = (0, "")
    values: Mapping[str, bool | int | float | str] | None = None
    document: Any = None


DRAWING = Drawing(
    "a",
    Circle(math.inf),
    sizes={"b": (1.0, -math.inf), "c": ()},
    pair=(3, "d"),
    values={"e": True, "f": 1, "g": 0.5, "h": "inf"},
    document={"i": [None, "nan"]},
)


def test_a_dataclass_comes_back_equal_with_all_that_is_in_it() -> None:
    data = json.loads(json.dumps(plain(DRAWING), allow_nan=False))
    assert repr(from_plain(Drawing, data)) == repr(DRAWING)
    assert data["shape"] == {"kind": "circle", "radius": "inf"}


def test_a_missing_field_has_its_default_and_a_key_of_a_later_version_is_left_out() -> None:
    assert from_plain(Drawing, {"name": "a", "later": 1}) == Drawing("a")
    with pytest.raises(KeyError, match="name"):
        from_plain(Drawing, {})


def test_a_number_that_may_stand_beside_a_text_is_an_object() -> None:
    data = {"name": "a", "values": {"x": {"float": "-inf"}}}
    assert from_plain(Drawing, data).values == {"x": -math.inf}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", 1),
        ("name", None),
        ("shape", {"kind": "line", "radius": 1.0}),
        ("shape", {"radius": 1.0}),
        ("shape", {"kind": "circle", "radius": "large"}),
        ("shape", {"kind": "circle", "radius": True}),
        ("shape", {"kind": "circle", "radius": None}),
        ("colour", "blue"),
        ("sizes", []),
        ("sizes", {"b": 1.0}),
        ("sizes", {"b": ["1.0"]}),
        ("pair", [1]),
        ("pair", [1, "a", "b"]),
        ("pair", [True, "a"]),
        ("pair", [1.0, "a"]),
        ("values", {"e": None}),
        ("values", {"e": [1]}),
        ("values", {"e": {"float": "1"}}),
    ],
)
def test_what_no_such_value_is_written_as_is_refused(key: str, value: object) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_plain(Drawing, {"name": "a", key: value})


@pytest.mark.parametrize("value", [{"row": "7"}, {"row": True}, {"severity": "much"}])
def test_a_counterexample_has_numbers_where_numbers_belong(value: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError), match="is no "):
        from_plain(Counterexample, {"text": "a", **value})


def test_the_words_of_numbers_are_numbers() -> None:
    assert [as_number("inf"), as_number("-inf"), as_number(3), as_number(0.5)] == [
        math.inf, -math.inf, 3, 0.5,
    ]  # fmt: skip
    assert math.isnan(as_number("nan"))


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, None),
        (True, True),
        (3, 3),
        ("a", "a"),
        (0.5, 0.5),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (Colour.RED, "red"),
        ((1, (2, [3])), [1, [2, [3]]]),
        (OrderedDict(a=(1,)), {"a": [1]}),
        ({0: 1.5}, {"0": 1.5}),
        (Durations(1.0), {"data": 1.0, "search": 0.0, "validation": 0.0}),
        ({"a": Durations(2.0)}, {"a": {"data": 2.0, "search": 0.0, "validation": 0.0}}),
    ],
)
def test_plain_data(value: object, data: object) -> None:
    assert plain(value) == data
    json.dumps(plain(value), allow_nan=False)


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        {1, 2},
        1j,
        Decimal("0.1"),
        Path("a"),
        object(),
        Durations,
        len,
        np.zeros(2),
        np.float32(1),
        np.int64(1),
        [{"deep": object()}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_types_have_no_place_in_a_run(value: object) -> None:
    with pytest.raises(TypeError, match="has no place in a run record"):
        plain(value)
