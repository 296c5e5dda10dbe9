"""Tables and texts fit into the columns there are, and lose nothing but spaces."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.reports.columns import fitting, hanging, width, wrap
from modeltune.reports.tables import clean, history_table, show, text_table
from tests.support.histories import DIGITS
from tests.support.reported_runs import past

CELLS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), max_size=40)


def letters(text: str) -> str:
    return "".join(sorted("".join(text.split())))


@given(
    text=st.text(st.characters(categories=("L", "N", "P", "Zs")), max_size=80),
    columns=st.integers(2, 40),
)
def test_law_a_text_is_broken_into_lines_that_fit(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    assert all(width(line) <= columns for line in lines)
    assert letters("".join(lines)) == letters(text)


def test_a_text_is_broken_at_spaces_then_in_an_address_then_anywhere() -> None:
    assert wrap("below the bound", 10) == ["below the", "bound"]
    assert wrap("model_specs/spec_digits.py::mlp", 20) == ["model_specs/", "spec_digits.py::mlp"]
    assert wrap("0123456789", 4) == ["0123", "4567", "89"]
    assert wrap("日本語", 4) == ["日本", "語"]
    assert wrap("", 4) == [""]
    assert hanging("note  ", "below the bound, by far too much", 24) == (
        "note  below the bound,\n      by far too much"
    )


def test_ids_stay_whole_and_wide_columns_give_way() -> None:
    rows = [["run", "reason"], ["0123456789abcdef", "below the bound by a hair"]]
    assert fitting(rows, 80) == [16, 25]
    assert fitting(rows, 30) == [16, 12]
    assert fitting(rows, 20) is None


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4),
    columns=st.integers(40, 120),
)
def test_law_a_table_is_as_narrow_as_it_has_to_be_and_keeps_every_cell(
    rows: list[tuple[str, str, str]], columns: int
) -> None:
    shown = text_table(["gate", "measured", "reason"], rows, columns)
    assert all(width(line) <= columns for line in shown.splitlines())
    cells = Counter("".join(clean(cell) for row in rows for cell in row if cell))
    assert Counter(shown) >= cells - Counter(" " * cells[" "])


def test_a_history_leaves_out_what_is_least_told_before_it_is_a_list() -> None:
    listed = past(DIGITS, 2)
    for columns in (140, 100, 80, 60, 40, 20):
        shown = history_table(listed, {}, columns)
        assert all(width(line) <= columns for line in shown.splitlines()), columns
        assert all(run.id in "".join(shown.split()) for run in listed)
    assert "no room for: commit, seconds" in history_table(listed, {}, 80)
    assert "no room" not in history_table(listed, {}, 140)
    # One below the other.
    assert history_table(listed, {}, 40).splitlines()[:2] == [
        "run            20261120-211000-0a1b2c3d",
        "created        2026-11-20 21:10",
    ]


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_all_tables_of_a_run_fit(columns: int) -> None:
    shown = show(DIGITS, columns)
    assert max(map(width, shown.splitlines())) <= columns
    assert "1e-05 below" in shown
