"""Checks are declared like everything else: a field each, mistakes named, printed as typed."""

from __future__ import annotations

import dataclasses

import pytest

from modeltune.specs.checks import CHECKS, SEVERITIES, Checks, checks_of
from modeltune.specs.gates import Severity


def test_every_check_warns_unless_told_otherwise() -> None:
    assert {Checks().severity(name) for name in CHECKS} == {Severity.WARN}
    assert not list(Checks().problems())
    assert Checks().severity("overlap", is_grave=True) is Severity.FAIL
    assert Checks(overlap="warn").severity("overlap", is_grave=True) is Severity.WARN


def test_every_check_is_a_field_in_the_order_of_the_verdicts() -> None:
    fields = [field.name for field in dataclasses.fields(Checks)]
    assert fields == [*CHECKS, "max_drift", "leaking_feature", "off"]


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
        ("overlap", '"red": write "fail", "warn" or "off"'),
        ("drift", 'None: write "fail", "warn" or "off"'),
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
    listed = ", ".join(f'{name}="fail"' for name in SEVERITIES)
    assert repr(checks_of("fail")) == f"mt.Checks({listed})"
    assert repr(checks_of("warn")) == "mt.Checks()"


def test_checks_are_silenced_by_name_and_by_number() -> None:
    checks = Checks(drift="off", off=["MT206", "integrity.evaluate"])
    assert not list(checks.problems())
    assert checks.silenced == {"checks.drift", "search.bounds", "integrity.evaluate"}
    assert repr(checks) == 'mt.Checks(drift="off", off=["MT206", "integrity.evaluate"])'


@pytest.mark.parametrize(
    ("off", "words"),
    [
        ("MT206", "write a list of names or numbers of checks"),
        (["MT999"], '"MT999" is no check; the checks are MT101 checks.overlap, '),
        ([3], "3 is no check"),
        (["MT308"], "a loss that is not finite is red whatever is silenced"),
    ],
)
def test_what_cannot_be_silenced_is_refused(off: object, words: str) -> None:
    ((field, text),) = Checks(off=off).problems()  # type: ignore[arg-type]
    assert field == "off"
    assert words in text
