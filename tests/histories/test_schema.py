"""A cell of a history holds the JSON that a history writes there, or says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.histories.schema import Unreadable, document_of

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_law_what_json_writes_is_read(value: Any) -> None:
    assert document_of(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize("number", ["1e308", "-1.5E+300", "1" + "0" * 298 + "e0", "1e-999"])
def test_every_number_that_is_a_float_is_read(number: str) -> None:
    assert document_of(f"[{number}]") == [float(number)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "it has the key 'c' twice"),
        ("[1e999]", "it has the number 1e999, which is too large"),
        ("[-1E+309]", "it has the number -1E+309, which is too large"),
        (f"[{'9' * 250}e99]", f"it has the number {'9' * 100}, which is too large"),
        (f"[{'9' * 400}.5]", f"it has the number {'9' * 100}, which is too large"),
        (f"[{'9' * 400}]", "it has a number of 400 digits"),
        ("[NaN]", "it has NaN, which is no number in JSON"),
        ("[-Infinity]", "it has -Infinity, which is no number in JSON"),
        ("[" * 201 + "]" * 201, "it is nested more than 200 levels deep"),
    ],
)  # fmt: skip
def test_what_no_history_writes_is_named(text: str, why: str) -> None:
    assert document_of(text) == Unreadable(f"is no JSON as a history keeps it ({why})")
