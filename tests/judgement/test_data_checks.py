"""A test part that has given more verdicts than were planned warns, and only with a limit."""

from __future__ import annotations

from modeltune.judgement.data_checks import check_reads
from modeltune.records.verdicts import Outcome


def test_it_warns_once_more_verdicts_are_given_than_were_planned() -> None:
    assert check_reads(1000, None) == check_reads(200, 200) == ()
    (check,) = check_reads(201, 200)
    assert (check.gate, check.outcome) == ("checks.test_reads", Outcome.WARNED)
    assert check.reason.startswith(
        "this test part gives verdict number 201 of 200 that were planned"
    )
