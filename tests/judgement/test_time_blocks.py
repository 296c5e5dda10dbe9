"""Blocks in time are as long as what happens in them hangs together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modeltune.judgement.group_flips import FEWEST_GROUPS, compare_group_means
from modeltune.judgement.significance import compare_outcomes, decide, p_violated
from modeltune.judgement.time_blocks import block_length, time_blocks
from modeltune.records.verdicts import Outcome, Unit


def lasting(
    random: np.random.Generator, n: int, correlation: float, lost: float, won: float
) -> Any:
    """Return which samples are lost (-1) and won (1), each like the one before with this probability."""
    drawn = random.choice([-1, 0, 1], n, p=[lost, 1 - lost - won, won])
    is_copied = random.random(n) < correlation
    is_copied[0] = False
    return drawn[np.maximum.accumulate(np.where(is_copied, 0, np.arange(n)))]


def test_values_that_tell_nothing_of_the_next_need_no_blocks() -> None:
    assert block_length(np.zeros(100)) == 1
    assert block_length(np.random.default_rng(0).normal(size=2000)) < 5
    assert block_length(lasting(np.random.default_rng(0), 2000, 0.9, 0.3, 0.3)) > 20


@pytest.mark.parametrize("n", [1, 3, 21, 40, 1000])
def test_blocks_are_whole_stretches_equally_long_but_for_one_sample(n: int) -> None:
    blocks = time_blocks(lasting(np.random.default_rng(1), n, 0.95, 0.3, 0.3))
    sizes = np.bincount(blocks)
    assert (np.diff(blocks) >= 0).all()
    assert sizes.min() >= 1
    assert np.ptp(sizes) <= 1
    assert len(sizes) >= min(n, FEWEST_GROUPS)


def test_equal_models_fail_at_most_as_often_as_alpha_where_neighbours_are_alike() -> None:
    random = np.random.default_rng(2)
    failed = {"blocks": 0, "samples": 0}
    for _ in range(300):
        differences = lasting(random, 1000, 0.8, 0.06, 0.06)
        of_blocks = compare_group_means(differences, time_blocks(differences), unit=Unit.BLOCKS)
        assert of_blocks is not None
        of_samples = compare_outcomes(differences == -1, differences == 1)
        for name, compared in (("blocks", of_blocks), ("samples", of_samples)):
            outcome = decide(compared, 0.01, p_violated(compared, 0.01))
            failed[name] += outcome is Outcome.FAILED
    # Two standard errors of 300 draws are 2.5 points.
    assert failed["blocks"] / 300 <= 0.075
    assert failed["samples"] / 300 > 0.2
