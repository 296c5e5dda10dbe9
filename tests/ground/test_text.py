"""Counts and errors are told in words, an error in one line."""

from __future__ import annotations

import pytest

from modeltune.ground.text import count_of, error_line, error_text, first_line, without_escapes


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


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[1mCould not\x1b[0m fit", "Could not fit"),
        ("\x1b[38;5;196mred\x1b[m", "red"),
        ("\x1b]8;;https://keras.io\x1b\\here\x1b]8;;\x07", "here"),
        ("\x9b1mC1\x9b0m", "C1"),
        ("\x1b[2Ka\x1b(Bb\x1bMc", "abc"),
        ("[1m is no code, 5 [m] neither", "[1m is no code, 5 [m] neither"),
    ],
)
def test_escape_codes_go_as_a_whole(text: str, plain: str) -> None:
    assert without_escapes(text) == plain
    assert error_text(ValueError(text)) == f"ValueError: {plain}"
    assert first_line(text) == error_line(ValueError(text)).removeprefix("ValueError: ") == plain
