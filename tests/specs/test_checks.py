"""Checks are declared like everything else: a field each, mistakes named, printed as typed."""

from __future__ import annotations

import dataclasses

import pytest

from modeltune.specs.checks import CHECKS, Checks, checks_of
from modeltune.specs.gates import Severity


def test_every_check_warns_unless_told_otherwise() -> None:
    assert {Checks().severity(name) for name in CHECKS} == {Severity.WARN}
    assert not list(Checks().problems())
    assert Checks().severity("overlap", is_grave=True) is Severity.FAIL
    assert Checks(overlap="warn").severity("overlap", is_grave=True) is Severity.WARN


def test_every_check_is_a_field_in_the_order_of_the_verdicts() -> None:
    fields = [field.name for field in dataclasses.fields(Checks)]
    assert fields == [*CHECKS, "max_drift"]


@pytest.mark.parametrize("fail", ["fail", Severity.FAIL])
def test_a_severity_is_a_word_or_an_enum_member(fail: Severity | str) -> None:
    checks = Checks(overlap=fail)
    assert checks.severity("overlap") is Severity.FAIL
    assert repr(checks) == 'mt.Checks(overlap="fail")'
    assert not list(checks.problems())


def test_checks_print_as_they_were_typed() -> None:
    assert repr(Checks()) == "mt.Checks()"
    assert repr(Checks(labels=Severity.WARN)) == "mt.Checks()"
    assert repr(Checks(drift="fail", max_drift=0.3)) == 'mt.Checks(drift="fail", max_drift=0.3)'
    assert repr(Checks(drift=3)) == "mt.Checks(drift=3)"  # type: ignore[arg-type]


def test_every_broken_field_is_named() -> None:
    checks = Checks(overlap="red", drift=None, max_drift=15)  # type: ignore[arg-type]
    assert list(checks.problems()) == [
        ("overlap", '"red": write "fail" or "warn"'),
        ("drift", 'None: write "fail" or "warn"'),
        ("max_drift", "15: write a distance between 0 and 1"),
    ]


@pytest.mark.parametrize("distance", [0, 1, -0.1, float("nan"), True, "0.1", None])
def test_a_distance_that_decides_nothing_is_refused(distance: object) -> None:
    broken = Checks(max_drift=distance)  # type: ignore[arg-type]
    assert [field for field, _ in broken.problems()] == ["max_drift"]


@pytest.mark.parametrize("word", ["fail", "warn", Severity.FAIL, Severity.WARN])
def test_one_word_stands_for_all_checks(word: Severity | str) -> None:
    checks = checks_of(word)
    assert isinstance(checks, Checks)
    assert {checks.severity(name) for name in CHECKS} == {Severity(word)}


@pytest.mark.parametrize("value", [Checks(drift="fail"), "red", None, 3, ["fail"]])
def test_anything_else_is_left_for_the_spec_to_refuse(value: object) -> None:
    assert checks_of(value) is value


def test_all_checks_of_a_word_print_as_fields() -> None:
    listed = ", ".join(f'{name}="fail"' for name in CHECKS)
    assert repr(checks_of("fail")) == f"mt.Checks({listed})"
    assert repr(checks_of("warn")) == "mt.Checks()"
