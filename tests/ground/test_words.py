"""What is printed of our values is words, on one line."""

from __future__ import annotations

import pytest

from modeltune.ground.words import Word, in_a_line
from tests.support.hostile import HOSTILE


class Colour(Word):
    """Some words."""

    RED = "red"


def test_a_member_prints_as_its_word_and_is_seen_to_be_a_member() -> None:
    assert f"{Colour.RED} {Colour.RED!s}" == "red red"
    assert repr(Colour.RED) == "<Colour.RED: 'red'>"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_in_a_line_is_short_and_obeyed_by_no_terminal(text: str) -> None:
    line = in_a_line(text * 100)
    assert line.isprintable()
    assert len(line) <= 80
