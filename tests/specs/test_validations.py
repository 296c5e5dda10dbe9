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


def test_fine_tuning_prints_as_typed_and_its_problems_are_all_named() -> None:
    assert repr(mt.KFold(k=2, fine_tune=mt.FineTune("mixed5", epochs=3))) == (
        'mt.KFold(k=2, fine_tune=mt.FineTune(from_layer="mixed5", epochs=3))'
    )
    broken = mt.FineTune("", epochs=0, learning_rate=-1e-5)
    for validation in (mt.Holdout(fine_tune=broken), mt.KFold(fine_tune=broken)):
        assert [field for field, _ in validation.problems()] == [
            "fine_tune.from_layer",
            "fine_tune.epochs",
            "fine_tune.learning_rate",
        ]
    assert not [*mt.Holdout(fine_tune=mt.FineTune(learning_rate=lambda hp: 1e-4)).problems()]
    wrong = mt.Holdout(fine_tune=5)  # type: ignore[arg-type]
    assert [*wrong.problems()] == [("fine_tune", "5: write mt.FineTune(...)")]


def test_an_ensemble_that_cannot_be_made_is_refused_as_declared() -> None:
    declared = mt.Holdout(epochs=2, ensemble=5)
    assert repr(declared) == "mt.Holdout(epochs=2, ensemble=5)"
    assert not [*declared.problems()]
    refused = (
        mt.Holdout(ensemble=1),
        mt.Holdout(ensemble=True),
        mt.KFold(ensemble=1),
    )
    for validation in refused:
        assert [field for field, _ in validation.problems()] == ["ensemble"]
