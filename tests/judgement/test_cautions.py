"""What is found while models are built and trained becomes one warning for each check."""

from __future__ import annotations

from modeltune.judgement.cautions import check_cautions
from modeltune.records.facts import Area, CheckFacts
from modeltune.records.tasks import Caution
from modeltune.records.verdicts import Outcome


def test_findings_of_a_check_are_one_warning_that_names_each_once() -> None:
    found = [
        Caution("search.ranges", text) for text in ("a is ignored", "b is too", "a is ignored")
    ]
    (check,) = check_cautions(found)
    assert (check.gate, check.outcome, check.measured) == ("search.ranges", Outcome.WARNED, 2)
    assert check.facts == CheckFacts(Area.SEARCH, "search.ranges")
    assert check.reason.startswith("a is ignored; b is too. Declare the widest range")


def test_many_findings_are_counted_rather_than_named() -> None:
    (check,) = check_cautions(Caution("search.ranges", f"{n} is ignored") for n in range(9))
    assert check.measured == 9
    assert "2 is ignored; ... (6 more). " in check.reason


def test_a_code_of_no_check_is_left_out() -> None:
    assert check_cautions([Caution("<script>", "planted")]) == ()
