"""A counter-example is shown: what changed of a row, an image before and after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modeltune.records.probes import ImageChange, InputChange, RowChange, SummaryChange, ValueChange
from modeltune.records.runs import Run
from modeltune.records.verdicts import Outcome, Verdict
from modeltune.reports.counterexamples import WIDEST, counterexamples
from modeltune.reports.tables import failure, show
from tests.support.histories import DIGITS
from tests.support.verdicts import violation


def run_with(*changes: InputChange, text: str = "test[3] tilt: 7 -> 1") -> Run:
    details = violation(text, *changes)
    verdict = Verdict("mt.invariant(tilt)", Outcome.FAILED, 1.0, 0.0, text, details=details)
    return replace(DIGITS, verdicts=(verdict,))


def image(before: Any, after: Any = None) -> ImageChange:
    return ImageChange("", before, after, (2, 2))


def test_an_image_is_drawn_before_and_after() -> None:
    (text,) = counterexamples(run_with(image([[0.0, 1.0], [0.5, 0.0]], [[1.0, 1.0], [1.0, 1.0]])))
    assert text.splitlines() == ["test[3] tilt: 7 -> 1", "    @@   @@@@", "  ==     @@@@"]


def test_colours_are_drawn_by_their_brightness() -> None:
    (text,) = counterexamples(run_with(image([[[0, 0, 0], [255, 255, 255]]])))
    assert text.splitlines()[1:] == ["    @@"]


def test_an_image_of_one_value_says_it() -> None:
    (text,) = counterexamples(run_with(image([[0.0, 0.0]])))
    assert text.splitlines()[1:] == ["  every value is 0"]


def test_a_large_image_is_thinned_out() -> None:
    row = [0.0, 1.0] * 50
    (text,) = counterexamples(run_with(image([row] * 100)))
    lines = text.splitlines()[1:]
    assert len(lines) <= WIDEST
    assert max(map(len, lines)) <= 2 + 2 * WIDEST


def test_of_a_row_the_values_that_changed_are_listed() -> None:
    values = tuple(ValueChange(at, 0.5, 0.75) for at in range(15))
    change = RowChange("age", values, 15, (20,))
    (text,) = counterexamples(run_with(change))
    assert text.splitlines()[1].startswith("  age: [0] 0.5 -> 0.75, [1] 0.5 -> 0.75, ")
    assert text.endswith(" and 3 more")


def test_what_is_too_large_says_its_shape() -> None:
    change = SummaryChange("", {}, {}, (128, 128, 3))
    (text,) = counterexamples(run_with(change))
    assert text.endswith("  [128, 128, 3], too large to show")


def test_a_red_run_and_its_record_show_it_without_what_a_terminal_obeys() -> None:
    run = run_with(image([[0.0, 1.0]]), text="test[3] \x1b[31mtilt\x1b[0m: 7 -> 1")
    for text in (failure(run), show(run)):
        assert "\n    @@\n" in text
        assert "\x1b" not in text
