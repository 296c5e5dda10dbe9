"""Counts and errors are told in words, an error in one line."""

from __future__ import annotations

import pytest

from modeltune.ground.text import (
    MOST_CHARACTERS,
    count_of,
    error_line,
    error_text,
    first_line,
    first_names,
    without_escapes,
)


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
        # One that never ends takes nothing with it.
        ("Ne\x9ecek: loss is nan", "Ne\x9ecek: loss is nan"),
        ("a title\x9d of the run", "a title\x9d of the run"),
    ],
)
def test_escape_codes_go_as_a_whole(text: str, plain: str) -> None:
    assert without_escapes(text) == plain
    assert error_text(ValueError(text)) == f"ValueError: {plain}"
    assert first_line(text) == error_line(ValueError(text)).removeprefix("ValueError: ") == plain


IN_A_LAYER = """Exception encountered when calling Functional.call().

Exception encountered when calling Dense.call().

\x1b[1mInput 0 of layer "dense" does not fit.\x1b[0m

Arguments received by Dense.call():
  - inputs=tf.Tensor(shape=(2, 3), dtype=float32)"""

IN_A_GRAPH = """Graph execution error:

Detected at node loss/Check defined at (most recent call last):
  File "spec.py", line 7, in <module>

<stack traces unavailable>
Received a label value of 5 which is outside the valid range of [0, 3).
\t [[{{node loss/Check}}]] [Op:__inference_step_17]"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (IN_A_LAYER, 'Input 0 of layer "dense" does not fit. (when calling Functional.call())'),
        (
            IN_A_GRAPH,
            "Received a label value of 5 which is outside the valid range of [0, 3).",
        ),
        ("1 root error(s) found:\n  (0) no room\n", "1 root error(s) found: (0) no room"),
        ("Exception encountered when calling A.call().", "Exception encountered when calling A.call()."),
    ],
    ids=["layer", "graph", "list", "nothing else"],
)  # fmt: skip
def test_the_line_of_an_error_is_the_one_that_says_what_is_wrong(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line
    assert error_line(ValueError(message)) == f"ValueError: {line}"


def test_an_array_in_an_error_does_not_fill_pages() -> None:
    line = first_line(ValueError("7" * 9000))
    assert line == f"{'7' * MOST_CHARACTERS} ... ({9000 - MOST_CHARACTERS} more characters)"


def test_the_first_of_many_names_are_listed_and_the_others_counted() -> None:
    assert first_names(["age", "city", 3], most=2) == "age, city and 1 more"
    assert first_names(["age", "city"], most=2) == "age, city"
    assert first_names([]) == "none"
