"""What a search leaves to be checked once its winner is validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import modeltune as mt
from modeltune.harness.conclusion import check_search
from modeltune.harness.validation import TunedModel, ValidationResult
from modeltune.records.runs import Best, Scores
from tests.support.small_models import spec_of


def searched(hp: Any) -> Any: ...


def given() -> Any: ...


@pytest.mark.parametrize(
    ("spec", "is_told"),
    [
        (spec_of(searched), True),
        (mt.spec(data=mt.Data(None))(searched), True),
        (mt.spec(data=mt.Data(None))(given), False),
    ],
    ids=["searched", "default values", "given"],
)
def test_seeds_that_change_nothing_are_told_unless_the_models_are_given(
    spec: Any, is_told: bool
) -> None:
    refits: tuple[dict[str, Any], ...] = tuple(
        {"seed": seed, "fold": None, "curve": {}} for seed in (0, 1)
    )
    validation = ValidationResult({"loss": Scores((0.3, 0.3))}, {}, refits)
    best = Best(1, 0.3, {}) if spec.is_searched else Best(None, None, {})
    tuned = TunedModel(best, {"space": [], "values": {}}, Path("weights"))
    checks = [check.gate for check in check_search(spec, tuned, (), validation, rows=4)]
    assert ("search.seeds" in checks) is is_told


def test_refits_are_held_against_the_search_by_the_phase_that_trains_what_it_did() -> None:
    spec = spec_of(searched, search=mt.RandomSearch(mt.minimize("val_loss")))
    first, second = ({"curve": {"val_loss": (value,)}} for value in (0.3, 9.0))
    refits: tuple[dict[str, Any], ...] = tuple(
        {"seed": seed, "fold": None, "curve": {"val_loss": (0.3, 9.0)}, "phases": [first, second]}
        for seed in (0, 1, 2)
    )
    validation = ValidationResult({"loss": Scores((0.3, 0.31, 0.32))}, {}, refits)
    tuned = TunedModel(Best(1, 0.3, {}), {"space": [], "values": {}}, Path("weights"))
    (check,) = (
        check
        for check in check_search(spec, tuned, (), validation, rows=4)
        if check.gate == "search.refit"
    )
    assert "0.3" in check.reason
    assert "9" not in check.reason
