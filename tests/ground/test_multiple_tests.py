"""Procedures for several tests reject what the textbooks reject."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modeltune.ground.multiple_tests import false_discovery_level, holm, holm_level

shares = st.floats(0, 1)


def test_holm_is_as_in_the_textbooks() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.04]) == (0.04,)
    assert holm([0.6, 0.7]) == (1.0, 1.0)


@given(st.lists(shares, min_size=1, max_size=12))
def test_holm_never_lowers_a_p_value_nor_changes_their_order(given_values: list[float]) -> None:
    adjusted = holm(given_values)
    for raw, corrected in zip(given_values, adjusted, strict=True):
        assert raw <= corrected <= 1
    order = sorted(range(len(adjusted)), key=given_values.__getitem__)
    assert [adjusted[i] for i in order] == sorted(adjusted)
    assert min(adjusted) == min(1, len(given_values) * min(given_values))


def test_holm_over_specs_is_holm_where_each_has_one_test() -> None:
    for values in ([0.001, 0.02, 0.03], [0.02, 0.03, 0.2], [0.04], [0.01, 0.01, 0.9]):
        level = holm_level([[p] for p in values], len(values), 0.05)
        assert [p <= level for p in values] == [p <= 0.05 for p in holm(values)]


def test_a_spec_keeps_its_share_until_all_its_tests_are_rejected() -> None:
    assert holm_level([[0.001, 0.5], [0.04]], 2, 0.05) == 0.025
    assert holm_level([[0.001, 0.02], [0.04]], 2, 0.05) == 0.05
    # One that is not known yet keeps its own as well.
    assert holm_level([[0.001], [0.04]], 3, 0.05) == 0.025


@given(st.lists(shares, min_size=1, max_size=12))
def test_the_false_discovery_level_is_benjamini_and_hochberg_s(values: list[float]) -> None:
    level = false_discovery_level([[p] for p in values], len(values), 0.05)
    adjusted = stats.false_discovery_control(values)
    for p, q in zip(values, adjusted, strict=True):
        assert (p <= level) == (q <= 0.05) or abs(q - 0.05) < 1e-12


@given(st.lists(st.lists(shares, max_size=3), min_size=1, max_size=8))
def test_what_is_held_against_an_equal_share_is_rejected_in_the_end(
    specs: list[list[float]],
) -> None:
    for choose in (holm_level, false_discovery_level):
        assert 0.05 / len(specs) <= choose(specs, len(specs), 0.05) <= 0.05
