"""Every check has a code and a section of the page that explains it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modeltune.records.check_codes import CHECK_AREAS, CHECKS_PAGE, section_of
from modeltune.records.facts import Area
from modeltune.records.verdicts import Outcome, Verdict, check_verdict
from modeltune.specs.checks import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / CHECKS_PAGE).read_text(encoding="utf-8")


def test_the_page_has_a_section_for_every_check_of_the_product_and_for_no_other() -> None:
    assert sorted(re.findall("^### (.*)$", PAGE, re.MULTILINE)) == sorted(CHECK_AREAS)


def test_every_section_says_what_the_check_does_to_a_run_and_more() -> None:
    for section in PAGE.split("### ")[1:]:
        code, _, text = section.partition("\n\n")
        assert re.match(r"\*(Warns|Fails)\b[^*]*\.\* [A-Z`]", text), code


def test_no_check_exists_without_a_code_on_the_page() -> None:
    """Every check of the product is made by this function."""
    with pytest.raises(ValueError, match=r"search\.luck is no check of the search"):
        check_verdict(Area.SEARCH, "search.luck", Outcome.WARNED, None, None, "unlucky")
    with pytest.raises(ValueError, match=r"search\.space is no check of the data"):
        check_verdict(Area.DATA, "search.space", Outcome.WARNED, None, None, "odd")


def test_every_check_that_a_spec_can_be_severe_about_has_a_code() -> None:
    assert {f"checks.{name}" for name in CHECKS} <= CHECK_AREAS.keys()


def test_the_anchor_is_that_of_the_heading() -> None:
    assert section_of("checks.constant_features") == "CHECKS.md#checksconstant_features"
    assert section_of("loss is finite (always on)") == "CHECKS.md#loss-is-finite-always-on"
    assert section_of('mt.metric("accuracy") >= 0.9') is None


def test_a_check_that_did_not_pass_names_its_section() -> None:
    warned = check_verdict(Area.SEARCH, "search.space", Outcome.WARNED, 1.0, 0.0, "odd")
    assert warned.explanation == "odd (CHECKS.md#searchspace)"
    passed = check_verdict(Area.SEARCH, "search.bounds", Outcome.PASSED, 0.0, 0.0, "fine")
    assert passed.explanation == "fine"
    assert Verdict('mt.metric("a") > 0', Outcome.FAILED, -1.0, 0.0, "no").explanation == "no"
