"""Holm's procedure adjusts p-values as the textbooks do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeltune.ground.multiple_tests import holm

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
