"""A Hypothesis that has other names for what we use of it: it draws the same, and one note says so."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import modeltune as mt
from modeltune.engine.probe.hypothesis_internals import HYPOTHESIS_NAMES, what_hypothesis_lacks
from modeltune.engine.probe.points import (
    PointResult,
    PointSpace,
    ResultCache,
    draw_points,
    shrink,
)
from modeltune.engine.probe.transforms import Point
from tests.support.example import source

SPACE = PointSpace(rows=300, ends=(1.0,), levels=1000)

NOTE = (
    f"hypothesis {hypothesis.__version__} has no hypothesis.configuration.of_another_version: it "
    "may have written into .hypothesis"
)


def points() -> list[Point]:
    """Return what is drawn, and what the first of it shrinks to."""

    def attempt(points: Any) -> list[PointResult]:
        return [PointResult(point, (point.severity or 0) > 0.25) for point in points]

    points_drawn = draw_points(SPACE, 100, seed=1)
    random.seed(0)
    violation = next(f for f in attempt(points_drawn) if f.is_violation)
    return [*points_drawn, shrink(SPACE, violation, ResultCache(attempt), seed=1).point]


def test_nothing_is_lacking_today() -> None:
    assert what_hypothesis_lacks() is None


@pytest.mark.parametrize("word", HYPOTHESIS_NAMES)
def test_without_a_name_the_same_points_are_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, word: str
) -> None:
    expected = points()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(HYPOTHESIS_NAMES, word, "of_another_version")
    assert points() == expected
    assert what_hypothesis_lacks() == NOTE


def test_a_run_notes_once_what_is_lacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(HYPOTHESIS_NAMES, "folder", "of_another_version")
    gates = "mt.invariant(np.copy), mt.invariant(np.positive)"
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(source(f"gates=[{gates}]"), __file__, "exec"), names)
    run = mt.run(names["dense"], listen=lambda event: None)
    assert run.passed
    assert run.notes.count(NOTE) == 1
