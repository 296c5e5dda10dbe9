"""Every check has a code and a section of the page that explains it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modeltune.ground.errors import ModeltuneError, NoTrialError
from modeltune.records.check_codes import (
    CHECK_AREAS,
    CHECKS_PAGE,
    ERROR_NUMBERS,
    GATE_NUMBERS,
    OUTCOMES_PAGE,
    RUN_NUMBERS,
    TRIAL_NUMBERS,
    number_of_error,
    section_of,
)
from modeltune.records.facts import Area
from modeltune.records.runs import RunStatus, TrialStatus
from modeltune.records.verdicts import Outcome, Verdict, check_verdict
from modeltune.specs.checks import CHECK_NUMBERS, CHECKS, NEVER_OFF

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


def test_every_check_has_a_number_which_its_section_says_with_how_it_is_computed_and_silenced() -> (
    None
):
    assert CHECK_NUMBERS.keys() == CHECK_AREAS.keys()
    told = dict(
        re.findall(
            r"^### (.*)\n(?:(?!^### )[\s\S])*?^`(MT\d+)`\. \*\*Computed:\*\*", PAGE, re.MULTILINE
        )
    )
    assert told == CHECK_NUMBERS
    for name, number in CHECK_NUMBERS.items():
        section = PAGE.split(f"### {name}\n")[1].split("\n### ")[0]
        silence = section.split("**Silence:**")[1]
        assert (number in silence) is (name != NEVER_OFF), name


def test_every_outcome_has_a_number_with_a_section_and_no_section_lacks_one() -> None:
    page = (ROOT / OUTCOMES_PAGE).read_text(encoding="utf-8")
    assert [*GATE_NUMBERS] == [outcome.value for outcome in Outcome]
    assert [*RUN_NUMBERS] == [status.value for status in RunStatus]
    assert [*TRIAL_NUMBERS] == [status.value for status in TrialStatus]
    named = {number: name for name, number in GATE_NUMBERS.items()}
    named |= {number: f"run {name}" for name, number in RUN_NUMBERS.items()}
    named |= {number: f"trial {name}" for name, number in TRIAL_NUMBERS.items()}
    named |= {number: name for name, number in ERROR_NUMBERS.items()}
    pattern = r'<a id="mt(\d+)"></a>\n\n### (.*)\n[\s\S]*?^`MT(\d+)`\. \*\*Computed:\*\* .* \*\*Silence:\*\* '
    told = re.findall(pattern, page, re.MULTILINE)
    assert all(anchor == number for anchor, _, number in told)
    assert {f"MT{number}": name for number, name, _ in told} == named
    assert len(re.findall("^### ", page, re.MULTILINE)) == len(named)
    every = [*named, *CHECK_NUMBERS.values()]
    assert len(set(every)) == len(every)


def test_an_error_has_the_number_of_its_nearest_kind() -> None:
    assert number_of_error(NoTrialError) == ERROR_NUMBERS["SearchError"]
    assert number_of_error(ModeltuneError) == "MT700"
    assert number_of_error(ValueError) is None


def test_the_anchor_is_that_of_the_heading() -> None:
    assert section_of("checks.constant_features") == "CHECKS.md#checksconstant_features"
    assert section_of("loss is finite (always on)") == "CHECKS.md#loss-is-finite-always-on"
    assert section_of('mt.metric("accuracy") >= 0.9') is None


def test_a_check_that_did_not_pass_names_its_section() -> None:
    warned = check_verdict(Area.SEARCH, "search.space", Outcome.WARNED, 1.0, 0.0, "odd")
    assert warned.explanation == "odd (MT202: CHECKS.md#searchspace)"
    passed = check_verdict(Area.SEARCH, "search.bounds", Outcome.PASSED, 0.0, 0.0, "fine")
    assert passed.explanation == "fine"
    assert Verdict('mt.metric("a") > 0', Outcome.FAILED, -1.0, 0.0, "no").explanation == "no"
