"""Which refits a validation asks for."""

from __future__ import annotations

import modeltune as mt


def test_a_holdout_refits_under_each_seed() -> None:
    assert [(r.seed, r.fold) for r in mt.Holdout(seeds=3).refits()] == [
        (0, None),
        (1, None),
        (2, None),
    ]


def test_folds_are_refitted_under_each_seed() -> None:
    refits = [(r.seed, r.fold) for r in mt.KFold(k=2, seeds=2).refits()]
    assert refits == [(0, 0), (0, 1), (1, 0), (1, 1)]
