"""A range asked for under a known name is told, with both ranges; keras-tuner keeps the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras_tuner
import pytest

import modeltune as mt
from modeltune.engine.oracles import ReadHyperParameters
from modeltune.records.tasks import Caution

SEARCH = mt.RandomSearch(mt.minimize("loss"))


def cautions(
    build: Callable[[Any], object], *builds: dict[str, Any], search: Any = SEARCH
) -> list[str]:
    """Return what is warned of when a build is called with default values, then with others."""
    first = ReadHyperParameters()
    build(first)
    texts: list[str] = []
    for values in builds:
        hp = ReadHyperParameters.of(first)
        hp.values = {**first.values, **values}
        build(hp)
        found = hp.cautions(search)
        assert all(one == Caution("search.ranges", one.text) for one in found)
        texts += [one.text for one in found]
    return texts


def depends(hp: Any) -> int:
    return int(hp.Int("b", 1, hp.Int("a", 4, 8)))


IGNORED = "which a build with other values asks for, is ignored"


def test_a_range_that_depends_on_another_value_keeps_its_first_bounds_and_is_told() -> None:
    assert cautions(depends, {"a": 8, "b": 2}) == [
        f"b keeps the first range that a build gave it, 1 to 4: 1 to 8, {IGNORED}"
    ]


def test_the_same_range_again_is_not_told() -> None:
    assert cautions(depends, {"a": 4, "b": 2}) == []


@pytest.mark.parametrize(
    ("declare", "ranges"),
    [
        (lambda hp, a: hp.Float("b", 0.1 * a, 1.0), "0.1 to 1: 0.2 to 1"),
        (lambda hp, a: hp.Int("b", 0, 8, step=a), "0 to 8 by 1: 0 to 8 by 2"),
        (
            lambda hp, a: hp.Float("b", 0, 8, step=None if a == 1 else 2),
            "0 to 8 without a step: 0 to 8 by 2",
        ),
        (
            lambda hp, a: hp.Float("b", 1, 8, sampling="linear" if a == 1 else "log"),
            "1 to 8, sampled linear: 1 to 8, sampled log",
        ),
        (lambda hp, a: hp.Choice("b", list(range(8 * a))), "... (2 more)]: [0, 1, 2, 3, 4, 5, ... (10"),
        (lambda hp, a: hp.Fixed("b", a), "1: 2"),
        (
            lambda hp, a: hp.Int("b", 1, 3) if a == 1 else hp.Float("b", 1, 3),
            "Int 1 to 3: Float 1 to 3",
        ),
        (
            lambda hp, a: hp.Boolean("b") if a == 1 else hp.Choice("b", ["x"]),
            "Boolean True or False: Choice [x]",
        ),
    ],
)  # fmt: skip
def test_bounds_steps_scales_choices_and_kinds_are_told_alike(
    declare: Callable[[Any, int], object], ranges: str
) -> None:
    (text,) = cautions(lambda hp: declare(hp, hp.Int("a", 1, 2)), {"a": 2})
    assert ranges in text


def test_a_range_that_grows_within_one_build_is_told() -> None:
    def build(hp: Any) -> None:
        for layer in (1, 2):
            hp.Int("units", 1, 8 * layer)

    (text,) = cautions(build, {})
    assert "units keeps the first range that a build gave it, 1 to 8: 1 to 16" in text


def test_the_same_name_in_another_scope_is_another_range() -> None:
    def build(hp: Any) -> None:
        kind = hp.Choice("kind", ["small", "large"])
        for name, most in (("small", 4), ("large", 8)):
            with hp.conditional_scope("kind", [name]):
                if kind == name:
                    hp.Int("units", 1, most)

    assert cautions(build, {"kind": "large", "units": 5}) == []


def test_another_default_is_no_other_range() -> None:
    assert cautions(lambda hp: hp.Int("b", 1, 8, default=hp.Int("a", 1, 2)), {"a": 2}) == []


def test_a_range_that_the_search_was_declared_with_takes_the_place_of_the_builds() -> None:
    declared = keras_tuner.HyperParameters()
    declared.Int("b", 1, 4)
    search = mt.RandomSearch(mt.minimize("loss"), hyperparameters=declared)
    assert cautions(depends, {"a": 8, "b": 2}, search=search) == []


def test_what_a_copy_of_the_values_is_asked_for_counts_too() -> None:
    hp = ReadHyperParameters()
    depends(hp)
    hp.values["a"] = 8
    depends(hp.copy())
    assert len(hp.cautions(SEARCH)) == 1
