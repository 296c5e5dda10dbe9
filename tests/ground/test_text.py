"""Counts and errors are told in words, an error in one line."""

from __future__ import annotations

import pytest

from modeltune.ground.text import count_of, error_line, first_line


def test_a_count_has_its_noun() -> None:
    assert count_of(1, "run") == "1 run"
    assert count_of(0, "run") == "0 runs"
    assert count_of(2, "history", "histories") == "2 histories"


@pytest.mark.parametrize(
    ("error", "line", "first"),
    [
        (ValueError("no room\nat all"), "ValueError: no room", "no room"),
        (ValueError("\n  no room  \n"), "ValueError: no room", "no room"),
        (ValueError(), "ValueError", "ValueError"),
        (ValueError("read\r\nno"), "ValueError: read", "read"),
        (KeyboardInterrupt(), "KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
def test_an_error_is_one_line(error: BaseException, line: str, first: str) -> None:
    assert error_line(error) == line
    assert first_line(error) == first


def test_a_text_without_a_line_has_no_first_one() -> None:
    assert first_line("") == first_line(" \n ") == ""
    assert first_line("one\ntwo") == "one"
