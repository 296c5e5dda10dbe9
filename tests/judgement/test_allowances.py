"""What failures may spend: all looks, and all specs of a session, spend one error rate together."""

from __future__ import annotations

import itertools

import pytest

from modeltune.judgement.allowances import Allowance, share_of_look
from modeltune.records.families import Family, FamilyKind


def test_ever_so_many_looks_spend_one_error_rate_together() -> None:
    shares = [share_of_look(look) for look in range(1, 20_001)]
    # What is left after them, at most, is the integral of the series.
    assert sum(shares) < 1 < sum(shares) + 20_000**-0.6 / 0.6 / 2.28
    assert all(later < earlier for earlier, later in itertools.pairwise(shares))


def test_a_spec_of_its_own_spends_all_and_one_of_twenty_a_twentieth() -> None:
    assert Allowance().level(0.05) == 0.05
    assert not str(Allowance())
    shared = Allowance(Family(FamilyKind.SESSION, 20), look=1)
    assert shared.level(0.05) == pytest.approx(0.05 / 20 / 2.2857657)
    assert str(shared) == "20 specs share the session's error rate, look 1 at this baseline"
